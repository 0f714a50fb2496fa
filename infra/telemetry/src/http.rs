//! What is measured and traced of every HTTP request to a tier.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{Error, HttpMessage};
use pin_project_lite::pin_project;
use tracing::Span;

use crate::metrics::{Counter, EncodeLabelSet, Family, Gauge, Histogram, Metrics, SECONDS};
use crate::trace_parent::TraceParent;
use crate::{semconv, spans};

/// The header in which a caller says what trace its request belongs to.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The header in which we answer which span the request was (W3C Trace Context, level 2).
pub const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// The status under which a request is counted whose caller has gone before it was answered. nginx's.
const CLIENT_CLOSED_REQUEST: u16 = 499;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    http_request_method: &'static str,
    http_route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
}

/// actix-web middleware, to be the outermost. For each request: a server span whose parent is the caller's, the
/// [`TraceParent`] of that span among the request's extensions (there is one also if spans are not exported) and in the
/// answer's `traceresponse`, and its duration until the last byte of the answer. Make one for a tier and clone it.
#[derive(Clone)]
pub struct HttpTelemetry {
    duration: Family<Route, Histogram, fn() -> Histogram>,
    requests: Family<Answer, Counter>,
    active: Gauge,
}

impl HttpTelemetry {
    pub fn new(metrics: &Metrics) -> Self {
        HttpTelemetry {
            duration: metrics.register(
                semconv::HTTP_SERVER_REQUEST_DURATION,
                "Time from a request's head to the last byte of its answer",
                Family::new_with_constructor(|| Histogram::new(SECONDS)),
            ),
            requests: metrics.register(
                semconv::HTTP_SERVER_REQUESTS,
                "Requests by the status of their answer; 499 if the caller went away before it",
                Family::default(),
            ),
            active: metrics.gauge(semconv::HTTP_SERVER_ACTIVE_REQUESTS, "Requests whose answer is not complete"),
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for HttpTelemetry
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<Observed<B>>;
    type Error = Error;
    type Transform = HttpTelemetryService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(HttpTelemetryService { service, telemetry: self.clone() }))
    }
}

/// [`HttpTelemetry`] around a service.
pub struct HttpTelemetryService<S> {
    service: S,
    telemetry: HttpTelemetry,
}

impl<S, B> Service<ServiceRequest> for HttpTelemetryService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<Observed<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let incoming = request.headers().get(TRACEPARENT).and_then(|text| TraceParent::parse(text.as_bytes()).ok());
        let method = known(request.method());
        let span = spans::server(method, request.path(), incoming.as_ref());
        let trace_parent = spans::of_span(&span)
            .or_else(|| incoming.map(|incoming| incoming.child()))
            .unwrap_or_else(|| TraceParent::new_root(false));
        request.extensions_mut().insert(trace_parent);
        let mut observation = Observation::begin(self.telemetry.clone(), method, span);
        let answer = observation.span.in_scope(|| self.service.call(request));
        Box::pin(async move {
            let answer = InSpan { future: answer, span: observation.span.clone() }.await;
            let mut answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    observation.answered(error.as_response_error().status_code(), None);
                    return Err(error);
                }
            };
            observation.answered(answer.status(), answer.request().match_pattern());
            let text = HeaderValue::from_str(&trace_parent.text()).expect("hex digits and dashes are a header value");
            answer.headers_mut().insert(TRACERESPONSE, text);
            Ok(answer.map_body(|_, body| Observed { body, observation }))
        })
    }
}

/// The method as an attribute or label: one of HTTP's own, or `_OTHER`.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => semconv::METHOD_OTHER,
    }
}

/// One request under way. Counted when dropped, which is after its last byte or when its caller has gone.
struct Observation {
    telemetry: HttpTelemetry,
    span: Span,
    started: Instant,
    method: &'static str,
    /// The pattern that matched, such as `/v1/stock/{sku}/reserve`; empty if none did.
    route: String,
    status: u16,
}

impl Observation {
    fn begin(telemetry: HttpTelemetry, method: &'static str, span: Span) -> Self {
        telemetry.active.inc();
        let (route, status) = (String::new(), CLIENT_CLOSED_REQUEST);
        Observation { telemetry, span, started: Instant::now(), method, route, status }
    }

    fn answered(&mut self, status: StatusCode, route: Option<String>) {
        self.status = status.as_u16();
        self.route = route.unwrap_or_default();
        if self.span.is_none() {
            return;
        }
        if !self.route.is_empty() {
            spans::rename(&self.span, format!("{} {}", self.method, self.route));
            self.span.record(semconv::HTTP_ROUTE, &self.route);
        }
        self.span.record(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(self.status));
        if status.is_server_error() {
            spans::failed(&self.span);
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let HttpTelemetry { duration, requests, active } = &self.telemetry;
        active.dec();
        let (http_request_method, http_route) = (self.method, std::mem::take(&mut self.route));
        let route = Route { http_request_method, http_route };
        duration.get_or_create(&route).observe(self.started.elapsed().as_secs_f64());
        let Route { http_route, .. } = route;
        let answer = Answer { http_request_method, http_route, http_response_status_code: self.status };
        requests.get_or_create(&answer).inc();
    }
}

pin_project! {
    /// A future inside a span, which ends its time in it at each pause.
    struct InSpan<F> {
        #[pin]
        future: F,
        span: Span,
    }
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        this.future.poll(context)
    }
}

pin_project! {
    /// The body of an answer; the request is over when it is.
    pub struct Observed<B> {
        #[pin]
        body: B,
        observation: Observation,
    }
}

impl<B: MessageBody> MessageBody for Observed<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<actix_web::web::Bytes, B::Error>>> {
        let this = self.project();
        let _entered = this.observation.span.enter();
        this.body.poll_next(context)
    }
}
