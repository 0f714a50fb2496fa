//! Mails to customers, for those who look after the shop: which were sent, and what is to become of those that were not.
//!
//! A POST here needs no `Idempotency-Key`: it says how the mail shall be, so that once more changes nothing.

use super::context::Request;
use super::endpoints::Parameter;
use super::fields::InvalidField;
use super::problem::Problem;
use crate::notifications::outbox::{Notification, Outbox, OutboxError, Status, Wanted};
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use kontor_domain::OrderId;
use kontor_identity::Permission;
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::Serialize;
use std::str::FromStr;
use uuid::Uuid;

const LIMIT_DEFAULT: i64 = 20;
const LIMIT_MAX: i64 = 100;

/// A page of mails, the latest event's first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Notifications")]
pub struct Page {
    items: Vec<Notification>,
    /// The `before` of the next page; `null`: this is the last.
    next_before: Option<i64>,
}

/// What can be asked of a list.
pub const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "status",
        place: "query",
        description: "Only those in this status.",
        schema: SchemaGenerator::subschema_for::<Status>,
    },
    Parameter {
        name: "limit",
        place: "query",
        description: "Mails of the page.",
        schema: |_| json_schema!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT}),
    },
    Parameter {
        name: "before",
        place: "query",
        description: "Only those of events before this position: `next_before` of the page before.",
        schema: SchemaGenerator::subschema_for::<i64>,
    },
];

/// `GET /v1/notifications`, of which [`PARAMETERS`] choose some.
pub async fn list(request: HttpRequest, outbox: Data<Outbox>) -> Result<HttpResponse, Problem> {
    allowed(&request)?;
    page(&outbox, wanted(&request, None)?).await
}

/// `GET /v1/orders/{order_id}/notifications`, as [`list`]. An order that nobody was mailed about has an empty list.
pub async fn of_order(request: HttpRequest, id: Path<String>, outbox: Data<Outbox>) -> Result<HttpResponse, Problem> {
    allowed(&request)?;
    let order_id = field("order_id", id.parse::<OrderId>())?;
    page(&outbox, wanted(&request, Some(order_id))?).await
}

/// `POST /v1/notifications/{id}/retry`: sends the mail again as if it had never been tried. 409 `notification-settled`: it
/// was sent.
pub async fn retry(request: HttpRequest, id: Path<String>, outbox: Data<Outbox>) -> Result<HttpResponse, Problem> {
    allowed(&request)?;
    Ok(HttpResponse::Ok().json(outbox.retry(field("id", id.parse::<Uuid>())?).await?))
}

/// `POST /v1/notifications/{id}/drop`: sees to it that the mail is not sent any more. 409 `notification-settled`: it was sent,
/// or is being sent.
pub async fn withdraw(request: HttpRequest, id: Path<String>, outbox: Data<Outbox>) -> Result<HttpResponse, Problem> {
    allowed(&request)?;
    Ok(HttpResponse::Ok().json(outbox.withdraw(field("id", id.parse::<Uuid>())?).await?))
}

fn allowed(request: &HttpRequest) -> Result<(), Problem> {
    Ok(Request::of(request)?.caller().may(Permission::ManageNotifications)?)
}

async fn page(outbox: &Outbox, wanted: Wanted) -> Result<HttpResponse, Problem> {
    // One more than the page has tells whether there is another page.
    let asked = Wanted { limit: wanted.limit + 1, ..wanted };
    let mut items = outbox.list(&asked).await.map_err(OutboxError::from)?;
    let more = items.len() as i64 > wanted.limit;
    items.truncate(wanted.limit as usize);
    let next_before = items.last().filter(|_| more).map(|last| last.position);
    Ok(HttpResponse::Ok().json(Page { items, next_before }))
}

fn wanted(request: &HttpRequest, order_id: Option<OrderId>) -> Result<Wanted, Problem> {
    let mut wanted = Wanted { order_id, limit: LIMIT_DEFAULT, ..Wanted::default() };
    let parameters = Query::<Vec<(String, String)>>::from_query(request.query_string());
    for (name, text) in parameters.map_err(|error| invalid("", error))?.into_inner() {
        match name.as_str() {
            "status" => {
                let names = Status::ALL.map(Status::name).join(", ");
                let status = Status::named(&text).ok_or_else(|| invalid("status", format!("must be one of {names}")));
                wanted.status = Some(status?);
            }
            "before" => wanted.before = Some(field("before", text.parse())?),
            "limit" => match text.parse() {
                Ok(limit @ 1..=LIMIT_MAX) => wanted.limit = limit,
                _ => return Err(invalid("limit", format!("must be a number from 1 to {LIMIT_MAX}"))),
            },
            other => return Err(invalid(other, "is no parameter, only status, before and limit are")),
        }
    }
    Ok(wanted)
}

fn field<T: FromStr<Err: ToString>>(name: &str, value: Result<T, T::Err>) -> Result<T, Problem> {
    value.map_err(|error| invalid(name, error.to_string()))
}

fn invalid(name: &str, rule: impl ToString) -> Problem {
    InvalidField { field: name.into(), rule: rule.to_string() }.into()
}
