//! The events of the log, in order and each once, for all workers of a process.
//!
//! They come from the KONTOR stream, whose messages carry their position in the log. Positions have no gaps, so that is all
//! it takes: the position after the last is the next event, a lower one is a repetition, and a higher one means a hole, which
//! is filled from the log. When the stream is silent the log itself is asked. So whatever becomes of the stream (messages
//! lost, doubled or out of order, NATS down, the stream deleted, recreated or behind) delays events, and never stops them.

use super::delivery::{Delivery, Published};
use super::metrics::SourceMetrics;
use super::portions::Portions;
use super::stream::StreamReader;
use super::window::Window;
use kontor_event_schemas::upcast::Upcasters;
use kontor_event_store::LogReader;
use kontor_event_store::log_reader::ReadError;
use kontor_telemetry::{Check, Health};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// Chunks of messages that wait to be put into the window. Few: the stream keeps the rest.
const CHUNKS_MAX: usize = 4;
/// A hole up to this is read into the window; over a larger one the window jumps, and workers read the log by themselves.
const HOLE_MAX: i64 = 10_000;
const PORTION_EVENTS_MAX: i64 = 5_000;
/// Events of which a projection wants none are booked no sooner than this: each booking is a transaction.
const PASSED_OVER: Duration = Duration::from_millis(50);
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How far the source has seen the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Position of the last event seen.
    pub last: i64,
    /// Epoch of the log; 0: the log has not answered yet.
    pub log_epoch: i64,
}

/// Where workers get their events.
#[derive(Clone)]
pub struct Source {
    shared: Arc<Shared>,
}

struct Shared {
    log: LogReader,
    window: Mutex<Window>,
    reach: watch::Sender<Reach>,
}

/// What a source is made of.
pub struct SourcePlan {
    pub log: LogReader,
    pub jetstream: async_nats::jetstream::Context,
    pub upcasters: Arc<Upcasters>,
    /// After this long without news the log itself is asked.
    pub silence: Duration,
    pub metrics: SourceMetrics,
}

/// What a worker is to do next.
#[derive(Debug)]
pub enum Next {
    /// Apply these: the events right after its position, at least one.
    Events(Vec<Arc<Delivery>>),
    /// Make sure that the log still has what was applied: it may have lost commits.
    NewEpoch,
}

impl Source {
    /// Begins to read, at the end of the log: workers that are behind catch up from the log.
    pub fn start(plan: SourcePlan, health: &Health, tasks: &TaskTracker, ending: &CancellationToken) -> Source {
        let SourcePlan { log, jetstream, upcasters, silence, metrics } = plan;
        let reach = watch::Sender::new(Reach { last: 0, log_epoch: 0 });
        let shared = Arc::new(Shared { log: log.clone(), window: Mutex::new(Window::after(0)), reach });
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let reopen = Arc::new(Notify::new());
        let stream = StreamReader {
            jetstream,
            upcasters,
            chunks: sender,
            reopen: reopen.clone(),
            reach: shared.reach.subscribe(),
            check: health.register("nats"),
            metrics: metrics.clone(),
        };
        let feed = Feed {
            shared: shared.clone(),
            portions: Portions::of(log, PORTION_EVENTS_MAX),
            chunks,
            reopen,
            silence,
            check: health.register("postgres"),
            metrics,
        };
        let until_end = ending.clone();
        tasks.spawn(async move { until_end.run_until_cancelled(stream.run()).await });
        let until_end = ending.clone();
        tasks.spawn(async move { until_end.run_until_cancelled(feed.run()).await });
        Source { shared }
    }

    /// A reader of its own for each worker, which wants events of aggregates of `types`. Others it has as they come.
    pub fn reader(&self, types: &'static [&'static str]) -> SourceReader {
        SourceReader {
            shared: self.shared.clone(),
            reach: self.shared.reach.subscribe(),
            portions: Portions::of(self.shared.log.clone(), PORTION_EVENTS_MAX).only(types),
            types,
        }
    }

    /// How far the log is known to go.
    pub fn reach(&self) -> Reach {
        *self.shared.reach.borrow()
    }
}

/// One worker's view of the source.
pub struct SourceReader {
    shared: Arc<Shared>,
    reach: watch::Receiver<Reach>,
    portions: Portions,
    types: &'static [&'static str],
}

