//! One Postgres for all contenders, with a place for each.

use super::drive::Measured;
use super::pgbench::Pgbench;
use super::{Contender, Streams, kontor, postgres_es};
use crate::bench::log::open_log;
use anyhow::Context;
use kontor_event_store::Log;
use kontor_local::{Folder, Postgres, PostgresProfile};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PAYLOAD_BYTES: usize = 300;
const METADATA_BYTES: usize = 150;

/// A Postgres as in production, in a folder of its own.
pub struct Arena {
    log: Arc<Log>,
    pgbench: Pgbench,
    postgres_es: postgres_es::Place,
    /// Tells the runs' streams apart.
    runs: AtomicU32,
    // Dropped in this order.
    server: Postgres,
    _folder: Folder,
}

impl Arena {
    pub async fn open() -> anyhow::Result<Self> {
        let folder = Folder::temporary("append")?;
        let server = Postgres::start(&folder.path().join("postgres"), 0, PostgresProfile::Platform).await?;
        // pgbench has a connection a client, and the greatest contest has 256.
        server.sql("alter system set max_connections = 300").await?;
        server.restart().await?;
        let log = open_log(&server, "kontor").await?;
        let pgbench = Pgbench::make(&server, folder.path()).await?;
        let postgres_es = postgres_es::Place::make(&server).await?;
        Ok(Self { log, pgbench, postgres_es, runs: AtomicU32::new(0), server, _folder: folder })
    }

    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// The process id of Postgres.
    pub fn server_pid(&self) -> anyhow::Result<u32> {
        self.server.pid().context("Postgres has ended")
    }

    /// One run: `appenders` at once for `length`.
    pub async fn compete(
        &self,
        contender: Contender,
        streams: Streams,
        appenders: usize,
        length: Duration,
    ) -> anyhow::Result<Measured> {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let server_pid = self.server_pid()?;
        match contender {
            Contender::Kontor => kontor::run(&self.log, streams, appenders, length, server_pid).await,
            Contender::Pgbench => self.pgbench.run(&self.server, run, streams, appenders, length).await,
            Contender::PostgresEs => self.postgres_es.run(streams, appenders, length, server_pid).await,
        }
    }

    pub async fn close(self) {
        self.log.close().await;
        self.postgres_es.close().await;
    }
}

/// The text inside the event, such that its JSON, `{"Shipped":{"text":"..."}}`, has 300 bytes.
pub fn text() -> String {
    "x".repeat(PAYLOAD_BYTES - payload("").len())
}

/// The event's JSON around `text`, as serde writes the variant of an enum.
pub fn payload(text: &str) -> String {
    format!(r#"{{"{}":{{"text":"{text}"}}}}"#, super::EVENT_TYPE)
}

/// Names and values of 150 bytes of metadata, as JSON.
pub fn metadata(event_id: &str, correlation_id: &str) -> [(&'static str, String); 3] {
    let rest = r#"{"event_id":"","correlation_id":"","actor":""}"#.len() + event_id.len() + correlation_id.len();
    [
        ("event_id", event_id.to_owned()),
        ("correlation_id", correlation_id.to_owned()),
        ("actor", "a".repeat(METADATA_BYTES.saturating_sub(rest))),
    ]
}

/// The same as JSON text.
pub fn metadata_json(event_id: &str, correlation_id: &str) -> String {
    let [event_id, correlation_id, actor] = metadata(event_id, correlation_id).map(|(_, value)| value);
    format!(r#"{{"event_id":"{event_id}","correlation_id":"{correlation_id}","actor":"{actor}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn every_event_has_300_bytes_of_data_and_150_of_metadata() {
        let id = Uuid::now_v7().to_string();
        assert_eq!(payload(&text()).len(), 300);
        assert_eq!(metadata_json(&id, &id).len(), 150);
    }
}
