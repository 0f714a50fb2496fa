//! An event as it is recorded: the fact, its place, and who caused it.

use chrono::{DateTime, Utc};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One event of the log. `payload` and `metadata` are JSON text, exactly as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Place in the log: 1, 2, 3 … without a gap, in commit order.
    pub position: i64,
    pub aggregate_type: CompactString,
    pub aggregate_id: CompactString,
    /// Place in the aggregate's stream: 1, 2, 3 …
    pub sequence: i64,
    pub event_type: CompactString,
    pub event_version: CompactString,
    pub payload: String,
    pub metadata: String,
    pub recorded_at: DateTime<Utc>,
}

impl RecordedEvent {
    /// The metadata, parsed.
    pub fn metadata(&self) -> serde_json::Result<Metadata> {
        serde_json::from_str(&self.metadata)
    }
}

/// Who and what caused an event; the `metadata` column, all values text as cqrs-es wants them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// UUIDv7, unique to the event.
    pub event_id: Uuid,
    /// Common to all that followed from one request.
    pub correlation_id: Uuid,
    /// The command or event that caused this event.
    pub causation_id: Uuid,
    /// Who acted: a principal such as `customer:13085`, `service:checkout` or `anonymous`.
    pub actor: CompactString,
    /// W3C trace context of the request.
    pub traceparent: CompactString,
}

impl Metadata {
    /// The metadata as stored: one JSON object.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text and UUIDs have a JSON form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_stock_repository_can_read_the_metadata() {
        let metadata = Metadata {
            event_id: Uuid::nil(),
            correlation_id: Uuid::nil(),
            causation_id: Uuid::nil(),
            actor: "customer:13085".into(),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        };
        let as_cqrs_es_reads_it: HashMap<String, String> =
            serde_json::from_str(&metadata.to_json()).expect("a map of text");
        assert_eq!(as_cqrs_es_reads_it["actor"], "customer:13085");
        assert_eq!(serde_json::from_str::<Metadata>(&metadata.to_json()).expect("the same"), metadata);
    }
}
