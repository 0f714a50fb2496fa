//! Events that are appended as the command tier does, for projectors that are at work.

use crate::api::Api;
use kontor_event_store::{Append, Key, Log, LogSettings, NewEvent, StreamAppend, StreamId};
use kontor_local::Role;
use kontor_projection_services::ProjectorSettings;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

pub struct Recorder {
    log: Arc<Log>,
    versions: HashMap<(String, String), i64>,
    /// Position of the last event.
    pub head: i64,
}

impl Recorder {
    pub async fn on(api: &Api) -> Self {
        let options: PgConnectOptions = api.servers.postgres().url(Role::Command).parse().expect("a URL");
        let log = Log::open(options, LogSettings::default(), Default::default()).await.expect("it opens");
        Recorder { log, versions: HashMap::new(), head: 0 }
    }

    pub async fn append(&mut self, kind: &'static str, id: &str, event: Value) {
        let version = self.versions.entry((kind.to_owned(), id.to_owned())).or_default();
        let (event_type, _) = event.as_object().and_then(|event| event.iter().next()).expect("one event");
        let metadata = json!({"event_id": Uuid::now_v7(), "correlation_id": Uuid::nil(), "causation_id": Uuid::nil(),
            "actor": "test", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
        let stream = StreamId { aggregate_type: kind, aggregate_id: id.into() };
        let event = NewEvent {
            event_type: event_type.clone(),
            event_version: "1.0".to_owned(),
            payload: event.to_string(),
            metadata: metadata.to_string(),
        };
        let (expected_version, lineage) = (*version, self.log.new_lineage());
        let streams = vec![StreamAppend { stream, expected_version, lineage, events: vec![event] }];
        *version += 1;
        self.head = self.log.append(Append { key: Key::unique(), streams }).await.expect("it is appended").position;
    }
}

/// Of a projector that reads the log alone.
pub fn projector_settings(api: &Api) -> ProjectorSettings {
    let mut settings = ProjectorSettings::default();
    settings.projections.url = Some(api.servers.postgres().url(Role::Projector).parse().expect("a URL"));
    settings.projections.lease_ms = 1_000;
    settings.nats.url = "nats://127.0.0.1:1".parse().expect("a URL"); // Nobody is there: events come from the log.
    settings
}
