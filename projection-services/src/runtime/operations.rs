//! What operators do with projections, and see of them.

use super::applier::{Interruption, Kept, Means};
use super::generation::{self, Generation};
use super::store::StoreError;
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    #[error("generation {generation} is written by another at the moment: try again when that has ended")]
    Busy { generation: String },
    #[error("generation {generation} is gone")]
    Gone { generation: String },
    #[error("generation {generation} is what queries see: switch to another one first")]
    IsLive { generation: String },
    #[error("projection {projection} has no generation {number}")]
    Unknown { projection: String, number: i32 },
    #[error("nothing is live of projection {projection}: a projector makes its first generation")]
    NothingLive { projection: &'static str },
    #[error("projection {projection} has no earlier generation of version {version}, which this release keeps")]
    NothingBefore { projection: &'static str, version: i32 },
    #[error("projection {projection} is of version {found}, and this release keeps version {version}")]
    OtherVersion { projection: &'static str, found: i32, version: i32 },
    #[error(
        "projection {projection} has a generation with the name {name} already: drop it first, or choose another name"
    )]
    NameTaken { projection: &'static str, name: String },
    #[error("position {position} is not in the log, which goes from 1 to {head}")]
    NotInLog { position: i64, head: i64 },
    #[error(transparent)]
    Interrupted(#[from] Interruption),
    #[error("the database does not do it: {0}")]
    Database(#[from] sqlx::Error),
}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        OperationError::Interrupted(error.into())
    }
}

/// A generation, as operators see it.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct Status {
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub generation: Generation,
    /// Of the log.
    pub head: i64,
    /// Events of the log that it has not applied.
    pub lag_events: i64,
    /// Age of the first of them; 0 if there is none.
    pub lag_seconds: f64,
    /// Events that were set aside and wait.
    pub dead_letters: i64,
    /// Whether somebody holds its lease.
    pub kept: bool,
}

/// Every generation of these projections.
pub async fn status(control: impl PgExecutor<'_>, projections: &[&str]) -> sqlx::Result<Vec<Status>> {
    sqlx::query_as(
        "select g.*, h.head, greatest(h.head - g.position, 0) as lag_events,
             coalesce((select extract(epoch from now() - e.recorded_at)::float8 from events e
                 where e.position = g.position + 1), 0) as lag_seconds,
             (select count(*) from projections.dead_letters l where l.projection = g.projection
                 and l.generation = g.generation and l.dropped_at is null) as dead_letters,
             coalesce(g.lease_until > now(), false) as kept
         from projections.generations g
         cross join (select coalesce(max(position), 0) as head from log_batches) h
         where g.projection = any($1) order by array_position($1, g.projection), g.generation",
    )
    .bind(projections)
    .fetch_all(control)
    .await
}

/// Stops projectors from following the log with what queries see of a projection, or lets them go on.
pub async fn pause(means: &Means, kept: &Kept, paused: bool) -> Result<Generation, OperationError> {
    let projection = kept.projection.name();
    let mut transaction = means.control.begin().await?;
    // Who writes it at the moment is fenced off.
    let changed: Option<Generation> = sqlx::query_as(
        "update projections.generations
         set paused = $2, fence = nextval('projections.fences'), worker = null, lease_until = null
         where projection = $1 and state = 'live' returning *",
    )
    .bind(projection)
    .bind(paused)
    .fetch_optional(&mut *transaction)
    .await?;
    let changed = changed.ok_or(OperationError::NothingLive { projection })?;
    generation::tell(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(changed)
}

/// Removes a generation that queries do not see, with its rows.
pub async fn remove(means: &Means, kept: &Kept, generation: &Generation) -> Result<(), OperationError> {
    let mut transaction = means.control.begin().await?;
    generation::alone(&mut transaction).await?;
    let removed = sqlx::query(
        "delete from projections.generations where projection = $1 and generation = $2 and state <> 'live'
             and (lease_until is null or lease_until < clock_timestamp())",
    )
    .bind(&generation.projection)
    .bind(generation.generation)
    .execute(&mut *transaction)
    .await?;
    if removed.rows_affected() == 0 {
        let found = generation::find(&mut *transaction, &generation.projection, generation.generation).await?;
        let name = generation.to_string();
        return Err(match found {
            None => OperationError::Gone { generation: name },
            Some(found) if found.state == generation::State::Live => OperationError::IsLive { generation: name },
            Some(_) => OperationError::Busy { generation: name },
        });
    }
    // Somebody may ask for its rows by name; others must not wait for that behind us.
    sqlx::query("set local lock_timeout = '5s'").execute(&mut *transaction).await?;
    kept.store.remove(&mut transaction, generation).await?;
    generation::tell(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}
