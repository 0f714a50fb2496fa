//! What went wrong, for the client: RFC 9457 problem details. Each file here tells its noun's refusals, and has the table
//! of their types.

use super::fields::InvalidField;
use crate::refusal::Refusal;
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use kontor_telemetry::TraceParent;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt;

pub mod cart;
pub mod category;
pub mod general;
mod kind;
pub mod notification;
pub mod order;
pub mod payment;
pub mod product;
pub mod stock;
pub mod webhook;

pub use kind::Kind;

/// One problem, `application/problem+json`. `type` is stable; `detail` is for people; other members carry the numbers.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: &'static Kind,
    detail: String,
    members: Map<String, Value>,
    retry_after_s: Option<u32>,
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut problem = serializer.serialize_map(None)?;
        problem.serialize_entry("type", &self.kind.url())?;
        problem.serialize_entry("title", self.kind.title())?;
        problem.serialize_entry("status", &self.kind.status())?;
        problem.serialize_entry("detail", &self.detail)?;
        for (name, value) in &self.members {
            problem.serialize_entry(name, value)?;
        }
        problem.end()
    }
}

impl JsonSchema for Problem {
    fn schema_name() -> Cow<'static, str> {
        "Problem".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Why a request was refused (RFC 9457). Other members carry the numbers that disagree.",
            "type": "object",
            "properties": {
                "type": {"type": "string", "format": "uri", "description": "Which type of problem it is: stable."},
                "title": {"type": "string", "description": "The type, for people."},
                "status": {"type": "integer", "description": "The status of the answer."},
                "detail": {"type": "string", "description": "This one case, for people."},
                "trace_id": {"type": "string", "description": "The trace of the request, to name when you ask us."},
            },
            "required": ["type", "title", "status", "detail"],
        })
    }
}

impl Problem {
    fn new(kind: &'static Kind, detail: String) -> Self {
        Self { kind, detail, members: Map::new(), retry_after_s: None }
    }

    /// With a member of those that its type may have.
    fn with(mut self, name: &str, value: impl Serialize) -> Self {
        debug_assert!(self.kind.members().contains(&name), "{} has no member {name}", self.kind.name());
        self.members.insert(name.into(), json!(value));
        self
    }

    fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// With the trace of the request, under which our logs tell more.
    pub fn in_trace(mut self, trace: TraceParent) -> Self {
        let trace_id = u128::from_be_bytes(trace.trace_id());
        self.members.insert("trace_id".into(), format!("{trace_id:032x}").into());
        self
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status()).expect("the tables have statuses of HTTP")
    }
}

/// Each refusal is one problem type.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Stale { expected, actual } => {
                general::STALE_VERSION.problem(detail).with("expected", expected).with("actual", actual)
            }
            Refusal::Product(error) => product::problem(error, detail),
            Refusal::Sku { sku, error } => product::of_sku(error, detail).with("sku", sku),
            Refusal::Slug { slug, error } => product::of_slug(error, detail).with("slug", slug),
            Refusal::Category(error) => category::problem(error, detail),
            Refusal::Stock { sku, error } => stock::problem(error, detail).with("sku", sku),
            Refusal::Order(error) => order::problem(error, detail),
            Refusal::Payment(error) => payment::problem(error, detail),
            Refusal::Cancellation(error) => order::of_cancellation(error, detail),
            Refusal::Cart(error) => cart::problem(error, detail),
            Refusal::Pricing(error) => cart::unpriced(error, detail),
            Refusal::NotOnSale { sku } => cart::not_on_sale(sku, detail),
            Refusal::Timer(_) => order::timer(detail),
            Refusal::Erased { .. } => cart::erased(detail),
            Refusal::NoCustomer => {
                InvalidField { field: "customer_id".into(), rule: "must name a customer".into() }.into()
            }
            Refusal::LineTwice { line } => order::line_twice(line, detail),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.title(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status());
        response.content_type("application/problem+json");
        if self.kind.status() == 401 {
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
    use crate::executor::Failure;
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
