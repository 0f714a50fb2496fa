//! Where the stream ends, asked of the stream itself.

use super::{Interruption, RelaySettings, Stopped};
use crate::service::NatsClient;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, StorageType, Stream};
use kontor_event_schemas::subject::{ALL_SUBJECTS, CE_ID, POSITION, STREAM};
use kontor_event_store::LogReader;

/// An end of the stream.
#[derive(Clone, Copy)]
pub struct End {
    /// The last position it holds; 0: none.
    pub position: i64,
    /// Its last sequence, which the next batch must meet.
    pub sequence: u64,
}

/// Finds the stream, or makes it, and checks that it ends with an event of the log.
pub async fn resume(nats: &NatsClient, settings: &RelaySettings, log: &LogReader) -> Result<End, Interruption> {
    let mut stream = ensure(nats, settings).await?;
    let sequence = stream.info().await.map_err(jetstream)?.state.last_sequence;
    let Some((position, event_id)) = last_event(&stream).await? else {
        return Ok(End { position: 0, sequence });
    };
    let head = log.head().await?;
    if position > head {
        return Err(Stopped::Ahead { stream: position, log: head }.into());
    }
    let in_log = log.event_id(position).await?.map(|id| id.to_string()).unwrap_or_default();
    if in_log != event_id {
        return Err(Stopped::Differ { position, stream: event_id, log: in_log }.into());
    }
    Ok(End { position, sequence })
}

/// Notices that the stream was deleted, or has lost or gained events, since the relay was there.
pub async fn still_ends(nats: &NatsClient, end: &End) -> Result<(), Interruption> {
    let mut stream = nats.jetstream.get_stream(STREAM).await.map_err(jetstream)?;
    let found = stream.info().await.map_err(jetstream)?.state.last_sequence;
    if found == end.sequence { Ok(()) } else { Err(Interruption::Changed { expected: end.sequence, found }) }
}

async fn ensure(nats: &NatsClient, settings: &RelaySettings) -> Result<Stream, Interruption> {
    let config = Config {
        name: STREAM.into(),
        description: Some("Every event of the Kontor log, in its order".into()),
        subjects: vec![ALL_SUBJECTS.into()],
        storage: StorageType::File,
        num_replicas: settings.replicas,
        allow_atomic_publish: true,
        allow_direct: true,
        ..Config::default()
    };
    let mut stream = nats.jetstream.get_or_create_stream(config.clone()).await.map_err(jetstream)?;
    let kept = &stream.info().await.map_err(jetstream)?.config;
    if !kept.allow_atomic_publish || kept.num_replicas != config.num_replicas {
        // Made by an older release, or for another cluster: only these settings are ours to change.
        let changed = Config { allow_atomic_publish: true, num_replicas: config.num_replicas, ..kept.clone() };
        nats.jetstream.update_stream(changed).await.map_err(jetstream)?;
    }
    Ok(stream)
}

/// Position and id of the last event that the stream holds.
async fn last_event(stream: &Stream) -> Result<Option<(i64, String)>, Interruption> {
    let message = match stream.get_last_raw_message_by_subject(ALL_SUBJECTS).await {
        Ok(message) => message,
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            LastRawMessageErrorKind::JetStream(error) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => {
                return Ok(None);
            }
            _ => return Err(jetstream(error)),
        },
    };
    let position = message.headers.get(POSITION).and_then(|value| value.as_str().parse().ok());
    let event_id = message.headers.get(CE_ID);
    match (position, event_id) {
        (Some(position), Some(event_id)) => Ok(Some((position, event_id.to_string()))),
        _ => Err(Interruption::JetStream(format!(
            "message {} of stream {STREAM} is not the relay's: it has no {POSITION}",
            message.sequence
        ))),
    }
}

fn jetstream(error: impl std::fmt::Display) -> Interruption {
    Interruption::JetStream(error.to_string())
}
