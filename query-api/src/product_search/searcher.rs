//! The search index, as far as it is there. What it does not answer, Postgres does.

use kontor_projection_services::projections::product_search::PRODUCT_SEARCH;
use kontor_search::{Answer, Engine, Query};
use kontor_telemetry::{Check, Metrics};
use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// After a failure nobody asks for so long: otherwise each would wait for the same failure.
const PAUSE: Duration = Duration::from_millis(500);

/// Asks the index that queries see.
pub struct Searcher {
    /// `None`: there is none.
    engine: Option<Arc<dyn Engine>>,
    begun: Instant,
    /// When it may be asked again, in milliseconds since `begun`.
    away_until_ms: AtomicU64,
    /// Tells operators; without the index there still are answers.
    check: Check,
    answered: Counter,
    degraded: Counter,
    failed: Counter,
}

impl Searcher {
    pub fn new(engine: Option<Arc<dyn Engine>>, check: Check, metrics: &Metrics) -> Self {
        if engine.is_none() {
            check.failing("neither search.folder nor search.url is set: Postgres answers");
        }
        Searcher {
            engine,
            begun: Instant::now(),
            away_until_ms: AtomicU64::new(0),
            check,
            answered: metrics.counter("kontor_query_search_answered", "Searches that the index has answered"),
            degraded: metrics.counter("kontor_query_search_degraded", "Searches that were left to Postgres"),
            failed: metrics.counter("kontor_query_search_failed", "Searches that the index has failed to answer"),
        }
    }

    /// What the index finds. `None`: it does not answer, or queries do not see it yet.
    pub async fn search(&self, query: &Query) -> Option<Answer> {
        let answer = match &self.engine {
            Some(engine) if self.now_ms() >= self.away_until_ms.load(Ordering::Relaxed) => {
                engine.search(PRODUCT_SEARCH, query).await
            }
            _ => {
                self.degraded.inc();
                return None;
            }
        };
        match answer {
            Ok(answer) => {
                self.answered.inc();
                if !self.check.is_ok() {
                    info!("The search index answers");
                }
                self.check.ok();
                Some(answer)
            }
            Err(error) => {
                self.failed.inc();
                self.degraded.inc();
                let now = self.now_ms();
                let until = now + PAUSE.as_millis() as u64;
                if self.away_until_ms.swap(until, Ordering::Relaxed) <= now {
                    warn!("The search index does not answer, Postgres does: {error}");
                }
                self.check.failing(error.to_string());
                None
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}
