//! What is measured of the training.

use kontor_telemetry::Metrics;
use kontor_telemetry::metrics::{Counter, Gauge};
use std::sync::atomic::AtomicU64;

/// The newest model, and how it came about.
#[derive(Clone)]
pub struct ModelMetrics {
    pub version: Gauge,
    pub age_seconds: Gauge<f64, AtomicU64>,
    pub training_seconds: Gauge<f64, AtomicU64>,
    pub documents: Gauge,
    pub products: Gauge,
    pub trainings: Counter,
    pub errors: Counter,
    pub refills: Counter,
}

impl ModelMetrics {
    pub fn new(metrics: &Metrics) -> Self {
        ModelMetrics {
            version: metrics.gauge("kontor_recommendations_model_version", "The model that queries are to see"),
            age_seconds: metrics.register(
                "kontor_recommendations_model_age_seconds",
                "For how long queries have seen it",
                Gauge::default(),
            ),
            training_seconds: metrics.register(
                "kontor_recommendations_training_seconds",
                "Time that it took to learn it",
                Gauge::default(),
            ),
            documents: metrics
                .gauge("kontor_recommendations_documents", "Orders, returns and cancellations that it was learnt from"),
            products: metrics.gauge("kontor_recommendations_products", "Products that it knows"),
            trainings: metrics.counter("kontor_recommendations_trainings", "Models that this process has learnt"),
            errors: metrics.counter("kontor_recommendations_errors", "Times that learning or storing has failed"),
            refills: metrics.counter(
                "kontor_recommendations_refills",
                "Times that a vector store which lacked the model's vectors was filled",
            ),
        }
    }
}