impl SourceReader {
    /// The epoch of the log, as soon as the log has answered.
    pub async fn log_epoch(&mut self) -> i64 {
        let reach = self.reach.wait_for(|reach| reach.log_epoch > 0).await;
        reach.map_or(0, |reach| reach.log_epoch)
    }

    /// How far the log is known to go.
    pub fn reach(&self) -> Reach {
        *self.reach.borrow()
    }

    /// Waits until `deadline`, but no longer than until there are so many events after position `after`.
    pub async fn until_there_are(&mut self, events: usize, after: i64, deadline: Instant) {
        let enough = |reach: &Reach| reach.last - after >= events as i64;
        let _ = timeout_at(deadline, self.reach.wait_for(enough)).await;
    }

    /// The events after position `after`, as soon as there is one that is wanted, or soon after, in the bounds given. Of those
    /// that are read from the log itself, only what is wanted and the last.
    pub async fn next(
        &mut self,
        after: i64,
        log_epoch: i64,
        events_max: usize,
        bytes_max: usize,
    ) -> Result<Next, ReadError> {
        let mut booked_at = None;
        loop {
            let news = |reach: &Reach| reach.log_epoch != log_epoch || reach.last > after;
            let Ok(reach) = self.reach.wait_for(news).await.map(|reach| *reach) else {
                std::future::pending().await // The source has ended, and so will the worker.
            };
            if reach.log_epoch != log_epoch {
                return Ok(Next::NewEpoch);
            }
            let (taken, kept_after) = {
                let window = self.shared.window.lock();
                (window.take(after, events_max, bytes_max), window.before_first())
            };
            let Some(events) = taken else {
                let most = (kept_after - after).min(events_max as i64);
                let events = self.portions.read(after, most).await?;
                return Ok(Next::Events(events.into_iter().map(Arc::new).collect()));
            };
            if let Some(last) = events.last().map(|event| event.position) {
                let booked_at = *booked_at.get_or_insert_with(|| Instant::now() + PASSED_OVER);
                if self.are_wanted(&events) || events.len() >= events_max || Instant::now() >= booked_at {
                    return Ok(Next::Events(events));
                }
                let more = |reach: &Reach| reach.log_epoch != log_epoch || reach.last > last;
                let _ = timeout_at(booked_at, self.reach.wait_for(more)).await;
                continue;
            }
            sleep(Duration::from_millis(10)).await; // The window has just moved; or the log is being restored.
        }
    }

    fn are_wanted(&self, events: &[Arc<Delivery>]) -> bool {
        events.iter().any(|event| self.types.contains(&event.aggregate_type.as_str()))
    }
}

/// The one task that puts events into the window.
struct Feed {
    shared: Arc<Shared>,
    portions: Portions,
    chunks: mpsc::Receiver<Vec<Published>>,
    reopen: Arc<Notify>,
    silence: Duration,
    check: Check,
    metrics: SourceMetrics,
}

