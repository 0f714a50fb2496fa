//! A projector at work: the source, a worker for each projection, and what operators see of them.

use crate::projections::UnknownProjection;
use crate::runtime::metrics::{ProjectionMetrics, ProjectionsMetrics, SourceMetrics};
use crate::runtime::source::SourcePlan;
use crate::runtime::{Projection, Source, Worker};
use crate::settings::ProjectorSettings;
use kontor_event_schemas::upcast;
use kontor_event_store::LogReader;
use kontor_settings::SecretUrl;
use kontor_telemetry::{Health, Metrics};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Workers at work. Ends them with [`Projector::stop`].
pub struct Projector {
    tasks: TaskTracker,
    ending: CancellationToken,
    view: PgPool,
}

/// Why a projector could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("projections.url (KONTOR_PROJECTIONS__URL) must be set: the primary, for role kontor_projector")]
    NoUrl,
    #[error("projections.url (KONTOR_PROJECTIONS__URL) is no URL of a Postgres database: {0}")]
    Url(#[source] sqlx::Error),
    #[error("nats.url (KONTOR_NATS__URL) cannot be used: {0}")]
    Nats(#[from] async_nats::ConnectError),
    #[error(transparent)]
    Unknown(#[from] UnknownProjection),
}

impl Projector {
    /// Starts a worker for each of `projections`. Neither Postgres nor NATS need to be there yet: `health` tells when they
    /// are.
    pub async fn start(
        settings: &ProjectorSettings,
        projections: Vec<Arc<dyn Projection>>,
        metrics: &Metrics,
        health: &Health,
    ) -> Result<Projector, StartError> {
        let view = connect(settings.projections.url.as_ref().ok_or(StartError::NoUrl)?, projections.len())?;
        let nats = async_nats::ConnectOptions::new()
            .name("kontor-projector")
            .retry_on_initial_connect()
            .connection_timeout(Duration::from_secs(2))
            .reconnect_delay_callback(|attempts| Duration::from_millis(100 * attempts.min(20) as u64))
            .connect(settings.nats.url.expose())
            .await?;
        let upcasters = Arc::new(upcast::released());
        let log = LogReader::new(view.clone(), upcasters.clone());
        let (tasks, ending) = (TaskTracker::new(), CancellationToken::new());
        let plan = SourcePlan {
            log: log.clone(),
            jetstream: async_nats::jetstream::new(nats),
            upcasters,
            silence: Duration::from_millis(settings.projections.silence_ms),
            metrics: SourceMetrics::new(metrics),
        };
        let source = Source::start(plan, health, &tasks, &ending);
        let of_projections = ProjectionsMetrics::new(metrics);
        let mut measured = Vec::new();
        for projection in projections {
            let metrics = of_projections.of(projection.name());
            measured.push(metrics.clone());
            let worker = Worker {
                source: source.reader(),
                log: log.clone(),
                view: view.clone(),
                settings: settings.projections.clone(),
                metrics,
                check: health.register(format!("projection {}", projection.name())),
                id: Uuid::now_v7(),
                projection,
            };
            tasks.spawn(worker.run(ending.clone()));
        }
        let until_end = ending.clone();
        tasks.spawn(async move { until_end.run_until_cancelled(refresh(source, measured)).await });
        tasks.close();
        Ok(Projector { tasks, ending, view })
    }

    /// Finishes the batches that have begun, and ends.
    pub async fn stop(self) {
        self.ending.cancel();
        self.tasks.wait().await;
        self.view.close().await;
    }
}

/// Keeps the lag of projections true that are stuck, and so say nothing themselves.
async fn refresh(source: Source, projections: Vec<ProjectionMetrics>) {
    loop {
        sleep(REFRESH_INTERVAL).await;
        let head = source.reach().last;
        projections.iter().for_each(|projection| projection.refresh(head));
    }
}

/// A pool for the view and the log, without a connection yet.
fn connect(url: &SecretUrl, workers: usize) -> Result<PgPool, StartError> {
    let options: PgConnectOptions = url.expose().parse().map_err(StartError::Url)?;
    let options = options.application_name("kontor-projector").options([
        // The local disk is enough: checkpoint and view are written together, so a failover that loses both loses nothing.
        // `off` would be a little cheaper, but a replica gets only what is on the primary's disk, and would see each
        // batch up to 200 ms later.
        ("synchronous_commit", "local"),
        ("statement_timeout", "20s"),
        // A process that is paused in a transaction must not keep the one that takes over waiting.
        ("idle_in_transaction_session_timeout", "10s"),
        // Rows are found by their keys. A plan made while a table was small would go on reading all of it for each batch.
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(2 * workers as u32 + 2)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false) // A round trip for each batch otherwise; a dead connection is seen by its error.
        .connect_lazy_with(options))
}
