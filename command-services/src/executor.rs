//! The executor: commands for one aggregate are decided one after another, on its state in memory, by `Aggregate::handle`.
//!
//! The way of a command: [`Executor::submit`] has it decided ([`unit`]) on cached state ([`mailbox`]) and queued for the
//! log; [`Submitted::finish`] waits until it is on disk. Between the two the next command for the same aggregate is
//! decided on top of it already, so that many commands of a hot aggregate share one commit. The log's expected versions
//! make a stale cache harmless: what was decided on one is refused, read again and decided again.

mod mailbox;
mod snapshots;
mod unit;

pub use unit::{Effect, Stop, Undecided, Unit};

use crate::refusal::Refusal;
use crate::shop::Shop;
use compact_str::CompactString;
use cqrs_es::Aggregate;
use kontor_event_store::key::KeyOutcome;
use kontor_event_store::stream::Loaded;
use kontor_event_store::stream::StreamError;
use kontor_event_store::{AppendError, Appended, Key, Log, Pending};
use kontor_identity::Caller;
use kontor_settings::{Check, Rule, at_least};
use kontor_telemetry::{TraceParent, spans};
use mailbox::{Cached, Forget, Full, Mailbox, Mailboxes, Turn};
use serde::{Deserialize, Serialize};
use snapshots::{Snapshot, Snapshots};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::Instrument;
use uuid::Uuid;

/// How often a command is decided anew when other writers were faster.
const ATTEMPTS_MAX: u32 = 50;

/// The executor: section `executor`, or `KONTOR_EXECUTOR__CACHED_AGGREGATES_MAX` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecutorSettings {
    /// Aggregates of one type whose state is kept in memory. At least 1.
    pub cached_aggregates_max: usize,
    /// Commands that may wait for one aggregate; more are answered with 503. At least 1.
    pub mailbox_max: usize,
    /// A snapshot of a stream is kept each time it has grown by this many events. At least 1.
    pub snapshot_every: i64,
}

impl Default for ExecutorSettings {
    fn default() -> Self {
        Self { cached_aggregates_max: 10_000, mailbox_max: 10_000, snapshot_every: 200 }
    }
}

impl Check for ExecutorSettings {
    fn check(&self) -> Result<(), Rule> {
        at_least("cached_aggregates_max", self.cached_aggregates_max, 1)?;
        at_least("mailbox_max", self.mailbox_max, 1)?;
        at_least("snapshot_every", self.snapshot_every, 1)
    }
}

/// What a command does, told with the aggregates it concerns. Decided again when other writers were faster.
pub trait Decision: Send + Sync {
    /// Handles the command's part in each aggregate, in ascending order of type and id: so no two can wait on each other.
    fn decide(&self, unit: &mut Unit<'_>) -> impl Future<Output = Result<(), Stop>> + Send;
}

impl<D: Decision> Decision for Arc<D> {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        D::decide(self, unit).await
    }
}

/// Who asks for a command, and under which key: becomes the metadata of its events.
#[derive(Debug, Clone)]
pub struct Context {
    pub key: Key,
    pub correlation_id: Uuid,
    /// The command itself, as the cause of its events.
    pub causation_id: Uuid,
    pub caller: Caller,
    /// What the caller takes the command's own aggregate to be like; another is refused.
    pub expects: Expects,
    pub trace: TraceParent,
}

/// The version that a command was given for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expects {
    #[default]
    Anything,
    /// The aggregate exists.
    Something,
    Version(i64),
}

impl Expects {
    fn check(self, actual: i64) -> Result<(), Refusal> {
        match self {
            Expects::Something if actual == 0 => Err(Refusal::Stale { expected: None, actual }),
            Expects::Version(expected) if actual != expected => {
                Err(Refusal::Stale { expected: Some(expected), actual })
            }
            _ => Ok(()),
        }
    }
}

/// A command that has been carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Id of the command's own aggregate: the first that it tells something.
    pub id: CompactString,
    /// Version of that aggregate after the command.
    pub version: i64,
    /// Position of the command's last event; a query at this position reflects the command.
    pub position: i64,
    /// Whether events were appended by this very call.
    pub changed: bool,
    /// Whether an earlier call with the same key did it.
    pub replayed: bool,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The rules refuse it; nothing has changed.
    #[error(transparent)]
    Refused(Refusal),
    #[error("the idempotency key was used for another command")]
    KeyReused,
    /// Too many commands are waiting.
    #[error("{waiting} commands are waiting already")]
    Busy { waiting: usize },
    /// Other writers were faster each time.
    #[error("other commands for the same aggregate were faster {attempts} times")]
    Contended { attempts: u32 },
    /// To be asked again with the same key.
    #[error("it is not known whether the command was carried out: {reason}")]
    Unknown { reason: String },
    #[error("the log could not be read: {0}")]
    Unreadable(#[from] StreamError),
    /// Nothing was done.
    #[error("personal data could not be sealed or opened: {reason}")]
    Sealing { reason: String },
    #[error("the log refused the command: {reason}")]
    Unfit { reason: String },
}

