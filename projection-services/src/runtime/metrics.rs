//! What is measured of the source and of each projection.

use chrono::{DateTime, Utc};
use kontor_telemetry::Metrics;
use kontor_telemetry::metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, SECONDS};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Where events came from.
#[derive(Clone)]
pub struct SourceMetrics {
    pub last: Gauge,
    pub from_stream: Counter,
    pub from_log: Counter,
    pub repeated: Counter,
    pub holes: Counter,
    pub malformed: Counter,
    pub opened: Counter,
}

impl SourceMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        SourceMetrics {
            last: metrics.gauge("kontor_source_position", "Position of the last event seen in the log"),
            from_stream: metrics.counter("kontor_source_stream_events", "Events read from the stream"),
            from_log: metrics
                .counter("kontor_source_log_events", "Events read from the log because the stream lacked them"),
            repeated: metrics.counter("kontor_source_repeated_events", "Messages of events seen before"),
            holes: metrics.counter("kontor_source_holes", "Holes in the stream that were filled from the log"),
            malformed: metrics.counter("kontor_source_malformed_messages", "Messages that are no event"),
            opened: metrics.counter("kontor_source_stream_opened", "Times that the stream was opened"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    projection: String,
}

/// The metrics of all projections; each takes its own with [`ProjectionMetrics::of`].
#[derive(Clone)]
pub struct ProjectionsMetrics {
    position: Family<Of, Gauge>,
    lag_events: Family<Of, Gauge>,
    lag_seconds: Family<Of, Gauge<f64, AtomicU64>>,
    active: Family<Of, Gauge>,
    batches: Family<Of, Counter>,
    events: Family<Of, Counter>,
    errors: Family<Of, Counter>,
    silent: Family<Of, Gauge>,
    dead_letters: Family<Of, Gauge>,
    dead_letter_seconds: Family<Of, Gauge<f64, AtomicU64>>,
    batch_seconds: Family<Of, Histogram, fn() -> Histogram>,
    visible_seconds: Family<Of, Histogram, fn() -> Histogram>,
}

impl ProjectionsMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        let seconds = || Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        ProjectionsMetrics {
            position: metrics.register(
                "kontor_projection_position",
                "Position of the last event applied",
                Family::default(),
            ),
            lag_events: metrics.register(
                "kontor_projection_lag_events",
                "Events that are known and not applied",
                Family::default(),
            ),
            lag_seconds: metrics.register(
                "kontor_projection_lag_seconds",
                "Age of the last event applied while later ones wait; 0 if none does",
                Family::default(),
            ),
            active: metrics.register(
                "kontor_projection_active",
                "1 while this process keeps the projection; 0 while it stands by, or has stopped with an error",
                Family::default(),
            ),
            batches: metrics.register("kontor_projection_batches", "Transactions committed", Family::default()),
            events: metrics.register("kontor_projection_events", "Events applied or passed over", Family::default()),
            errors: metrics.register("kontor_projection_errors", "Batches that failed", Family::default()),
            silent: metrics.register(
                "kontor_projection_silent",
                "1 while there are events and none has been applied for projections.silent_after_s",
                Family::default(),
            ),
            dead_letters: metrics.register(
                "kontor_projection_dead_letters",
                "Events that were set aside and wait for an operator",
                Family::default(),
            ),
            dead_letter_seconds: metrics.register(
                "kontor_projection_dead_letter_seconds",
                "For how long the oldest of them has waited",
                Family::default(),
            ),
            batch_seconds: metrics.register("kontor_projection_batch_seconds", "Time to apply a batch", seconds()),
            visible_seconds: metrics.register(
                "kontor_projection_visible_seconds",
                "From the append of a batch's first event to the commit of its effect",
                seconds(),
            ),
        }
    }

    /// Those of a projection, or of a generation that queries do not see, such as `orders_3`.
    pub fn of(&self, projection: &str) -> ProjectionMetrics {
        let of = &Of { projection: projection.to_owned() };
        ProjectionMetrics {
            position: self.position.get_or_create_owned(of),
            lag_events: self.lag_events.get_or_create_owned(of),
            lag_seconds: self.lag_seconds.get_or_create_owned(of),
            active: self.active.get_or_create_owned(of),
            batches: self.batches.get_or_create_owned(of),
            events: self.events.get_or_create_owned(of),
            errors: self.errors.get_or_create_owned(of),
            silent: self.silent.get_or_create_owned(of),
            batch_seconds: self.batch_seconds.get_or_create_owned(of),
            visible_seconds: self.visible_seconds.get_or_create_owned(of),
            progress: Arc::new(Mutex::new(Progress { applied: Utc::now(), moved: Instant::now() })),
        }
    }

    /// What waits in each projection: how many letters, and since when the oldest.
    pub fn dead_letters(&self, waiting: &[(String, i64, Option<DateTime<Utc>>)]) {
        let now = Utc::now();
        for (projection, letters, oldest) in waiting {
            let of = &Of { projection: projection.clone() };
            self.dead_letters.get_or_create(of).set(*letters);
            self.dead_letter_seconds.get_or_create(of).set(oldest.map_or(0.0, |oldest| seconds(oldest, now)));
        }
    }

    /// There is no such generation any more, or it has become what queries see.
    pub fn forget(&self, projection: &str) {
        let of = &Of { projection: projection.to_owned() };
        self.position.remove(of);
        self.lag_events.remove(of);
        self.lag_seconds.remove(of);
        self.active.remove(of);
        self.batches.remove(of);
        self.events.remove(of);
        self.errors.remove(of);
        self.silent.remove(of);
        self.batch_seconds.remove(of);
        self.visible_seconds.remove(of);
    }
}

