//! Hears every event of the log, in order: for the caches of this process, for those who wait for an order, and for the
//! process managers.
//!
//! Every process follows, so that its caches are true and whoever takes over knows what is open. Only the leader acts.

use super::carts::{AbandonCart, CartNews};
use super::checkpoint::{self, Checkpoint};
use super::orders::{Orders, Work};
use super::reactions::{Carried, Origin, carry_out};
use super::{ProcessCounts, ProcessesSettings, Settlements};
use crate::executor::{Executor, Failure};
use crate::leader::{Leader, Led};
use crate::payments::Payments;
use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::Aggregate;
use kontor_domain::cart::Cart;
use kontor_domain::order::Order;
use kontor_domain::payment::Payment;
use kontor_domain::processes::command_id;
use kontor_domain::timer::Timer;
use kontor_domain::{CartId, OrderId};
use kontor_event_schemas::registry::DecodeError;
use kontor_event_schemas::{Fact, Metadata, RecordedEvent};
use kontor_event_store::LogReader;
use kontor_event_store::feed::{Committed, CommittedEvent};
use kontor_event_store::log_reader::ReadError;
use kontor_telemetry::Check as Health;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

/// Events that are read together.
const BATCH_EVENTS_MAX: i64 = 2_000;
/// How long to wait for what is missing before a batch of this process: mostly it is another lane's, and on its way.
const MISSING_FOR: Duration = Duration::from_millis(1);
/// How often the leader makes sure that it still leads, and the others ask whether they may.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How often the leader looks for carts that were left behind.
const CARTS_EVERY: Duration = Duration::from_secs(5);

/// What happened on the way; the follower begins anew at the checkpoint.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    #[error("the log could not be read: {0}")]
    Log(#[from] ReadError),
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("event {position} cannot be read by this release: {error}")]
    Undecodable { position: i64, error: DecodeError },
    #[error("event {position} has metadata of another form: {error}")]
    Metadata { position: i64, error: serde_json::Error },
    #[error(transparent)]
    Order(#[from] Failure),
    #[error("the log has a new epoch")]
    Epoch,
}

/// One process's ear at the log.
pub struct Follower {
    pub executor: Arc<Executor>,
    pub settlements: Settlements,
    pub settings: ProcessesSettings,
    /// `None`: this process has no process managers.
    pub managers: Option<Managers>,
    pub counts: Arc<ProcessCounts>,
    pub health: Health,
}

/// What acting needs.
pub struct Managers {
    pub payments: Arc<Payments>,
    /// Where the leader's lock is held and checkpoints are written.
    pub database: PgConnectOptions,
}

