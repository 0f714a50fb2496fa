//! A worker keeps one projection: it takes what is waiting, and writes rows and checkpoint in one transaction.

use super::checkpoint::{self, Checkpoint};
use super::delivery::Delivery;
use super::metrics::{ProjectionMetrics, seconds};
use super::projection::{ApplyError, Event, Projection};
use super::source::{Next, SourceReader};
use crate::settings::ProjectionsSettings;
use chrono::Utc;
use kontor_event_schemas::Fact;
use kontor_event_schemas::registry::DecodeError;
use kontor_event_store::LogReader;
use kontor_event_store::log_reader::ReadError;
use kontor_telemetry::{Check, spans};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Span, error, info, warn};
use uuid::Uuid;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
const STANDBY_LOOK: Duration = Duration::from_millis(500);

/// Keeps one projection.
pub struct Worker {
    pub projection: Arc<dyn Projection>,
    pub source: SourceReader,
    pub log: LogReader,
    pub view: PgPool,
    pub settings: ProjectionsSettings,
    pub metrics: ProjectionMetrics,
    pub check: Check,
    /// Unique to this worker.
    pub id: Uuid,
}

/// Why a worker is not applying events.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    /// Tried again.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// Tried again.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// Another worker keeps this projection.
    #[error("worker {by} has applied events up to {position} meanwhile")]
    Overtaken { position: i64, by: Uuid },
    /// Nothing is applied until somebody has acted and started it again.
    #[error(transparent)]
    Final(#[from] Final),
}

/// What no retry cures.
#[derive(Debug, thiserror::Error)]
pub enum Final {
    #[error(
        "event {position} ({aggregate_type} {aggregate_id}) cannot be read by this release: {error}; \
         run one that can, or mend the event with an upcaster"
    )]
    Undecodable { position: i64, aggregate_type: String, aggregate_id: String, error: DecodeError },
    #[error("event {position} has no usable id in its metadata: {error}")]
    NoEventId { position: i64, error: serde_json::Error },
    #[error(
        "event {position} of the log (epoch {log_epoch}) is not the one that was applied (epoch {applied_in}): \
         the log lost commits, and the read model has what they did; rebuild it, as the README of projection-services says"
    )]
    AnotherLog { position: i64, log_epoch: i64, applied_in: i64 },
    #[error(
        "events up to {position} were applied, but the log ends before (epoch {log_epoch}; they were applied in epoch \
         {applied_in}): the log lost commits; rebuild the read model, as the README of projection-services says"
    )]
    AheadOfLog { position: i64, log_epoch: i64, applied_in: i64 },
}

impl From<sqlx::Error> for Interruption {
    fn from(error: sqlx::Error) -> Self {
        Interruption::Apply(error.into())
    }
}

impl Worker {
    /// Keeps the projection until `ending`. A batch that has begun is finished.
    pub async fn run(mut self, ending: CancellationToken) {
        let name = self.projection.name();
        let mut pause = RETRY_FIRST;
        loop {
            let before = self.metrics.events.get();
            let work = self.work(&ending).await;
            self.metrics.active.set(0);
            if self.metrics.events.get() > before {
                pause = RETRY_FIRST;
            }
            match work {
                Ok(()) => return,
                Err(Interruption::Final(reason)) => {
                    error!(projection = name, "Projection {name} has stopped: {reason}");
                    self.metrics.errors.inc();
                    self.check.failing(format!("stopped: {reason}"));
                    return ending.cancelled().await; // The others go on; /readyz tells of this one.
                }
                Err(Interruption::Overtaken { position, by }) => {
                    warn!(projection = name, position, %by, "Another worker keeps projection {name}: standing by");
                    ending.run_until_cancelled(self.stand_by()).await;
                }
                Err(reason @ (Interruption::Apply(_) | Interruption::Log(_))) => {
                    warn!(projection = name, ?pause, "Projection {name} tries again in {pause:?}: {reason}");
                    self.metrics.errors.inc();
                    self.check.failing(reason.to_string());
                    ending.run_until_cancelled(sleep(pause)).await;
                    pause = (2 * pause).min(RETRY_MAX);
                }
            }
        }
    }

