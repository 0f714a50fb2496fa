//! What recommendations come from: the newest model, loaded once a process, and the vector store.

use kontor_domain::Sku;
use kontor_projection_services::models::{self, Content, ModelVersion};
use kontor_recommend::Model;
use kontor_telemetry::{Check, Metrics};
use kontor_vectors::{Near, To, Vectors, VectorsError};
use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use sqlx::PgPool;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use tracing::{info, warn};

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Has the newest model at hand.
pub struct Advisor {
    replica: PgPool,
    vectors: Arc<dyn Vectors>,
    loaded: RwLock<Option<Arc<Loaded>>>,
    /// The vector store has not answered: it is not asked again before a look has found it.
    is_away: AtomicBool,
    check: Check,
    version: Gauge,
    away: Gauge,
    degraded: Counter,
}

/// A model that is answered from.
pub struct Loaded {
    pub version: ModelVersion,
    pub model: Model,
    collection: String,
    /// Whether everybody might see a product when it was learnt.
    public: Box<dyn Fn(&Sku) -> bool + Send + Sync>,
    /// Products by the SKUs of their variants.
    product_of: HashMap<String, Sku>,
}

impl Loaded {
    /// Whether everybody might see a product when the model was learnt.
    pub fn allowed(&self) -> &dyn Fn(&Sku) -> bool {
        &*self.public
    }

    /// The product that is sold under this SKU; `None`: there is no such SKU.
    pub fn product_of(&self, sku: &str) -> Option<Sku> {
        self.product_of.get(sku).cloned().or_else(|| sku.parse().ok())
    }
}

/// The model that was learnt last cannot be loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    #[error(transparent)]
    Stored(#[from] kontor_recommend::StoredError),
    #[error("it was given up: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Advisor {
    /// `check` says whether the vector store is there.
    pub fn new(replica: PgPool, vectors: Arc<dyn Vectors>, check: Check, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Advisor {
            replica,
            vectors,
            loaded: RwLock::new(None),
            is_away: AtomicBool::new(false),
            check,
            version: metrics.gauge("kontor_query_recommendations_version", "The model that is answered from"),
            away: metrics
                .gauge("kontor_query_vectors_away", "1 while the vector store does not answer, or lacks the model"),
            degraded: metrics.counter(
                "kontor_query_recommendations_degraded",
                "Answers that were given without model or vector store",
            ),
        })
    }

    /// Loads each new model, and finds the vector store when it is back.
    pub async fn watch(self: Arc<Self>) {
        loop {
            if let Err(error) = self.load().await {
                warn!("The newest model of recommendations cannot be loaded: {error}");
            }
            self.look().await;
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// The model at hand; `None`: there is none yet.
    pub fn loaded(&self) -> Option<Arc<Loaded>> {
        self.loaded.read().clone()
    }

    /// The nearest with all of `tags`. `None`: the vector store does not answer, and is reported.
    pub async fn nearest(&self, loaded: &Loaded, to: To<'_>, tags: &[&str], most: usize) -> Option<Nearest> {
        if self.is_away.load(Ordering::Relaxed) {
            return None;
        }
        match self.vectors.nearest(&loaded.collection, to, tags, most).await {
            Ok(found) => Some(Nearest::Found(found)),
            Err(VectorsError::UnknownPoint { .. }) => Some(Nearest::Unknown),
            Err(error) => {
                self.is_gone(&error.to_string());
                None
            }
        }
    }

    /// An answer was given without all that it takes.
    pub fn count_degraded(&self) {
        self.degraded.inc();
    }

    async fn load(&self) -> Result<(), LoadError> {
        let Some(version) = models::newest(&self.replica).await? else { return Ok(()) };
        if self.loaded().is_some_and(|loaded| loaded.version.version == version.version) {
            return Ok(());
        }
        let Some(content) = models::content(&self.replica, version.version).await? else { return Ok(()) };
        let Content { public, model } = content;
        let variants: Vec<(String, String)> =
            sqlx::query_as("select sku, product from trade_variants order by product desc")
                .fetch_all(&self.replica)
                .await?;
        let public: HashSet<Sku> = public.iter().filter_map(|sku| sku.parse().ok()).collect();
        let model = tokio::task::spawn_blocking(move || Model::from_bytes(&model)).await??;
        let loaded = Loaded {
            collection: version.collection(),
            model,
            public: Box::new(move |sku| public.contains(sku)),
            product_of: variants.into_iter().filter_map(|(sku, product)| Some((sku, product.parse().ok()?))).collect(),
            version,
        };
        // Who asks first need not wait until its vectors are at hand.
        self.probe(&loaded).await;
        let number = loaded.version.version;
        info!(version = number, "Recommendations are answered from model {number}");
        self.version.set(number);
        *self.loaded.write() = Some(Arc::new(loaded));
        Ok(())
    }

    async fn look(&self) {
        if let Some(loaded) = self.loaded() {
            self.probe(&loaded).await;
        }
    }

    /// Asks the vector store something that costs little.
    async fn probe(&self, loaded: &Loaded) {
        let nowhere = vec![0.0; loaded.model.dimensions()];
        match self.vectors.nearest(&loaded.collection, To::Vector(&nowhere), &[], 1).await {
            Ok(found) if found.is_empty() && loaded.version.points > 0 => {
                self.is_gone(&format!("{} is empty", loaded.collection));
            }
            Ok(_) => {
                self.check.ok();
                self.away.set(0);
                if self.is_away.swap(false, Ordering::Relaxed) {
                    info!("The vector store answers again");
                }
            }
            Err(error) => self.is_gone(&error.to_string()),
        }
    }

    fn is_gone(&self, reason: &str) {
        self.check.failing(reason);
        self.away.set(1);
        if !self.is_away.swap(true, Ordering::Relaxed) {
            let store = self.vectors.kind();
            warn!(store, "Recommendations are answered without the vector store: {reason}");
        }
    }
}

/// What a vector store says.
pub enum Nearest {
    Found(Vec<Near>),
    /// It has no such point.
    Unknown,
}
