//! Mail to customers about their orders: confirmed, shipped, refunded; and about a cart left behind.
//!
//! The log is read from a checkpoint, and each event that calls for a mail ([`occasion`]) becomes a row of the [`outbox`] in
//! the transaction that moves the checkpoint. From there the mails are [sent](post) and tried again until the server takes
//! them or they are given up. What a mail [says](letter) is read from the log, opened and put into [form](templates) only at
//! that moment. A crash between the server's yes and our note of it sends a mail twice, under the same Message-ID.

pub mod counts;
pub mod letter;
pub mod mailer;
mod names;
pub mod occasion;
pub mod outbox;
pub mod post;
mod settings;
pub mod templates;

pub use counts::NotificationCounts;
pub use settings::{MailSettings, Tls};

use crate::leader::{Leader, Led};
use kontor_event_store::LogReader;
use kontor_event_store::log_reader::ReadError;
use kontor_telemetry::Check as Health;
use occasion::{Occasion, READ, Unreadable};
use outbox::{Outbox, Term};
use post::{Halted, PostOffice, send_all};
use sqlx::postgres::PgConnectOptions;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

/// Positions that are looked at together.
const POSITIONS_MAX: i64 = 10_000;
/// How long events are left to gather after one has come: a busy shop's are then read and queued by the batch.
const GATHER: Duration = Duration::from_millis(250);
/// How often the one that leads makes sure that it still does, and counts what is left.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// How long who does not lead, or was interrupted, waits before trying again.
const PAUSE: Duration = Duration::from_millis(200);

/// Why sending has to begin anew.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    Event(#[from] Unreadable),
    #[error("the outbox cannot be reached: {0}")]
    Outbox(#[from] sqlx::Error),
    #[error(transparent)]
    Post(#[from] Halted),
    #[error("another process sends the mail")]
    NotLeading,
}

/// The sender of mails. Several may run: one sends, the others wait.
pub struct Notifications {
    pub office: Arc<PostOffice>,
    pub outbox: Outbox,
    pub log: LogReader,
    /// Where the leader's lock is held.
    pub lock: PgConnectOptions,
    /// Wakes the sender when this process has appended; without a log of its own it polls.
    pub appended: Option<watch::Receiver<i64>>,
    pub health: Health,
}

impl Notifications {
    /// Sends until `stop` says so, and ends what was begun.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let counts = self.office.counts.clone();
        loop {
            let led = self.lead(stop.clone()).await;
            counts.leading.store(0, Ordering::Relaxed);
            match led {
                Ok(()) => return,
                Err(Interruption::NotLeading) => self.health.ok(), // Standing by is what it is there for.
                Err(interruption) => {
                    self.health.failing(interruption.to_string());
                    warn!("Notifications resume: {interruption}");
                }
            }
            if timeout(PAUSE, stop.wait_for(|stop| *stop)).await.is_ok() {
                return;
            }
        }
    }

    async fn lead(&mut self, stop: watch::Receiver<bool>) -> Result<(), Interruption> {
        let leader = Leader::elect(&self.lock, Led::Notifications).await?.ok_or(Interruption::NotLeading)?;
        let term = self.outbox.lead().await?;
        let Term { checkpoint, reclaimed, .. } = term;
        info!(checkpoint, reclaimed, "Notifications are sent from here");
        self.health.ok();
        self.office.counts.leading.store(1, Ordering::Relaxed);
        let queued = Notify::new();
        let (office, outbox) = (self.office.clone(), self.outbox.clone());
        tokio::select! {
            Err(interruption) = watch_over(leader, &outbox, &office) => Err(interruption),
            Err(interruption) = self.fill(checkpoint, &queued) => Err(interruption),
            sent = send_all(office.clone(), (&outbox, &term), &queued, stop) => Ok(sent?),
        }
    }

    /// Queues a mail for each event after `checkpoint` that calls for one.
    async fn fill(&mut self, checkpoint: i64, queued: &Notify) -> Result<Infallible, Interruption> {
        // Where the checkpoint stands, and up to where nothing more calls for a mail.
        let (mut saved, mut read) = (checkpoint, checkpoint);
        loop {
            let (events, up_to) = self.log.read_only(READ, read, POSITIONS_MAX).await?;
            let mut occasions = Vec::new();
            for event in &events {
                occasions.extend(Occasion::of(event)?);
            }
            let more = up_to == read + POSITIONS_MAX;
            read = up_to;
            // The checkpoint need not follow every event that nobody is mailed about.
            if !occasions.is_empty() || read - saved >= POSITIONS_MAX {
                if !self.outbox.queue(saved, read, &occasions).await? {
                    return Err(Interruption::NotLeading);
                }
                saved = read;
                queued.notify_one();
            }
            if !more {
                self.wait(read).await;
            }
        }
    }

    /// Until there may be something after `position`.
    async fn wait(&mut self, position: i64) {
        let poll = Duration::from_millis(self.office.settings.poll_interval_ms);
        match &mut self.appended {
            Some(appended) => {
                let _ = timeout(poll, appended.wait_for(|head| *head > position)).await; // Or others have appended.
            }
            None => sleep(poll).await,
        }
        sleep(GATHER).await;
    }
}

/// Ends when the lead is lost.
async fn watch_over(mut leader: Leader, outbox: &Outbox, office: &PostOffice) -> Result<Infallible, Interruption> {
    loop {
        leader.check().await?;
        office.counts.look_at(&outbox.backlog().await?);
        sleep(CHECK_EVERY).await;
    }
}
