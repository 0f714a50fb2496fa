//! Applies events to one generation, under one lease: what projectors at work and rebuilds have in common.

use super::dead_letters::{self, Aggregate, Letter};
use super::delivery::Delivery;
use super::generation::Generation;
use super::lanes::{LANES, Mark, Progress, groups, lane_of};
use super::lease::Lease;
use super::projection::{ApplyError, Event, Projection};
use super::store::{Batch, Store, StoreError, StoreOptions, Writer};
use futures::future::join_all;
use kontor_event_schemas::Fact;
use kontor_event_schemas::registry::DecodeError;
use kontor_event_store::LogReader;
use kontor_event_store::log_reader::ReadError;
use sqlx::PgPool;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tracing::warn;

/// A batch with as many events for the projection is worth several transactions at once, and one more to end it.
const DIVIDED_FROM: usize = 500;
const PORTION_EVENTS: i64 = 1_000;
/// How often an event is tried that cannot be applied, by itself, before it is set aside, and how long after the first time.
const ATTEMPTS_MAX: i32 = 4;
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// What it takes to keep generations.
#[derive(Clone)]
pub struct Means {
    /// The control tables, as role `kontor_projector`.
    pub control: PgPool,
    pub log: LogReader,
    /// Transactions at the same time of one generation.
    pub writers_max: usize,
}

/// A projection, and where it is kept.
#[derive(Clone)]
pub struct Kept {
    pub projection: Arc<dyn Projection>,
    pub store: Arc<dyn Store>,
}

impl Kept {
    pub fn new(projection: Arc<dyn Projection>, options: &StoreOptions) -> Self {
        Kept { store: projection.clone().store(options), projection }
    }
}

/// An event that was read: decoded, if the projection wants it.
#[derive(Debug)]
pub struct Read {
    pub delivery: Arc<Delivery>,
    /// `None`: it is passed over.
    fact: Option<Result<Fact, DecodeError>>,
}

impl Read {
    pub fn of(projection: &dyn Projection, delivery: Arc<Delivery>) -> Self {
        let Delivery { aggregate_type, aggregate_id, payload, .. } = &*delivery;
        let is_wanted = projection.aggregate_types().contains(&aggregate_type.as_str());
        let fact = is_wanted.then(|| Fact::decode(aggregate_type, aggregate_id, payload));
        Read { delivery, fact }
    }
}

/// One generation, open for writing.
pub struct Applier {
    projection: Arc<dyn Projection>,
    writer: Box<dyn Writer>,
    progress: Progress,
    log_epoch: i64,
    writers_max: usize,
    /// Whose events are set aside.
    blocked: HashSet<Aggregate>,
    /// What is left out, if not all is to be applied.
    limit: Option<Limit>,
}

/// How far a generation is to come that is compared with another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// Lane by lane.
    pub progress: Progress,
    /// Positions that the other has passed over.
    pub passed_over: HashSet<i64>,
}

impl Limit {
    fn excludes(&self, lane: usize, position: i64) -> bool {
        position > self.progress.of(lane) || self.passed_over.contains(&position)
    }
}

/// What is written at once, unless it is divided.
#[derive(Default)]
struct Portion {
    events: Vec<Event>,
    letters: Vec<Letter>,
}

impl Portion {
    fn batch(&self, lanes: Range<usize>, from: i64, to: Mark) -> Batch<'_> {
        Batch { lanes, from, to, events: &self.events, letters: &self.letters, settled: &[] }
    }
}

/// Why events are not applied.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] ReadError),
    /// Nothing is applied until somebody has acted and started it again.
    #[error(transparent)]
    Final(#[from] Final),
}

/// What no retry cures.
#[derive(Debug, thiserror::Error)]
pub enum Final {
    #[error("event {position} has no usable id in its metadata: {error}")]
    NoEventId { position: i64, error: serde_json::Error },
    #[error(
        "event {position} of the log (epoch {log_epoch}) is not the one that was applied (epoch {applied_in}): \
         the log lost commits, and the read model has what they did; rebuild it, as the README of projection-services says"
    )]
    AnotherLog { position: i64, log_epoch: i64, applied_in: i64 },
    #[error(
        "events up to {position} were applied, but the log ends before (epoch {log_epoch}; they were applied in epoch \
         {applied_in}): the log lost commits; rebuild the read model, as the README of projection-services says"
    )]
    AheadOfLog { position: i64, log_epoch: i64, applied_in: i64 },
}

