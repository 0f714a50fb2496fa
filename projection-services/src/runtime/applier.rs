//! Applies events to one generation, under one lease: what projectors at work and rebuilds have in common.

use super::delivery::Delivery;
use super::generation::Generation;
use super::lanes::{InLane, LANES, Mark, Progress, divide, groups, lane_of};
use super::lease::Lease;
use super::projection::{ApplyError, Projection};
use super::store::{Batch, Store, StoreError, StoreOptions, Writer};
use futures::future::try_join_all;
use kontor_event_schemas::Fact;
use kontor_event_schemas::registry::DecodeError;
use kontor_event_store::LogReader;
use kontor_event_store::log_reader::ReadError;
use std::sync::Arc;

/// A batch with as many events for the projection is worth several transactions at once, and one more to end it.
const DIVIDED_FROM: usize = 500;
const PORTION_EVENTS: i64 = 1_000;

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

/// One generation, open for writing.
pub struct Applier {
    projection: Arc<dyn Projection>,
    writer: Box<dyn Writer>,
    progress: Progress,
    log_epoch: i64,
    writers_max: usize,
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
    #[error(
        "event {position} ({aggregate_type} {aggregate_id}) cannot be read by this release: {error}; \
         run one that can, or mend the event with an upcaster"
    )]
    Undecodable { position: i64, aggregate_type: String, aggregate_id: String, error: DecodeError },
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
        Kept { projection, store }: &Kept,
        (lease, generation): (&Lease, &Generation),
        log: &LogReader,
        log_epoch: i64,
        writers_max: usize,
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
        Ok(Applier { projection: projection.clone(), writer, progress, log_epoch, writers_max })
    }

    /// All that is up to here is applied.
    pub fn position(&self) -> i64 {
        self.progress.mark.position
    }

    /// Applies events that follow its position, up to the first one that cannot be read. Returns how many. After an error the
    /// generation is to be opened anew: some lanes may have come further than the others.
    pub async fn apply(&mut self, deliveries: &[Arc<Delivery>]) -> Result<usize, Interruption> {
        let (readable, events) = self.decode(deliveries)?;
        let Some(last) = readable.last() else { return Ok(0) };
        let event_id = last.event_id().map_err(|error| Final::NoEventId { position: last.position, error })?;
        let to = Mark { position: last.position, event_id: Some(event_id), log_epoch: self.log_epoch };
        let from = self.position();
        let is_divided = self.writers_max > 1 && events.len() >= DIVIDED_FROM && !self.spans(readable);
        let events = if is_divided {
            let groups = groups(self.writers_max);
            let divided = divide(events, &groups);
            let batches: Vec<_> =
                groups.into_iter().zip(&divided).map(|(lanes, events)| Batch { lanes, from, to, events }).collect();
            try_join_all(batches.iter().map(|batch| self.writer.write(batch))).await?;
            Vec::new()
        } else {
            events.into_iter().map(|(_, event)| event).collect()
        };
        self.writer.write(&Batch { lanes: 0..LANES, from, to, events: &events }).await?;
        self.progress.mark = to;
        Ok(readable.len())
    }

    /// Applies what the log has up to `position`, at least.
    pub async fn read_to(&mut self, log: &LogReader, position: i64) -> Result<(), Interruption> {
        while self.position() < position {
            let events = log.read(self.position(), PORTION_EVENTS).await?;
            let deliveries: Vec<_> = events.into_iter().map(|event| Arc::new(Delivery::from(event))).collect();
            if deliveries.is_empty() {
                let Mark { position, log_epoch: applied_in, .. } = self.progress.mark;
                return Err(Final::AheadOfLog { position, log_epoch: self.log_epoch, applied_in }.into());
            }
            self.apply(&deliveries).await?;
        }
        Ok(())
    }

    /// The deliveries that can be read, and of these the events that are to be folded, with their lanes.
    fn decode<'a>(&self, deliveries: &'a [Arc<Delivery>]) -> Result<(&'a [Arc<Delivery>], Vec<InLane>), Final> {
        let wanted = self.projection.aggregate_types();
        let mut events = Vec::with_capacity(deliveries.len());
        for (n, delivery) in deliveries.iter().enumerate() {
            let Delivery { position, aggregate_type, aggregate_id, payload, .. } = &**delivery;
            if !wanted.contains(&aggregate_type.as_str()) {
                continue;
            }
            let lane = lane_of(aggregate_id);
            if self.progress.has(lane, *position) {
                continue; // An earlier attempt had got this far in this lane.
            }
            match Fact::decode(aggregate_type, aggregate_id, payload) {
                Ok(fact) => events.push((lane, super::Event { position: *position, fact })),
                // Those before it are applied first.
                Err(_) if n > 0 => return Ok((&deliveries[..n], events)),
                Err(error) => {
                    return Err(Final::Undecodable {
                        position: *position,
                        aggregate_type: aggregate_type.to_string(),
                        aggregate_id: aggregate_id.to_string(),
                        error,
                    });
                }
            }
        }
        Ok((deliveries, events))
    }

    /// Whether one of the events touches rows of several aggregates: the others are to be applied before or after it.
    fn spans(&self, deliveries: &[Arc<Delivery>]) -> bool {
        let spanning = self.projection.spanning();
        !spanning.is_empty() && deliveries.iter().any(|delivery| spanning.contains(&delivery.aggregate_type.as_str()))
    }
}
