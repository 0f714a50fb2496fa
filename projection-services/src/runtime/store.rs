//! Where the rows of a projection are: one small trait, one file a store.
//!
//! What generations there are, who writes them and how far they have come is in Postgres for all stores. A store whose rows
//! cannot be written in one transaction with that keeps checkpoint and fence beside its rows, and Postgres a copy.

pub mod postgres;
pub mod redis;
pub mod search;

use super::dead_letters::Letter;
use super::generation::Generation;
use super::lanes::{LANES, Mark, Progress};
use super::lease::Lease;
use super::projection::{ApplyError, Event};
use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// What says where products are searched.
pub const SEARCH_SETTINGS: &str = "search.folder (KONTOR_SEARCH__FOLDER) or search.url (KONTOR_SEARCH_URL)";

/// What stores are reached with.
#[derive(Clone)]
pub struct StoreOptions {
    /// The primary, for role `kontor_projector`.
    pub postgres: PgConnectOptions,
    /// `None`: there is none.
    pub redis: Option<kontor_redis::Redis>,
    /// `None`: there is none.
    pub search: Option<Arc<dyn kontor_search::Engine>>,
    /// Transactions at the same time of one generation.
    pub writers_max: usize,
}

/// Keeps the rows of one projection, generation by generation. Whoever calls it sees to it that one at a time makes, shows or
/// drops generations.
pub trait Store: Send + Sync {
    /// `postgres`, `redis`, `tantivy`, `typesense`
    fn kind(&self) -> &'static str;

    /// Makes room for a generation. `control` is in the transaction that books it.
    fn create<'a>(
        &'a self,
        control: &'a mut PgConnection,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Opens a generation for the holder of its lease. Whoever held an earlier one writes nothing any more when this returns.
    fn open<'a>(
        &'a self,
        generation: &'a Generation,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<Box<dyn Writer>, StoreError>>;

    /// Makes a generation that was filled as quick to read as one that has been there for long.
    fn settle<'a>(&'a self, _generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }

    /// Shows a generation to queries, and not `before`, from the commit of the transaction on that `control` is in.
    fn show<'a>(
        &'a self,
        control: &'a mut PgConnection,
        generation: &'a Generation,
        before: Option<&'a Generation>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Every row of a generation as it is at one moment, and how far the generation is then.
    fn rows<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Rows, StoreError>>;

    /// Removes the rows of a generation that nobody is shown. `control` is in the transaction that forgets it.
    fn remove<'a>(
        &'a self,
        control: &'a mut PgConnection,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Writes one generation, under one lease.
pub trait Writer: Send + Sync {
    /// How far the generation had come when it was opened.
    fn progress(&self) -> Progress;

    /// Writes rows and checkpoint, both or neither, if the lease is still held.
    fn write<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Makes sure, while there is nothing to write, that the store still has what was written.
    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async { Ok(()) }.boxed()
    }
}

/// What one transaction writes.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The lanes that it moves.
    pub lanes: Range<usize>,
    /// Where the generation is before the batch.
    pub from: i64,
    /// Where these lanes are after it.
    pub to: Mark,
    /// Of these lanes only, each once, in order.
    pub events: &'a [Event],
    /// What is passed over in these lanes.
    pub letters: &'a [Letter],
    /// Positions of letters that are among `events`, after all.
    pub settled: &'a [i64],
}

impl Batch<'_> {
    /// Whether the generation as a whole is at `to` afterwards.
    pub fn moves_all(&self) -> bool {
        self.lanes == (0..LANES)
    }

    /// Whether it does nothing but move the generation.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.letters.is_empty() && self.settled.is_empty()
    }
}

/// The rows of a generation at one moment.
#[derive(Debug)]
pub struct Rows {
    pub progress: Progress,
    /// Positions of events that were set aside, also of those that were dropped.
    pub passed_over: HashSet<i64>,
    /// In the order of table and key.
    pub rows: Vec<Row>,
}

/// A row by what tells it from others and from what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub table: Arc<str>,
    pub key: String,
    pub digest: u128,
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written.
    #[error("the lease is another's")]
    Fenced,
    /// Nothing was written. What is there is not what was written before: it is to be opened anew.
    #[error("the store has lost what it had")]
    Lost,
    #[error("redis.url (KONTOR_REDIS__URL) must be set")]
    NoRedis,
    #[error("{SEARCH_SETTINGS} must be set")]
    NoSearch,
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        StoreError::Apply(error.into())
    }
}

impl From<::redis::RedisError> for StoreError {
    fn from(error: ::redis::RedisError) -> Self {
        StoreError::Apply(error.into())
    }
}
