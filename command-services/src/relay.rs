//! The relay: repeats the log on the JetStream stream KONTOR, event for event, in order.
//!
//! It keeps no checkpoint: the stream is its own. On start and after any error it asks the stream for the last event it
//! holds and goes on from there, so that a crash, a second relay or a stream that lost its tail all end in the same
//! place. A stream that holds what the log does not is never written to: see [`Stopped`].

mod batch;

mod resume;

use crate::leader::{Leader, Led};
use crate::service::NatsClient;
use batch::{BatchError, Publisher, Sent};
use kontor_event_store::LogReader;
use kontor_event_store::log_reader::ReadError;
use kontor_settings::{Check, Rule, SecretUrl, at_least, between};
use kontor_telemetry::Check as Health;

use resume::{resume, still_ends};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnectOptions;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

/// JetStream takes no larger atomic batch.
const BATCH_EVENTS_MAX: i64 = 1_000;
/// Batches that are sent before the first of them is acknowledged: JetStream syncs one while it takes in the next.
const UNDER_WAY_MAX: usize = 3;
/// A batch of so many events that is not half full is followed by the next one no sooner than [`GATHERING`] after it was sent:
/// JetStream stages every batch in files of its own, which costs the same whatever is in it.
const BUSY_FROM: usize = 32;
const GATHERING: Duration = Duration::from_millis(20);
/// How often an idle relay makes sure that it still leads, and that the stream is as it left it.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The relay from log to JetStream: section `relay`, or `KONTOR_RELAY__POLL_INTERVAL_MS` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelaySettings {
    /// The primary, as role `kontor_relay`.
    pub log_url: SecretUrl,
    /// How long to wait before asking an idle log again, in milliseconds. At least 1. Appends of the same process wake it.
    pub poll_interval_ms: u64,
    /// Events that are published together. 1 to 1,000.
    pub batch_events_max: i64,
    /// Copies of the stream in a NATS cluster. 1 to 5.
    pub replicas: usize,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            log_url: "postgres://kontor_relay@127.0.0.1:5432/kontor".parse().expect("a URL"),
            poll_interval_ms: 50,
            batch_events_max: BATCH_EVENTS_MAX,
            replicas: 1,
        }
    }
}

impl Check for RelaySettings {
    fn check(&self) -> Result<(), Rule> {
        at_least("poll_interval_ms", self.poll_interval_ms, 1)?;
        between("batch_events_max", self.batch_events_max, 1, BATCH_EVENTS_MAX)?;
        between("replicas", self.replicas, 1, 5)
    }
}

/// Why the relay stopped for good: the stream is not a copy of the log any more, and a person must decide.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    #[error(
        "the stream is ahead of the log: it holds position {stream}, the log ends at {log}. The log has lost commits, \
         as a failover to an asynchronous standby does. Find out what became of them; then delete the stream KONTOR, \
         and it is filled anew from the log"
    )]
    Ahead { stream: i64, log: i64 },
    #[error(
        "stream and log differ at position {position}: the stream holds event {stream}, the log {log}. The log has \
         lost commits, as a failover to an asynchronous standby does. Find out what became of them; then delete the \
         stream KONTOR, and it is filled anew from the log"
    )]
    Differ { position: i64, stream: String, log: String },
}

