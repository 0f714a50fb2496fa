//! A worker keeps one generation: it takes what is waiting, and writes rows and checkpoint together.

use super::applier::{Applier, Interruption, Kept, Means, Read};
use super::delivery::Delivery;
use super::generation::{self, Generation, State};
use super::lease::{Lease, Manner};
use super::metrics::{ProjectionMetrics, seconds};
use super::rebuild::forget_earlier;
use super::source::{Next, SourceReader};
use super::store::StoreError;
use super::switch::switch;
use crate::settings::ProjectionsSettings;
use chrono::Utc;
use kontor_telemetry::{Check, spans};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Span, error, info, warn};
use uuid::Uuid;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
const STANDBY_LOOK: Duration = Duration::from_millis(500);

/// Keeps one generation of a projection.
pub struct Worker {
    pub kept: Kept,
    /// As it was when the worker was started.
    pub generation: Generation,
    pub source: SourceReader,
    pub means: Means,
    pub settings: ProjectionsSettings,
    pub metrics: ProjectionMetrics,
    pub check: Check,
    /// Changes when the control tables have.
    pub news: watch::Receiver<()>,
    /// Unique to this worker.
    pub id: Uuid,
    /// Until then events gather.
    pub next_at: Instant,
}

impl Worker {
    /// Keeps the generation until `ending`, or until queries see what it has filled. A batch that has begun is finished.
    pub async fn run(mut self, ending: CancellationToken) {
        let name = self.generation.to_string();
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
                    error!(generation = name, "Generation {name} has stopped: {reason}");
                    self.metrics.errors.inc();
                    self.check.failing(format!("stopped: {reason}"));
                    return ending.cancelled().await; // The others go on; /readyz tells of this one.
                }
                Err(Interruption::Store(StoreError::Fenced)) => {
                    warn!(generation = name, "Generation {name} was taken from this worker: standing by");
                }
                Err(reason @ (Interruption::Store(_) | Interruption::Log(_))) => {
                    warn!(generation = name, ?pause, "Generation {name} tries again in {pause:?}: {reason}");
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
        let Some(taken) = ending.run_until_cancelled(self.stand_by()).await else { return Ok(()) };
        let (lease, generation) = taken?;
        let worked = self.work_under(&lease, &generation, ending).await;
        // Whoever stands by need not wait until it has run out. After an error it stays ours, and is taken again.
        if worked.is_ok()
            && let Err(error) = lease.release(&self.means.control).await
        {
            warn!("The lease of generation {generation} runs out by itself: {error}");
        }
        worked
    }

    async fn work_under(
        &mut self,
        lease: &Lease,
        generation: &Generation,
        ending: &CancellationToken,
    ) -> Result<(), Interruption> {
        let Some(opened) = ending.run_until_cancelled(self.open(lease, generation)).await else { return Ok(()) };
        let (mut applier, mut log_epoch) = opened?;
        self.metrics.active.set(1);
        // What failed before may fail again: then only an event applied is a good sign.
        if applier.position() >= self.source.reach().last {
            self.check.ok();
        }
        loop {
            if generation.state == State::Filling && applier.position() >= self.source.reach().last {
                switch(&self.means, &self.kept, &mut applier, lease).await?;
                forget_earlier(&self.means, &self.kept).await;
                return Ok(());
            }
            match ending.run_until_cancelled(self.next(&applier, log_epoch, lease)).await {
                None => return Ok(()),
                Some(Err(error)) => return Err(error),
                Some(Ok(Next::NewEpoch)) => (applier, log_epoch) = self.open(lease, generation).await?,
                Some(Ok(Next::Events(events))) => {
                    self.apply(&mut applier, &events).await?;
                    self.check.ok();
                }
            }
        }
    }

