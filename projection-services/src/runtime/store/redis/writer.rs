//! Writes one generation in Redis, in steps that are short enough for queries not to notice.

use super::scripts::WRITE;
use super::view::{Change, Changes, View};
use super::{Names, RedisProjection};
use crate::runtime::dead_letters;
use crate::runtime::lanes::{Mark, Progress};
use crate::runtime::lease::Lease;
use crate::runtime::store::{Batch, StoreError, Writer};
use futures::FutureExt;
use futures::future::BoxFuture;
use redis::aio::ConnectionManager;
use sqlx::PgPool;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Events of one step, which keeps Redis from queries for a millisecond or two.
const STEP_EVENTS: usize = 500;
const HELD_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct RedisWriter {
    pub projection: Arc<dyn RedisProjection>,
    pub connection: ConnectionManager,
    pub control: PgPool,
    pub names: Names,
    pub lease: Lease,
    pub is_live: bool,
    pub progress: Progress,
}

impl Deref for RedisWriter {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.names
    }
}

impl Writer for RedisWriter {
    fn progress(&self) -> Progress {
        self.progress
    }

    fn write<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            // First, so that none is lost between the two stores: one that is there already stays as it is.
            if !batch.letters.is_empty() {
                dead_letters::set_aside(&self.control, &self.lease, batch.letters).await?;
            }
            let mut steps = batch.events.chunks(STEP_EVENTS).peekable();
            while let Some(events) = steps.next() {
                let mut view = View::new(self, batch.from);
                self.projection.apply(&mut view, events).await?;
                let changes = view.changes;
                match (steps.peek(), events.last()) {
                    // Only lanes move, so that whoever goes on after a crash passes over what is there.
                    (Some(_), Some(last)) => {
                        let reached = Mark { position: last.position, ..Mark::default() };
                        self.step(batch.from, &lanes(batch, reached), None, changes).await?;
                    }
                    _ => self.end(batch, changes).await?,
                }
            }
            if batch.events.is_empty() {
                self.end(batch, Changes::default()).await?;
            }
            if !batch.settled.is_empty() {
                dead_letters::settle(&self.control, &self.lease, batch.settled).await?;
            }
            if batch.moves_all() { self.copy(batch.to).await } else { Ok(()) }
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let fence: Option<i64> = redis::cmd("HGET")
                .arg(&self.checkpoint)
                .arg("fence")
                .query_async(&mut self.connection.clone())
                .await
                .map_err(StoreError::from)?;
            match fence {
                None => Err(StoreError::Lost),
                Some(fence) if fence == self.lease.fence => Ok(()),
                Some(_) => Err(StoreError::Fenced),
            }
        }
        .boxed()
    }
}

impl RedisWriter {
    /// The last step of a batch moves what the batch moves.
    async fn end(&self, batch: &Batch<'_>, changes: Changes) -> Result<(), StoreError> {
        if !batch.moves_all() {
            return self.step(batch.from, &lanes(batch, batch.to), None, changes).await;
        }
        let Mark { position, event_id, log_epoch } = batch.to;
        let mark = [
            ("position".to_owned(), position.to_string()),
            ("event_id".to_owned(), event_id.map(|id| id.to_string()).unwrap_or_default()),
            ("log_epoch".to_owned(), log_epoch.to_string()),
        ];
        self.step(batch.from, &mark, Some(position), changes).await
    }

    /// Writes changes and fields of the checkpoint, both or neither, if the generation is at `from` and ours.
    pub async fn step(
        &self,
        from: i64,
        mark: &[(String, String)],
        after: Option<i64>,
        Changes { values, members }: Changes,
    ) -> Result<(), StoreError> {
        let mut step = WRITE.key(&self.checkpoint);
        step.key(&self.hold).key(&self.live);
        step.arg(&self.prefix).arg(self.lease.fence).arg(if self.is_live { "live" } else { "" }).arg(from);
        step.arg(2 * mark.len()).arg(after.map(|after| after.to_string()).unwrap_or_default());
        for (field, value) in mark {
            step.arg(field).arg(value);
        }
        for (key, change) in &values {
            match change {
                Change::Set(value) => step.arg("set").arg(key).arg(value.as_slice()),
                Change::Delete => step.arg("del").arg(key).arg(""),
            };
        }
        for ((set, member), is_in) in &members {
            step.arg(if *is_in { "sadd" } else { "srem" }).arg(set).arg(member);
        }
        loop {
            let answer: String = step.invoke_async(&mut self.connection.clone()).await?;
            match answer.as_str() {
                "written" => return Ok(()),
                "lost" => return Err(StoreError::Lost),
                "held" => {
                    // Somebody reads all of it at one moment.
                    if !self.lease.renew(&self.control).await? {
                        return Err(StoreError::Fenced);
                    }
                    sleep(HELD_PAUSE).await;
                }
                _ => return Err(StoreError::Fenced),
            }
        }
    }

    /// Tells Postgres how far Redis is, and renews the lease.
    pub async fn copy(&self, to: Mark) -> Result<(), StoreError> {
        if self.lease.book(&self.control, to).await? { Ok(()) } else { Err(StoreError::Fenced) }
    }
}

/// Fields of the checkpoint that say that the batch's lanes are at `mark`.
fn lanes(batch: &Batch<'_>, mark: Mark) -> Vec<(String, String)> {
    let value = match mark.event_id {
        Some(event_id) => format!("{} {event_id}", mark.position),
        None => mark.position.to_string(),
    };
    batch.lanes.clone().map(|lane| (format!("lane:{lane}"), value.clone())).collect()
}
