//! Rows in a search store: a collection of documents for each generation, and an alias that says which of them queries see.
//!
//! Checkpoint and fence are in the collection, and written with the documents; the control tables have a copy. A search store
//! may lose all it has: a collection that is gone is filled again from the log, and one that has become older goes on from
//! where it is. Queries ask Postgres until it is where it was.

mod view;
mod writer;

use super::{Row, Rows, Store, StoreError, StoreOptions, Writer};
use crate::runtime::dead_letters;
use crate::runtime::generation::{Generation, State};
use crate::runtime::lanes::{Mark, Progress};
use crate::runtime::lease::Lease;
use crate::runtime::projection::{ApplyError, Event, Projection};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use kontor_search::{Checkpoint, Engine, SearchError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use tracing::warn;
use uuid::Uuid;
use writer::SearchWriter;

pub use view::SearchView;

/// How long another process may take to let go of a collection that it has written until now, and how often it is asked.
const BUSY_MAX: Duration = Duration::from_secs(15);
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// How often the documents are read that were written while they were read.
const SCANS_MAX: usize = 5;

/// A projection whose rows are documents of a search store. It spans all of its aggregates, so that a batch is one commit.
pub trait SearchProjection: Projection {
    /// Folds `events`, in the order of their positions, into the documents that `view` shows. After a crash it may see events
    /// whose effect is there: it must assign or, where it adds, know by their position those that it has added.
    fn apply<'a>(&'a self, view: &'a mut SearchView<'_>, events: &'a [Event]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Keeps one projection in a search store. Its alias is the projection's name.
pub struct SearchStore {
    projection: Arc<dyn SearchProjection>,
    engine: Option<Arc<dyn Engine>>,
    control: PgPool,
}

/// What a collection's checkpoint says besides its position.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    event_id: Option<Uuid>,
    log_epoch: i64,
    /// Until the collection has come there, queries ask Postgres.
    shown_from: Option<i64>,
}

impl SearchStore {
    pub fn of(projection: Arc<dyn SearchProjection>, options: &StoreOptions) -> Arc<dyn Store> {
        let control = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false) // A round trip for each batch otherwise; a dead connection is seen by its error.
            .connect_lazy_with(options.postgres.clone());
        Arc::new(SearchStore { projection, engine: options.search.clone(), control })
    }

    fn engine(&self) -> Result<&Arc<dyn Engine>, StoreError> {
        self.engine.as_ref().ok_or(StoreError::NoSearch)
    }

    /// Opens the collection for the holder of the lease, as soon as whoever wrote it before has let go of it.
    async fn take(&self, collection: &str, lease: &Lease) -> Result<Option<Checkpoint>, StoreError> {
        let (engine, begun) = (self.engine()?, Instant::now());
        engine.create(collection).await?;
        loop {
            match engine.open(collection, lease.fence).await {
                Err(SearchError::Busy { .. }) if begun.elapsed() < BUSY_MAX => {
                    if !lease.renew(&self.control).await? {
                        return Err(StoreError::Fenced);
                    }
                    sleep(BUSY_PAUSE).await;
                }
                opened => return Ok(opened?),
            }
        }
    }

    /// From where on queries may see the generation: when they see what they have seen before, or all that there is if it is
    /// new or lost.
    async fn shown_from(&self, generation: &Generation, found: Option<&Checkpoint>) -> Result<Option<i64>, StoreError> {
        let (position, before) = match found {
            Some(checkpoint) => (checkpoint.position, reached(checkpoint)?.shown_from),
            None => (0, None),
        };
        if generation.state != State::Live {
            return Ok(before);
        }
        let is_lost = found.is_none();
        if is_lost && generation.position > 0 {
            warn!(%generation, "The search store has lost generation {generation}: it is filled again from the log");
        }
        let head = match is_lost {
            true => {
                sqlx::query_scalar("select coalesce(max(position), 0) from log_batches")
                    .fetch_one(&self.control)
                    .await?
            }
            false => generation.position,
        };
        Ok(before.max(Some(head)).filter(|from| position < *from))
    }
}

