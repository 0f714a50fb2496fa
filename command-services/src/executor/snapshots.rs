//! Snapshots, written apart from the log by one task of their own. They are a cache: when it has too much to do, some are
//! passed over.

use compact_str::CompactString;
use cqrs_es::Aggregate;
use futures::future::BoxFuture;
use kontor_event_store::stream::Loaded;
use kontor_event_store::{Lineage, Log};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::warn;

const WAITING_MAX: usize = 1_000;

/// An aggregate's state, to be written once its events are on disk.
pub struct Snapshot(Box<dyn FnOnce(Arc<Log>) -> BoxFuture<'static, sqlx::Result<()>> + Send + Sync>);

impl Snapshot {
    pub fn of<A: Aggregate + 'static>(id: CompactString, loaded: Loaded<A>, lineage: Lineage) -> Self {
        Self(Box::new(move |log| Box::pin(async move { log.keep_snapshot(&id, &loaded, lineage).await })))
    }
}

/// The way to the task that writes; it ends with the executor.
pub struct Snapshots(mpsc::Sender<Snapshot>);

impl Snapshots {
    pub fn start(log: Arc<Log>) -> Self {
        let (to_write, mut written) = mpsc::channel::<Snapshot>(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(Snapshot(write)) = written.recv().await {
                if let Err(error) = write(log.clone()).await {
                    warn!(%error, "A snapshot could not be written; its stream is read from the one before");
                }
            }
        });
        Self(to_write)
    }

    pub fn keep(&self, snapshots: Vec<Snapshot>) {
        for snapshot in snapshots {
            let _ = self.0.try_send(snapshot); // Passed over when too many wait.
        }
    }
}
