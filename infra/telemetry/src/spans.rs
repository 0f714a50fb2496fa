//! Our spans. Each function makes one kind, and makes none (`Span::none()`, which costs nothing to hold, enter or drop)
//! unless spans are exported and the trace is sampled.

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::field::Empty;
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::trace_parent::TraceParent;
use crate::{exporting, semconv};

/// Makes `parent`, which came from elsewhere, the parent of `span`. To be called before the span is entered or asked
/// for its [`TraceParent`]; later it has no effect, because the span then has its ids.
pub fn set_parent(span: &Span, parent: &TraceParent) {
    if !span.is_none() {
        // It refuses if spans are not exported or the span has begun, and then there is no parent to be set.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent.span_context()));
    }
}

/// What a child of `span` has as its parent. `None` if the span is not exported.
pub fn of_span(span: &Span) -> Option<TraceParent> {
    if span.is_none() {
        return None;
    }
    TraceParent::of_context(span.context().span().span_context())
}

/// Links `span`, which works for many traces, to one of them. Traces that are not sampled have nothing to link to.
pub fn add_link(span: &Span, to: &TraceParent) {
    if !span.is_none() && to.sampled() {
        span.add_link(to.span_context());
    }
}

/// An HTTP request that we answer. `parent` is what the caller sent. The route and status are recorded when known.
pub fn server(method: &str, path: &str, parent: Option<&TraceParent>) -> Span {
    if !exporting() || parent.is_some_and(|parent| !parent.sampled()) {
        return Span::none();
    }
    let span = info_span!(
        target: semconv::SPAN_TARGET,
        "server",
        { semconv::OTEL_NAME } = method,
        { semconv::OTEL_KIND } = "server",
        { semconv::OTEL_STATUS_CODE } = Empty,
        { semconv::HTTP_REQUEST_METHOD } = method,
        { semconv::URL_PATH } = path,
        { semconv::HTTP_ROUTE } = Empty,
        { semconv::HTTP_RESPONSE_STATUS_CODE } = Empty,
    );
    if let Some(parent) = parent {
        set_parent(&span, parent);
    }
    span
}

/// One command's events are appended to the log, from when they are queued until they are on disk.
pub fn log_append(parent: &TraceParent) -> Span {
    if !exporting() || !parent.sampled() {
        return Span::none();
    }
    let span = info_span!(
        target: semconv::SPAN_TARGET,
        parent: None,
        "append",
        { semconv::OTEL_NAME } = semconv::LOG_APPEND,
        { semconv::OTEL_KIND } = "client",
        { semconv::OTEL_STATUS_CODE } = Empty,
        { semconv::KONTOR_POSITION } = Empty,
    );
    set_parent(&span, parent);
    span
}

/// The event that a messaging span is about.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Of the event: what its command stored with it.
    pub parent: &'a TraceParent,
    /// Subject on the stream, such as `kontor.v1.stock.reserved`.
    pub subject: &'a str,
    /// Id of the event.
    pub event_id: &'a str,
    /// Such as `stock`.
    pub aggregate_type: &'a str,
    /// Place in the log, from 1.
    pub position: i64,
}

/// The relay publishes one event, from reading it to its acknowledgement.
pub fn relay_publish(message: Message<'_>) -> Span {
    if !exporting() || !message.parent.sampled() {
        return Span::none();
    }
    let span = info_span!(
        target: semconv::SPAN_TARGET,
        parent: None,
        "publish",
        { semconv::OTEL_NAME } = semconv::RELAY_PUBLISH,
        { semconv::OTEL_KIND } = "producer",
        { semconv::OTEL_STATUS_CODE } = Empty,
        { semconv::MESSAGING_SYSTEM } = semconv::NATS,
        { semconv::MESSAGING_OPERATION_NAME } = "publish",
        { semconv::MESSAGING_OPERATION_TYPE } = "send",
        { semconv::MESSAGING_DESTINATION_NAME } = message.subject,
        { semconv::MESSAGING_MESSAGE_ID } = message.event_id,
        { semconv::KONTOR_AGGREGATE_TYPE } = message.aggregate_type,
        { semconv::KONTOR_POSITION } = message.position,
    );
    set_parent(&span, message.parent);
    span
}

/// The projector of `projection` applies one event, until its checkpoint is written.
pub fn project(projection: &str, message: Message<'_>) -> Span {
    if !exporting() || !message.parent.sampled() {
        return Span::none();
    }
    let span = info_span!(
        target: semconv::SPAN_TARGET,
        parent: None,
        "project",
        { semconv::OTEL_NAME } = format!("{} {projection}", semconv::PROJECT),
        { semconv::OTEL_KIND } = "consumer",
        { semconv::OTEL_STATUS_CODE } = Empty,
        { semconv::MESSAGING_SYSTEM } = semconv::NATS,
        { semconv::MESSAGING_OPERATION_NAME } = "project",
        { semconv::MESSAGING_OPERATION_TYPE } = "process",
        { semconv::MESSAGING_DESTINATION_NAME } = message.subject,
        { semconv::MESSAGING_MESSAGE_ID } = message.event_id,
        { semconv::MESSAGING_CONSUMER_GROUP_NAME } = projection,
        { semconv::KONTOR_AGGREGATE_TYPE } = message.aggregate_type,
        { semconv::KONTOR_POSITION } = message.position,
    );
    set_parent(&span, message.parent);
    span
}

/// One step for many events at once, such as `relay batch`: a trace of its own, linked to those of `events`, of which
/// `count` are carried. `None` is sampled: no span.
pub fn batch<'a>(name: &str, count: usize, events: impl IntoIterator<Item = &'a TraceParent>) -> Span {
    if !exporting() {
        return Span::none();
    }
    let mut sampled = events.into_iter().filter(|event| event.sampled()).peekable();
    if sampled.peek().is_none() {
        return Span::none();
    }
    let span = info_span!(
        target: semconv::SPAN_TARGET,
        parent: None,
        "batch",
        { semconv::OTEL_NAME } = name,
        { semconv::OTEL_KIND } = "internal",
        { semconv::OTEL_STATUS_CODE } = Empty,
        { semconv::MESSAGING_SYSTEM } = semconv::NATS,
        { semconv::MESSAGING_BATCH_MESSAGE_COUNT } = i64::try_from(count).unwrap_or(i64::MAX),
    );
    for event in sampled {
        add_link(&span, event);
    }
    span
}

/// Gives `span` a name that was not known when it was made. The bridge reads `otel.name` only while it is made.
pub(crate) fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}

/// Marks `span` as failed. Why is said in the log.
pub fn failed(span: &Span) {
    span.record(semconv::OTEL_STATUS_CODE, "ERROR");
}