impl Store for SearchStore {
    fn kind(&self) -> &'static str {
        self.engine.as_ref().map_or("search", |engine| engine.kind())
    }

    fn create<'a>(&'a self, _: &'a mut PgConnection, _: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        async { Ok(()) }.boxed() // It is made when it is opened, as one that was lost.
    }

    fn open<'a>(
        &'a self,
        generation: &'a Generation,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<Box<dyn Writer>, StoreError>> {
        async move {
            let (engine, collection) = (self.engine()?, generation.to_string());
            let found = self.take(&collection, lease).await?;
            let shown_from = self.shown_from(generation, found.as_ref()).await?;
            let is_live = generation.state == State::Live;
            let alias = generation.projection.as_str();
            if shown_from.is_some() {
                if engine.shown(alias).await?.as_ref() == Some(&collection) {
                    engine.hide(alias).await?;
                }
            } else if is_live {
                engine.show(alias, &collection).await?;
            }
            let mark = found.as_ref().map(mark).transpose()?.unwrap_or_default();
            let (projection, engine, control) = (self.projection.clone(), engine.clone(), self.control.clone());
            let of = (lease.clone(), collection);
            let writer = SearchWriter::new(projection, engine, control, of, is_live, mark, shown_from);
            if found.is_none() {
                writer.begin().await?;
            }
            writer.copy(mark).await?;
            Ok(Box::new(writer) as Box<dyn Writer>)
        }
        .boxed()
    }

    fn show<'a>(
        &'a self,
        _: &'a mut PgConnection,
        generation: &'a Generation,
        before: Option<&'a Generation>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            // The first one is shown by its worker, when it has come to where the log is. If the transaction does not
            // commit, the worker of the one before shows that again when it opens it.
            if before.is_none() {
                return Ok(());
            }
            let (engine, collection) = (self.engine()?, generation.to_string());
            let checkpoint = engine.checkpoint(&collection).await?.ok_or(StoreError::Lost)?;
            match reached(&checkpoint)?.shown_from {
                None => engine.show(&generation.projection, &collection).await?,
                Some(_) => engine.hide(&generation.projection).await?,
            }
            Ok(())
        }
        .boxed()
    }

    fn rows<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Rows, StoreError>> {
        async move {
            let (engine, collection) = (self.engine()?, generation.to_string());
            for _ in 0..SCANS_MAX {
                let checkpoint = engine.checkpoint(&collection).await?.ok_or(StoreError::Lost)?;
                let mut documents = engine.scan(&collection).await?;
                let (table, mut rows, mut is_torn): (Arc<str>, _, _) = ("documents".into(), Vec::new(), false);
                while let Some(document) = documents.try_next().await? {
                    is_torn |= document.position > checkpoint.position;
                    let json = serde_json::to_vec(&document).expect("a document has a JSON form");
                    let digest: [u8; 32] = Sha256::digest(json).into();
                    let (half, _) = digest.split_first_chunk().expect("32 bytes have 16");
                    let digest = u128::from_be_bytes(*half);
                    rows.push(Row { table: table.clone(), key: document.product, digest });
                }
                if is_torn {
                    continue; // Written since the checkpoint was read.
                }
                rows.sort_by(|a, b| a.key.cmp(&b.key));
                let letters = dead_letters::list(&self.control, generation).await?;
                let passed_over = letters.into_iter().map(|letter| letter.position).collect();
                let progress = Progress { mark: mark(&checkpoint)?, ..Progress::default() };
                return Ok(Rows { progress, passed_over, rows });
            }
            let busy =
                format!("{collection} was written each of {SCANS_MAX} times that it was read: pause it meanwhile");
            Err(SearchError::Failed(busy).into())
        }
        .boxed()
    }

    fn remove<'a>(
        &'a self,
        _: &'a mut PgConnection,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { Ok(self.engine()?.remove(&generation.to_string()).await?) }.boxed()
    }
}

fn reached(checkpoint: &Checkpoint) -> Result<Reached, StoreError> {
    serde_json::from_str(&checkpoint.state)
        .map_err(|error| ApplyError::Contradiction(format!("the checkpoint is unreadable: {error}")).into())
}

fn mark(checkpoint: &Checkpoint) -> Result<Mark, StoreError> {
    let Reached { event_id, log_epoch, .. } = reached(checkpoint)?;
    Ok(Mark { position: checkpoint.position, event_id, log_epoch })
}

impl From<SearchError> for StoreError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Fenced { .. } => StoreError::Fenced,
            SearchError::Unknown(_) => StoreError::Lost,
            error => StoreError::Apply(error.into()),
        }
    }
}
