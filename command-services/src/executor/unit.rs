//! A unit of work: one command's decisions on one or more aggregates, appended together or not at all.

use super::mailbox::{Cached, Forget, Mailbox, Read, Turn};
use super::snapshots::Snapshot;
use super::{Awaited, Context, Executor, Failure, Verdict};
use crate::refusal::Refusal;
use crate::shop::Shop;
use compact_str::CompactString;
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use kontor_event_schemas::Metadata;
use kontor_event_store::stream::Loaded;
use kontor_event_store::{Append, NewEvent, StreamAppend, StreamId};
use kontor_identity::Caller;
use std::any::Any;
use std::sync::Arc;
use uuid::Uuid;

/// Why a decision ended early.
#[derive(Debug)]
pub enum Stop {
    Refused(Refusal),
    Failed(Failure),
}

impl<R: Into<Refusal>> From<R> for Stop {
    fn from(refusal: R) -> Self {
        Stop::Refused(refusal.into())
    }
}

/// The aggregates that a command has a turn at.
pub struct Unit<'e> {
    executor: &'e Executor,
    context: &'e Context,
    /// Whether a stream that should be new must be read first, since it was not new the last time.
    distrustful: bool,
    held: Vec<Box<dyn Held>>,
    /// Place among the held of the command's own aggregate: the first that is told something, not only looked at.
    own: Option<usize>,
}

/// One aggregate within the unit, whatever its type.
trait Held: Send + Sync {
    fn stream(&self) -> &StreamId;
    /// Version before this unit.
    fn version_before(&self) -> i64;
    fn undo(&mut self);
    /// The events are queued: what is decided next is decided on top of them.
    fn keep(&mut self);
    fn append(&mut self) -> StreamAppend;
    fn snapshot(&self, every: i64) -> Option<Snapshot>;
    fn read(&self) -> Box<dyn Forget>;
    fn as_any(&mut self) -> &mut dyn Any;
}

struct Holding<A: Aggregate> {
    stream: StreamId,
    mailbox: Arc<Mailbox<A>>,
    turn: Turn<A>,
    /// The state before this unit, once it has changed it.
    before: Option<Cached<A>>,
    events: Vec<NewEvent>,
}

impl<'e> Unit<'e> {
    pub(super) fn new(executor: &'e Executor, context: &'e Context, distrustful: bool) -> Self {
        Self { executor, context, distrustful, held: Vec::new(), own: None }
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.context.caller
    }

    /// What is known of the shop.
    pub fn shop(&self) -> &'e Shop {
        self.executor.shop()
    }

    /// To look at aggregates that the command does not concern: they may change before it is on disk. Never one that the
    /// unit holds, whose turn would be waited for in vain.
    pub fn executor(&self) -> &'e Executor {
        self.executor
    }

    /// Has the aggregate handle a command, on its state as it is after all earlier ones.
    pub async fn handle<A>(&mut self, id: &str, command: A::Command) -> Result<Effect, Undecided<A>>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
    {
        let at = self.hold::<A>(id, false).await.map_err(Undecided::Failed)?;
        self.handle_held(at, command).await
    }

    /// The same for an aggregate that should not exist yet: its stream is read only if it does.
    pub async fn create<A>(&mut self, id: &str, command: A::Command) -> Result<Effect, Undecided<A>>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
    {
        let at = self.hold::<A>(id, !self.distrustful).await.map_err(Undecided::Failed)?;
        self.handle_held(at, command).await
    }

    /// The aggregate's state.
    pub async fn state<A>(&mut self, id: &str) -> Result<&A, Stop>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
    {
        let at = self.hold::<A>(id, false).await.map_err(Stop::Failed)?;
        Ok(&self.holding::<A>(at).cached().aggregate)
    }

    async fn handle_held<A>(&mut self, at: usize, command: A::Command) -> Result<Effect, Undecided<A>>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
    {
        self.own.get_or_insert(at);
        let context = self.context;
        let holding = self.holding::<A>(at);
        if holding.before.is_none() {
            holding.before = Some(holding.cached().clone());
        }
        let cached = holding.turn.as_mut().expect("a held aggregate was read");
        let sink = EventSink::default();
        cached.aggregate.handle(command, &(), &sink).await.map_err(Undecided::Refused)?;
        let events = sink.collect().await;
        let effect = if events.is_empty() { Effect::Unchanged } else { Effect::Changed };
        for event in events {
            let payload = serde_json::to_string(&event);
            cached.version += 1;
            holding.events.push(NewEvent {
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: payload.map_err(|error| Undecided::Failed(Failure::Unfit { reason: error.to_string() }))?,
                metadata: context.metadata(),
            });
        }
        Ok(effect)
    }

    /// A turn at the aggregate; its place among the held.
    async fn hold<A>(&mut self, id: &str, presumed_new: bool) -> Result<usize, Failure>
    where
        A: Aggregate<Services = ()> + Clone + 'static,
    {
        let stream = StreamId { aggregate_type: A::TYPE, aggregate_id: id.into() };
        if let Some(at) = self.held.iter().position(|held| *held.stream() == stream) {
            return Ok(at);
        }
        if let Some(last) = self.held.last() {
            assert!(*last.stream() < stream, "aggregates must be held in ascending order, {stream:?} came late");
        }
        let (mailbox, turn) = self.executor.turn::<A>(id, presumed_new).await?;
        self.held.push(Box::new(Holding { stream, mailbox, turn, before: None, events: Vec::new() }));
        Ok(self.held.len() - 1)
    }

    fn holding<A: Aggregate + Clone + 'static>(&mut self, at: usize) -> &mut Holding<A> {
        self.held[at].as_any().downcast_mut().expect("a stream's type names the type of its aggregate")
    }

    /// Version of the command's own aggregate before the command; 0: it does not exist.
    pub(super) fn version_before(&self) -> i64 {
        self.held.get(self.own.unwrap_or(0)).map_or(0, |held| held.version_before())
    }

    /// Leaves the aggregates as they were.
    fn undo(&mut self) {
        for held in &mut self.held {
            held.undo();
        }
    }

    /// Queues the events, or the question whether what was read still stands; ends the turns.
    pub(super) fn submit(mut self, refusal: Option<Refusal>) -> Result<Awaited, Failure> {
        let refusal = match refusal {
            // Nothing was read for it, so nothing can prove it out of date.
            Some(refusal) if self.held.is_empty() => return Err(Failure::Refused(refusal)),
            refusal => refusal,
        };
        if refusal.is_some() {
            self.undo();
        }
        let own = self.own.unwrap_or(0);
        let id = self.held.get(own).expect("a command concerns an aggregate").stream().aggregate_id.clone();
        let read = self.held.iter().map(|held| held.read()).collect();
        let mut streams: Vec<_> = self.held.iter_mut().map(|held| held.append()).collect();
        streams[..=own].rotate_right(1); // The key leads to the first.
        let changed = streams.iter().any(|of_stream| !of_stream.events.is_empty());
        let pending = self.executor.log.submit(Append { key: self.context.key, streams })?;
        let every = self.executor.settings.snapshot_every;
        let snapshots = self.held.iter().filter_map(|held| held.snapshot(every)).collect();
        for held in &mut self.held {
            held.keep();
        }
        let verdict = match refusal {
            Some(refusal) => Verdict::Refused(refusal),
            None if changed => Verdict::Changed,
            None => Verdict::Unchanged,
        };
        Ok(Awaited { pending, verdict, id, read, snapshots })
    }
}