    /// Applies events until the end, or until something is in the way.
    async fn work(&mut self, ending: &CancellationToken) -> Result<(), Interruption> {
        let Some(opened) = ending.run_until_cancelled(self.open()).await else { return Ok(()) };
        let mut at = opened?;
        self.metrics.active.set(1);
        // What failed before may fail again: then only an event applied is a good sign.
        if at.position >= self.source.reach().last {
            self.check.ok();
        }
        loop {
            let (events_max, bytes_max) = (self.settings.batch_events_max, self.settings.batch_bytes_max);
            let next = self.source.next(at.position, at.log_epoch, events_max, bytes_max);
            match ending.run_until_cancelled(next).await {
                None => return Ok(()),
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(Next::NewEpoch)) => at = self.open().await?,
                Some(Ok(Next::Events(events))) => {
                    at = self.apply(&at, &events).await?;
                    self.check.ok();
                }
            }
        }
    }

    /// Reads the checkpoint, and makes sure that the log still has what was applied.
    async fn open(&mut self) -> Result<Checkpoint, Interruption> {
        let log_epoch = self.source.log_epoch().await;
        let mut view = self.view.acquire().await?;
        let checkpoint = checkpoint::load(&mut view, self.projection.name(), self.id, log_epoch).await?;
        let Checkpoint { position, event_id, log_epoch: applied_in, .. } = checkpoint;
        if let Some(event_id) = event_id {
            match self.log.event_id(position).await? {
                Some(found) if found == event_id => {}
                Some(_) => return Err(Final::AnotherLog { position, log_epoch, applied_in }.into()),
                None => return Err(Final::AheadOfLog { position, log_epoch, applied_in }.into()),
            }
        }
        self.metrics.is_at(position, None, self.source.reach().last);
        info!(projection = self.projection.name(), position, "Projection {} is at {position}", self.projection.name());
        Ok(Checkpoint { log_epoch, ..checkpoint })
    }

    /// Applies the events after `at`, up to the first one that cannot be read.
    async fn apply(&self, at: &Checkpoint, deliveries: &[Arc<Delivery>]) -> Result<Checkpoint, Interruption> {
        let begun = Instant::now();
        let (readable, events) = self.decode(deliveries)?;
        let last = &readable[readable.len() - 1];
        let event_id = last.event_id().map_err(|error| Final::NoEventId { position: last.position, error })?;
        let to =
            Checkpoint { position: last.position, event_id: Some(event_id), log_epoch: at.log_epoch, worker: self.id };
        let spans = self.spans(readable);
        let written = self.write(at, &to, &events).await;
        if written.is_err() {
            spans.iter().for_each(spans::failed);
        }
        written?;
        drop(spans);

        let now = Utc::now();
        self.metrics.batches.inc();
        self.metrics.events.inc_by(readable.len() as u64);
        self.metrics.batch_seconds.observe(begun.elapsed().as_secs_f64());
        if let Some(appended) = readable[0].recorded_at() {
            self.metrics.visible_seconds.observe(seconds(appended, now));
        }
        self.metrics.is_at(to.position, last.recorded_at(), self.source.reach().last);
        Ok(to)
    }

    /// Checkpoint and rows, in one transaction.
    async fn write(&self, at: &Checkpoint, to: &Checkpoint, events: &[Event]) -> Result<(), Interruption> {
        let name = self.projection.name();
        let mut view = self.view.begin().await?;
        if !checkpoint::advance(&mut view, name, at.position, to).await? {
            let now_at = checkpoint::load(&mut view, name, self.id, to.log_epoch).await?;
            view.rollback().await?;
            // Our own, if the answer to a commit was lost.
            if now_at.worker == self.id {
                let lost = format!("the checkpoint is at {} although {} was expected", now_at.position, at.position);
                return Err(ApplyError::Contradiction(lost).into());
            }
            return Err(Interruption::Overtaken { position: now_at.position, by: now_at.worker });
        }
        if !events.is_empty() {
            self.projection.apply(&mut view, events).await?;
        }
        view.commit().await?;
        Ok(())
    }

    /// The deliveries that can be read, and of these the events that the projection folds.
    fn decode<'a>(&self, deliveries: &'a [Arc<Delivery>]) -> Result<(&'a [Arc<Delivery>], Vec<Event>), Final> {
        let wanted = self.projection.aggregate_types();
        let mut events = Vec::with_capacity(deliveries.len());
        for (n, delivery) in deliveries.iter().enumerate() {
            let Delivery { position, aggregate_type, aggregate_id, payload, .. } = &**delivery;
            if !wanted.contains(&aggregate_type.as_str()) {
                continue;
            }
            match Fact::decode(aggregate_type, aggregate_id, payload) {
                Ok(fact) => events.push(Event { position: *position, fact }),
                // Those before it are applied first.
                Err(_) if n > 0 => return Ok((&deliveries[..n], events)),
                Err(error) => {
                    return Err(Final::Undecodable {
                        position: *position,
                        aggregate_type: aggregate_type.to_string(),
                        aggregate_id: aggregate_id.to_string(),
                        error,
                    });
                }
            }
        }
        Ok((deliveries, events))
    }

    /// One span for each event whose trace is exported, and one for the batch, linked to them.
    fn spans(&self, deliveries: &[Arc<Delivery>]) -> Vec<Span> {
        if !kontor_telemetry::exporting() {
            return Vec::new();
        }
        let wanted = self.projection.aggregate_types();
        let (mut all, mut parents) = (Vec::new(), Vec::new());
        for delivery in deliveries.iter().filter(|delivery| wanted.contains(&delivery.aggregate_type.as_str())) {
            let (Some(parent), Ok(event_id)) = (delivery.sampled_trace(), delivery.event_id()) else { continue };
            all.push(spans::project(
                self.projection.name(),
                spans::Message {
                    parent: &parent,
                    subject: &delivery.subject(),
                    event_id: &event_id.to_string(),
                    aggregate_type: &delivery.aggregate_type,
                    position: delivery.position,
                },
            ));
            parents.push(parent);
        }
        all.push(spans::batch("project batch", deliveries.len(), &parents));
        all
    }

    /// Waits until the projection has not moved for a while although there are events to apply.
    async fn stand_by(&mut self) {
        self.check.ok(); // The projection is kept, though not by us: this process is as it should be.
        let patience = Duration::from_millis(self.settings.takeover_after_ms);
        let (mut moved_at, mut position) = (Instant::now(), None);
        loop {
            sleep(STANDBY_LOOK.min(patience / 2)).await;
            let found = match self.look().await {
                Ok(found) => found,
                Err(error) => {
                    warn!("The checkpoint of projection {} cannot be read: {error}", self.projection.name());
                    continue;
                }
            };
            self.metrics.is_at(found, None, self.source.reach().last);
            if position != Some(found) || found >= self.source.reach().last {
                (moved_at, position) = (Instant::now(), Some(found));
            } else if moved_at.elapsed() >= patience {
                warn!(position, "Projection {} is not kept by the other worker: taking over", self.projection.name());
                return;
            }
        }
    }

    async fn look(&self) -> sqlx::Result<i64> {
        let mut view = self.view.acquire().await?;
        let log_epoch = self.source.reach().log_epoch;
        Ok(checkpoint::load(&mut view, self.projection.name(), self.id, log_epoch).await?.position)
    }
}