/// Decides commands and appends their events.
pub struct Executor {
    log: Arc<Log>,
    shop: Arc<Shop>,
    settings: ExecutorSettings,
    /// By type of aggregate.
    served: HashMap<&'static str, Box<dyn Served>>,
    snapshots: Snapshots,
    conflicts: AtomicU64,
}

impl Executor {
    pub fn new(log: Arc<Log>, shop: Arc<Shop>, settings: ExecutorSettings) -> Self {
        let snapshots = Snapshots::start(log.clone());
        Self { log, shop, settings, served: HashMap::new(), snapshots, conflicts: AtomicU64::new(0) }
    }

    /// Adds a type of aggregate.
    pub fn serving<A: Aggregate<Services = ()> + Clone + 'static>(mut self) -> Self {
        let mailboxes = Mailboxes::<A>::new(self.settings.cached_aggregates_max, self.settings.mailbox_max);
        self.served.insert(A::TYPE, Box::new(mailboxes));
        self
    }

    /// Carries a command out: decided, on disk, answered.
    pub async fn execute(&self, context: Context, decision: impl Decision) -> Result<Done, Failure> {
        self.submit(context, decision).await?.finish().await
    }

    /// Decides a command and queues its events. What is submitted later is decided on top of it.
    pub async fn submit<D: Decision>(&self, context: Context, decision: D) -> Result<Submitted<'_, D>, Failure> {
        let mut submitted = Submitted { executor: self, context, decision, attempts: 0, awaited: None };
        submitted.decide().await?;
        Ok(submitted)
    }

    /// The outcomes kept under `keys`, in their order; `None`: no command was carried out with it, or it was pruned.
    pub async fn outcomes(&self, keys: &[Key]) -> Result<Vec<Option<KeyOutcome>>, Failure> {
        self.log.outcomes(keys).await.map_err(unknown)
    }

    /// The aggregate's state and version after all commands that were decided here, to be looked at only: it may change,
    /// or what led to it be refused by the log.
    pub async fn peek<A>(&self, id: &str) -> Result<(A, i64), Failure>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
    {
        let (_, turn) = self.turn::<A>(id, false).await?;
        let cached = turn.as_ref().expect("a turn has read its aggregate");
        Ok((cached.aggregate.clone(), cached.version))
    }

    /// Notes that the stream of an aggregate has come to `sequence`, perhaps by another process: older state is read again.
    pub fn heard(&self, aggregate_type: &str, id: &str, sequence: i64) {
        if let Some(served) = self.served.get(aggregate_type) {
            served.heard(id, sequence);
        }
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub fn shop(&self) -> &Shop {
        &self.shop
    }

    /// How often a command had to be decided again.
    pub fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    fn mailboxes<A: Aggregate + 'static>(&self) -> &Mailboxes<A> {
        let served = self.served.get(A::TYPE).and_then(|served| served.as_any().downcast_ref());
        served.expect("every aggregate of a command is served")
    }

    /// Waits for a turn at an aggregate, and reads its stream if what is cached is not to be used. `presumed_new`: if
    /// nothing is cached, it does not exist.
    async fn turn<A>(&self, id: &str, presumed_new: bool) -> Result<(Arc<Mailbox<A>>, Turn<A>), Failure>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
    {
        let mailboxes = self.mailboxes::<A>();
        let mailbox = mailboxes.of(id);
        let mut turn = mailboxes.turn(&mailbox).await.map_err(|Full { waiting }| Failure::Busy { waiting })?;
        let is_usable =
            |cached: &Cached<A>| self.log.is_current(cached.lineage) && !mailbox.knows_of_more(cached.version);
        if !turn.as_ref().is_some_and(is_usable) {
            let presumed_new = presumed_new && !mailbox.knows_of_more(0);
            let lineage = self.log.new_lineage();
            let Loaded { aggregate, version } = if presumed_new {
                Loaded { aggregate: A::default(), version: 0 }
            } else {
                self.log.load::<A>(id).await?
            };
            *turn = Some(Cached { aggregate, version, lineage });
        }
        Ok((mailbox, turn))
    }
}

