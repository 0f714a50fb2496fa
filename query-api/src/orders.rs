//! Orders. [`contact`] tells of the people in them, [`documents`] of what they are made of.

pub mod contact;
pub mod documents;

use crate::callers::Asker;
use crate::consistency::{MinPosition, POSITION, Positions};
use crate::etag;
use crate::openapi::{IfNoneMatchHeader, MinPositionHeader, PageParameters, Refused};
use crate::paging::{Asked, CURSOR, LIMIT, Page};
use crate::parameters::{Parameters, from_path};
use crate::problem::Problem;
use crate::products::Price;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use contact::{Contact, Sealed};
use documents::{Breakdown, Line, Return, Shipment};
use kontor_domain::CustomerId;
use kontor_domain::order::OrderNumber;
use kontor_identity::Caller;
use kontor_privacy::Keyring;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use utoipa::ToSchema;
use uuid::Uuid;

const PROJECTION: &str = "orders";
const CUSTOMER: &str = "customer_id";
const NUMBER: &str = "number";

/// The columns of an [`OrderSummary`].
const SUMMARY: &str = "order_id, number, reference, customer_id, country, order_lines, units, total_minor,
    coalesce(due_minor, total_minor) as due_minor, currency, fulfilment, status, placed_at, cancelled_at";

/// An order, in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderSummary {
    pub order_id: Uuid,
    /// For people, such as `AZF9-R9XZ-8KZK`. `null`: not from checkout.
    pub number: Option<String>,
    /// The shop's own number.
    pub reference: Option<String>,
    /// `null`: a guest.
    pub customer_id: Option<String>,
    pub country: String,
    pub order_lines: i64,
    /// Over all lines.
    pub units: i64,
    /// Of the lines.
    pub total: Price,
    /// What is to be paid: with tax and shipping if it came from checkout.
    pub due: Price,
    /// `reserve`, `ship` or `checkout`.
    pub fulfilment: String,
    /// `placed`, `authorised`, `confirmed`, `partly-shipped`, `shipped`, `delivered` or `cancelled`.
    pub status: String,
    /// Business time.
    pub placed_at: DateTime<Utc>,
    pub cancelled_at: Option<DateTime<Utc>>,
}

/// An order with all that is known of it. Documents are the text of the read model, unparsed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Order {
    #[serde(flatten)]
    pub summary: OrderSummary,
    /// As they were ordered.
    #[schema(value_type = Vec<Line>)]
    pub lines: Box<RawValue>,
    /// Why it costs what is due. `null`: not from checkout.
    #[schema(value_type = Option<Breakdown>)]
    pub breakdown: Option<Box<RawValue>>,
    /// `null`: not paid through us.
    pub payment_id: Option<Uuid>,
    pub captured: Price,
    pub refunded: Price,
    pub cancel_reason: Option<String>,
    /// Oldest first, as are `returns`.
    #[schema(value_type = Vec<Shipment>)]
    pub shipments: Box<RawValue>,
    #[schema(value_type = Vec<Return>)]
    pub returns: Box<RawValue>,
    /// `null`: not from checkout.
    pub contact: Option<Contact>,
}

/// An order as its row has it.
struct Found {
    /// Its contact is not opened yet.
    order: Order,
    sealed: Option<Sealed>,
    /// Position of the last event in it.
    changed_at: i64,
}

impl OrderSummary {
    /// Whose it is; `None`: a guest's.
    fn customer(&self) -> Option<CustomerId> {
        self.customer_id.as_deref()?.parse().ok()
    }
}

/// Position in the list of a customer's orders. Times are microseconds since the Unix epoch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterOrder {
    placed_at: i64,
    order_id: Uuid,
}

