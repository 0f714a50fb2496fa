//! What went wrong, for the client: RFC 9457 problem details. The one place that knows which refusal is which status.

use super::fields::InvalidField;
use crate::executor::Failure;
use crate::refusal::Refusal;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use kontor_domain::cancellation::CancellationError;
use kontor_identity::{Denied, Role, Unauthenticated};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;
use tracing::error;

mod order;
mod product;
mod stock;

/// Stable names of problems are URLs below this one.
const TYPES: &str = "https://kontor.dev/problems/";

/// One problem, `application/problem+json`. `type` is stable; `detail` is for people; other members carry the numbers.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    #[serde(flatten)]
    members: Map<String, Value>,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, name: &str, title: &'static str, detail: impl Into<String>) -> Self {
        let kind = format!("{TYPES}{name}");
        Self { kind, title, status, detail: detail.into(), members: Map::new(), retry_after_s: None }
    }

    fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.members.insert(name.into(), json!(value));
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-json", "The body is not the JSON that is expected", detail)
    }

    pub fn unknown_command(name: &str) -> Self {
        let detail = format!("no command is called \"{name}\"");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-command", "There is no such command", detail)
            .with("commands", crate::command::NAMES)
    }

    pub fn header(name: &'static str, rule: impl fmt::Display) -> Self {
        let detail = format!("{name} {rule}");
        Self::new(StatusCode::BAD_REQUEST, "invalid-header", "A header is missing or breaks a rule", detail)
            .with("header", name)
    }

    pub fn unknown_key() -> Self {
        let detail = "no command was carried out with this key, or it was so long ago that the key was forgotten";
        Self::new(StatusCode::NOT_FOUND, "unknown-key", "Nothing is known of this idempotency key", detail)
    }

    pub fn no_such_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "There is nothing here", format!("there is no {path}"))
    }

    pub fn method(method: &str, path: &str) -> Self {
        let detail = format!("{path} does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This method is not for this path", detail)
    }

    pub fn too_large(limit_bytes: usize) -> Self {
        let detail = format!("a body may have at most {limit_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large", detail)
            .with("limit_bytes", limit_bytes)
    }

    pub fn media_type(expected: &'static str) -> Self {
        let detail = format!("the body must be {expected}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "The body is of another type", detail)
            .with("expected", expected)
    }

    fn unavailable(name: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, name, title, detail).retry_after(1)
    }
}

impl From<Unauthenticated> for Problem {
    fn from(reason: Unauthenticated) -> Self {
        let detail = format!("Authorization: {reason}");
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "It is not known who you are", detail)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let (status, name, title) = match denied.role {
            Role::Guest => (StatusCode::UNAUTHORIZED, "unauthenticated", "It is not known who you are"),
            _ => (StatusCode::FORBIDDEN, "forbidden", "You may not do this"),
        };
        let detail = match denied.role {
            Role::Guest => "send a token: Authorization: Bearer ...".to_owned(),
            _ => denied.to_string(),
        };
        Self::new(status, name, title, detail).with("permission", denied.permission.name())
    }
}

impl From<InvalidField> for Problem {
    fn from(InvalidField { field, rule }: InvalidField) -> Self {
        let detail = if field.is_empty() { rule.clone() } else { format!("{field}: {rule}") };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-field", "A field breaks a rule", detail)
            .with("field", field)
            .with("rule", rule)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The idempotency key belongs to another request",
                "this Idempotency-Key was used for another command or another body",
            ),
            Failure::Busy { waiting } => {
                Self::unavailable("busy", "Too many commands are waiting", failure.to_string()).with("waiting", waiting)
            }
            Failure::Contended { .. } => {
                Self::unavailable("contended", "Other commands were faster", failure.to_string())
            }
            Failure::Unknown { ref reason } => {
                error!(%reason, "The outcome of a command is not known");
                let detail =
                    "it is not known whether the command was carried out: ask again with the same Idempotency-Key";
                Self::unavailable("outcome-unknown", "The log cannot be reached", detail)
            }
            Failure::Unreadable(ref reason) => {
                error!(%reason, "A stream could not be read");
                Self::unavailable("log-unreadable", "The log cannot be read", "nothing was done; try again later")
            }
            Failure::Unfit { ref reason } => {
                error!(%reason, "The log refused an append");
                let detail = "the command could not be stored; nothing was done";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not-stored", "The command could not be stored", detail)
            }
        }
    }
}

/// Each refusal is one problem type.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Stale { expected, actual } => {
                Problem::new(StatusCode::PRECONDITION_FAILED, "stale-version", "It has changed since", detail)
                    .with("expected", expected)
                    .with("actual", actual)
            }
            Refusal::Product(error) => product::problem(error, detail),
            Refusal::Stock { sku, error } => stock::problem(error, detail).with("sku", sku),
            Refusal::Order(error) => order::problem(error, detail),
            Refusal::Cancellation(CancellationError::Lines(error)) => order::of_lines(error, detail),
            Refusal::Cancellation(CancellationError::BookedDifferently { total }) => {
                conflict("booked-differently", "The id belongs to another cancellation", detail).with("total", total)
            }
        }
    }
}

fn conflict(name: &str, title: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::CONFLICT, name, title, detail)
}

fn not_found(name: &str, title: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, name, title, detail)
}

fn unprocessable(name: &str, title: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, name, title, detail)
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.content_type("application/problem+json");
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer")); // RFC 6750, section 3.
        }
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, seconds));
        }
        match serde_json::to_vec(self) {
            Ok(body) => response.body(body),
            Err(_) => response.content_type(ContentType::plaintext()).body(self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::Quantity;
    use kontor_domain::stock::StockError;

    #[test]
    fn a_refusal_carries_the_numbers_that_disagree() {
        let units = |n| Quantity::new(n).expect("few units");
        let refusal = Refusal::Stock {
            sku: "85123A".parse().expect("a valid SKU"),
            error: StockError::Insufficient { requested: units(3), available: units(1) },
        };
        let problem = serde_json::to_value(Problem::from(refusal)).expect("a problem has a JSON form");
        let expected = json!({
            "type": "https://kontor.dev/problems/insufficient-stock",
            "title": "There is not enough stock",
            "status": 409,
            "detail": "85123A: 3 units requested, 1 available",
            "sku": "85123A",
            "requested": 3,
            "available": 1,
        });
        assert_eq!(problem, expected);
    }

    #[test]
    fn busy_says_when_to_come_again() {
        let response = Problem::from(Failure::Busy { waiting: 7 }).error_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get("retry-after").map(|value| value.as_bytes()), Some(&b"1"[..]));
    }

    #[test]
    fn what_is_our_fault_is_told_without_detail() {
        let problem = Problem::from(Failure::Unfit { reason: "relation \"events\" does not exist".into() });
        assert!(!serde_json::to_string(&problem).expect("JSON").contains("relation"));
    }
}
