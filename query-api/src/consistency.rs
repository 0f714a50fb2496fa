//! Read-your-writes on a replica that is a little behind.
//!
//! Every answer carries `Kontor-Position`: the position of the log up to which it is true, read in the same snapshot as the
//! data. A client that has just written sends the position that it got as `Kontor-Min-Position`, and the query waits until
//! the read model is there, for a bounded time.

use crate::past::LOG;
use crate::problem::Problem;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use kontor_telemetry::Metrics;
use kontor_telemetry::metrics::SECONDS;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use sqlx::PgPool;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

/// Of an answer: the position of the log up to which it is true.
pub const POSITION: &str = "Kontor-Position";
/// Of a request: the position that its answer must reflect.
pub const MIN_POSITION: &str = "Kontor-Min-Position";

const TROUBLE_PAUSE: Duration = Duration::from_millis(100);
/// Of a replica, where no transaction is serializable: SQLSTATE serialization_failure.
const CONFLICT_WITH_RECOVERY: &str = "40001";
const ASKED_AGAIN_MAX: u32 = 50;
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// The position that an answer must reflect; 0 if the client does not ask for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinPosition(pub i64);

impl FromRequest for MinPosition {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(header) = request.headers().get(MIN_POSITION) else { return ready(Ok(MinPosition(0))) };
        let position = header.to_str().ok().and_then(|text| text.parse::<i64>().ok()).filter(|position| *position >= 0);
        ready(position.map(MinPosition).ok_or_else(|| {
            Problem::header(MIN_POSITION, "must be a Kontor-Position of an earlier answer, a number from 0 on")
        }))
    }
}

/// The positions that the read models have reached, watched while somebody waits for one.
pub struct Positions {
    replica: PgPool,
    /// Sent for every look, even if nothing has changed.
    seen: watch::Sender<Seen>,
    waiting: AtomicUsize,
    someone_waits: Notify,
    wait_max: Duration,
    poll_interval: Duration,
    waited: Histogram,
    timed_out: Counter,
}

#[derive(Debug, Default)]
struct Seen(Vec<(String, i64)>);

impl Seen {
    fn of(&self, projection: &str) -> i64 {
        self.0.iter().find(|(name, _)| name == projection).map_or(0, |(_, position)| *position)
    }
}

impl Positions {
    pub fn new(replica: PgPool, wait_max: Duration, poll_interval: Duration, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Positions {
            replica,
            seen: watch::Sender::default(),
            waiting: AtomicUsize::new(0),
            someone_waits: Notify::new(),
            wait_max,
            poll_interval,
            waited: metrics.histogram("kontor_query_wait_seconds", "Time that queries waited for a position", &SECONDS),
            timed_out: metrics.counter("kontor_query_positions_not_reached", "Queries that waited in vain"),
        })
    }

    /// Asks the replica while somebody waits: one question answers all who do.
    pub async fn watch(self: Arc<Self>) {
        loop {
            if self.waiting.load(Ordering::Acquire) == 0 {
                self.someone_waits.notified().await;
                continue;
            }
            match with_log(&self.replica).await {
                Ok(positions) => {
                    self.seen.send_replace(Seen(positions));
                    sleep(self.poll_interval).await;
                }
                Err(error) => {
                    warn!("The positions of the read models cannot be read: {error}");
                    sleep(TROUBLE_PAUSE).await;
                }
            }
        }
    }

    /// Answers with what `query` finds, as soon as it reflects `min`. `query` returns the position of `projection` in the
    /// snapshot of its data.
    ///
    /// # Errors
    /// 503 `position-not-reached` after `query.wait_max_ms`; 503 `read-model-unavailable`.
    pub async fn reflect<T>(
        &self,
        projection: &'static str,
        MinPosition(min): MinPosition,
        query: impl AsyncFn() -> sqlx::Result<(i64, T)>,
    ) -> Result<(i64, T), Problem> {
        let mut awaited = self.awaited(projection, min);
        loop {
            let (reached, found) = undisturbed(|| query()).await?;
            if awaited.is_reflected_at(reached) {
                return Ok((reached, found));
            }
            awaited.wait(reached).await?;
        }
    }

    /// The position that the answer to one query must reflect.
    pub fn awaited(&self, projection: &'static str, min: i64) -> Awaited<'_> {
        Awaited { positions: self, projection, min, begun: Instant::now(), has_waited: false }
    }

    /// Until a look taken from now on has seen `min`.
    async fn until(&self, projection: &str, min: i64) {
        let _waiting = Waiting::begin(self);
        let mut seen = self.seen.subscribe();
        while seen.changed().await.is_ok() {
            if seen.borrow_and_update().of(projection) >= min {
                return;
            }
        }
    }
}

/// What `query` finds. A replica that lags cancels every query on what is just switched or dropped (`conflict with recovery`):
/// it is asked again, and finds what has taken its place.
pub async fn undisturbed<T, F: Future<Output = sqlx::Result<T>>>(query: impl Fn() -> F) -> sqlx::Result<T> {
    let mut times = 0;
    loop {
        match query().await {
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(CONFLICT_WITH_RECOVERY) && times < ASKED_AGAIN_MAX =>
            {
                times += 1;
                sleep(ASKED_AGAIN_AFTER).await;
            }
            result => return result,
        }
    }
}

/// What one query waits for, from its beginning on.
pub struct Awaited<'a> {
    positions: &'a Positions,
    projection: &'static str,
    min: i64,
    begun: Instant,
    has_waited: bool,
}

impl Awaited<'_> {
    /// Whether what was found at `reached` is the answer.
    pub fn is_reflected_at(&self, reached: i64) -> bool {
        let is_reflected = reached >= self.min;
        if is_reflected && self.has_waited {
            self.positions.waited.observe(self.begun.elapsed().as_secs_f64());
        }
        is_reflected
    }

    /// Until it is worth another look.
    ///
    /// # Errors
    /// 503 `position-not-reached` after `query.wait_max_ms`.
    pub async fn wait(&mut self, reached: i64) -> Result<(), Problem> {
        let Awaited { positions, projection, min, begun, .. } = *self;
        self.has_waited = true;
        if timeout_at(begun + positions.wait_max, positions.until(projection, min)).await.is_err() {
            positions.timed_out.inc();
            let reached = positions.seen.borrow().of(projection).max(reached);
            return Err(Problem::position_not_reached(projection, min, reached));
        }
        Ok(())
    }
}

/// The positions of all read models.
pub async fn all(replica: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as("select projection, position from checkpoints").fetch_all(replica).await
}

/// These, and the end of the log itself.
async fn with_log(replica: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "select projection, position from checkpoints
         union all select $1, coalesce(max(position), 0) from public.log_batches",
    )
    .bind(LOG)
    .fetch_all(replica)
    .await
}

/// One who waits, until dropped: also when the client goes away.
struct Waiting<'a>(&'a Positions);

impl<'a> Waiting<'a> {
    fn begin(positions: &'a Positions) -> Self {
        positions.waiting.fetch_add(1, Ordering::AcqRel);
        positions.someone_waits.notify_one();
        Waiting(positions)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