/// What happened on the way; the relay resumes and goes on.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("the log could not be read: {0}")]
    Log(#[from] ReadError),
    #[error("the log could not be asked: {0}")]
    Database(#[from] sqlx::Error),
    #[error("JetStream: {0}")]
    JetStream(String),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the stream is not as the relay left it: it ends at sequence {found}, not {expected}")]
    Changed { expected: u64, found: u64 },
    #[error("another relay leads")]
    NotLeading,
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What the relay has done so far, for `/metrics`.
#[derive(Debug, Default)]
pub struct RelayCounts {
    /// Last position that the stream is known to hold.
    pub position: AtomicI64,
    pub events: AtomicU64,
    pub batches: AtomicU64,
    pub interruptions: AtomicU64,
    /// 1 while this relay leads.
    pub leading: AtomicI64,
}

/// One relay. Several may run: one leads, the others wait.
pub struct Relay {
    pub settings: RelaySettings,
    pub log: LogReader,
    /// Where the leader's lock is held.
    pub lock: PgConnectOptions,
    pub nats: NatsClient,
    /// Wakes the relay when this process has appended; a relay without a log of its own polls.
    pub appended: Option<watch::Receiver<i64>>,
    pub health: Health,
    pub counts: Arc<RelayCounts>,
}

impl Relay {
    /// Publishes until the task is dropped, or for ever until the stream is not a copy of the log any more.
    pub async fn run(mut self) -> Stopped {
        loop {
            let interruption = match self.lead().await {
                Err(Interruption::Stopped(stopped)) => {
                    self.health.failing(stopped.to_string());
                    error!("The relay has stopped: {stopped}");
                    return stopped;
                }
                Err(interruption) => interruption,
                Ok(never) => match never {},
            };
            self.counts.leading.store(0, Ordering::Relaxed);
            if let Interruption::NotLeading = interruption {
                self.health.ok(); // Standing by is what it is there for.
            } else {
                self.counts.interruptions.fetch_add(1, Ordering::Relaxed);
                self.health.failing(interruption.to_string());
                warn!("The relay resumes: {interruption}");
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn lead(&mut self) -> Result<std::convert::Infallible, Interruption> {
        let mut leader = Leader::elect(&self.lock, Led::Relay).await?.ok_or(Interruption::NotLeading)?;
        // What the stream holds, and what it will hold once all that is under way has arrived.
        let mut end = resume(&self.nats, &self.settings, &self.log).await?;
        let mut sent = end;
        let mut under_way: VecDeque<Sent> = VecDeque::new();
        let mut publisher = Publisher::new(self.nats.client.clone()).await?;
        let epoch = self.log.epoch().await?;
        info!(position = end.position, epoch, "The relay leads");
        self.health.ok();
        self.counts.leading.store(1, Ordering::Relaxed);
        self.counts.position.store(end.position, Ordering::Relaxed);
        let mut checked = Instant::now();
        let mut next_at = Instant::now();
        let mut read_all_at = None;
        loop {
            if under_way.len() < UNDER_WAY_MAX
                && Instant::now() >= next_at
                && self.may_go_on(sent.position, read_all_at)
            {
                let now = Instant::now();
                let events = self.log.read(sent.position, self.settings.batch_events_max).await?;
                read_all_at = ((events.len() as i64) < self.settings.batch_events_max).then_some(now);
                if !events.is_empty() {
                    if events.len() >= BUSY_FROM && (events.len() as i64) < self.settings.batch_events_max / 2 {
                        next_at = Instant::now() + GATHERING;
                    }
                    let batch = publisher.send(&events, sent, epoch).await?;
                    sent = batch.end;
                    under_way.push_back(batch);
                    continue;
                }
            }
            if let Some(batch) = under_way.pop_front() {
                publisher.settle(&batch).await?;
                end = batch.end;
                self.counts.position.store(end.position, Ordering::Relaxed);
                self.counts.events.fetch_add(batch.events as u64, Ordering::Relaxed);
                self.counts.batches.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            sleep_until(next_at).await;
            self.wait(end.position).await;
            if checked.elapsed() >= CHECK_EVERY {
                checked = Instant::now();
                leader.check().await?;
                still_ends(&self.nats, &end).await?;
            }
        }
    }

    /// Whether the log may have something after `position`, up to which all was read at `read_all_at`, if it was: this process has
    /// appended it, or others may have meanwhile.
    fn may_go_on(&self, position: i64, read_all_at: Option<Instant>) -> bool {
        let poll = Duration::from_millis(self.settings.poll_interval_ms);
        self.appended.as_ref().is_none_or(|appended| *appended.borrow() > position)
            || read_all_at.is_none_or(|read_at| read_at.elapsed() >= poll)
    }

    /// Until there may be something after `position`.
    async fn wait(&mut self, position: i64) {
        let poll = Duration::from_millis(self.settings.poll_interval_ms);
        match &mut self.appended {
            Some(appended) => {
                let _ = timeout(poll, appended.wait_for(|head| *head > position)).await; // Or others have appended.
            }
            None => sleep(poll).await,
        }
    }
}
