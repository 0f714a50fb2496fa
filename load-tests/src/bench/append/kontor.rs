//! Our log, with everything on: expected versions, an idempotency key an append, positions without a gap.

use super::arena::{metadata_json, payload, text};
use super::drive::{Appender, Measured, drive};
use super::{AGGREGATE_TYPE, EVENT_TYPE, Streams};
use kontor_event_store::{Append, Key, Lineage, Log, NewEvent, StreamAppend, StreamId};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub async fn run(
    log: &Arc<Log>,
    streams: Streams,
    appenders: usize,
    length: Duration,
    server_pid: u32,
) -> anyhow::Result<Measured> {
    drive((0..appenders).map(|_| Writer::new(log.clone(), streams)).collect(), length, server_pid).await
}

/// Appends one event at a time, to one stream until that is as long as streams shall be.
pub struct Writer {
    log: Arc<Log>,
    stream_length: i64,
    payload: String,
    stream: StreamId,
    lineage: Lineage,
    version: i64,
}

impl Writer {
    pub fn new(log: Arc<Log>, streams: Streams) -> Self {
        let lineage = log.new_lineage();
        Self { log, stream_length: streams.length(), payload: payload(&text()), stream: stream(), lineage, version: 0 }
    }
}

impl Appender for Writer {
    async fn append(&mut self) -> anyhow::Result<()> {
        if self.version == self.stream_length {
            (self.stream, self.lineage, self.version) = (stream(), self.log.new_lineage(), 0);
        }
        let event_id = Uuid::now_v7().to_string();
        let event = NewEvent {
            event_type: EVENT_TYPE.into(),
            event_version: "1.0".into(),
            payload: self.payload.clone(),
            metadata: metadata_json(&event_id, &event_id),
        };
        let of_stream = StreamAppend {
            stream: self.stream.clone(),
            expected_version: self.version,
            lineage: self.lineage,
            events: vec![event],
        };
        let key = Key::new("bench", &event_id, self.payload.as_bytes());
        self.version = self.log.append(Append { key, streams: vec![of_stream] }).await?.version;
        Ok(())
    }
}

fn stream() -> StreamId {
    StreamId { aggregate_type: AGGREGATE_TYPE, aggregate_id: Uuid::now_v7().to_string().into() }
}
