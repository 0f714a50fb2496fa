//! An event on its way to the projections, undecoded: few of them want to know what is in it.

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use compact_str::CompactString;
use kontor_event_schemas::upcast::{UpcastError, Upcasters};
use kontor_event_schemas::{RecordedEvent, subject};
use kontor_telemetry::{TraceParent, exporting};
use serde::Deserialize;
use std::borrow::Cow;
use uuid::Uuid;

/// Memory that a delivery takes besides its payload, about, in bytes.
const OVERHEAD: usize = 300;

/// An event, from the KONTOR stream or from the log. `payload` is JSON of the current version of its event type.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub position: i64,
    pub aggregate_type: CompactString,
    pub aggregate_id: CompactString,
    pub payload: Bytes,
    origin: Origin,
}

/// What an event's surroundings say of it. Metadata from the log is parsed only when somebody asks.
#[derive(Debug, Clone)]
enum Origin {
    Stream { subject: Subject, event_id: Uuid, recorded_at: Option<DateTime<Utc>>, trace_parent: Option<TraceParent> },
    Log { event_type: CompactString, metadata: String, recorded_at: DateTime<Utc> },
}

/// A delivery with the epoch of the log at the time when it was published.
#[derive(Debug)]
pub struct Published {
    pub delivery: Delivery,
    pub log_epoch: i64,
}

/// Why a message of the stream is not an event as the relay publishes them.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("a message on {0} is on no subject of an event")]
    Subject(String),
    #[error("a message on {subject} has no usable header {header}")]
    Header { subject: String, header: &'static str },
    #[error(transparent)]
    Upcast(#[from] UpcastError),
}

impl Delivery {
    /// Reads a message of the KONTOR stream.
    pub fn published(message: Message, upcasters: &Upcasters) -> Result<Published, Malformed> {
        let Message { subject, payload, headers, .. } = message;
        let aggregate_type = subject.strip_prefix("kontor.v1.").and_then(|rest| rest.split_once('.'));
        let Some((aggregate_type, _)) = aggregate_type else { return Err(Malformed::Subject(subject.to_string())) };
        let missing = |header| Malformed::Header { subject: subject.to_string(), header };
        let headers = headers.unwrap_or_default();
        let found = Headers::find(&headers);
        let log_epoch = found.log_epoch.ok_or_else(|| missing(subject::LOG_EPOCH))?;
        let mut delivery = Delivery {
            position: found.position.ok_or_else(|| missing(subject::POSITION))?,
            aggregate_type: aggregate_type.into(),
            aggregate_id: found.aggregate_id.ok_or_else(|| missing(subject::AGGREGATE_ID))?.into(),
            payload,
            origin: Origin::Stream {
                subject: subject.clone(),
                event_id: found.event_id.ok_or_else(|| missing(subject::CE_ID))?,
                recorded_at: found.recorded_at,
                trace_parent: found.trace_parent,
            },
        };
        if upcasters.concern(aggregate_type) {
            let version = found.event_version.ok_or_else(|| missing(subject::EVENT_VERSION))?;
            let (_, event_type) = subject::parse(&subject).ok_or_else(|| Malformed::Subject(subject.to_string()))?;
            delivery.upcast(upcasters, event_type, version)?;
        }
        Ok(Published { delivery, log_epoch })
    }

    fn upcast(&mut self, upcasters: &Upcasters, event_type: String, version: &str) -> Result<(), UpcastError> {
        let event = upcasters.upcast(RecordedEvent {
            position: self.position,
            aggregate_type: self.aggregate_type.clone(),
            aggregate_id: self.aggregate_id.clone(),
            sequence: 0, // Upcasters see payloads only.
            event_type: event_type.into(),
            event_version: version.into(),
            payload: String::from_utf8_lossy(&self.payload).into_owned(),
            metadata: "{}".to_owned(),
            recorded_at: DateTime::UNIX_EPOCH,
        })?;
        self.payload = event.payload.into();
        Ok(())
    }

    /// The subject on which it was or will be published.
    pub fn subject(&self) -> Cow<'_, str> {
        match &self.origin {
            Origin::Stream { subject, .. } => Cow::Borrowed(subject),
            Origin::Log { event_type, .. } => Cow::Owned(subject::subject(&self.aggregate_type, event_type)),
        }
    }

    /// Roughly what it takes in memory, in bytes.
    pub fn weight(&self) -> usize {
        self.payload.len() + OVERHEAD
    }

    /// The event's id. An error: the log has metadata that are not ours.
    pub fn event_id(&self) -> Result<Uuid, serde_json::Error> {
        match &self.origin {
            Origin::Stream { event_id, .. } => Ok(*event_id),
            Origin::Log { metadata, .. } => Ok(serde_json::from_str::<EventId>(metadata)?.event_id),
        }
    }

    /// When it was appended; the stream may not tell.
    pub fn recorded_at(&self) -> Option<DateTime<Utc>> {
        match &self.origin {
            Origin::Stream { recorded_at, .. } => *recorded_at,
            Origin::Log { recorded_at, .. } => Some(*recorded_at),
        }
    }

    /// The trace of the event's request, if it is exported.
    pub fn sampled_trace(&self) -> Option<TraceParent> {
        if !exporting() {
            return None;
        }
        let parent = match &self.origin {
            Origin::Stream { trace_parent, .. } => *trace_parent,
            Origin::Log { metadata, .. } => serde_json::from_str::<Trace>(metadata).ok()?.traceparent.parse().ok(),
        };
        parent.filter(TraceParent::sampled)
    }
}

impl From<RecordedEvent> for Delivery {
    fn from(event: RecordedEvent) -> Self {
        Delivery {
            position: event.position,
            aggregate_type: event.aggregate_type,
            aggregate_id: event.aggregate_id,
            payload: event.payload.into(),
            origin: Origin::Log {
                event_type: event.event_type,
                metadata: event.metadata,
                recorded_at: event.recorded_at,
            },
        }
    }
}

#[derive(Deserialize)]
struct EventId {
    event_id: Uuid,
}

#[derive(Deserialize)]
struct Trace {
    traceparent: CompactString,
}

/// The headers that matter, found in one pass: a look-up by name would make the name first.
#[derive(Default)]
struct Headers<'a> {
    position: Option<i64>,
    log_epoch: Option<i64>,
    aggregate_id: Option<&'a str>,
    event_version: Option<&'a str>,
    event_id: Option<Uuid>,
    recorded_at: Option<DateTime<Utc>>,
    trace_parent: Option<TraceParent>,
}

impl<'a> Headers<'a> {
    fn find(headers: &'a HeaderMap) -> Self {
        let mut found = Headers::default();
        for (name, values) in headers.iter() {
            let Some(value) = values.first().map(|value| value.as_str()) else { continue };
            match AsRef::<str>::as_ref(name) {
                subject::POSITION => found.position = value.parse().ok(),
                subject::LOG_EPOCH => found.log_epoch = value.parse().ok(),
                subject::AGGREGATE_ID => found.aggregate_id = Some(value),
                subject::EVENT_VERSION => found.event_version = Some(value),
                subject::CE_ID => found.event_id = Uuid::try_parse(value).ok(),
                subject::CE_TIME => found.recorded_at = DateTime::parse_from_rfc3339(value).ok().map(|t| t.to_utc()),
                subject::TRACEPARENT if exporting() => found.trace_parent = value.parse().ok(),
                _ => {} // Others are for other readers: no event is lost here.
            }
        }
        found
    }
}