/// The mailboxes of one type of aggregate, whichever it is.
trait Served: Send + Sync {
    fn heard(&self, id: &str, sequence: i64);
    fn as_any(&self) -> &dyn Any;
}

impl<A: Aggregate + 'static> Served for Mailboxes<A> {
    fn heard(&self, id: &str, sequence: i64) {
        Mailboxes::heard(self, id, sequence);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A command that has been decided and waits for the log.
pub struct Submitted<'e, D> {
    executor: &'e Executor,
    context: Context,
    decision: D,
    attempts: u32,
    awaited: Option<Awaited>,
}

/// What the log was asked, and what its yes will mean.
struct Awaited {
    pending: Pending,
    verdict: Verdict,
    id: CompactString,
    /// To forget what was read, when the log says that it is out of date.
    read: Vec<Box<dyn Forget>>,
    snapshots: Vec<Snapshot>,
}

enum Verdict {
    Changed,
    Unchanged,
    Refused(Refusal),
}

impl<D: Decision> Submitted<'_, D> {
    async fn decide(&mut self) -> Result<(), Failure> {
        let mut unit = Unit::new(self.executor, &self.context, self.attempts > 0);
        let refusal = match self.decision.decide(&mut unit).await {
            Ok(()) => None,
            Err(Stop::Refused(refusal)) => Some(refusal),
            Err(Stop::Failed(failure)) => return Err(failure),
        };
        // What the rules say of a state that the caller does not know of would only puzzle them.
        let refusal = self.context.expects.check(unit.version_before()).err().or(refusal);
        self.awaited = Some(unit.submit(refusal)?);
        Ok(())
    }

    /// Waits until the command is on disk or refused.
    pub async fn finish(mut self) -> Result<Done, Failure> {
        loop {
            let awaited = self.awaited.take().expect("a submitted command awaits the log");
            let span = spans::log_append(&self.context.trace);
            match awaited.pending.instrument(span).await {
                Ok(Appended { version, position, replayed }) => {
                    let done = Done { id: awaited.id, version, position, changed: !replayed, replayed };
                    return match awaited.verdict {
                        Verdict::Changed if replayed => {
                            forget(&awaited.read).await;
                            Ok(self.first_outcome().await?.unwrap_or(done))
                        }
                        Verdict::Changed => {
                            self.executor.snapshots.keep(awaited.snapshots);
                            Ok(done)
                        }
                        // The key may say that this very command was carried out before, and is the reason why not now.
                        Verdict::Unchanged => {
                            Ok(self.first_outcome().await?.unwrap_or(Done { changed: false, ..done }))
                        }
                        Verdict::Refused(refusal) => self.first_outcome().await?.ok_or(Failure::Refused(refusal)),
                    };
                }
                Err(AppendError::Conflict { .. }) => {
                    self.executor.conflicts.fetch_add(1, Ordering::Relaxed);
                    forget(&awaited.read).await;
                    self.attempts += 1;
                    if self.attempts >= ATTEMPTS_MAX {
                        return Err(Failure::Contended { attempts: self.attempts });
                    }
                    if self.attempts > 3 {
                        tokio::time::sleep(Duration::from_millis(rand::random_range(0..4))).await;
                    }
                    self.decide().await?;
                }
                Err(error) => {
                    forget(&awaited.read).await;
                    return Err(error.into());
                }
            }
        }
    }

    async fn first_outcome(&self) -> Result<Option<Done>, Failure> {
        let key = &self.context.key;
        match self.executor.log.outcome(key).await.map_err(unknown)? {
            None => Ok(None),
            Some(outcome) if key.led_to(&outcome) => Ok(Some(outcome.into())),
            Some(_) => Err(Failure::KeyReused),
        }
    }
}

impl From<KeyOutcome> for Done {
    fn from(outcome: KeyOutcome) -> Self {
        let KeyOutcome { aggregate_id, version, position, .. } = outcome;
        Self { id: aggregate_id.into(), version, position, changed: false, replayed: true }
    }
}

async fn forget(read: &[Box<dyn Forget>]) {
    for mailbox in read {
        mailbox.forget().await;
    }
}

fn unknown(error: sqlx::Error) -> Failure {
    Failure::Unknown { reason: error.to_string() }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Conflict { .. } => Failure::Contended { attempts: 1 },
            AppendError::KeyReused => Failure::KeyReused,
            AppendError::Busy { waiting } => Failure::Busy { waiting },
            AppendError::Unknown { reason } => Failure::Unknown { reason },
            AppendError::Refused { reason } => Failure::Unfit { reason },
        }
    }
}
