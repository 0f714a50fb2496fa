//! The log from a position: what the relay, projectors and analysts read.

use chrono::{DateTime, Utc};
use compact_str::CompactString;
use kontor_event_schemas::RecordedEvent;
use kontor_event_schemas::upcast::{UpcastError, Upcasters};
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use std::sync::Arc;
use uuid::Uuid;

/// Reads the log in order. Positions have no gaps and become visible in order, so who has seen n has seen all below.
#[derive(Clone)]
pub struct LogReader {
    log: PgPool,
    upcasters: Arc<Upcasters>,
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the log cannot be read: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Upcast(#[from] UpcastError),
    /// Never seen in a log that only append_batch writes.
    #[error("the log has a gap: position {expected} is missing, {found} follows")]
    Gap { expected: i64, found: i64 },
    /// A failover may have lost commits.
    #[error("the log ends at position {found}, but had position {expected} a moment ago")]
    Short { expected: i64, found: i64 },
}

impl LogReader {
    /// Reads with any role that may select from `events`, on the primary or a replica.
    pub fn new(log: PgPool, upcasters: Arc<Upcasters>) -> Self {
        Self { log, upcasters }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.log
    }

    /// `event`, brought to its current version.
    pub(crate) fn current(&self, event: RecordedEvent) -> Result<RecordedEvent, ReadError> {
        Ok(self.upcasters.upcast(event)?)
    }

    /// The last position, 0 for an empty log.
    pub async fn head(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("select coalesce(max(position), 0) from log_batches").fetch_one(&self.log).await
    }

    /// The last position that was recorded at `time` or before; 0: none was.
    pub async fn position_at(&self, time: DateTime<Utc>) -> sqlx::Result<i64> {
        let found: Option<i64> = sqlx::query_scalar(
            "select position from log_batches where recorded_at <= $1 order by position desc limit 1",
        )
        .bind(time)
        .fetch_optional(&self.log)
        .await?;
        Ok(found.unwrap_or(0))
    }

    /// Raised when the log may have lost commits.
    pub async fn epoch(&self) -> sqlx::Result<i64> {
        sqlx::query_scalar("select epoch from log_head").fetch_one(&self.log).await
    }

    /// The id of the event at `position`; `None`: there is none.
    pub async fn event_id(&self, position: i64) -> sqlx::Result<Option<Uuid>> {
        sqlx::query_scalar("select (metadata ->> 'event_id')::uuid from events where position = $1")
            .bind(position)
            .fetch_optional(&self.log)
            .await
    }

    /// Up to `most` events after position `after`, in order, brought to their current versions.
    pub async fn read(&self, after: i64, most: i64) -> Result<Vec<RecordedEvent>, ReadError> {
        let rows = sqlx::query(&format!(
            "select {COLUMNS} from events where position > $1 and position <= $1 + $2 order by position limit $2"
        ))
        .bind(after)
        .bind(most)
        .fetch_all(&self.log)
        .await?;
        let mut events = Vec::with_capacity(rows.len());
        for (expected, row) in (after + 1..).zip(&rows) {
            let event = recorded(row)?;
            if event.position != expected {
                return Err(ReadError::Gap { expected, found: event.position });
            }
            events.push(self.current(event)?);
        }
        Ok(events)
    }

    /// Of the up to `most` events after position `after`, in order: those of aggregates of `types`, and the last of all,
    /// whatever it is of. The others are passed over where they lie.
    pub async fn read_of(&self, types: &[&str], after: i64, most: i64) -> Result<Vec<RecordedEvent>, ReadError> {
        let up_to = self.head().await?.min(after + most);
        if up_to <= after {
            return Ok(Vec::new());
        }
        // By the bare column Postgres would look in the index of the streams for all events of the type that the log has, as long
        // as its statistics take that for few.
        let rows = sqlx::query(&format!(
            "select {COLUMNS} from events where position > $1 and position <= $2
                 and (aggregate_type || '' = any($3) or position = $2)
             order by position"
        ))
        .bind(after)
        .bind(up_to)
        .bind(types)
        .fetch_all(&self.log)
        .await?;
        rows.iter().map(|row| self.current(recorded(row)?)).collect()
    }

    /// Of the up to `most` events after position `after`, in order, those whose types of aggregate and event are among
    /// `types`; and the position up to which that is all of them. The others are passed over where they lie.
    pub async fn read_only(
        &self,
        types: &[(&str, &str)],
        after: i64,
        most: i64,
    ) -> Result<(Vec<RecordedEvent>, i64), ReadError> {
        let up_to = self.head().await?.min(after + most);
        if up_to <= after {
            return Ok((Vec::new(), after));
        }
        let types: Vec<String> = types.iter().map(|(aggregate, event)| format!("{aggregate} {event}")).collect();
        // An expression, so that no index is looked in but that of the positions: as in `read_of`.
        let rows = sqlx::query(&format!(
            "select {COLUMNS} from events where position > $1 and position <= $2
                 and aggregate_type || ' ' || event_type = any($3)
             order by position"
        ))
        .bind(after)
        .bind(up_to)
        .bind(types)
        .fetch_all(&self.log)
        .await?;
        let events = rows.iter().map(|row| self.current(recorded(row)?));
        Ok((events.collect::<Result<_, ReadError>>()?, up_to))
    }
}

pub(crate) const COLUMNS: &str =
    "position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text,
    metadata::text, recorded_at";

pub(crate) fn recorded(row: &PgRow) -> sqlx::Result<RecordedEvent> {
    let text = |column: usize| row.try_get::<&str, _>(column).map(CompactString::from);
    Ok(RecordedEvent {
        position: row.try_get(0)?,
        aggregate_type: text(1)?,
        aggregate_id: text(2)?,
        sequence: row.try_get(3)?,
        event_type: text(4)?,
        event_version: text(5)?,
        payload: row.try_get(6)?,
        metadata: row.try_get(7)?,
        recorded_at: row.try_get(8)?,
    })
}
