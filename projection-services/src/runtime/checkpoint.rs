//! How far a projection has come: written in the transaction that writes its view, so that each event has its effect once.

use sqlx::PgConnection;
use uuid::Uuid;

/// The last event that a projection has applied, and who did it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Checkpoint {
    /// 0: none yet.
    pub position: i64,
    /// Of the event at `position`; `None` before the first.
    pub event_id: Option<Uuid>,
    /// Epoch of the log when it was applied.
    pub log_epoch: i64,
    /// The worker that applied it.
    pub worker: Uuid,
}

/// Reads the checkpoint of `projection`; one that is new begins before the first event.
pub async fn load(view: &mut PgConnection, projection: &str, worker: Uuid, log_epoch: i64) -> sqlx::Result<Checkpoint> {
    if let Some(checkpoint) = find(view, projection).await? {
        return Ok(checkpoint);
    }
    sqlx::query(
        "insert into projections.checkpoints (projection, position, log_epoch, worker) values ($1, 0, $2, $3)
         on conflict do nothing",
    )
    .bind(projection)
    .bind(log_epoch)
    .bind(worker)
    .execute(&mut *view)
    .await?;
    // Another worker may have been faster, and may be further already.
    find(view, projection).await?.ok_or(sqlx::Error::RowNotFound)
}

async fn find(view: &mut PgConnection, projection: &str) -> sqlx::Result<Option<Checkpoint>> {
    sqlx::query_as("select position, event_id, log_epoch, worker from projections.checkpoints where projection = $1")
        .bind(projection)
        .fetch_optional(view)
        .await
}

/// Moves the checkpoint from position `from` to `to`, inside the caller's transaction and before the view is written: the
/// row stays locked until the commit, so a second worker waits here, and then finds that it was overtaken.
///
/// `false`: the checkpoint is not at `from` any more. The caller must roll back.
pub async fn advance(view: &mut PgConnection, projection: &str, from: i64, to: &Checkpoint) -> sqlx::Result<bool> {
    let moved = sqlx::query(
        "update projections.checkpoints
         set position = $3, event_id = $4, log_epoch = $5, worker = $6, written_at = now()
         where projection = $1 and position = $2",
    )
    .bind(projection)
    .bind(from)
    .bind(to.position)
    .bind(to.event_id)
    .bind(to.log_epoch)
    .bind(to.worker)
    .execute(view)
    .await?;
    Ok(moved.rows_affected() == 1)
}
