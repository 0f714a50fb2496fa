//! Collections of vectors, and what is nearest in them. One small trait, two stores: [`Exact`] computes in the process from rows
//! in Postgres, [`Qdrant`] asks a server.
//!
//! A collection is filled by one process and asked by others. It is filled whole, under a name of its own, before anybody is
//! told of it; an alias says which of them is shown, and moves in one step.

pub mod exact;
mod migrate;
pub mod qdrant;
pub mod settings;

pub use exact::Exact;
pub use migrate::migrate;
pub use qdrant::Qdrant;
pub use settings::VectorsSettings;

use futures::future::BoxFuture;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;

/// Something with a place among others.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub sku: String,
    /// As many numbers as the collection has dimensions.
    pub vector: Vec<f32>,
    /// What it may be chosen by, such as `public` or `currency:GBP`. Without spaces.
    pub tags: Vec<String>,
}

/// A point that was found. The higher the score, the nearer: it is the dot product.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    pub sku: String,
    pub score: f32,
}

/// What others are to be near to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum To<'a> {
    Vector(&'a [f32]),
    /// A point of the collection, which is not among those that are found.
    Sku(&'a str),
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
    #[error("there is no collection {0}")]
    UnknownCollection(String),
    #[error("{collection} has no point {sku}")]
    UnknownPoint { collection: String, sku: String },
    #[error("a vector has {found} numbers, {collection} has {expected} dimensions")]
    Dimensions { collection: String, found: usize, expected: usize },
    #[error("Postgres: {0}")]
    Postgres(#[from] sqlx::Error),
    #[error("Qdrant: {0}")]
    Qdrant(#[from] Box<qdrant_client::QdrantError>),
    #[error("Qdrant: {0}")]
    Malformed(&'static str),
}

/// Keeps collections of vectors.
pub trait Vectors: Send + Sync {
    /// `exact`, `qdrant`
    fn kind(&self) -> &'static str;

    /// Makes an empty collection. One that has this name is removed, with its aliases.
    fn create<'a>(&'a self, collection: &'a str, dimensions: usize) -> BoxFuture<'a, Result<(), VectorsError>>;

    /// Removes a collection with its aliases, if there is one.
    fn remove<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), VectorsError>>;

    /// Puts points into a collection, in place of those with the same SKUs.
    fn upsert<'a>(&'a self, collection: &'a str, points: &'a [Point]) -> BoxFuture<'a, Result<(), VectorsError>>;

    /// The nearest points of a collection, or of the one that an alias shows, that have all of `tags`: at most `most`, the
    /// nearest first.
    fn nearest<'a>(
        &'a self,
        collection: &'a str,
        to: To<'a>,
        tags: &'a [&'a str],
        most: usize,
    ) -> BoxFuture<'a, Result<Vec<Near>, VectorsError>>;

    /// Points in a collection.
    fn count<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<u64, VectorsError>>;

    /// Every collection there is, in the order of their names.
    fn collections(&self) -> BoxFuture<'_, Result<Vec<String>, VectorsError>>;

    /// Lets an alias show a collection from now on, and none that it has shown before.
    fn show<'a>(&'a self, alias: &'a str, collection: &'a str) -> BoxFuture<'a, Result<(), VectorsError>>;

    /// The collection that an alias shows; `None`: there is no such alias.
    fn shown<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<Option<String>, VectorsError>>;
}

/// The store that `settings` name: Qdrant if there is a URL, otherwise rows in `database`. A question that is not answered
/// within `timeout` has failed.
///
/// # Errors
/// The URL is none of Qdrant.
pub fn connect(
    settings: &VectorsSettings,
    database: &PgPool,
    timeout: Duration,
) -> Result<Arc<dyn Vectors>, VectorsError> {
    Ok(match &settings.url {
        Some(url) => Arc::new(Qdrant::new(url, settings.api_key.as_ref(), timeout)?),
        None => Arc::new(Exact::new(database.clone())),
    })
}
