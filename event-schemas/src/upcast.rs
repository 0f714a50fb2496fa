//! Old event versions, read as the new ones. The log is never edited; upcasters (cqrs-es's) change what a reader sees.

use crate::RecordedEvent;
use cqrs_es::persist::{EventUpcaster, SerializedEvent};

/// The upcasters of every aggregate type. An event that none of them takes is passed on untouched and unparsed.
#[derive(Default)]
pub struct Upcasters(Vec<(&'static str, Box<dyn EventUpcaster>)>);

/// Why an old event could not be read.
#[derive(Debug, thiserror::Error)]
#[error("event {position} ({event_type} {event_version}) is not JSON: {error}")]
pub struct UpcastError {
    pub position: i64,
    pub event_type: String,
    pub event_version: String,
    pub error: serde_json::Error,
}

/// The upcasters that this release knows. None yet: every event type is at its first version.
pub fn released() -> Upcasters {
    Upcasters::default()
}

impl Upcasters {
    /// Adds an upcaster for the events of one aggregate type. Several for one event type run in the order they were added.
    pub fn with(mut self, aggregate_type: &'static str, upcaster: impl EventUpcaster + 'static) -> Self {
        self.0.push((aggregate_type, Box::new(upcaster)));
        self
    }

    /// Whether events of this aggregate type have changed since the first release, and may have to be upcast.
    pub fn concern(&self, aggregate_type: &str) -> bool {
        self.0.iter().any(|(aggregate, _)| *aggregate == aggregate_type)
    }

    /// Brings `event` to the current version of its type.
    pub fn upcast(&self, event: RecordedEvent) -> Result<RecordedEvent, UpcastError> {
        if !self.0.iter().any(|(aggregate, upcaster)| {
            *aggregate == event.aggregate_type && upcaster.can_upcast(&event.event_type, &event.event_version)
        }) {
            return Ok(event);
        }
        let unreadable = |error| UpcastError {
            position: event.position,
            event_type: event.event_type.to_string(),
            event_version: event.event_version.to_string(),
            error,
        };
        let old = SerializedEvent::new(
            event.aggregate_id.to_string(),
            event.sequence as usize,
            event.aggregate_type.to_string(),
            event.event_type.to_string(),
            event.event_version.to_string(),
            serde_json::from_str(&event.payload).map_err(unreadable)?,
            serde_json::from_str(&event.metadata).map_err(unreadable)?,
        );
        let new = self.upcast_serialized(old);
        Ok(RecordedEvent {
            event_type: new.event_type.into(),
            event_version: new.event_version.into(),
            payload: new.payload.to_string(),
            metadata: new.metadata.to_string(),
            ..event
        })
    }

    /// The same for an event as cqrs-es repositories give it.
    pub fn upcast_serialized(&self, event: SerializedEvent) -> SerializedEvent {
        self.0.iter().fold(event, |event, (aggregate, upcaster)| {
            if *aggregate == event.aggregate_type && upcaster.can_upcast(&event.event_type, &event.event_version) {
                upcaster.upcast(event)
            } else {
                event
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cqrs_es::persist::SemanticVersionEventUpcaster;

    fn recorded(aggregate_type: &str, event_version: &str, payload: &str) -> RecordedEvent {
        RecordedEvent {
            position: 7,
            aggregate_type: aggregate_type.into(),
            aggregate_id: "A".into(),
            sequence: 1,
            event_type: "Moved".into(),
            event_version: event_version.into(),
            payload: payload.into(),
            metadata: "{}".into(),
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn renamed() -> Upcasters {
        let rename = SemanticVersionEventUpcaster::new(
            "Moved",
            "2.0",
            Box::new(|mut payload| {
                let units = payload["Moved"]["pieces"].take();
                serde_json::json!({ "Moved": { "units": units } })
            }),
        );
        Upcasters::default().with("crate", rename)
    }

    #[test]
    fn an_old_event_is_read_as_the_new_one() {
        let event = renamed().upcast(recorded("crate", "1.0", r#"{"Moved":{"pieces":3}}"#)).expect("JSON");
        assert_eq!((event.event_version.as_str(), event.payload.as_str()), ("2.0.0", r#"{"Moved":{"units":3}}"#));
    }

    #[test]
    fn a_new_event_and_another_aggregate_s_are_left_alone() {
        let new = recorded("crate", "2.0", r#"{"Moved":{"units":3}}"#);
        assert_eq!(renamed().upcast(new.clone()).expect("untouched"), new);
        let other = recorded("pallet", "1.0", "not even parsed");
        assert_eq!(renamed().upcast(other.clone()).expect("untouched"), other);
    }

    #[test]
    fn who_has_no_old_events_is_not_concerned() {
        assert!(renamed().concern("crate"));
        assert!(!renamed().concern("pallet"));
    }

    #[test]
    fn an_unreadable_old_event_is_named() {
        let error = renamed().upcast(recorded("crate", "1.0", "{")).expect_err("no JSON");
        assert!(error.to_string().starts_with("event 7 (Moved 1.0) is not JSON"), "{error}");
    }
}
