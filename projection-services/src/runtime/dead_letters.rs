//! Dead letters: events that could not be applied, set aside with the later events of the same aggregate, so that the others go
//! on. They are sequenced: what waits behind a letter is applied after it, or not at all.

use super::applier::{Applier, Interruption, Kept, Means};
use super::delivery::Delivery;
use super::generation::{self, Generation};
use super::lease::{Lease, Manner};
use super::store::StoreError;
use chrono::{DateTime, Utc};
use compact_str::CompactString;
use kontor_event_schemas::RecordedEvent;
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Type and id.
pub type Aggregate = (CompactString, CompactString);

/// An event that a generation has passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct DeadLetter {
    pub projection: String,
    pub generation: i32,
    /// In the log.
    pub position: i64,
    pub event_id: Uuid,
    pub aggregate_type: String,
    pub aggregate_id: String,
    /// `None`: it waits behind one that failed.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    pub set_aside_at: DateTime<Utc>,
    /// It is never to be applied.
    pub dropped_at: Option<DateTime<Utc>>,
}

/// An event that is about to be passed over.
#[derive(Debug, Clone)]
pub struct Letter {
    pub delivery: Arc<Delivery>,
    pub event_id: Uuid,
    pub error: Option<String>,
    pub attempts: i32,
}

impl Letter {
    pub fn aggregate(&self) -> Aggregate {
        (self.delivery.aggregate_type.clone(), self.delivery.aggregate_id.clone())
    }
}

/// Sets letters aside, in the transaction that moves the generation past them. One that is there already stays as it is.
pub async fn set_aside(control: impl PgExecutor<'_>, lease: &Lease, letters: &[Letter]) -> sqlx::Result<()> {
    let deliveries = || letters.iter().map(|letter| &letter.delivery);
    sqlx::query(
        "insert into projections.dead_letters (projection, generation, position, event_id, aggregate_type, aggregate_id,
             error, attempts)
         select $1, $2, * from unnest($3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::int[])
         on conflict do nothing",
    )
    .bind(&lease.projection)
    .bind(lease.generation)
    .bind(deliveries().map(|delivery| delivery.position).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.event_id).collect::<Vec<_>>())
    .bind(deliveries().map(|delivery| delivery.aggregate_type.as_str()).collect::<Vec<_>>())
    .bind(deliveries().map(|delivery| delivery.aggregate_id.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.error.as_deref()).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.attempts).collect::<Vec<_>>())
    .execute(control)
    .await?;
    Ok(())
}

/// Takes letters away that were applied after all, in that transaction.
pub async fn settle(control: impl PgExecutor<'_>, lease: &Lease, positions: &[i64]) -> sqlx::Result<()> {
    sqlx::query(
        "delete from projections.dead_letters where projection = $1 and generation = $2 and position = any($3)",
    )
    .bind(&lease.projection)
    .bind(lease.generation)
    .bind(positions)
    .execute(control)
    .await?;
    Ok(())
}

/// The aggregates whose events are set aside.
pub async fn blocked(control: impl PgExecutor<'_>, of: &Lease) -> sqlx::Result<HashSet<Aggregate>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select distinct aggregate_type, aggregate_id from projections.dead_letters
         where projection = $1 and generation = $2 and dropped_at is null",
    )
    .bind(&of.projection)
    .bind(of.generation)
    .fetch_all(control)
    .await?;
    Ok(rows.into_iter().map(|(kind, id)| (kind.into(), id.into())).collect())
}

/// How many letters wait in what queries see of each projection, and since when the oldest does.
pub async fn waiting(control: impl PgExecutor<'_>) -> sqlx::Result<Vec<(String, i64, Option<DateTime<Utc>>)>> {
    sqlx::query_as(
        "select g.projection, count(l.position), min(l.set_aside_at)
         from projections.generations g left join projections.dead_letters l
             on l.projection = g.projection and l.generation = g.generation and l.dropped_at is null
         where g.state = 'live' group by g.projection",
    )
    .fetch_all(control)
    .await
}

/// The letters of a generation, those that were dropped too, in the order of the log.
pub async fn list(control: impl PgExecutor<'_>, of: &Generation) -> sqlx::Result<Vec<DeadLetter>> {
    sqlx::query_as("select * from projections.dead_letters where projection = $1 and generation = $2 order by position")
        .bind(&of.projection)
        .bind(of.generation)
        .fetch_all(control)
        .await
}

