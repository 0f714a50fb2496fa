//! The names of spans and attributes: those of the OpenTelemetry semantic conventions where they have one, and our own
//! under `kontor.`.

/// The target of our spans, by which they are told from those of libraries, which are not exported.
pub const SPAN_TARGET: &str = "kontor::span";

// What the bridge from `tracing` reads as the span's own name, kind and status.
pub const OTEL_NAME: &str = "otel.name";
pub const OTEL_KIND: &str = "otel.kind";
pub const OTEL_STATUS_CODE: &str = "otel.status_code";

// HTTP server spans, named `{method} {route}`.
pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub const HTTP_ROUTE: &str = "http.route";
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub const URL_PATH: &str = "url.path";
/// The method of a request whose method is none of HTTP's own, which a caller could make up without end.
pub const METHOD_OTHER: &str = "_OTHER";

// Messaging spans: the relay publishes (kind producer), a projector processes (kind consumer).
pub const MESSAGING_SYSTEM: &str = "messaging.system";
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
pub const MESSAGING_MESSAGE_ID: &str = "messaging.message.id";
pub const MESSAGING_CONSUMER_GROUP_NAME: &str = "messaging.consumer.group.name";
pub const MESSAGING_BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
/// The value of [`MESSAGING_SYSTEM`].
pub const NATS: &str = "nats";

/// The span of one command's append to the log, from when it is queued until it is on disk.
pub const LOG_APPEND: &str = "log append";
/// The span of the relay for one event.
pub const RELAY_PUBLISH: &str = "relay publish";
/// The span of a projector for one event; the projection's name follows.
pub const PROJECT: &str = "project";

/// Place of the event in the log, from 1.
pub const KONTOR_POSITION: &str = "kontor.position";
/// Such as `stock`.
pub const KONTOR_AGGREGATE_TYPE: &str = "kontor.aggregate_type";

// Metrics of HTTP servers, in the form that Prometheus gives to the conventions' names.
pub const HTTP_SERVER_REQUEST_DURATION: &str = "http_server_request_duration_seconds";
/// Exposed with `_total` after it, as counters are.
pub const HTTP_SERVER_REQUESTS: &str = "http_server_requests";
pub const HTTP_SERVER_ACTIVE_REQUESTS: &str = "http_server_active_requests";
