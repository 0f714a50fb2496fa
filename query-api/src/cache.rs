//! Redis, as far as it is there. What it does not answer, Postgres does.

use kontor_redis::{Found, Reader, Redis, keys};
use kontor_telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::warn;

/// After a failure nobody asks for so long: otherwise each would wait for the same failure.
const PAUSE: Duration = Duration::from_millis(500);

/// What is counted of all connections.
#[derive(Clone)]
pub struct CacheMetrics {
    found: Counter,
    lacking: Counter,
    failed: Counter,
}

impl CacheMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        CacheMetrics {
            found: metrics.counter("kontor_query_redis_found", "Things that Redis was asked for and had"),
            lacking: metrics.counter("kontor_query_redis_lacking", "Things that Redis was asked for and had not"),
            failed: metrics.counter("kontor_query_redis_failed", "Questions that Redis did not answer"),
        }
    }
}

/// One thread's way to Redis.
pub struct Cache {
    /// `None`: there is no Redis.
    readers: Option<Readers>,
    begun: Instant,
    /// When it may be asked again, in milliseconds since `begun`.
    away_until_ms: AtomicU64,
    metrics: CacheMetrics,
}

struct Readers {
    cards: Reader,
    profiles: Reader,
}

/// What it may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of product cards, by SKU.
    Card,
    /// Of product cards, by slug.
    CardBySlug,
    /// Of product cards, by SKU.
    Availability,
    /// Of customers. No projector writes them: they are what Postgres has answered a moment ago, still sealed.
    Profile,
}

impl Kind {
    fn names(self) -> (&'static str, Option<&'static str>) {
        match self {
            Kind::Card => (keys::CARD, None),
            Kind::CardBySlug => (keys::CARD, Some(keys::SLUG)),
            Kind::Availability => (keys::STOCK, None),
            Kind::Profile => ("profile:", None),
        }
    }

    /// How long an answer of Postgres stands in.
    fn moment(self) -> Duration {
        match self {
            Kind::Card | Kind::CardBySlug | Kind::Availability => Duration::from_secs(2),
            Kind::Profile => Duration::from_secs(5),
        }
    }
}

impl Cache {
    /// For the thread that it is called on.
    pub fn connect(redis: Option<&Redis>, timeout: Duration, metrics: &CacheMetrics) -> Self {
        let connection = redis.and_then(|redis| {
            let connection = redis.connection(timeout);
            connection.inspect_err(|error| warn!("Redis is not used: {error}")).ok()
        });
        let readers = connection.map(|connection| Readers {
            cards: Reader::new(connection.clone(), keys::PRODUCT_CARDS),
            profiles: Reader::new(connection, "customers"),
        });
        Cache { readers, begun: Instant::now(), away_until_ms: AtomicU64::new(0), metrics: metrics.clone() }
    }

    /// What it has under these names, in their order, as far as it is true at `min`. `None`: it does not answer.
    pub async fn read(&self, kind: Kind, names: &[&str], min: i64) -> Option<Vec<Option<Found>>> {
        let reader = self.reader(kind)?;
        let (what, by) = kind.names();
        match reader.read(what, by, names).await {
            Ok(mut found) => {
                found.iter_mut().for_each(|found| drop(found.take_if(|found| found.position < min)));
                let lacking = found.iter().filter(|found| found.is_none()).count();
                self.metrics.found.inc_by((found.len() - lacking) as u64);
                self.metrics.lacking.inc_by(lacking as u64);
                Some(found)
            }
            Err(error) => {
                self.metrics.failed.inc();
                let now = self.now_ms();
                let until = now + PAUSE.as_millis() as u64;
                if self.away_until_ms.swap(until, Ordering::Relaxed) <= now {
                    warn!("Redis does not answer, Postgres does: {error}");
                }
                None
            }
        }
    }

    /// Keeps for a moment what Postgres has answered and Redis lacks. Nobody waits for it.
    pub fn heal(&self, kind: Kind, name: &str, found: Found) {
        let Some(reader) = self.reader(kind).cloned() else { return };
        let name = name.to_owned();
        actix_web::rt::spawn(async move {
            let (what, by) = kind.names();
            // If it fails, the next one who asks sees and tells it.
            let _ = reader.stand_in(what, by, &name, &found, kind.moment()).await;
        });
    }

    fn reader(&self, kind: Kind) -> Option<&Reader> {
        let readers = self.readers.as_ref()?;
        if self.now_ms() < self.away_until_ms.load(Ordering::Relaxed) {
            return None;
        }
        Some(match kind {
            Kind::Card | Kind::CardBySlug | Kind::Availability => &readers.cards,
            Kind::Profile => &readers.profiles,
        })
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}