/// Why an operator's wish was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    #[error("{generation} has no dead letter {position} that waits")]
    Unknown { generation: String, position: i64 },
    #[error("event {position} is not in the log")]
    NotInLog { position: i64 },
    #[error("{aggregate_type} {aggregate_id} stays set aside, for its event {position} still fails: {error}")]
    StillFails { aggregate_type: String, aggregate_id: String, position: i64, error: String },
    #[error(transparent)]
    Interrupted(#[from] Interruption),
    #[error("the dead letters cannot be reached: {0}")]
    Database(#[from] sqlx::Error),
}

/// The event that the letter is about, as the log has it.
pub async fn show(means: &Means, letter: &DeadLetter) -> Result<RecordedEvent, LetterError> {
    let position = letter.position;
    let read = means.log.read(position - 1, 1).await.map_err(Interruption::from)?;
    read.into_iter().next().ok_or(LetterError::NotInLog { position })
}

/// Applies the letters of the aggregates that have one of `positions`, each aggregate's in order and in one transaction; its
/// later events then go on. Those that fail again stay where they are. Returns what was applied.
pub async fn retry(
    means: &Means,
    kept: &Kept,
    of: &Generation,
    positions: &[i64],
    lasts: Duration,
) -> Result<Vec<DeadLetter>, LetterError> {
    // Whoever keeps the generation is fenced off: it would set aside what comes meanwhile.
    let key = (of.projection.as_str(), of.generation);
    let seized = Lease::take(&means.control, key, Uuid::now_v7(), lasts, Manner::Seize).await?;
    let Some((lease, generation)) = seized else { return Err(Interruption::from(StoreError::Fenced).into()) };
    let retried = retry_under(means, kept, (&lease, &generation), positions).await;
    lease.release(&means.control).await?;
    retried
}

async fn retry_under(
    means: &Means,
    kept: &Kept,
    (lease, generation): (&Lease, &Generation),
    positions: &[i64],
) -> Result<Vec<DeadLetter>, LetterError> {
    let mut waiting = list(&means.control, generation).await?;
    waiting.retain(|letter| letter.dropped_at.is_none());
    let is_of = |letter: &&DeadLetter, other: &DeadLetter| {
        (&letter.aggregate_type, &letter.aggregate_id) == (&other.aggregate_type, &other.aggregate_id)
    };
    let mut applied: Vec<DeadLetter> = Vec::new();
    for &position in positions {
        if applied.iter().any(|letter| letter.position == position) {
            continue; // With another of its aggregate.
        }
        let Some(named) = waiting.iter().find(|letter| letter.position == position) else {
            return Err(LetterError::Unknown { generation: generation.to_string(), position });
        };
        let letters: Vec<_> = waiting.iter().filter(|letter| is_of(letter, named)).cloned().collect();
        let mut deliveries = Vec::with_capacity(letters.len());
        for letter in &letters {
            deliveries.push(Arc::new(Delivery::from(show(means, letter).await?)));
        }
        let log_epoch = means.log.epoch().await?;
        let applier = Applier::open(means, kept, (lease, generation), log_epoch).await?;
        if let Err((position, error)) = applier.apply_late(&deliveries).await? {
            failed_again(&means.control, lease, position, &error).await?;
            let DeadLetter { aggregate_type, aggregate_id, .. } = named.clone();
            return Err(LetterError::StillFails { aggregate_type, aggregate_id, position, error });
        }
        applied.extend(letters);
    }
    Ok(applied)
}

async fn failed_again(control: impl PgExecutor<'_>, of: &Lease, position: i64, error: &str) -> sqlx::Result<()> {
    sqlx::query(
        "update projections.dead_letters set error = $4, attempts = attempts + 1
         where projection = $1 and generation = $2 and position = $3",
    )
    .bind(&of.projection)
    .bind(of.generation)
    .bind(position)
    .bind(error)
    .execute(control)
    .await?;
    Ok(())
}

/// Sees to it that letters are never applied; an aggregate that has none left goes on. Returns them as they are now.
pub async fn drop_letters(
    control: &mut PgConnection,
    of: &Generation,
    positions: &[i64],
) -> Result<Vec<DeadLetter>, LetterError> {
    let dropped: Vec<DeadLetter> = sqlx::query_as(
        "update projections.dead_letters set dropped_at = now()
         where projection = $1 and generation = $2 and position = any($3) and dropped_at is null returning *",
    )
    .bind(&of.projection)
    .bind(of.generation)
    .bind(positions)
    .fetch_all(&mut *control)
    .await?;
    let missing = positions.iter().find(|position| !dropped.iter().any(|letter| letter.position == **position));
    if let Some(&position) = missing {
        return Err(LetterError::Unknown { generation: of.to_string(), position });
    }
    Lease::revoke(&mut *control, &of.projection, of.generation).await?; // Its worker looks anew at who is set aside.
    generation::tell(control).await?;
    Ok(dropped)
}
