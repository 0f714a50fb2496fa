//! A projector at work: the source, a worker for each projection, and what operators see of them.

use crate::models::metrics::ModelMetrics;
use crate::models::{self, Trainer};
use crate::projections::UnknownProjection;
use crate::runtime::metrics::{ProjectionsMetrics, SourceMetrics};
use crate::runtime::source::SourcePlan;
use crate::runtime::store::StoreOptions;
use crate::runtime::watcher::Watcher;
use crate::runtime::{Kept, Means, Projection, Source};
use crate::settings::ProjectorSettings;
use kontor_event_schemas::upcast;
use kontor_event_store::LogReader;
use kontor_settings::SecretUrl;
use kontor_telemetry::{Health, Metrics};
use kontor_vectors::VectorsError;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long a vector store may take to store a portion of vectors: nobody waits for it.
const FILLING_TIMEOUT: Duration = Duration::from_secs(30);

/// Workers at work. Ends them with [`Projector::stop`].
pub struct Projector {
    tasks: TaskTracker,
    ending: CancellationToken,
    control: PgPool,
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
    #[error("{settings} must be set: that is where {projection} is kept")]
    NoStore { projection: &'static str, settings: &'static str },
    #[error("redis.url (KONTOR_REDIS__URL) is no URL of Redis: {0}")]
    Redis(#[from] kontor_redis::RedisError),
    #[error("vectors.url (KONTOR_VECTORS__URL) is no URL of Qdrant: {0}")]
    Vectors(#[from] VectorsError),
    #[error(transparent)]
    Search(#[from] kontor_search::SearchError),
    #[error(transparent)]
    Unknown(#[from] UnknownProjection),
}

impl Projector {
    /// Keeps `projections`: a worker for each of their generations that needs one. Neither Postgres nor NATS need to be there yet: `health` tells when they
    /// are.
    pub async fn start(
        settings: &ProjectorSettings,
        projections: Vec<Arc<dyn Projection>>,
        metrics: &Metrics,
        health: &Health,
    ) -> Result<Projector, StartError> {
        let postgres = options(settings.projections.url.as_ref().ok_or(StartError::NoUrl)?)?;
        let control = connect(postgres.clone(), projections.len());
        let nats = async_nats::ConnectOptions::new()
            .name("kontor-projector")
            .retry_on_initial_connect()
            .connection_timeout(Duration::from_secs(2))
            .reconnect_delay_callback(|attempts| Duration::from_millis(100 * attempts.min(20) as u64))
            .connect(settings.nats.url.expose())
            .await?;
        let upcasters = Arc::new(upcast::released());
        let log = LogReader::new(control.clone(), upcasters.clone());
        let (tasks, ending) = (TaskTracker::new(), CancellationToken::new());
        let plan = SourcePlan {
            log: log.clone(),
            jetstream: async_nats::jetstream::new(nats),
            upcasters,
            silence: Duration::from_millis(settings.projections.silence_ms),
            metrics: SourceMetrics::new(metrics),
        };
        let source = Source::start(plan, health, &tasks, &ending);
        let redis = kontor_redis::Redis::of(&settings.redis)?;
        let search = settings.search.engine()?;
        let stores = StoreOptions { postgres, redis, search, writers_max: settings.projections.writers_max };
        let (kept, left): (Vec<_>, Vec<_>) =
            projections.into_iter().partition(|projection| projection.lacks(&stores).is_none());
        for (projection, settings) in left.iter().filter_map(|left| Some((left.name(), left.lacks(&stores)?))) {
            if kept.is_empty() {
                return Err(StartError::NoStore { projection, settings }); // It was asked for by name.
            }
            warn!("Projection {projection} is not kept: {settings} is not set");
        }
        if kept.iter().any(|projection| projection.name() == models::PROJECTION) {
            let trainer = Trainer {
                control: control.clone(),
                vectors: kontor_vectors::connect(&settings.vectors, &control, FILLING_TIMEOUT)?,
                settings: settings.recommendations.clone(),
                metrics: ModelMetrics::new(metrics),
            };
            tasks.spawn(trainer.run(ending.clone()));
        }
        let kept = kept.into_iter().map(|projection| {
            let check = health.register(format!("projection {}", projection.name()));
            (Kept::new(projection, &stores), check)
        });
        let watcher = Watcher {
            means: Means { control: control.clone(), log, writers_max: settings.projections.writers_max },
            kept: kept.collect(),
            source,
            settings: settings.projections.clone(),
            metrics: ProjectionsMetrics::new(metrics),
            tasks: tasks.clone(),
            ending: ending.clone(),
            news: watch::Sender::default(),
            workers: HashMap::new(),
        };
        tasks.spawn(watcher.run());
        tasks.close();
        Ok(Projector { tasks, ending, control })
    }

    /// Finishes the batches that have begun, and ends.
    pub async fn stop(self) {
        self.ending.cancel();
        self.tasks.wait().await;
        self.control.close().await;
    }
}

fn options(url: &SecretUrl) -> Result<PgConnectOptions, StartError> {
    let options: PgConnectOptions = url.expose().parse().map_err(StartError::Url)?;
    Ok(options.application_name("kontor-projector").options([
        // The local disk is enough: checkpoint and view are written together, so a failover that loses both loses nothing.
        // `off` would be a little cheaper, but a replica gets only what is on the primary's disk, and would see each
        // batch up to 200 ms later.
        ("synchronous_commit", "local"),
        ("statement_timeout", "20s"),
        // A process that is paused in a transaction must not keep the one that takes over waiting.
        ("idle_in_transaction_session_timeout", "10s"),
    ]))
}

/// A pool for the log and the control tables, without a connection yet: a worker may need two, the watcher two more, and whoever
/// learns recommendations two.
fn connect(options: PgConnectOptions, projections: usize) -> PgPool {
    PgPoolOptions::new()
        .max_connections(2 * projections as u32 + 5)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(false) // A round trip for each look otherwise; a dead connection is seen by its error.
        .connect_lazy_with(options)
}
