//! Group commit: appends that arrive while others are being committed wait together and are committed together.
//!
//! The commit in flight is the wait, and among busy writers a moment more ([`GATHER`]). A lane takes what is waiting, in
//! order of arrival, up to the first append that builds on something in flight on the other lane, since the two must reach
//! the log in this order.

use crate::append::{Append, AppendError, Appended, Lineage, StreamId};
use crate::key::Kept;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

/// Bounds of one batch. The first append is taken whatever its size.
const BATCH_EVENTS_MAX: usize = 2_000;
const BATCH_BYTES_MAX: usize = 2 << 20;
/// While appends come several at a time, batches are so far apart, unless one as large as the last is waiting: what a batch
/// costs besides its appends is paid less often (docs/5). A writer that is alone never waits.
const GATHER: Duration = Duration::from_micros(1_500);
/// So many appends in the last batch are several.
const SEVERAL: usize = 2;
/// Refusals that are kept in mind. With more, all that was read so far counts as out of date.
const BROKEN_MAX: usize = 10_000;

pub(crate) type Outcome = Result<Appended, AppendError>;

/// An append on its way; resolves when it is on disk or refused. Dropping it does not take the append back.
pub struct Pending(oneshot::Receiver<Outcome>);

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll(context)) {
            Ok(outcome) => outcome,
            // The lanes were stopped with this append in hand.
            Err(_) => Err(AppendError::Unknown { reason: "the log was closed".into() }),
        })
    }
}

/// An append with the one who waits for it.
pub(crate) struct Waiting {
    pub append: Append,
    settle: oneshot::Sender<Outcome>,
}

impl Waiting {
    pub fn settle(self, outcome: Outcome) {
        // Nobody waits any more when the caller has gone: the outcome stays in the log, under the key.
        let _ = self.settle.send(outcome);
    }
}

/// Appends on their way to the log, shared by all writers and lanes of the process.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    waiting_max: usize,
    next_lineage: AtomicU64,
    /// Lineages below it were given out before the log changed under them.
    lineage_floor: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Streams that a lane is appending to.
    in_flight: HashSet<StreamId>,
    /// Streams on which an append was refused, with the latest lineage of one: what was decided on top of it is refused
    /// too, however late it comes. Who submits that may not have heard of the refusal yet.
    broken: HashMap<StreamId, Lineage>,
    /// When the last batch was taken, and how many appends it had.
    last: Option<(Instant, usize)>,
    closed: bool,
}

/// What a lane has taken; given back with [`Queue::release`].
pub(crate) struct Batch {
    pub appends: Vec<Waiting>,
    streams: Vec<StreamId>,
}

