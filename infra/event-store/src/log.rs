//! The log as a writer has it: open once a process, shared by all who append.

use crate::append::{Append, AppendError, Appended, Lineage};
use crate::batch::{Pending, Queue};
use crate::feed::{Committed, Feed};
use crate::key::{self, Key, KeyOutcome};
use crate::lane::Lane;
use crate::log_reader::LogReader;
use crate::seen::Seen;
use kontor_event_schemas::upcast::Upcasters;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How a process writes to the log.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Connections that append batches. Two: while one batch commits, the next is already at the gate.
    pub lanes: usize,
    /// Connections that read streams and keys.
    pub readers_max: u32,
    /// Appends that may wait; more are refused as busy.
    pub waiting_max: usize,
    /// For how long an append is tried again while the log cannot be reached, in milliseconds. A connection without an
    /// answer for twice as long counts as broken.
    pub give_up_after_ms: u64,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { lanes: 2, readers_max: 6, waiting_max: 20_000, give_up_after_ms: 10_000 }
    }
}

/// What the log has done for this process so far.
#[derive(Debug, Default)]
pub struct LogCounts {
    pub batches: AtomicU64,
    pub appends: AtomicU64,
    pub events: AtomicU64,
    /// Batches that were refused by the log and sifted.
    pub refused_batches: AtomicU64,
    pub reconnects: AtomicU64,
}

/// The log, open for appending and reading.
pub struct Log {
    pub(crate) queue: Arc<Queue>,
    pub(crate) reads: PgPool,
    pub(crate) upcasters: Arc<Upcasters>,
    shared: Arc<Shared>,
    lanes: parking_lot::Mutex<JoinSet<()>>,
}

/// What the lanes of one process have in common.
pub(crate) struct Shared {
    pub epoch: AtomicI64,
    pub head: watch::Sender<i64>,
    pub feed: Feed,
    pub counts: LogCounts,
    pub seen: Seen,
    /// Connections older than this are not read from any more: they are dead, or lead to a server that was replaced.
    pub reads_since: Arc<parking_lot::Mutex<Instant>>,
}

impl Log {
    /// Connects; the log must be there and writable. Errors: of the connection, or of a log that was not migrated.
    pub async fn open(
        options: PgConnectOptions,
        settings: LogSettings,
        upcasters: Upcasters,
    ) -> sqlx::Result<Arc<Self>> {
        let reads_since = Arc::new(parking_lot::Mutex::new(Instant::now()));
        let since = reads_since.clone();
        let reads = PgPoolOptions::new()
            .max_connections(settings.readers_max)
            .test_before_acquire(false) // Two round trips a command otherwise; a dead connection is seen by its error.
            .before_acquire(move |_, connection| {
                let is_of_this_server = connection.age < since.lock().elapsed();
                Box::pin(async move { Ok(is_of_this_server) })
            })
            .connect_with(options.clone())
            .await?;
        let head: i64 = LogReader::new(reads.clone(), Arc::default()).head().await?;
        let queue = Arc::new(Queue::new(settings.waiting_max));
        let shared = Arc::new(Shared {
            epoch: AtomicI64::new(0),
            head: watch::Sender::new(head),
            feed: Feed::default(),
            counts: LogCounts::default(),
            seen: Seen::new(),
            reads_since,
        });
        let mut lanes = JoinSet::new();
        for _ in 0..settings.lanes.max(1) {
            let give_up_after = Duration::from_millis(settings.give_up_after_ms);
            let mut lane = Lane::new(options.clone(), queue.clone(), shared.clone(), give_up_after);
            lane.connect().await?;
            lanes.spawn(lane.run());
        }
        let upcasters = Arc::new(upcasters);
        Ok(Arc::new(Self { queue, reads, upcasters, shared, lanes: parking_lot::Mutex::new(lanes) }))
    }

    /// Queues an append, in the order of the calls.
    pub fn submit(&self, append: Append) -> Result<Pending, AppendError> {
        self.queue.submit(append)
    }

    /// Queues an append and waits until it is on disk or refused.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.submit(append)?.await
    }

    /// To be taken before a stream is read.
    pub fn new_lineage(&self) -> Lineage {
        self.queue.new_lineage()
    }

    /// Whether what was read under `lineage` may still be used; a failover ends that for all.
    pub fn is_current(&self, lineage: Lineage) -> bool {
        self.queue.is_current(lineage)
    }

    /// The outcome kept under `key`; `None`: nothing was appended with it, or it was pruned.
    pub async fn outcome(&self, key: &Key) -> sqlx::Result<Option<KeyOutcome>> {
        Ok(self.outcomes(std::slice::from_ref(key)).await?.pop().flatten())
    }

    /// The outcomes kept under `keys`, in their order.
    pub async fn outcomes(&self, keys: &[Key]) -> sqlx::Result<Vec<Option<KeyOutcome>>> {
        key::look_up(&self.reads, keys).await
    }

    /// Forgets keys that are older than `older_than`, at most `most` of them. Returns how many.
    pub async fn prune_keys(&self, older_than: Duration, most: i64) -> sqlx::Result<i64> {
        sqlx::query_scalar("select prune_idempotency_keys(now() - make_interval(secs => $1), $2)")
            .bind(older_than.as_secs_f64())
            .bind(most)
            .fetch_one(&self.reads)
            .await
    }

    /// The last position that this process has appended, or seen when it opened the log.
    pub fn appended(&self) -> watch::Receiver<i64> {
        self.shared.head.subscribe()
    }

    /// What this process appends from now on, for one listener: the last to ask.
    pub fn feed(&self) -> mpsc::Receiver<Committed> {
        self.shared.feed.listen()
    }

    /// Reads the log by position.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.reads.clone(), self.upcasters.clone())
    }

    /// Raised when the log may have lost commits.
    pub fn epoch(&self) -> i64 {
        self.shared.epoch.load(Ordering::Acquire)
    }

    pub fn counts(&self) -> &LogCounts {
        &self.shared.counts
    }

    /// Appends that wait to be taken into a batch.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Appends what is waiting, then ends. Later appends are refused.
    pub async fn close(&self) {
        self.queue.close();
        let mut lanes = std::mem::take(&mut *self.lanes.lock());
        while lanes.join_next().await.is_some() {}
        self.reads.close().await;
    }
}
