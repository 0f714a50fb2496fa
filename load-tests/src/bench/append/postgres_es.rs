//! Stock cqrs-es with stock postgres-es: its event store, its pool of 10, its table, in a database of its own.

use super::arena::{metadata, text};
use super::drive::{Appender, Measured, drive};
use super::{AGGREGATE_TYPE, EVENT_TYPE, Streams};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use kontor_local::{Postgres, Role};
use postgres_es::{PostgresCqrs, default_postgress_pool, postgres_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// From db/init.sql of postgres-es 0.5.0.
const TABLE: &str = "
    CREATE TABLE events
    (
        aggregate_type text                         NOT NULL,
        aggregate_id   text                         NOT NULL,
        sequence       bigint CHECK (sequence >= 0) NOT NULL,
        event_type     text                         NOT NULL,
        event_version  text                         NOT NULL,
        payload        json                         NOT NULL,
        metadata       json                         NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence)
    )";
const DATABASE: &str = "bench_postgres_es";

pub struct Place {
    pool: PgPool,
    cqrs: Arc<PostgresCqrs<Parcel>>,
}

impl Place {
    pub async fn make(server: &Postgres) -> anyhow::Result<Self> {
        server.sql(&format!("create database {DATABASE} owner {}", Role::Migrator.name())).await?;
        let mut url = url::Url::parse(&server.url(Role::Migrator))?;
        url.set_path(DATABASE);
        let pool = default_postgress_pool(url.as_str()).await;
        sqlx::query(TABLE).execute(&pool).await?;
        let cqrs = Arc::new(postgres_cqrs(pool.clone(), vec![], ()));
        Ok(Self { pool, cqrs })
    }

    pub async fn run(
        &self,
        streams: Streams,
        appenders: usize,
        length: Duration,
        server_pid: u32,
    ) -> anyhow::Result<Measured> {
        let appender = |_| Sender {
            cqrs: self.cqrs.clone(),
            stream_length: streams.length(),
            text: text(),
            parcel: Uuid::now_v7().to_string(),
            version: 0,
        };
        drive((0..appenders).map(appender).collect(), length, server_pid).await
    }

    pub async fn close(self) {
        self.pool.close().await;
    }
}

/// Executes one command at a time.
struct Sender {
    cqrs: Arc<PostgresCqrs<Parcel>>,
    stream_length: i64,
    text: String,
    parcel: String,
    version: i64,
}

impl Appender for Sender {
    async fn append(&mut self) -> anyhow::Result<()> {
        if self.version == self.stream_length {
            (self.parcel, self.version) = (Uuid::now_v7().to_string(), 0);
        }
        let event_id = Uuid::now_v7().to_string();
        let metadata: HashMap<_, _> =
            metadata(&event_id, &event_id).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let ship = Ship { text: self.text.clone() };
        self.cqrs.execute_with_metadata(&self.parcel, ship, metadata).await?;
        self.version += 1;
        Ok(())
    }
}

/// The least that an aggregate can be, so that only the store is measured.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Parcel {
    shipped: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum ParcelEvent {
    Shipped { text: String },
}

struct Ship {
    text: String,
}

impl DomainEvent for ParcelEvent {
    fn event_type(&self) -> String {
        EVENT_TYPE.to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl Aggregate for Parcel {
    const TYPE: &'static str = AGGREGATE_TYPE;
    type Command = Ship;
    type Event = ParcelEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, command: Ship, _: &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        sink.write(ParcelEvent::Shipped { text: command.text }, self).await;
        Ok(())
    }

    fn apply(&mut self, event: ParcelEvent) {
        match event {
            ParcelEvent::Shipped { .. } => self.shipped += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::append::arena::payload;

    #[test]
    fn its_events_have_the_same_bytes_as_everybody_s() {
        let event = ParcelEvent::Shipped { text: text() };
        assert_eq!(serde_json::to_string(&event).expect("an event has a JSON form"), payload(&text()));
    }
}