impl Queue {
    pub fn new(waiting_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            waiting_max,
            next_lineage: AtomicU64::new(1),
            lineage_floor: AtomicU64::new(0),
        }
    }

    pub fn new_lineage(&self) -> Lineage {
        Lineage(self.next_lineage.fetch_add(1, Ordering::Relaxed))
    }

    pub fn is_current(&self, lineage: Lineage) -> bool {
        lineage.0 >= self.lineage_floor.load(Ordering::Acquire)
    }

    /// Everything read so far may be wrong.
    pub fn forget_lineages(&self) {
        self.forget_lineages_in(&mut self.state.lock());
    }

    fn forget_lineages_in(&self, state: &mut State) {
        self.lineage_floor.store(self.next_lineage.load(Ordering::Relaxed), Ordering::Release);
        state.broken.clear(); // They are all below the floor.
    }

    pub fn submit(&self, append: Append) -> Result<Pending, AppendError> {
        append.check()?;
        let (settle, pending) = oneshot::channel();
        let mut state = self.state.lock();
        if state.closed {
            return Err(AppendError::Unknown { reason: "the log is closed".into() });
        }
        let waiting = state.waiting.len();
        if waiting >= self.waiting_max {
            return Err(AppendError::Busy { waiting });
        }
        state.waiting.push_back(Waiting { append, settle });
        drop(state);
        self.arrived.notify_one();
        Ok(Pending(pending))
    }

    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// The next batch, as soon as there is one; `None` when the queue is closed and empty.
    pub async fn take(&self) -> Option<Batch> {
        loop {
            // Those who were answered just now submit their next appends before the batch is closed.
            tokio::task::yield_now().await;
            let arrived = self.arrived.notified();
            let gather_until = self.state.lock().gather_until();
            if let Some(until) = gather_until {
                let _ = timeout_at(until, arrived).await; // Or enough have come.
                continue;
            }
            {
                let mut state = self.state.lock();
                if let Some(batch) = state.take() {
                    if !state.waiting.is_empty() {
                        self.arrived.notify_one(); // The other lane may be able to take the rest.
                    }
                    return Some(batch);
                }
                if state.closed && state.waiting.is_empty() {
                    self.arrived.notify_one();
                    return None;
                }
            }
            arrived.await;
        }
    }

    /// Ends a batch: appends that build on it may go now.
    pub fn release(&self, streams: Vec<StreamId>) {
        let mut state = self.state.lock();
        for stream in &streams {
            state.in_flight.remove(stream);
        }
        if !state.waiting.is_empty() {
            self.arrived.notify_one();
        }
    }

    /// Lets what is waiting be appended, and refuses what comes later.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    /// Settles those of `appends` that cannot be appended and returns the others, in order.
    ///
    /// `versions` are the actual versions of streams (of all streams of the appends, or of none if the log was not asked),
    /// `known` the outcomes kept under keys.
    pub fn sift(
        &self,
        appends: Vec<Waiting>,
        mut versions: HashMap<StreamId, i64>,
        known: &HashMap<uuid::Uuid, Kept>,
    ) -> Vec<Waiting> {
        let asked = !versions.is_empty();
        let mut state = self.state.lock();
        let mut keys = HashSet::new();
        let mut kept = Vec::with_capacity(appends.len());
        for waiting in appends {
            let refusal = self.refusal(&state, &waiting.append, &versions);
            let outcome = match (known.get(&waiting.append.key.key), refusal) {
                (Some(outcome), _) if waiting.append.key.is_of(outcome.fingerprint) => {
                    Ok(Appended { position: outcome.position, version: outcome.version, replayed: true })
                }
                (Some(_), _) => Err(AppendError::KeyReused),
                (None, Some(refusal)) => Err(refusal),
                // Two appends with one key in one batch: the second is to come again, and will find the first.
                (None, None) if asked && !keys.insert(waiting.append.key.key) => Err(conflict(&waiting.append)),
                (None, None) => {
                    for of_stream in &waiting.append.streams {
                        if let Some(version) = versions.get_mut(&of_stream.stream) {
                            *version += of_stream.events.len() as i64;
                        }
                    }
                    kept.push(waiting);
                    continue;
                }
            };
            self.break_lineages(&mut state, &waiting.append);
            waiting.settle(outcome);
        }
        kept
    }

    /// Settles all of `appends` with `error`.
    pub fn refuse(&self, appends: Vec<Waiting>, error: &AppendError) {
        let mut state = self.state.lock();
        for waiting in appends {
            self.break_lineages(&mut state, &waiting.append);
            waiting.settle(Err(error.clone()));
        }
    }

    /// The events of `append` did not come to be, so nothing that was decided on top of them may.
    fn break_lineages(&self, state: &mut State, append: &Append) {
        for of_stream in append.streams.iter().filter(|of_stream| !of_stream.events.is_empty()) {
            let broken = state.broken.entry(of_stream.stream.clone()).or_insert(of_stream.lineage);
            *broken = of_stream.lineage.max(*broken);
        }
        if state.broken.len() > BROKEN_MAX {
            self.forget_lineages_in(state);
        }
    }

    fn refusal(&self, state: &State, append: &Append, versions: &HashMap<StreamId, i64>) -> Option<AppendError> {
        append.streams.iter().find_map(|of_stream| {
            let broken = state.broken.get(&of_stream.stream).is_some_and(|broken| of_stream.lineage <= *broken);
            let moved = versions.get(&of_stream.stream).is_some_and(|version| *version != of_stream.expected_version);
            (broken || moved || !self.is_current(of_stream.lineage)).then(|| AppendError::Conflict {
                stream: of_stream.stream.clone(),
                expected: of_stream.expected_version,
            })
        })
    }
}

fn conflict(append: &Append) -> AppendError {
    let first = &append.streams[0];
    AppendError::Conflict { stream: first.stream.clone(), expected: first.expected_version }
}

