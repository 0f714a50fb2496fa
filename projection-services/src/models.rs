//! Models of recommendations: learnt on a schedule from what the projection `recommendations` keeps, version by version, and
//! read by queries.
//!
//! - [`learn`]: from rows to a model.
//! - [`trainer`]: when, by which of several processes, and where it goes.
//! - [`metrics`]: what operators see of it.

pub mod learn;
pub mod metrics;
pub mod trainer;

pub use trainer::{TrainError, Trainer, train};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgExecutor};

/// The projection that models are learnt from.
pub const PROJECTION: &str = "recommendations";
/// The alias of the newest collection; each is called so with the version behind it.
pub const COLLECTION: &str = "recommendations";
/// Tags of points.
pub const PUBLIC: &str = "public";
pub const AVAILABLE: &str = "available";
/// Versions that stay: the one that queries see, and the one before.
const KEPT: usize = 2;

/// The tag of what has a price in this currency.
pub fn priced_in(currency: &str) -> String {
    format!("currency:{currency}")
}

/// One version, as the table has it, without the model itself.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow)]
pub struct ModelVersion {
    /// 1, 2 ..., in the order in which training began.
    pub version: i64,
    /// Of the read model that it was learnt from.
    pub position: i64,
    /// Subjects that had been erased, from whom nothing was learnt.
    pub erased: i64,
    /// Business time up to which it has learnt.
    pub trained_at: DateTime<Utc>,
    /// When queries began to see it.
    pub created_at: DateTime<Utc>,
    /// That it took to learn.
    pub seconds: f64,
    /// Orders, returns and cancellations that it was learnt from.
    pub documents: i64,
    /// That it knows.
    pub products: i64,
    /// Of its collection of vectors.
    pub points: i64,
}

impl ModelVersion {
    /// Where its vectors are.
    pub fn collection(&self) -> String {
        collection(self.version)
    }
}

fn collection(version: i64) -> String {
    format!("{COLLECTION}_{version}")
}

/// What there is besides numbers.
#[derive(Debug, FromRow)]
pub struct Content {
    /// SKUs that everybody might see when it was learnt.
    pub public: Vec<String>,
    /// [`Model::from_bytes`](kontor_recommend::Model::from_bytes) reads it.
    pub model: Vec<u8>,
}

const COLUMNS: &str = "version, position, erased, trained_at, created_at, seconds, documents, products, points";

/// All versions, the newest first.
pub async fn list(database: impl PgExecutor<'_>) -> sqlx::Result<Vec<ModelVersion>> {
    let statement = format!("select {COLUMNS} from projections.recommendation_models order by version desc");
    sqlx::query_as(&statement).fetch_all(database).await
}

/// The version that queries are to see; `None`: nothing was learnt yet.
pub async fn newest(database: impl PgExecutor<'_>) -> sqlx::Result<Option<ModelVersion>> {
    let statement = format!("select {COLUMNS} from projections.recommendation_models order by version desc limit 1");
    sqlx::query_as(&statement).fetch_optional(database).await
}

/// What is in a version; `None`: it is no more.
pub async fn content(database: impl PgExecutor<'_>, version: i64) -> sqlx::Result<Option<Content>> {
    sqlx::query_as("select public, model from projections.recommendation_models where version = $1")
        .bind(version)
        .fetch_optional(database)
        .await
}
