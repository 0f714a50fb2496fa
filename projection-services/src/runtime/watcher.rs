//! Watches the control tables, and has a worker for each generation that needs one.

use super::applier::{Kept, Means};
use super::dead_letters;
use super::generation::{CHANNEL, Generation, State};
use super::metrics::{ProjectionMetrics, ProjectionsMetrics};
use super::source::Source;
use super::store::StoreError;
use super::switch::ensure;
use super::worker::Worker;
use crate::settings::ProjectionsSettings;
use kontor_telemetry::{Check, Health};
use sqlx::postgres::PgListener;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use uuid::Uuid;

/// How often the control tables are looked at if nobody tells of a change.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Starts and ends workers.
pub(crate) struct Watcher {
    pub means: Means,
    pub kept: Vec<(Kept, Check)>,
    pub source: Source,
    pub settings: ProjectionsSettings,
    pub metrics: ProjectionsMetrics,
    pub tasks: TaskTracker,
    pub ending: CancellationToken,
    pub news: watch::Sender<()>,
    pub workers: HashMap<(&'static str, i32), AtWork>,
}

/// A worker that was started.
pub(crate) struct AtWork {
    ending: CancellationToken,
    task: JoinHandle<()>,
    metrics: ProjectionMetrics,
    /// Metrics that end with it.
    passing: Option<String>,
}

impl Watcher {
    pub async fn run(mut self) {
        let ending = self.ending.clone();
        let mut listener = None;
        loop {
            if ending.run_until_cancelled(self.look()).await.is_none() {
                return;
            }
            let until = Instant::now() + LOOK_INTERVAL;
            if listener.is_none() {
                listener = self.listen().await;
            }
            tokio::select! {
                () = ending.cancelled() => return,
                () = sleep_until(until) => {}
                () = heard(&mut listener) => { self.news.send_replace(()); }
            }
        }
    }

    async fn listen(&self) -> Option<PgListener> {
        let mut listener = PgListener::connect_with(&self.means.control).await.ok()?;
        listener.listen(CHANNEL).await.ok()?;
        Some(listener)
    }

    async fn look(&mut self) {
        let head = self.source.reach().last;
        for (kept, check) in self.kept.clone() {
            if let Err(error) = self.look_at(&kept, &check).await {
                warn!("The generations of projection {} cannot be looked at: {error}", kept.projection.name());
                check.failing(error.to_string());
            }
        }
        // A worker that is stuck says nothing of its lag by itself.
        let patience = Duration::from_secs(self.settings.silent_after_s);
        for ((name, _), worker) in &self.workers {
            if let Some(silent_for) = worker.metrics.refresh(head, patience)
                && let Some((_, check)) = self.kept.iter().find(|(kept, _)| kept.projection.name() == *name)
            {
                check.failing(format!("has not moved for {} s although there are events", silent_for.as_secs()));
            }
        }
        match dead_letters::waiting(&self.means.control).await {
            Ok(waiting) => self.metrics.dead_letters(&waiting),
            Err(error) => warn!("The dead letters cannot be counted: {error}"),
        }
    }

    async fn look_at(&mut self, kept: &Kept, check: &Check) -> Result<(), StoreError> {
        let (name, version) = (kept.projection.name(), kept.projection.version());
        let there = ensure(&self.means.control, kept).await?;
        let wanted: Vec<_> = there.into_iter().filter(|generation| is_ours(generation, version)).collect();
        self.workers.retain(|(projection, number), worker| {
            let is_wanted = *projection != name || wanted.iter().any(|generation| generation.generation == *number);
            if is_wanted && !worker.task.is_finished() {
                return true;
            }
            worker.ending.cancel();
            if let Some(series) = &worker.passing {
                self.metrics.forget(series);
            }
            false
        });
        if !wanted.iter().any(|generation| generation.state == State::Live) {
            check.ok(); // Paused, or kept by another release until ours has caught up.
        }
        for generation in wanted {
            let key = (name, generation.generation);
            if !self.workers.contains_key(&key) {
                let worker = self.start(kept.clone(), generation, check);
                self.workers.insert(key, worker);
            }
        }
        Ok(())
    }

    fn start(&self, kept: Kept, generation: Generation, check: &Check) -> AtWork {
        info!(%generation, "Starting a worker for generation {generation}, {}", generation.state.name());
        let is_live = generation.state == State::Live;
        let passing = (!is_live).then(|| generation.to_string());
        let metrics = self.metrics.of(passing.as_deref().unwrap_or(kept.projection.name()));
        let ending = self.ending.child_token();
        let worker = Worker {
            source: self.source.reader(kept.projection.aggregate_types()),
            kept,
            generation,
            means: self.means.clone(),
            settings: self.settings.clone(),
            metrics: metrics.clone(),
            // Queries do not see what is filled yet, so this process is ready without it.
            check: if is_live { check.clone() } else { Health::new().register("filling") },
            news: self.news.subscribe(),
            id: Uuid::now_v7(),
            next_at: Instant::now(),
        };
        AtWork { task: self.tasks.spawn(worker.run(ending.clone())), ending, metrics, passing }
    }
}

/// Whether projectors of this version keep it.
fn is_ours(generation: &Generation, version: i32) -> bool {
    let is_kept = match generation.state {
        State::Live => true,
        State::Filling => generation.automatic,
        State::Retired | State::Named | State::Verifying => false,
    };
    is_kept && !generation.paused && generation.version == version
}

/// Until there is news; for ever without a listener.
async fn heard(listener: &mut Option<PgListener>) {
    let Some(of) = listener else { return std::future::pending().await };
    match of.try_recv().await {
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => *listener = None, // What was said meanwhile is not known: time for a look.
    }
}