impl State {
    /// Until when more are waited for, if it is worth it.
    fn gather_until(&self) -> Option<Instant> {
        let (taken_at, appends) = self.last.filter(|(_, appends)| *appends >= SEVERAL)?;
        let waiting = self.waiting.len();
        let until = taken_at + GATHER;
        (waiting > 0 && waiting < appends && !self.closed && Instant::now() < until).then_some(until)
    }

    fn take(&mut self) -> Option<Batch> {
        let (mut taken, mut events, mut bytes) = (0, 0, 0);
        for waiting in &self.waiting {
            let streams = &waiting.append.streams;
            if streams.iter().any(|of_stream| self.in_flight.contains(&of_stream.stream)) {
                break;
            }
            let of_append = || streams.iter().flat_map(|of_stream| &of_stream.events);
            events += of_append().count();
            bytes += of_append().map(|event| event.payload.len() + event.metadata.len()).sum::<usize>();
            if taken > 0 && (events > BATCH_EVENTS_MAX || bytes > BATCH_BYTES_MAX) {
                break;
            }
            taken += 1;
        }
        if taken == 0 {
            return None;
        }
        self.last = Some((Instant::now(), taken));
        let appends: Vec<_> = self.waiting.drain(..taken).collect();
        let mut streams = Vec::with_capacity(taken);
        for stream in appends.iter().flat_map(|waiting| &waiting.append.streams).map(|of_stream| &of_stream.stream) {
            if self.in_flight.insert(stream.clone()) {
                streams.push(stream.clone());
            }
        }
        Some(Batch { appends, streams })
    }
}

impl Batch {
    pub fn into_parts(self) -> (Vec<Waiting>, Vec<StreamId>) {
        (self.appends, self.streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::{NewEvent, StreamAppend};
    use crate::key::Key;

    fn append(queue: &Queue, id: usize) -> Append {
        let event = NewEvent {
            event_type: "E".into(),
            event_version: "1.0".into(),
            payload: "{}".into(),
            metadata: "{}".into(),
        };
        let stream = StreamId { aggregate_type: "a", aggregate_id: id.to_string().into() };
        let lineage = queue.new_lineage();
        Append {
            key: Key::unique(),
            streams: vec![StreamAppend { stream, expected_version: 0, lineage, events: vec![event] }],
        }
    }

    #[tokio::test]
    async fn among_busy_writers_a_lane_waits_a_moment_for_more() {
        let queue = Queue::new(100);
        let mut submitted = Vec::new();
        let mut next = async |appends: usize| {
            let ids = submitted.len()..submitted.len() + appends;
            submitted.extend(ids.map(|id| queue.submit(append(&queue, id)).expect("there is room")));
            let waits = queue.state.lock().gather_until().is_some();
            let (taken, streams) = queue.take().await.expect("it is open").into_parts();
            assert_eq!(taken.len(), appends);
            queue.release(streams);
            waits
        };
        assert!(!next(1).await);
        assert!(!next(1).await, "it is alone");
        assert!(!next(SEVERAL).await, "as large as the last, and more");
        let from = Instant::now();
        assert!(next(1).await, "there were several");
        assert!(from.elapsed() >= GATHER.mul_f64(0.5), "from when the last was taken");
        assert!(!next(1).await, "there was one");
    }

    #[tokio::test]
    async fn refusals_are_kept_in_mind_up_to_a_bound_and_then_stand_for_all_that_was_read() {
        let queue = Queue::new(BROKEN_MAX);
        let read_before = queue.new_lineage();
        let refuse = async |ids: std::ops::Range<usize>| {
            let _pending: Vec<_> = ids.map(|id| queue.submit(append(&queue, id)).expect("there is room")).collect();
            while queue.waiting() > 0 {
                let (appends, streams) = queue.take().await.expect("it is open").into_parts();
                queue.refuse(appends, &AppendError::Busy { waiting: 0 });
                queue.release(streams);
            }
        };
        refuse(0..BROKEN_MAX).await;
        assert_eq!(queue.state.lock().broken.len(), BROKEN_MAX);
        assert!(queue.is_current(read_before));
        refuse(0..1).await; // On a stream that is known already.
        assert!(queue.is_current(read_before));
        refuse(BROKEN_MAX..BROKEN_MAX + 1).await;
        assert_eq!(queue.state.lock().broken.len(), 0);
        assert!(!queue.is_current(read_before));
        assert!(queue.is_current(queue.new_lineage()));
    }
}