/// Whether a command made a difference to an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Changed,
    /// It was so already.
    Unchanged,
}

impl Effect {
    pub fn is_unchanged(self) -> bool {
        self == Effect::Unchanged
    }
}

/// Why one aggregate's part of a command was not decided.
#[derive(Debug)]
pub enum Undecided<A: Aggregate> {
    Refused(A::Error),
    Failed(Failure),
}

impl<A: Aggregate> Undecided<A> {
    /// Tells the refusal in the words of the command.
    pub fn or(self, refusal: impl FnOnce(A::Error) -> Refusal) -> Stop {
        match self {
            Undecided::Refused(error) => Stop::Refused(refusal(error)),
            Undecided::Failed(failure) => Stop::Failed(failure),
        }
    }
}

impl<A: Aggregate> Holding<A> {
    fn cached(&self) -> &Cached<A> {
        self.turn.as_ref().expect("a held aggregate was read")
    }
}

/// A unit that ends before it is queued leaves no trace: it failed, or whoever asked for it is gone. An event that only this
/// process knows of would be taken for the one that another process puts in its place.
impl<A: Aggregate> Drop for Holding<A> {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            *self.turn = Some(before);
        }
    }
}

impl<A: Aggregate + Clone + 'static> Held for Holding<A> {
    fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn version_before(&self) -> i64 {
        self.cached().version - self.events.len() as i64
    }

    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            *self.turn = Some(before);
        }
        self.events.clear();
    }

    fn keep(&mut self) {
        self.before = None;
    }

    fn append(&mut self) -> StreamAppend {
        let events = std::mem::take(&mut self.events);
        let cached = self.cached();
        StreamAppend {
            stream: self.stream.clone(),
            expected_version: cached.version - events.len() as i64,
            lineage: cached.lineage,
            events,
        }
    }

    fn snapshot(&self, every: i64) -> Option<Snapshot> {
        let cached = self.cached();
        let before = self.before.as_ref().map_or(cached.version, |before| before.version);
        if before / every == cached.version / every {
            return None;
        }
        let loaded = Loaded { aggregate: cached.aggregate.clone(), version: cached.version };
        Some(Snapshot::of(self.stream.aggregate_id.clone(), loaded, cached.lineage))
    }

    fn read(&self) -> Box<dyn Forget> {
        Box::new(Read { mailbox: self.mailbox.clone(), lineage: self.cached().lineage })
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl Context {
    fn metadata(&self) -> String {
        let metadata = Metadata {
            event_id: Uuid::now_v7(),
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            actor: self.caller.subject().into(),
            traceparent: CompactString::from(&*self.trace.text()),
        };
        metadata.to_json()
    }
}