/// `None`: the row has no order.
fn summary(row: &PgRow) -> sqlx::Result<Option<OrderSummary>> {
    let Some(order_id) = row.try_get("order_id")? else { return Ok(None) };
    Ok(Some(OrderSummary {
        order_id,
        number: row.try_get("number")?,
        reference: row.try_get("reference")?,
        customer_id: row.try_get("customer_id")?,
        country: row.try_get("country")?,
        order_lines: row.try_get("order_lines")?,
        units: row.try_get("units")?,
        total: price(row, "total_minor")?,
        due: price(row, "due_minor")?,
        fulfilment: row.try_get("fulfilment")?,
        status: row.try_get("status")?,
        placed_at: row.try_get("placed_at")?,
        cancelled_at: row.try_get("cancelled_at")?,
    }))
}

fn price(row: &PgRow, column: &str) -> sqlx::Result<Price> {
    Ok(Price { amount_minor: row.try_get(column)?, currency: row.try_get("currency")? })
}

fn document(row: &PgRow, column: &str) -> sqlx::Result<Option<Box<RawValue>>> {
    let text: Option<String> = row.try_get(column)?;
    text.map(RawValue::from_string).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A document that is a list; null stands for an empty one.
fn list_in(row: &PgRow, column: &str) -> sqlx::Result<Box<RawValue>> {
    let nothing = || RawValue::from_string("[]".to_owned()).expect("it is JSON");
    Ok(document(row, column)?.unwrap_or_else(nothing))
}

/// `None`: the row has no order.
fn found(row: &PgRow) -> sqlx::Result<Option<Found>> {
    let Some(summary) = summary(row)? else { return Ok(None) };
    let order = Order {
        summary,
        lines: list_in(row, "lines")?,
        breakdown: document(row, "breakdown")?,
        payment_id: row.try_get("payment_id")?,
        captured: price(row, "captured_minor")?,
        refunded: price(row, "refunded_minor")?,
        cancel_reason: row.try_get("cancel_reason")?,
        shipments: list_in(row, "shipments")?,
        returns: list_in(row, "returns")?,
        contact: None,
    };
    let sealed: Option<String> = row.try_get("contact")?;
    let sealed = sealed.as_deref().map(serde_json::from_str).transpose();
    let sealed = sealed.map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some(Found { order, sealed, changed_at: row.try_get("changed_at")? }))
}