impl From<ApplyError> for Interruption {
    fn from(error: ApplyError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<sqlx::Error> for Interruption {
    fn from(error: sqlx::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl Applier {
    /// Opens `generation` for the holder of `lease`, and makes sure that the log, which has this epoch, still has what was
    /// applied.
    pub async fn open(
        Means { control, log, writers_max }: &Means,
        Kept { projection, store }: &Kept,
        (lease, generation): (&Lease, &Generation),
        log_epoch: i64,
    ) -> Result<Applier, Interruption> {
        let writer = store.open(generation, lease).await?;
        let progress = writer.progress();
        for Mark { position, event_id, log_epoch: applied_in } in progress.marks() {
            let Some(event_id) = event_id else { continue };
            match log.event_id(position).await? {
                Some(found) if found == event_id => {}
                Some(_) => return Err(Final::AnotherLog { position, log_epoch, applied_in }.into()),
                None => return Err(Final::AheadOfLog { position, log_epoch, applied_in }.into()),
            }
        }
        let blocked = dead_letters::blocked(control, lease).await?;
        let (projection, writers_max) = (projection.clone(), *writers_max);
        Ok(Applier { projection, writer, progress, log_epoch, writers_max, blocked, limit: None })
    }

    /// Applies nothing beyond `limit`.
    pub fn limited(self, limit: Limit) -> Self {
        Applier { limit: Some(limit), ..self }
    }

    /// All that is up to here is applied.
    pub fn position(&self) -> i64 {
        self.progress.mark.position
    }

    /// Makes sure, while there is nothing to apply, that what was applied is still there.
    pub async fn check(&self) -> Result<(), Interruption> {
        Ok(self.writer.check().await?)
    }

    /// Applies events that follow its position. One that cannot be applied is set aside, with the later ones of its aggregate.
    /// After an error the generation is to be opened anew.
    pub async fn apply(&mut self, reads: Vec<Read>) -> Result<(), Interruption> {
        let deliveries: Vec<_> = reads.iter().map(|read| read.delivery.clone()).collect();
        match self.write(reads, None).await {
            Err(Interruption::Store(StoreError::Apply(error))) if error.is_permanent() => self.sift(&deliveries).await,
            written => written,
        }
    }

    /// Applies in halves what cannot be applied whole, until those are alone and set aside that are at fault.
    async fn sift(&mut self, deliveries: &[Arc<Delivery>]) -> Result<(), Interruption> {
        let mut left = vec![deliveries];
        while let Some(part) = left.pop() {
            let mut attempts = 0;
            loop {
                match self.write(self.read(part), None).await {
                    Ok(()) => break,
                    Err(Interruption::Store(StoreError::Apply(error))) if error.is_permanent() => {
                        if part.len() > 1 {
                            let (first, second) = part.split_at(part.len() / 2);
                            left.extend([second, first]);
                            break;
                        }
                        attempts += 1;
                        if attempts == ATTEMPTS_MAX {
                            self.write(self.read(part), Some((error.to_string(), attempts))).await?;
                            break;
                        }
                        sleep(RETRY_FIRST * 2_u32.pow(attempts as u32 - 1)).await; // It may be the fault of the moment.
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Applies letters of one aggregate, in one transaction. Returns which one fails, if one does, and why; then nothing is
    /// written.
    pub async fn apply_late(&self, deliveries: &[Arc<Delivery>]) -> Result<Result<(), (i64, String)>, Interruption> {
        let (mut events, mut settled) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            let position = delivery.position;
            settled.push(position);
            match Read::of(&*self.projection, delivery.clone()).fact {
                None => {}
                Some(Ok(fact)) => events.push(Event { position, fact }),
                Some(Err(error)) => return Ok(Err((position, error.to_string()))),
            }
        }
        let (from, to) = (self.position(), self.progress.mark);
        let batch = Batch { lanes: 0..LANES, from, to, events: &events, letters: &[], settled: &settled };
        match self.writer.write(&batch).await {
            Ok(()) => Ok(Ok(())),
            Err(StoreError::Apply(error)) if error.is_permanent() => Ok(Err((settled[0], error.to_string()))),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies what the log has up to `position`, at least.
    pub async fn read_to(&mut self, log: &LogReader, position: i64) -> Result<(), Interruption> {
        while self.position() < position {
            let events = log.read(self.position(), PORTION_EVENTS).await?;
            let deliveries: Vec<_> = events.into_iter().map(|event| Arc::new(Delivery::from(event))).collect();
            if deliveries.is_empty() {
                return Err(self.ahead_of_log().into());
            }
            self.apply(self.read(&deliveries)).await?;
        }
        Ok(())
    }

    /// The log ends before what is wanted or applied.
    pub fn ahead_of_log(&self) -> Final {
        let Mark { position, log_epoch: applied_in, .. } = self.progress.mark;
        Final::AheadOfLog { position, log_epoch: self.log_epoch, applied_in }
    }

    fn read(&self, deliveries: &[Arc<Delivery>]) -> Vec<Read> {
        deliveries.iter().map(|delivery| Read::of(&*self.projection, delivery.clone())).collect()
    }

    /// Writes the effect of `reads`, in one transaction or several. `fault`: what is wrong with the only one, and how often it
    /// was tried.
    async fn write(&mut self, reads: Vec<Read>, fault: Option<(String, i32)>) -> Result<(), Interruption> {
        let Some(last) = reads.last() else { return Ok(()) };
        let to = Mark {
            position: last.delivery.position,
            event_id: Some(event_id(&last.delivery)?),
            log_epoch: self.log_epoch,
        };
        let from = self.position();
        let wanted = reads.iter().filter(|read| read.fact.is_some());
        let is_divided = self.writers_max > 1 && wanted.count() >= DIVIDED_FROM && !self.spans(&reads);
        let lanes = groups(if is_divided { self.writers_max } else { 1 });
        let portions = self.sort(reads, &lanes, fault)?;
        if is_divided {
            let batches: Vec<_> =
                lanes.iter().zip(&portions).map(|(lanes, portion)| portion.batch(lanes.clone(), from, to)).collect();
            // Each is waited for, so that it is known what was written.
            let written = join_all(batches.iter().map(|batch| self.writer.write(batch))).await;
            let mut failed = Ok(());
            for (Batch { lanes, letters, .. }, written) in batches.iter().zip(written) {
                match written {
                    Ok(()) => {
                        self.progress.ahead[lanes.clone()].fill(to);
                        self.blocked.extend(letters.iter().map(Letter::aggregate));
                    }
                    Err(error) => failed = Err(error),
                }
            }
            failed?;
            self.writer.write(&Portion::default().batch(0..LANES, from, to)).await?;
        } else {
            self.writer.write(&portions[0].batch(0..LANES, from, to)).await?;
            self.blocked.extend(portions[0].letters.iter().map(Letter::aggregate));
        }
        self.progress.mark = to;
        Ok(())
    }

    /// Events to be folded, and those to be passed over, by the groups of lanes that they are in.
    fn sort(
        &self,
        reads: Vec<Read>,
        lanes: &[Range<usize>],
        mut fault: Option<(String, i32)>,
    ) -> Result<Vec<Portion>, Final> {
        let mut portions: Vec<_> = lanes.iter().map(|_| Portion::default()).collect();
        let mut newly_blocked: HashSet<Aggregate> = HashSet::new();
        for Read { delivery, fact } in reads {
            let Some(fact) = fact else { continue };
            let (position, lane) = (delivery.position, lane_of(&delivery.aggregate_id));
            // An earlier attempt had got this far in this lane; or it is beyond the limit.
            if self.progress.has(lane, position) || self.limit.as_ref().is_some_and(|l| l.excludes(lane, position)) {
                continue;
            }
            let group = lanes.iter().position(|lanes| lanes.contains(&lane)).expect("groups have all lanes");
            let is_blocked = !(self.blocked.is_empty() && newly_blocked.is_empty()) && {
                let aggregate = (delivery.aggregate_type.clone(), delivery.aggregate_id.clone());
                self.blocked.contains(&aggregate) || newly_blocked.contains(&aggregate)
            };
            let (error, attempts) = match (is_blocked, fact, fault.take()) {
                (true, ..) => (None, 0),
                (false, Err(error), _) => (Some(error.to_string()), 1), // It would fail again.
                (false, Ok(_), Some((error, attempts))) => (Some(error), attempts),
                (false, Ok(fact), None) => {
                    portions[group].events.push(Event { position, fact });
                    continue;
                }
            };
            if let Some(error) = &error {
                let Delivery { aggregate_type, aggregate_id, .. } = &*delivery;
                let projection = self.projection.name();
                warn!(
                    projection,
                    position,
                    "Event {position} is set aside, with what comes of {aggregate_type} {aggregate_id}: {error}"
                );
            }
            let letter = Letter { event_id: event_id(&delivery)?, error, attempts, delivery };
            newly_blocked.insert(letter.aggregate());
            portions[group].letters.push(letter);
        }
        Ok(portions)
    }

    /// Whether one of the events touches rows of several aggregates: the others are to be applied before or after it.
    fn spans(&self, reads: &[Read]) -> bool {
        let spanning = self.projection.spanning();
        !spanning.is_empty() && reads.iter().any(|read| spanning.contains(&read.delivery.aggregate_type.as_str()))
    }
}

fn event_id(delivery: &Delivery) -> Result<uuid::Uuid, Final> {
    delivery.event_id().map_err(|error| Final::NoEventId { position: delivery.position, error })
}