    /// Waits until the lease is free, or has run out because its holder is dead or hangs.
    async fn stand_by(&mut self) -> Result<(Lease, Generation), Interruption> {
        let lasts = Duration::from_millis(self.settings.lease_ms);
        let of = (self.generation.projection.as_str(), self.generation.generation);
        let mut is_told = false;
        loop {
            if let Some(taken) = Lease::take(&self.means.control, of, self.id, lasts, Manner::Projector).await? {
                return Ok(taken);
            }
            if !is_told {
                info!(generation = %self.generation, "Another keeps generation {}: standing by", self.generation);
                is_told = true;
            }
            self.check.ok(); // The projection is kept, though not by us: this process is as it should be.
            if let Some(kept) = generation::find(&self.means.control, of.0, of.1).await? {
                self.metrics.is_at(kept.position, None, self.source.reach().last);
            }
            tokio::select! {
                _ = self.news.changed() => {}
                () = sleep(STANDBY_LOOK) => {}
            }
        }
    }

    /// Opens the generation, in the epoch that the log has now.
    async fn open(&mut self, lease: &Lease, generation: &Generation) -> Result<(Applier, i64), Interruption> {
        let log_epoch = self.source.log_epoch().await;
        let applier = Applier::open(&self.means, &self.kept, (lease, generation), log_epoch).await?;
        let position = applier.position();
        self.metrics.is_at(position, None, self.source.reach().last);
        info!(%generation, position, "Generation {generation} is at {position}");
        Ok((applier, log_epoch))
    }

    /// The next events, as soon as there are any and they have gathered; the lease is renewed meanwhile.
    async fn next(&mut self, applier: &Applier, log_epoch: i64, lease: &Lease) -> Result<Next, Interruption> {
        let (events_max, bytes_max) = (self.settings.batch_events_max, self.settings.batch_bytes_max);
        self.source.until_there_are(events_max, applier.position(), self.next_at).await;
        let mut next = pin!(self.source.next(applier.position(), log_epoch, events_max, bytes_max));
        loop {
            tokio::select! {
                next = &mut next => return Ok(next?),
                () = sleep(lease.lasts / 3) => {
                    if !lease.renew(&self.means.control).await? {
                        return Err(StoreError::Fenced.into());
                    }
                    applier.check().await?;
                }
            }
        }
    }

    async fn apply(&mut self, applier: &mut Applier, deliveries: &[Arc<Delivery>]) -> Result<(), Interruption> {
        let (begun, before) = (Instant::now(), applier.position());
        self.next_at = begun + self.kept.projection.gathers();
        let spans = self.spans(deliveries);
        let reads = deliveries.iter().map(|delivery| Read::of(&*self.kept.projection, delivery.clone())).collect();
        let applied = applier.apply(reads).await;
        if applied.is_err() {
            spans.iter().for_each(spans::failed);
        }
        applied?;
        drop(spans);

        let now = Utc::now();
        self.metrics.batches.inc();
        self.metrics.events.inc_by((applier.position() - before).unsigned_abs());
        self.metrics.batch_seconds.observe(begun.elapsed().as_secs_f64());
        if let Some(appended) = deliveries.first().and_then(|first| first.recorded_at()) {
            self.metrics.visible_seconds.observe(seconds(appended, now));
        }
        let last_at = deliveries.last().and_then(|last| last.recorded_at());
        self.metrics.is_at(applier.position(), last_at, self.source.reach().last);
        Ok(())
    }

    /// One span for each event whose trace is exported, and one for the batch, linked to them.
    fn spans(&self, deliveries: &[Arc<Delivery>]) -> Vec<Span> {
        if !kontor_telemetry::exporting() {
            return Vec::new();
        }
        let wanted = self.kept.projection.aggregate_types();
        let (mut all, mut parents) = (Vec::new(), Vec::new());
        for delivery in deliveries.iter().filter(|delivery| wanted.contains(&delivery.aggregate_type.as_str())) {
            let (Some(parent), Ok(event_id)) = (delivery.sampled_trace(), delivery.event_id()) else { continue };
            all.push(spans::project(
                self.kept.projection.name(),
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
}