#[utoipa::path(
    get,
    path = "/v1/orders/{order_id}",
    params(("order_id" = Uuid, Path), MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = Order, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The row is the one that If-None-Match names"),
        (status = 404, description = "unknown-order", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// One order. Personal data is opened for its customer and for those who run the shop. 304 with `If-None-Match`; 404
/// `unknown-order`; 503 `keys-unavailable`.
pub async fn one(
    request: HttpRequest,
    Asker(caller): Asker,
    order_id: Path<String>,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
    keyring: Data<Keyring>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let id: Uuid = from_path("order_id", &order_id, "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")?;
    let statement = format!(
        "select coalesce(c.position, 0) as reached, o.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'orders'
         left join (
             select {SUMMARY}, lines::text, breakdown::text, payment_id, captured_minor, refunded_minor, cancel_reason,
                 shipments::text, returns::text, contact::text, position as changed_at
             from orders where order_id = $1
         ) o on true"
    );
    let find = async || {
        let row = sqlx::query(&statement).bind(id).fetch_one(&**replica).await?;
        Ok((row.try_get("reached")?, found(&row)?))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    // Whether others have such an order is not a customer's to know.
    let found = found.filter(|found| caller.concerns(found.order.summary.customer().as_ref()));
    let found = found.ok_or_else(|| Problem::not_found("order", &order_id, position))?;
    let Found { mut order, sealed, changed_at } = found;
    if let Some(sealed) = sealed {
        order.contact = sealed.open(&caller, &keyring).await?;
    }
    let tag = match &order.contact {
        Some(contact) if contact.erased => etag::of_erased(changed_at),
        _ => etag::of(changed_at),
    };
    if etag::is_known(&request, &tag) {
        return Ok(HttpResponse::NotModified().insert_header((POSITION, position)).insert_header(tag).finish());
    }
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).insert_header(tag).json(order))
}

#[utoipa::path(
    get,
    path = "/v1/orders",
    params(
        ("customer_id" = Option<String>, Query, description = "Whose; customers need not say"),
        ("number" = Option<String>, Query, description = "An order's number instead, however it is spelt"),
        PageParameters,
        MinPositionHeader,
    ),
    responses(
        (status = 200, body = Page<OrderSummary>, headers(("Kontor-Position" = i64))),
        (status = 404, description = "unknown-order: none has this number; unknown-customer: it is another",
            body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// A page of a customer's orders, newest first; or the order with a number: 404 `unknown-order`.
pub async fn list(
    request: HttpRequest,
    Asker(caller): Asker,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[CUSTOMER, NUMBER, LIMIT, CURSOR])?;
    if let Some(number) = parameters.text(NUMBER) {
        if [CUSTOMER, LIMIT, CURSOR].into_iter().any(|other| parameters.text(other).is_some()) {
            return Err(Problem::parameter(NUMBER, "must be the only parameter"));
        }
        return numbered(number, &caller, min, &replica, &positions).await;
    }
    // A customer need not say whose.
    let own = caller.customer().map(|customer| customer.as_str());
    let customer_id = if own.is_some() { parameters.text(CUSTOMER).or(own) } else { None };
    let customer_id = customer_id.map_or_else(|| parameters.needed(CUSTOMER), Ok)?;
    if own.is_some_and(|own| own != customer_id) {
        return Err(Problem::not_found("customer", customer_id, 0));
    }
    let asked = Asked::<AfterOrder>::of(&parameters)?;
    let after = asked.after.as_ref();
    let after_time = after.map(|after| DateTime::from_timestamp_micros(after.placed_at));
    let Some(after_time) = after_time.unwrap_or(Some(DateTime::<Utc>::MAX_UTC)) else {
        return Err(Problem::parameter(CURSOR, "must be a next_cursor of this list"));
    };
    let statement = format!(
        "select coalesce(c.position, 0) as reached, o.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'orders'
         left join (
             select {SUMMARY}
             from orders
             where customer_id = $1 and (placed_at, order_id) < ($2, $3)
             order by placed_at desc, order_id desc limit $4
         ) o on true
         order by o.placed_at desc, o.order_id desc"
    );
    let find = async || {
        let rows = sqlx::query(&statement)
            .bind(customer_id)
            .bind(after_time)
            .bind(after.map_or(Uuid::max(), |after| after.order_id))
            .bind(asked.rows())
            .fetch_all(&**replica)
            .await?;
        summaries(&rows)
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let page = Page::of(position, found, &asked, |order: &OrderSummary| AfterOrder {
        placed_at: order.placed_at.timestamp_micros(),
        order_id: order.order_id,
    });
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(page))
}

/// The order with this number as a page, which has two once in a blue moon: see [`OrderNumber`].
async fn numbered(
    text: &str,
    caller: &Caller,
    min: MinPosition,
    replica: &PgPool,
    positions: &Positions,
) -> Result<HttpResponse, Problem> {
    let number: OrderNumber = text.parse().map_err(|error| Problem::parameter(NUMBER, error))?;
    let number = number.to_string();
    let statement = format!(
        "select coalesce(c.position, 0) as reached, o.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'orders'
         left join (select {SUMMARY} from orders where number = $1) o on true
         order by o.placed_at desc, o.order_id desc"
    );
    let find = async || summaries(&sqlx::query(&statement).bind(&number).fetch_all(replica).await?);
    let (position, mut items) = positions.reflect(PROJECTION, min, find).await?;
    items.retain(|order| caller.concerns(order.customer().as_ref()));
    if items.is_empty() {
        return Err(Problem::not_found("order", &number, position));
    }
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(Page { position, items, next_cursor: None }))
}

/// The position and the orders of rows of which each has the position, and a single one may have no order.
fn summaries(rows: &[PgRow]) -> sqlx::Result<(i64, Vec<OrderSummary>)> {
    let found: sqlx::Result<_> = rows.iter().filter_map(|row| summary(row).transpose()).collect();
    Ok((rows[0].try_get("reached")?, found?))
}
