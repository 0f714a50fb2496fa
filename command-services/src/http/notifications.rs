//! Mails to customers, for those who look after the shop: which were sent, and what is to become of those that were not.
//!
//! A POST here needs no `Idempotency-Key`: it says how the mail shall be, so that once more changes nothing.

use super::context::Request;
use super::fields::InvalidField;
use super::problem::Problem;
use crate::notifications::outbox::{Notification, Outbox, OutboxError, Status, Wanted};
use actix_web::web::{self, Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse, Resource};
use kontor_domain::OrderId;
use kontor_identity::Permission;
use serde::Serialize;
use std::str::FromStr;
use uuid::Uuid;

const LIMIT_DEFAULT: i64 = 20;
const LIMIT_MAX: i64 = 100;

/// A page of mails, the latest event's first.
#[derive(Debug, Serialize)]
struct Page {
    items: Vec<Notification>,
    /// The `before` of the next page; `null`: this is the last.
    next_before: Option<i64>,
}

pub fn resources() -> [Resource; 4] {
    [
        web::resource("/v1/notifications").route(web::get().to(list)),
        web::resource("/v1/orders/{order_id}/notifications").route(web::get().to(of_order)),
        web::resource("/v1/notifications/{id}/retry").route(web::post().to(retry)),
        web::resource("/v1/notifications/{id}/drop").route(web::post().to(withdraw)),
    ]
}

/// `status` (due, sending, sent, dead, dropped), `limit` (1 to 100, else 20), `before` (a position). 200.
async fn list(request: HttpRequest, outbox: Data<Outbox>) -> Result<HttpResponse, Problem> {
    let listed = async {
        allowed(&request)?;
        page(&outbox, wanted(&request, None)?).await
    };
    listed.await
}

/// The mails about one order; as [`list`]. An order that nobody was mailed about has an empty list.
async fn of_order(request: HttpRequest, id: Path<String>, outbox: Data<Outbox>) -> Result<HttpResponse, Problem> {
    let listed = async {
        allowed(&request)?;
        let order_id = field("order_id", id.parse::<OrderId>())?;
        page(&outbox, wanted(&request, Some(order_id))?).await
    };
    listed.await
}

/// Sends the mail again as if it had never been tried. 200; 404 `unknown-notification`; 409 `notification-settled`: it was
/// sent.
async fn retry(request: HttpRequest, id: Path<String>, outbox: Data<Outbox>) -> Result<HttpResponse, Problem> {
    let retried = async {
        allowed(&request)?;
        Ok(HttpResponse::Ok().json(outbox.retry(field("id", id.parse::<Uuid>())?).await?))
    };
    retried.await
}

/// Sees to it that the mail is not sent any more. 200; 404 `unknown-notification`; 409 `notification-settled`: it was sent, or
/// is being sent.
async fn withdraw(request: HttpRequest, id: Path<String>, outbox: Data<Outbox>) -> Result<HttpResponse, Problem> {
    let withdrawn = async {
        allowed(&request)?;
        Ok(HttpResponse::Ok().json(outbox.withdraw(field("id", id.parse::<Uuid>())?).await?))
    };
    withdrawn.await
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