/// The metrics of one projection.
#[derive(Clone)]
pub struct ProjectionMetrics {
    pub position: Gauge,
    pub lag_events: Gauge,
    pub lag_seconds: Gauge<f64, AtomicU64>,
    pub active: Gauge,
    pub batches: Counter,
    pub events: Counter,
    pub errors: Counter,
    silent: Gauge,
    pub batch_seconds: Histogram,
    pub visible_seconds: Histogram,
    progress: Arc<Mutex<Progress>>,
}

struct Progress {
    /// When the last event applied was appended, or when there was nothing to apply.
    applied: DateTime<Utc>,
    /// When the last event was applied, or when there was nothing to apply.
    moved: Instant,
}

impl ProjectionMetrics {
    /// The projection is at `position`, whose event was appended at `appended` if that is known.
    pub fn is_at(&self, position: i64, appended: Option<DateTime<Utc>>, head: i64) {
        let before = self.position.set(position);
        {
            let mut progress = self.progress.lock();
            progress.applied = appended.unwrap_or(progress.applied);
            if before != position {
                progress.moved = Instant::now();
            }
        }
        self.refresh(head, Duration::MAX);
    }

    /// The log is known to go up to `head`. To be said again and again: a projection that is stuck says nothing. Returns for how
    /// long it has been silent, if that is longer than `patience`.
    pub fn refresh(&self, head: i64, patience: Duration) -> Option<Duration> {
        let behind = (head - self.position.get()).max(0);
        self.lag_events.set(behind);
        let now = Utc::now();
        let mut progress = self.progress.lock();
        if behind == 0 {
            *progress = Progress { applied: now, moved: Instant::now() };
        }
        self.lag_seconds.set(seconds(progress.applied, now));
        let silent_for = Some(progress.moved.elapsed()).filter(|silent_for| *silent_for > patience);
        if patience != Duration::MAX || behind == 0 {
            self.silent.set(i64::from(silent_for.is_some()));
        }
        silent_for
    }
}

/// Never negative: the clocks of two machines may disagree.
pub fn seconds(from: DateTime<Utc>, to: DateTime<Utc>) -> f64 {
    (to - from).to_std().unwrap_or_default().as_secs_f64()
}
