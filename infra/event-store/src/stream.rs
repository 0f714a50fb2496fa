//! One aggregate's events and the state they lead to.

use crate::Log;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError, SerializedEvent};
use cqrs_es::{Aggregate, EventEnvelope};
use postgres_es::PostgresEventRepository;
use serde_json::Value;
use sqlx::Row;

/// An aggregate at a version of its stream.
#[derive(Debug, Clone)]
pub struct Loaded<A> {
    pub aggregate: A,
    /// Number of events; 0: the stream does not exist.
    pub version: i64,
}

/// Why a stream could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("the stream {aggregate_type} {aggregate_id} cannot be read: {reason}")]
    Unreadable { aggregate_type: &'static str, aggregate_id: String, reason: String },
}

impl Log {
    /// All events of one aggregate, through the stock repository of postgres-es, brought to their current versions.
    pub async fn stream<A: Aggregate>(&self, aggregate_id: &str) -> Result<Vec<EventEnvelope<A>>, StreamError> {
        let repository = PostgresEventRepository::new(self.reads.clone());
        let stored = repository.get_events::<A>(aggregate_id).await;
        stored.and_then(|events| self.envelopes(events)).map_err(|error| unreadable::<A>(aggregate_id, error))
    }

    /// The aggregate as its stream says: from the last snapshot, where there is one that can be read, and the events since.
    pub async fn load<A: Aggregate>(&self, aggregate_id: &str) -> Result<Loaded<A>, StreamError> {
        let since_snapshot = self.since_snapshot::<A>(aggregate_id).await;
        let (mut loaded, events) = match since_snapshot.map_err(|error| unreadable::<A>(aggregate_id, error))? {
            Some((snapshot, events)) => (snapshot, events),
            None => (Loaded { aggregate: A::default(), version: 0 }, self.stream::<A>(aggregate_id).await?),
        };
        for event in events {
            loaded.version = event.sequence as i64;
            loaded.aggregate.apply(event.payload);
        }
        Ok(loaded)
    }

    /// The last snapshot with the events after it. `None`: there is none, or one of events that the log has lost.
    async fn since_snapshot<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Option<(Loaded<A>, Vec<EventEnvelope<A>>)>, PersistenceError> {
        let Some(snapshot) = self.snapshot::<A>(aggregate_id).await.map_err(database)? else { return Ok(None) };
        let mut events = self.events_from::<A>(aggregate_id, snapshot.version).await?;
        if events.first().is_none_or(|last_folded| last_folded.sequence as i64 != snapshot.version) {
            return Ok(None);
        }
        events.remove(0);
        Ok(Some((snapshot, events)))
    }

    /// Our own, since the stock repository writes the sequence into the statement: each value would be another to prepare.
    async fn events_from<A: Aggregate>(
        &self,
        aggregate_id: &str,
        sequence: i64,
    ) -> Result<Vec<EventEnvelope<A>>, PersistenceError> {
        let rows = sqlx::query(
            "select sequence, event_type, event_version, payload, metadata from events
             where aggregate_type = $1 and aggregate_id = $2 and sequence >= $3 order by sequence",
        )
        .bind(A::TYPE)
        .bind(aggregate_id)
        .bind(sequence)
        .fetch_all(&self.reads)
        .await
        .map_err(database)?;
        let events = rows.iter().map(|row| {
            Ok(SerializedEvent::new(
                aggregate_id.into(),
                row.try_get::<i64, _>(0).map_err(database)? as usize,
                A::TYPE.into(),
                row.try_get(1).map_err(database)?,
                row.try_get(2).map_err(database)?,
                row.try_get::<Value, _>(3).map_err(database)?,
                row.try_get::<Value, _>(4).map_err(database)?,
            ))
        });
        self.envelopes(events.collect::<Result<_, PersistenceError>>()?)
    }

    fn envelopes<A: Aggregate>(&self, events: Vec<SerializedEvent>) -> Result<Vec<EventEnvelope<A>>, PersistenceError> {
        events.into_iter().map(|event| EventEnvelope::try_from(self.upcasters.upcast_serialized(event))).collect()
    }
}

fn database(error: sqlx::Error) -> PersistenceError {
    PersistenceError::ConnectionError(Box::new(error))
}

fn unreadable<A: Aggregate>(aggregate_id: &str, error: impl std::fmt::Display) -> StreamError {
    StreamError::Unreadable {
        aggregate_type: A::TYPE,
        aggregate_id: aggregate_id.to_owned(),
        reason: error.to_string(),
    }
}
