//! Writes one generation in a search store: a commit a batch.

use super::view::SearchView;
use super::{Reached, SearchProjection};
use crate::runtime::dead_letters;
use crate::runtime::lanes::{Mark, Progress};
use crate::runtime::lease::Lease;
use crate::runtime::store::{Batch, StoreError, Writer};
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_search::{Checkpoint, Document, Engine};
use sqlx::PgPool;
use std::sync::Arc;
use tokio::sync::Mutex;

pub(super) struct SearchWriter {
    projection: Arc<dyn SearchProjection>,
    engine: Arc<dyn Engine>,
    control: PgPool,
    collection: String,
    lease: Lease,
    is_live: bool,
    mark: Mark,
    written: Mutex<Written>,
}

/// As of the last commit.
struct Written {
    position: i64,
    shown_from: Option<i64>,
}

impl SearchWriter {
    pub fn new(
        projection: Arc<dyn SearchProjection>,
        engine: Arc<dyn Engine>,
        control: PgPool,
        (lease, collection): (Lease, String),
        is_live: bool,
        mark: Mark,
        shown_from: Option<i64>,
    ) -> Self {
        let written = Mutex::new(Written { position: mark.position, shown_from });
        SearchWriter { projection, engine, control, collection, lease, is_live, mark, written }
    }

    /// Commits the checkpoint of a collection that has none: from now on it is known whether it is lost.
    pub async fn begin(&self) -> Result<(), StoreError> {
        self.commit(&mut *self.written.lock().await, self.mark, Vec::new(), Vec::new()).await
    }

    /// Tells Postgres how far the collection is, and renews the lease.
    pub async fn copy(&self, to: Mark) -> Result<(), StoreError> {
        if self.lease.book(&self.control, to).await? { Ok(()) } else { Err(StoreError::Fenced) }
    }

    /// Documents and checkpoint at once. Shows the collection when it has come to where it may be seen.
    async fn commit(
        &self,
        written: &mut Written,
        to: Mark,
        documents: Vec<Document>,
        removed: Vec<String>,
    ) -> Result<(), StoreError> {
        let shown_from = written.shown_from.filter(|from| to.position < *from);
        let reached = Reached { event_id: to.event_id, log_epoch: to.log_epoch, shown_from };
        let state = serde_json::to_string(&reached).expect("ids and numbers have a JSON form");
        let checkpoint = Checkpoint { position: to.position, state };
        let batch = kontor_search::Batch { fence: self.lease.fence, documents, removed, checkpoint };
        self.engine.write(&self.collection, batch).await?;
        if self.is_live && written.shown_from.is_some() && shown_from.is_none() {
            self.engine.show(&self.lease.projection, &self.collection).await?;
        }
        (written.position, written.shown_from) = (to.position, shown_from);
        Ok(())
    }
}

impl Writer for SearchWriter {
    fn progress(&self) -> Progress {
        Progress { mark: self.mark, ..Progress::default() }
    }

    fn write<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            assert!(batch.moves_all(), "a projection in a search store spans all of its aggregates");
            // First, so that none is lost between the two stores: one that is there already stays as it is.
            if !batch.letters.is_empty() {
                dead_letters::set_aside(&self.control, &self.lease, batch.letters).await?;
            }
            let mut written = self.written.lock().await;
            let mut view = SearchView::new(&*self.engine, &self.collection);
            self.projection.apply(&mut view, batch.events).await?;
            let (documents, removed) = view.changes();
            self.commit(&mut written, batch.to, documents, removed).await?;
            if !batch.settled.is_empty() {
                dead_letters::settle(&self.control, &self.lease, batch.settled).await?;
            }
            self.copy(batch.to).await
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let written = self.written.lock().await;
            let found = self.engine.checkpoint(&self.collection).await?;
            // Nobody else moves it while the lease is ours.
            if found.is_none_or(|found| found.position != written.position) {
                return Err(StoreError::Lost);
            }
            let is_shown = || async {
                let shown = self.engine.shown(&self.lease.projection).await?;
                Ok::<_, StoreError>(shown.as_ref() == Some(&self.collection))
            };
            // Whoever opens it shows it.
            if self.is_live && written.shown_from.is_none() && !is_shown().await? {
                Err(StoreError::Lost)
            } else {
                Ok(())
            }
        }
        .boxed()
    }
}
