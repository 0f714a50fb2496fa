use kontor_settings::{Check, Rule, between};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Logs and traces: section `telemetry`, or `KONTOR_TELEMETRY__LOG_LEVEL` and so on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Where spans are sent: the base URL of an OTLP collector that takes protobuf over HTTP, such as
    /// `http://localhost:4318`; `/v1/traces` is added. Unset: what `OTEL_EXPORTER_OTLP_ENDPOINT` says, or no spans.
    pub otlp_endpoint: Option<String>,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,kontor_relay=debug`.
    pub log_level: String,
    /// `text` for people, `json` (one object a line) for machines.
    pub log_format: LogFormat,
    /// The part of new traces that is exported, from 0 to 1. A trace that a caller has begun keeps the caller's choice.
    pub sample_ratio: f64,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        TelemetrySettings {
            otlp_endpoint: None,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            sample_ratio: 1.0,
        }
    }
}

impl TelemetrySettings {
    /// The URL that spans are sent to, if any: the setting, or else the OpenTelemetry variable.
    pub(crate) fn traces_url(&self) -> Option<String> {
        let variable = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok();
        let base = self.otlp_endpoint.clone().or(variable).filter(|base| !base.is_empty())?;
        Some(format!("{}/v1/traces", base.trim_end_matches('/')))
    }
}

impl Check for TelemetrySettings {
    fn check(&self) -> Result<(), Rule> {
        if let Some(endpoint) = &self.otlp_endpoint
            && !endpoint.starts_with("http://")
            && !endpoint.starts_with("https://")
        {
            return Err(Rule::new("otlp_endpoint", "must be a URL that begins with http:// or https://"));
        }
        if let Err(error) = EnvFilter::try_new(&self.log_level) {
            return Err(Rule::new("log_level", format!("must be a level or a list of target=level: {error}")));
        }
        between("sample_ratio", self.sample_ratio, 0.0, 1.0)
    }
}
