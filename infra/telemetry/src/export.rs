//! Sending spans to a collector, in the background and without ever getting in the way.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter,
};
use parking_lot::Mutex;
use tracing::warn;

/// Spans that may wait for export, each about a kilobyte. A collector that is slower than us loses the rest.
const QUEUE_MAX: usize = 16_384;
const BATCH_MAX: usize = 1_024;
const BATCH_DELAY: Duration = Duration::from_secs(1);
/// One request to the collector. Shorter than the time that shutting down may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a collector that cannot be reached is mentioned.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

static EXPORTING: AtomicBool = AtomicBool::new(false);

/// Whether spans are exported at all. Costs one relaxed read; ask before preparing what only a span needs.
#[inline]
pub fn exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

pub(crate) fn set_exporting(exporting: bool) {
    EXPORTING.store(exporting, Ordering::Relaxed);
}

/// Builds what sends the spans of `service` to `url`. A trace that begins here is sampled with `sample_ratio`.
pub(crate) fn provider(service: &'static str, url: &str, sample_ratio: f64) -> Result<SdkTracerProvider, String> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client(url)?)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(REQUEST_TIMEOUT)
        .with_endpoint(url)
        .build()
        .map_err(|error| error.to_string())?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let processor = BatchSpanProcessor::builder(Quiet::around(exporter)).with_batch_config(batches).build();
    let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample_ratio))))
        .with_resource(Resource::builder().with_service_name(service).with_attribute(version).build())
        .build())
}

/// The processor's thread has no runtime, so the client blocks. It is made on a thread of its own because making a
/// blocking client inside a runtime panics.
fn client(url: &str) -> Result<reqwest::blocking::Client, String> {
    // The only provider that is compiled in; somebody else may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::blocking::Client::builder().timeout(REQUEST_TIMEOUT);
    if url.starts_with("http://") {
        builder = builder.tls_certs_only([]); // So that an image without certificates will do.
    }
    std::thread::spawn(move || builder.build())
        .join()
        .map_err(|_| "the HTTP client cannot be made".to_owned())?
        .map_err(|error| error.to_string())
}

/// An exporter whose failures are told once a minute, with how many there have been.
struct Quiet<E> {
    exporter: E,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    told_at: Option<Instant>,
    spans_lost: usize,
}

impl<E> Quiet<E> {
    fn around(exporter: E) -> Self {
        Quiet { exporter, failures: Mutex::default() }
    }

    fn failed(&self, error: &dyn fmt::Display, spans: usize) {
        let mut failures = self.failures.lock();
        failures.spans_lost += spans;
        if failures.told_at.is_none_or(|told_at| told_at.elapsed() >= WARNING_INTERVAL) {
            let spans_lost = std::mem::take(&mut failures.spans_lost);
            failures.told_at = Some(Instant::now());
            warn!(spans_lost, "{spans_lost} spans could not be exported: {error}");
        }
    }
}

impl<E> fmt::Debug for Quiet<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quiet")
    }
}

impl<E: SpanExporter> SpanExporter for Quiet<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        if let Err(error) = &exported {
            self.failed(error, spans);
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
