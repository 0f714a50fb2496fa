//! Traces, metrics, logs and health of every tier.
//!
//! A tier calls [`init`] once, keeps the guard until it ends, makes one [`Metrics`] and one [`Health`], hands them to its
//! components, and serves them with [`OpsServer`]. Logs go to standard error. Traces are exported over OTLP when an
//! endpoint is set; without one nothing is built, and all that remains of tracing is that a [`TraceParent`] is passed
//! from the request to its events, so that a consumer who does export still sees one trace.

#[cfg(feature = "collector")]
pub mod collector;
mod export;
pub mod health;
pub mod http;
mod init;
pub mod metrics;
pub mod ops;
mod process;
pub mod semconv;
mod settings;
pub mod spans;
mod trace_parent;

pub use export::exporting;
pub use health::{Check, Health};
pub use http::HttpTelemetry;
pub use init::{InitError, TelemetryGuard, init};
pub use metrics::Metrics;
pub use ops::{OpsServer, OpsSettings};
pub use settings::{LogFormat, TelemetrySettings};
pub use trace_parent::{InvalidTraceParent, TraceParent, TraceParentText};