impl Feed {
    async fn run(mut self) {
        while let Err(error) = self.begin().await {
            self.trouble(&error);
            sleep(RETRY_PAUSE).await;
        }
        let mut progress_at = Instant::now();
        // How often in a row the log had events of which the stream knew nothing.
        let mut found_in_log = 0;
        loop {
            let before = self.last();
            let done = tokio::select! {
                Some(chunk) = self.chunks.recv() => {
                    let done = self.take(chunk).await;
                    if self.last() > before {
                        found_in_log = 0;
                    }
                    done
                }
                () = sleep_until(progress_at + self.silence) => {
                    let done = self.ask_log().await;
                    progress_at = Instant::now();
                    if self.last() > before {
                        found_in_log += 1;
                    }
                    // Once may be an event on its way. Twice in a row: the stream may be another than the one we read.
                    if found_in_log >= 2 {
                        self.reopen.notify_one();
                    }
                    done
                }
            };
            if self.last() > before {
                progress_at = Instant::now();
            }
            match done {
                Ok(()) => self.check.ok(),
                Err(error) => {
                    self.trouble(&error);
                    sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn begin(&mut self) -> Result<(), ReadError> {
        let log_epoch = self.portions.log().epoch().await?;
        self.jump_to_head(log_epoch).await?;
        self.check.ok();
        Ok(())
    }

    fn trouble(&self, error: &ReadError) {
        if self.check.is_ok() {
            warn!("The log cannot be read, projections wait for it: {error}");
        }
        self.check.failing(error.to_string());
    }

    fn last(&self) -> i64 {
        self.shared.window.lock().last()
    }

    fn log_epoch(&self) -> i64 {
        self.shared.reach.borrow().log_epoch
    }

    /// Tells the workers what the window has.
    fn tell(&self) {
        let last = self.last();
        self.metrics.last.set(last);
        self.shared.reach.send_if_modified(|reach| std::mem::replace(&mut reach.last, last) != last);
    }

    /// Empties the window: the next event is the one after the log's last.
    async fn jump_to_head(&mut self, log_epoch: i64) -> Result<(), ReadError> {
        let head = self.portions.log().head().await?;
        *self.shared.window.lock() = Window::after(head);
        self.metrics.last.set(head);
        self.shared.reach.send_replace(Reach { last: head, log_epoch });
        Ok(())
    }

    fn push(&self, delivery: Delivery) {
        self.shared.window.lock().push(Arc::new(delivery));
    }

    /// Takes what the stream has sent.
    async fn take(&mut self, chunk: Vec<Published>) -> Result<(), ReadError> {
        let result = self.take_each(chunk).await;
        self.tell();
        result
    }

    async fn take_each(&mut self, chunk: Vec<Published>) -> Result<(), ReadError> {
        let mut log_epoch = self.log_epoch();
        let mut last = self.last();
        for Published { delivery, log_epoch: published_in } in chunk {
            if published_in > log_epoch {
                self.look_for_new_epoch().await?;
                (log_epoch, last) = (self.log_epoch(), self.last());
            }
            if delivery.position <= last {
                self.metrics.repeated.inc();
            } else if published_in != log_epoch {
                // Of another epoch: perhaps an event that a failover has undone. The log knows.
                last = self.fill(delivery.position).await?;
            } else {
                if delivery.position > last + 1 {
                    self.metrics.holes.inc();
                    last = self.fill(delivery.position - 1).await?;
                }
                if delivery.position == last + 1 {
                    last = delivery.position;
                    self.push(delivery);
                    self.metrics.from_stream.inc();
                }
            }
        }
        Ok(())
    }

    /// Reads the log up to position `until`. Returns the last position seen then, which may be lower.
    async fn fill(&mut self, until: i64) -> Result<i64, ReadError> {
        let mut last = self.last();
        if until - last > HOLE_MAX {
            let head = self.portions.log().head().await?;
            if head >= until {
                info!(after = last, until, "Workers read events {} to {until} from the log", last + 1);
                *self.shared.window.lock() = Window::after(until);
                return Ok(until);
            }
        }
        while last < until {
            let events = self.portions.read(last, until - last).await?;
            if events.is_empty() {
                break;
            }
            last = self.push_from_log(events);
        }
        Ok(last)
    }

    fn push_from_log(&self, events: Vec<Delivery>) -> i64 {
        self.metrics.from_log.inc_by(events.len() as u64);
        events.into_iter().for_each(|event| self.push(event));
        self.last()
    }

    /// The stream is silent: asks the log for what is new, and whether it still is the log that it was.
    async fn ask_log(&mut self) -> Result<(), ReadError> {
        self.look_for_new_epoch().await?;
        let mut total = 0;
        loop {
            let events = self.portions.read(self.last(), i64::MAX).await?;
            if events.is_empty() {
                return Ok(());
            }
            total += events.len() as i64;
            self.push_from_log(events);
            self.tell();
            if total > HOLE_MAX {
                // Far behind: each worker reads what it has not got, rather than all after this one task.
                return self.jump_to_head(self.log_epoch()).await;
            }
        }
    }

    async fn look_for_new_epoch(&mut self) -> Result<(), ReadError> {
        let (known, found) = (self.log_epoch(), self.portions.log().epoch().await?);
        if found != known {
            warn!(known, found, "The log has a new epoch: each projection makes sure that it has read this log");
            self.jump_to_head(found).await?;
        }
        Ok(())
    }
}
