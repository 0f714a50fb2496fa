//! A log with every event that there is, in every form that may be stored.

use chrono::{DateTime, TimeDelta, Utc};
use kontor_event_schemas::{RecordedEvent, schemas, subject};
use kontor_event_store::{LogReader, MIGRATIONS};
use kontor_local::{Need, Role, Servers};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The first event was recorded then; the others a minute apart, so that a log of some thousands has several days.
pub const BEGUN: &str = "2026-11-20T22:00:00Z";

/// Postgres with a log, gone when dropped.
pub struct Fixture {
    pub reader: LogReader,
    pub servers: Servers,
    owner: PgPool,
}

impl Fixture {
    /// With so many events.
    pub async fn start(events: i64) -> Self {
        let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
        let owner = servers.postgres().url(Role::Migrator);
        let mut connection = PgConnection::connect(&owner).await.expect("it takes connections");
        MIGRATIONS.run(&mut connection).await.expect("the log has its tables");
        connection.close().await.expect("it does");
        let owner = PgPool::connect(&owner).await.expect("it takes connections");
        let auditor_url = servers.postgres().url(Role::Auditor);
        // A pool tries to connect for so long before it says that it cannot.
        let auditor = PgPoolOptions::new().max_connections(3).acquire_timeout(Duration::from_secs(2));
        let auditor = auditor.connect(&auditor_url).await.expect("it takes connections");
        let fixture = Self { reader: LogReader::new(auditor, Arc::default()), servers, owner };
        fixture.append(1, events).await;
        fixture
    }

    /// Appends so many events, the first of which gets position `first`.
    pub async fn append(&self, first: i64, events: i64) {
        if events > 0 {
            self.append_each((first..first + events).map(generated).collect()).await;
        }
    }

    pub async fn append_each(&self, events: Vec<RecordedEvent>) {
        let text = |of: fn(&RecordedEvent) -> &str| events.iter().map(|event| of(event).to_owned()).collect::<Vec<_>>();
        let last = events.last().expect("at least one");
        let mut transaction = self.owner.begin().await.expect("it takes connections");
        sqlx::query(
            "insert into events (position, sequence, recorded_at, aggregate_type, aggregate_id, event_type, event_version,
                 payload, metadata)
             select position, sequence, at, type, id, event, version, payload::json, metadata::json
             from unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[],
                 $8::text[], $9::text[]) as e (position, sequence, at, type, id, event, version, payload, metadata)",
        )
        .bind(events.iter().map(|event| event.position).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.sequence).collect::<Vec<_>>())
        .bind(events.iter().map(|event| event.recorded_at).collect::<Vec<_>>())
        .bind(text(|event| &event.aggregate_type))
        .bind(text(|event| &event.aggregate_id))
        .bind(text(|event| &event.event_type))
        .bind(text(|event| &event.event_version))
        .bind(text(|event| &event.payload))
        .bind(text(|event| &event.metadata))
        .execute(&mut *transaction)
        .await
        .expect("they are new");
        sqlx::query("insert into log_batches (position, recorded_at) values ($1, $2)")
            .bind(last.position)
            .bind(last.recorded_at)
            .execute(&mut *transaction)
            .await
            .expect("it is new");
        transaction.commit().await.expect("it commits");
    }

    /// The log as it is.
    pub async fn events(&self) -> Vec<RecordedEvent> {
        self.reader.read(0, 1_000_000).await.expect("the log can be read")
    }
}

/// The examples of each schema.
static EXAMPLES: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    let examples = schemas::SCHEMAS.iter().map(|(name, _)| {
        let path = format!("{}/../../event-schemas/schemas/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let examples = std::fs::read(path).expect("each schema has examples");
        let examples: Vec<Value> = serde_json::from_slice(&examples).expect("a list");
        examples.iter().map(Value::to_string).collect()
    });
    examples.collect()
});

/// The event at `position`: the examples of all schemas by turns.
pub fn generated(position: i64) -> RecordedEvent {
    let turn = usize::try_from(position).expect("a position") * 7; // No common factor: neighbours differ by aggregate.
    let schema = turn % schemas::SCHEMAS.len();
    let (name, _) = schemas::SCHEMAS[schema];
    let examples = &EXAMPLES[schema];
    let (event, version) = name.split_once(".1.0").map(|(event, _)| (event, "1.0")).expect("a first version");
    let (aggregate_type, event_type) = subject::parse(&format!("kontor.v1.{event}"))
        .map(|(aggregate, event)| (aggregate.to_owned(), event))
        .expect("a subject");
    let id = format!("{position:032x}");
    let metadata = json!({"event_id": uuid::Uuid::parse_str(&id).expect("a UUID"), "correlation_id": id, "causation_id": id,
        "actor": "service:test", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
    let begun: DateTime<Utc> = BEGUN.parse().expect("a time");
    RecordedEvent {
        position,
        aggregate_type: aggregate_type.into(),
        aggregate_id: format!("A{}", position % 10).into(),
        sequence: position,
        event_type: event_type.into(),
        event_version: version.into(),
        payload: examples[turn / schemas::SCHEMAS.len() % examples.len()].clone(),
        metadata: metadata.to_string(),
        recorded_at: begun + TimeDelta::minutes(position - 1),
    }
}