impl Follower {
    /// Follows the log until the task is dropped.
    pub async fn run(self) {
        loop {
            let interruption = match Following::begin(&self).await {
                Ok(mut following) => match following.follow().await {
                    Err(interruption) => interruption,
                    Ok(never) => match never {},
                },
                Err(interruption) => interruption,
            };
            self.counts.leading.store(0, Ordering::Relaxed);
            self.health.failing(interruption.to_string());
            warn!("The process managers begin anew: {interruption}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Why the follower looks up.
enum Cause {
    /// This process has appended something, or done something.
    Fed,
    /// It may be that others have.
    Time,
}

/// A follower that has begun. What it has under way ends with it.
struct Following<'f> {
    follower: &'f Follower,
    reader: LogReader,
    /// What this process appends.
    feed: mpsc::Receiver<Committed>,
    /// What of it came before its turn, by the position that it follows on.
    early: BTreeMap<i64, Committed>,
    /// Since when something is missing before that.
    missing_since: Option<Instant>,
    /// Of the log, when the follower began.
    epoch: i64,
    /// The last event that was heard.
    at: i64,
    orders: Orders,
    carts: CartNews,
    lead: Option<Lead>,
    /// When it was last made sure who leads.
    checked: Instant,
    /// Hands back what was carried out.
    done: (mpsc::UnboundedSender<Work>, mpsc::UnboundedReceiver<Work>),
}

/// What the leader has under way and has written down.
struct Lead {
    leader: Leader,
    work: JoinSet<()>,
    turns: Arc<Semaphore>,
    /// The orders of the last checkpoint.
    saved: HashSet<OrderId>,
    saved_at: Instant,
    looked_for_carts: Instant,
}

impl<'f> Following<'f> {
    async fn begin(follower: &'f Follower) -> Result<Self, Interruption> {
        let log = follower.executor.log();
        let (epoch, reader) = (log.epoch(), log.reader());
        let mut following = Self {
            follower,
            feed: log.feed(), // Before the first read of the log, so that nothing falls between.
            early: BTreeMap::new(),
            missing_since: None,
            epoch,
            at: 0,
            orders: Orders::default(),
            carts: CartNews::default(),
            lead: None,
            checked: Instant::now() - CHECK_EVERY,
            done: mpsc::unbounded_channel(),
            reader,
        };
        let Some(managers) = &follower.managers else {
            following.at = following.reader.head().await?;
            return Ok(following);
        };
        let mut connection = managers.database.connect().await?;
        let Checkpoint { position, orders } = checkpoint::load(&mut connection, epoch).await?;
        following.at = position;
        for order_id in orders {
            following.orders.read(&follower.executor, order_id).await?;
        }
        Ok(following)
    }

    async fn follow(&mut self) -> Result<Infallible, Interruption> {
        self.follower.health.ok();
        let mut cause = Cause::Time;
        loop {
            if self.checked.elapsed() >= CHECK_EVERY {
                self.checked = Instant::now();
                self.check().await?;
            }
            let heard = match cause {
                // A busy process is fed all the time: what another has appended in between must not wait for a pause.
                Cause::Fed if self.missing_since.is_some_and(|since| since.elapsed() >= MISSING_FOR) => {
                    self.hear_log().await?
                }
                Cause::Fed => self.hear_feed()?,
                Cause::Time => self.hear_log().await?,
            };
            self.missing_since = match self.early.is_empty() {
                true => None,
                false => self.missing_since.filter(|_| heard == 0).or(Some(Instant::now())),
            };
            self.orders.meet_strangers(&self.follower.executor).await?;
            while let Ok(work) = self.done.1.try_recv() {
                self.orders.done(&work);
            }
            self.act();
            // A batch that was read whole may not be the last.
            cause = if heard >= BATCH_EVENTS_MAX { Cause::Time } else { self.wait().await };
        }
    }

    /// Hears what this process has appended, as far as it follows on what was heard. Returns the number of events.
    fn hear_feed(&mut self) -> Result<i64, Interruption> {
        let before = self.at;
        while let Ok(batch) = self.feed.try_recv() {
            self.early.insert(batch.before, batch);
        }
        while let Some(batch) = self.early.first_entry().filter(|batch| *batch.key() <= self.at) {
            let Committed { before, events } = batch.remove();
            for (position, CommittedEvent { stream, sequence, event }) in (before + 1..).zip(&events) {
                if position > self.at {
                    let (payload, metadata) = (&event.payload, &event.metadata);
                    self.hear(position, stream.aggregate_type, &stream.aggregate_id, *sequence, payload, metadata)?;
                }
            }
        }
        Ok(self.at - before)
    }

    /// Hears what is in the log, whoever has appended it. Returns the number of events.
    async fn hear_log(&mut self) -> Result<i64, Interruption> {
        let events = self.reader.read(self.at, BATCH_EVENTS_MAX).await?;
        for RecordedEvent { position, aggregate_type, aggregate_id, sequence, payload, metadata, .. } in &events {
            self.hear(*position, aggregate_type, aggregate_id, *sequence, payload, metadata)?;
        }
        self.hear_feed()?; // What was read need not be kept.
        Ok(events.len() as i64)
    }

    fn hear(
        &mut self,
        position: i64,
        aggregate_type: &str,
        aggregate_id: &str,
        sequence: i64,
        payload: &str,
        metadata: &str,
    ) -> Result<(), Interruption> {
        self.at = position;
        self.follower.counts.position.store(self.at, Ordering::Relaxed);
        self.follower.executor.heard(aggregate_type, aggregate_id, sequence);
        if ![Order::TYPE, Payment::TYPE, Timer::TYPE, Cart::TYPE].contains(&aggregate_type) {
            return Ok(());
        }
        let fact = Fact::decode(aggregate_type, aggregate_id, payload.as_bytes());
        let fact = fact.map_err(|error| Interruption::Undecodable { position, error })?;
        if let Fact::Order(order_id, event) = &fact {
            self.follower.settlements.hear(*order_id, event, position);
        }
        if self.follower.managers.is_none() {
            return Ok(());
        }
        if let Fact::Cart(cart_id, event) = &fact {
            self.carts.hear(*cart_id, event, position);
        } else {
            let metadata: Metadata =
                serde_json::from_str(metadata).map_err(|error| Interruption::Metadata { position, error })?;
            self.orders.hear(&fact, &metadata);
        }
        Ok(())
    }

    /// Begins what is to be done and was not begun.
    fn act(&mut self) {
        let mut to_do = self.orders.to_do(self.lead.is_some());
        let (Some(lead), Some(managers)) = (&mut self.lead, &self.follower.managers) else { return };
        to_do.extend(self.orders.due(Utc::now()));
        for work in to_do {
            let (executor, payments) = (self.follower.executor.clone(), managers.payments.clone());
            let (settings, turns, done) = (self.follower.settings.clone(), lead.turns.clone(), self.done.0.clone());
            lead.work.spawn(async move {
                let (origin, instruction) = (work.origin, work.instruction.clone());
                until_carried(&settings, &turns, || carry_out(&executor, &payments, origin, instruction.clone())).await;
                let _ = done.send(work); // Nobody listens when the follower begins anew.
            });
        }
        while lead.work.try_join_next().is_some() {}
        let counts = &self.follower.counts;
        counts.in_flight.store(lead.work.len() as i64, Ordering::Relaxed);
        counts.orders.store(self.orders.count() as i64, Ordering::Relaxed);
    }

    /// Until there is something to hear or to do.
    async fn wait(&mut self) -> Cause {
        let poll = Duration::from_millis(self.follower.settings.poll_interval_ms);
        let alarm = self.orders.next_alarm().filter(|_| self.lead.is_some());
        let until_alarm = alarm.and_then(|at| (at - Utc::now()).to_std().ok()).unwrap_or(Duration::MAX);
        // What is missing before an early batch is another lane's, on its way, or another process's.
        let pause = if self.early.is_empty() { poll } else { MISSING_FOR };
        tokio::select! {
            biased; // What is there already is heard first.
            Some(batch) = self.feed.recv() => {
                self.early.insert(batch.before, batch);
                Cause::Fed
            }
            Some(work) = self.done.1.recv() => {
                self.orders.done(&work);
                Cause::Fed
            }
            () = sleep(pause.min(until_alarm)) => Cause::Time,
        }
    }

    /// Leads if nobody does; as the leader, writes down how far it has come and looks for carts that were left behind.
    async fn check(&mut self) -> Result<(), Interruption> {
        if self.follower.executor.log().epoch() != self.epoch {
            return Err(Interruption::Epoch);
        }
        let Some(managers) = &self.follower.managers else { return Ok(()) };
        let Some(lead) = &mut self.lead else {
            let mut connection = managers.database.connect().await?;
            self.carts.forget(checkpoint::position(&mut connection).await?);
            if let Some(leader) = Leader::elect(&managers.database, Led::Processes).await? {
                self.take_over(leader).await?;
            }
            return Ok(());
        };
        if lead.saved_at.elapsed() < Duration::from_millis(self.follower.settings.checkpoint_every_ms) {
            return Ok(lead.leader.check().await?);
        }
        lead.saved_at = Instant::now();
        let now = Checkpoint { position: self.at, orders: self.orders.ids() };
        let carts = self.carts.take();
        let saved = checkpoint::save(lead.leader.connection(), self.epoch, &lead.saved, &now, &carts).await;
        if let Err(error) = saved {
            self.carts.put_back(carts);
            return Err(error.into());
        }
        lead.saved = now.orders;
        if lead.looked_for_carts.elapsed() >= CARTS_EVERY {
            lead.looked_for_carts = Instant::now();
            let idle = TimeDelta::seconds(self.follower.settings.cart_idle_s as i64);
            let now = Utc::now();
            for cart_id in checkpoint::idle_carts(lead.leader.connection(), now - idle).await? {
                let executor = self.follower.executor.clone();
                lead.work.spawn(async move { abandon(&executor, cart_id, idle, now).await });
            }
        }
        Ok(())
    }

    async fn take_over(&mut self, mut leader: Leader) -> Result<(), Interruption> {
        let connection = leader.connection();
        let Checkpoint { position, orders } = checkpoint::load(connection, self.epoch).await?;
        if position == 0 {
            checkpoint::clear(connection).await?;
        }
        // Those that this process has found settled are known to be; of others it may not have heard.
        for order_id in orders.difference(&self.orders.ids()) {
            self.orders.read(&self.follower.executor, *order_id).await?;
        }
        self.orders.begin_anew();
        let now = Instant::now();
        self.lead = Some(Lead {
            leader,
            work: JoinSet::new(),
            turns: Arc::new(Semaphore::new(self.follower.settings.in_flight_max)),
            saved: orders,
            saved_at: now,
            looked_for_carts: now,
        });
        self.follower.counts.leading.store(1, Ordering::Relaxed);
        info!(position = self.at, open = self.orders.count(), "The process managers lead");
        Ok(())
    }
}

/// Tries until it is carried out; begins anew with the next leader if this one ends.
async fn until_carried<F>(settings: &ProcessesSettings, turns: &Semaphore, carry_out: impl Fn() -> F)
where
    F: Future<Output = Result<Carried, Failure>>,
{
    let longest = Duration::from_millis(settings.retry_max_ms);
    let mut pause = Duration::from_millis(settings.retry_first_ms);
    loop {
        let carried = {
            let _turn = turns.acquire().await;
            carry_out().await
        };
        match carried {
            Ok(Carried::Out) => return,
            Ok(Carried::Pending) => sleep(Duration::from_secs(settings.ask_pending_after_s)).await,
            Err(failure) => {
                if let Failure::Unfit { .. } = failure {
                    error!("A reaction cannot be carried out, and is tried again: {failure}");
                } else {
                    info!(?pause, "A reaction is tried again: {failure}");
                }
                sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (2 * pause).min(longest);
            }
        }
    }
}

/// What cannot be done now is done when carts are looked for again.
async fn abandon(executor: &Executor, cart_id: CartId, idle: TimeDelta, now: DateTime<Utc>) {
    let context = Origin::time().command(command_id(cart_id.0, &format!("abandon-cart {now}")));
    match executor.execute(context, AbandonCart { cart_id, idle, now }).await {
        Ok(_) | Err(Failure::Refused(_)) => {}
        Err(failure) => info!(%cart_id, "A cart that was left behind is looked at again: {failure}"),
    }
}

#[cfg(test)]
mod tests;
