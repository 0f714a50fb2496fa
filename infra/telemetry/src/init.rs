use std::io::IsTerminal;
use std::time::Duration;

use kontor_settings::{Check, Rule};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::warn;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::settings::{LogFormat, TelemetrySettings};
use crate::{export, semconv};

/// How long the last spans have to reach the collector when the tier ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// Why logs and traces could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// A setting of section `telemetry` is not usable.
    #[error("telemetry.{0}")]
    Refused(Rule),
    /// The exporter cannot be built for this endpoint.
    #[error("telemetry.otlp_endpoint (KONTOR_TELEMETRY__OTLP_ENDPOINT) cannot be used: {0}")]
    Endpoint(String),
    /// A process has one log, and somebody has set it up.
    #[error("logs and traces are set up already")]
    AlreadyInitialised,
}

/// Flushes the spans that still wait when it is dropped, for at most 5 seconds. Keep it until the tier ends.
#[derive(Debug)]
#[must_use = "dropping it ends the export of spans"]
pub struct TelemetryGuard {
    provider: Option<SdkTracerProvider>,
}

/// Sets up the process: logs to standard error and, if the settings or `OTEL_EXPORTER_OTLP_ENDPOINT` name a collector,
/// spans to it, under `service` as their service.name. To be called once, early in `main`.
///
/// # Errors
/// [`InitError`]: a setting that cannot be used, or a second call.
pub fn init(service: &'static str, settings: &TelemetrySettings) -> Result<TelemetryGuard, InitError> {
    settings.check().map_err(InitError::Refused)?;
    let provider = match settings.traces_url() {
        Some(url) => Some(export::provider(service, &url, settings.sample_ratio).map_err(InitError::Endpoint)?),
        None => None,
    };
    let traces = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("kontor"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == semconv::SPAN_TARGET))
    });
    tracing_subscriber::registry()
        .with(traces)
        .with(log(settings)?)
        .try_init()
        .map_err(|_| InitError::AlreadyInitialised)?;
    export::set_exporting(provider.is_some());
    Ok(TelemetryGuard { provider })
}

/// The layer that writes log lines. Spans are no part of it: a line reads alone.
fn log<S>(settings: &TelemetrySettings) -> Result<Box<dyn Layer<S> + Send + Sync>, InitError>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let level = EnvFilter::try_new(&settings.log_level)
        .map_err(|error| InitError::Refused(Rule::new("log_level", error.to_string())))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
            lines.with_ansi(colour).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_ansi(false).boxed(),
    };
    Ok(lines.with_filter(level.and(filter_fn(|metadata| metadata.is_event()))).boxed())
}

impl TelemetryGuard {
    /// Sends the spans that wait, for at most 5 seconds, and ends the export.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(provider) = self.provider.take() else { return };
        export::set_exporting(false);
        if let Err(error) = provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            warn!("The last spans may not have been exported: {error}");
        }
    }
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        self.end();
    }
}
