//! The lease of a generation: who writes it. A worker that was replaced while it was paused has a lower fence than the one
//! that replaced it, and every transaction that writes rows checks the fence, so it writes nothing any more.

use super::generation::{Generation, tell};
use super::lanes::Mark;
use sqlx::{PgExecutor, PgPool};
use std::time::Duration;
use uuid::Uuid;

/// Held by one worker at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub projection: String,
    pub generation: i32,
    pub worker: Uuid,
    /// Higher than that of everyone who held it before.
    pub fence: i64,
    /// For how long, from its last renewal.
    pub lasts: Duration,
}

/// Who may take a lease from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It must be free or have run out, or be ours, and the generation must be live or filled, and not paused.
    Projector,
    /// It must be free or have run out, or be ours.
    Operator,
    /// Taken from whoever has it.
    Seize,
}

impl Lease {
    /// Takes the lease of a generation, with a new fence even for its present holder: after an error, what is still on its way
    /// to the store is fenced off, too. Returns the generation as it is then; `None`: it is held, paused or gone.
    pub async fn take(
        control: impl PgExecutor<'_>,
        (projection, generation): (&str, i32),
        worker: Uuid,
        lasts: Duration,
        manner: Manner,
    ) -> sqlx::Result<Option<(Lease, Generation)>> {
        // Waits for the transaction of another, if there is one, and then looks at what it has left.
        let taken: Option<Generation> = sqlx::query_as(
            "update projections.generations
             set fence = nextval('projections.fences'), worker = $3, lease_until = clock_timestamp() + make_interval(secs => $4)
             where projection = $1 and generation = $2 and ($5 or state in ('live', 'filling') and not paused)
                 and ($6 or worker is null or worker = $3 or lease_until < clock_timestamp())
             returning *",
        )
        .bind(projection)
        .bind(generation)
        .bind(worker)
        .bind(lasts.as_secs_f64())
        .bind(manner != Manner::Projector)
        .bind(manner == Manner::Seize)
        .fetch_optional(control)
        .await?;
        Ok(taken.map(|generation| {
            let lease = Lease {
                projection: generation.projection.clone(),
                generation: generation.generation,
                worker,
                fence: generation.fence,
                lasts,
            };
            (lease, generation)
        }))
    }

    /// Renews it while there is nothing to write: a batch renews it, too. `false`: it is another's.
    pub async fn renew(&self, control: impl PgExecutor<'_>) -> sqlx::Result<bool> {
        let renewed = sqlx::query(
            "update projections.generations set lease_until = clock_timestamp() + make_interval(secs => $4)
             where projection = $1 and generation = $2 and fence = $3",
        )
        .bind(&self.projection)
        .bind(self.generation)
        .bind(self.fence)
        .bind(self.lasts.as_secs_f64())
        .execute(control)
        .await?;
        Ok(renewed.rows_affected() == 1)
    }

    /// Says how far the generation has come in a store that keeps that by itself, and renews the lease. `false`: it is another's.
    pub async fn book(&self, control: impl PgExecutor<'_>, to: Mark) -> sqlx::Result<bool> {
        let booked = sqlx::query(
            "update projections.generations
             set position = $4, event_id = $5, log_epoch = $6, written_at = now(),
                 lease_until = clock_timestamp() + make_interval(secs => $7)
             where projection = $1 and generation = $2 and fence = $3",
        )
        .bind(&self.projection)
        .bind(self.generation)
        .bind(self.fence)
        .bind(to.position)
        .bind(to.event_id)
        .bind(to.log_epoch)
        .bind(self.lasts.as_secs_f64())
        .execute(control)
        .await?;
        Ok(booked.rows_affected() == 1)
    }

    /// Gives it back, so that whoever stands by takes over at once.
    pub async fn release(&self, control: &PgPool) -> sqlx::Result<()> {
        let released = sqlx::query(
            "update projections.generations set fence = nextval('projections.fences'), worker = null, lease_until = null
             where projection = $1 and generation = $2 and fence = $3",
        )
        .bind(&self.projection)
        .bind(self.generation)
        .bind(self.fence)
        .execute(control)
        .await?;
        if released.rows_affected() == 1 {
            tell(control).await?;
        }
        Ok(())
    }

    /// Takes it from whoever has it, so that the next to take it finds things as they are now.
    pub async fn revoke(control: impl PgExecutor<'_>, projection: &str, generation: i32) -> sqlx::Result<()> {
        sqlx::query(
            "update projections.generations
             set fence = nextval('projections.fences'), worker = null, lease_until = null
             where projection = $1 and generation = $2",
        )
        .bind(projection)
        .bind(generation)
        .execute(control)
        .await?;
        Ok(())
    }
}
