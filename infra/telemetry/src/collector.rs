//! A collector of spans inside the process, for tests: what a tier exports is decoded and can be asked for.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, rt, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio::sync::watch;

/// One span as it arrived. Ids are in lowercase hex, as in a `traceparent`.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectedSpan {
    pub trace_id: String,
    pub span_id: String,
    /// Empty: the trace's root.
    pub parent_span_id: String,
    pub name: String,
    /// `internal`, `server`, `client`, `producer` or `consumer`.
    pub kind: &'static str,
    /// The `service.name` of the process that sent it.
    pub service: String,
    /// Name and value, as text.
    pub attributes: Vec<(String, String)>,
    /// Trace and span id of each linked span.
    pub links: Vec<(String, String)>,
    /// Whether its status is an error.
    pub failed: bool,
}

impl CollectedSpan {
    /// The value of an attribute, as text.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A collector at work. Ends when dropped.
pub struct Collector {
    /// What to set `telemetry.otlp_endpoint` to.
    pub endpoint: String,
    spans: watch::Receiver<Vec<CollectedSpan>>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// Listens on a free port of this host, on a thread of its own.
    ///
    /// # Panics
    /// If no port can be had.
    pub fn start() -> Collector {
        let (sender, spans) = watch::channel(Vec::new());
        let (started, answer) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            rt::System::new().block_on(async move {
                let sender = web::Data::new(sender);
                let app = move || {
                    App::new()
                        .app_data(sender.clone())
                        .app_data(web::PayloadConfig::new(64 << 20))
                        .route("/v1/traces", web::post().to(collect))
                };
                let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1);
                let server = server.bind(("127.0.0.1", 0)).expect("a free port");
                let address: SocketAddr = server.addrs()[0];
                let server = server.run();
                started.send((address, server.handle())).expect("start waits for it");
                let _ = server.await;
            });
        });
        let (address, handle) = answer.recv().expect("the collector has started");
        Collector { endpoint: format!("http://{address}"), spans, handle, thread: Some(thread) }
    }

    /// All spans so far, in the order of arrival.
    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.spans.borrow().clone()
    }

    /// All spans as soon as there are at least `count`.
    ///
    /// # Panics
    /// If there are not within `timeout`, with those that are.
    pub async fn wait_for(&self, count: usize, timeout: Duration) -> Vec<CollectedSpan> {
        self.wait_until(&format!("{count} spans"), |spans| spans.len() >= count, timeout).await
    }

    /// All spans as soon as `there` says that what is waited for is among them.
    ///
    /// # Panics
    /// If it is not within `timeout`, with `what` and the spans that are there.
    pub async fn wait_until(
        &self,
        what: &str,
        there: impl Fn(&[CollectedSpan]) -> bool,
        timeout: Duration,
    ) -> Vec<CollectedSpan> {
        let mut spans = self.spans.clone();
        let found = tokio::time::timeout(timeout, spans.wait_for(|spans| there(spans))).await;
        match found {
            Ok(found) => found.expect("the collector is at work").clone(),
            Err(_) => panic!("{what} did not arrive within {timeout:?}, only {:#?}", self.spans()),
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn collect(body: web::Bytes, spans: web::Data<watch::Sender<Vec<CollectedSpan>>>) -> HttpResponse {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return HttpResponse::BadRequest().finish();
    };
    spans.send_modify(|spans| spans.extend(decoded(request)));
    // An ExportTraceServiceResponse that has nothing to say is empty.
    HttpResponse::Ok().content_type("application/x-protobuf").finish()
}

fn decoded(request: ExportTraceServiceRequest) -> Vec<CollectedSpan> {
    let mut collected = Vec::new();
    for resource in request.resource_spans {
        let attributes = resource.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
        let service = attributes.into_iter().find(|(name, _)| name == "service.name").map(|(_, service)| service);
        let service = service.unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            collected.push(CollectedSpan {
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_span_id: hex(&span.parent_span_id),
                kind: kind(span.kind),
                service: service.clone(),
                attributes: texts(span.attributes),
                links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
                failed: span.status.is_some_and(|status| status.code == 2),
                name: span.name,
            });
        }
    }
    collected
}

fn kind(kind: i32) -> &'static str {
    match kind {
        2 => "server",
        3 => "client",
        4 => "producer",
        5 => "consumer",
        _ => "internal",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    }
}
