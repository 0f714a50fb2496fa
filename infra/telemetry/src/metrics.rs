use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::{Registry, Unit};

use crate::process::ProcessMetrics;

pub use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;

/// Upper bounds of histogram buckets for what takes from half a millisecond to ten seconds. In seconds.
pub const SECONDS: [f64; 14] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// The metrics of a tier. Each component registers its own and keeps the handles; clones are the same registry.
///
/// Names are `kontor_<component>_<what>_<unit>`, in base units (`_seconds`, `_bytes`). Labels have few values: never an
/// id, a key or a path.
#[derive(Clone)]
pub struct Metrics {
    registered: Arc<Mutex<Registered>>,
}

struct Registered {
    registry: Registry,
    names: HashSet<String>,
}

impl Metrics {
    /// With the metrics of the process itself, such as `process_resident_memory_bytes`, read at each scrape.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics));
        Metrics { registered: Arc::new(Mutex::new(Registered { registry, names: HashSet::new() })) }
    }

    /// Adds a metric and gives it back. A counter's `name` is without `_total`, which it is exposed with; `help` is a
    /// sentence without its full stop.
    ///
    /// # Panics
    /// If the name is taken: two components would add up to nonsense.
    pub fn register<M: prometheus_client::registry::Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registered = self.registered.lock();
        assert!(registered.names.insert(name.to_owned()), "metric {name} is registered twice");
        // The registry puts the unit after the name by itself, and tells scrapers of it.
        let (stem, unit) = match name.rsplit_once('_') {
            Some((stem, "seconds")) => (stem, Some(Unit::Seconds)),
            Some((stem, "bytes")) => (stem, Some(Unit::Bytes)),
            _ => (name, None),
        };
        match unit {
            Some(unit) => registered.registry.register_with_unit(stem, help, unit, metric.clone()),
            None => registered.registry.register(name, help, metric.clone()),
        }
        metric
    }

    /// Adds a counter without labels.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.register(name, help, Counter::default())
    }

    /// Adds a gauge without labels.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// Adds a histogram without labels; `buckets` are upper bounds, such as [`SECONDS`].
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.register(name, help, Histogram::new(buckets.iter().copied()))
    }

    /// Adds what is read at each scrape.
    pub fn register_collector(&self, collector: impl prometheus_client::collector::Collector) {
        self.registered.lock().registry.register_collector(Box::new(collector));
    }

    /// All metrics, as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registered.lock().registry).expect("a String takes any text");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_exposed_in_its_base_unit() {
        let metrics = Metrics::new();
        metrics.counter("kontor_test_appends", "Appends that were acknowledged").inc_by(3);
        metrics.histogram("kontor_test_append_seconds", "Time to append", &SECONDS).observe(0.003);
        metrics.gauge("kontor_test_lag_events", "Events behind the log").set(7);
        let text = metrics.text();
        for line in [
            "kontor_test_appends_total 3",
            "# UNIT kontor_test_append_seconds seconds",
            "kontor_test_append_seconds_bucket{le=\"0.005\"} 1",
            "kontor_test_append_seconds_count 1",
            "kontor_test_lag_events 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    #[should_panic(expected = "metric kontor_test_appends is registered twice")]
    fn a_name_is_for_one_metric() {
        let metrics = Metrics::new();
        metrics.counter("kontor_test_appends", "Appends");
        metrics.gauge("kontor_test_appends", "Appends");
    }
}
