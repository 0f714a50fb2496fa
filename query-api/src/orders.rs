//! Orders. [`contact`] tells of the people in them, [`documents`] of what they are made of, [`timeline`] of what happened to
//! them when, [`past`] of what they were.

pub mod contact;
pub mod documents;
mod past;
pub mod timeline;

use crate::callers::Asker;
use crate::consistency::POSITION;
use crate::etag;
use crate::openapi::{AsOfParameter, IfNoneMatchHeader, MinPositionHeader, MomentParameters, PageParameters, Refused};
use crate::paging::{Asked, CURSOR, LIMIT, Page, bad_cursor};
use crate::parameters::{Parameters, from_path};
use crate::past::{AT, Moment, Streams, VERSION};
use crate::problem::Problem;
use crate::products::Price;
use crate::view::{AS_OF, View};
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
use sqlx::Row;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

const PROJECTION: &str = "orders";
const CUSTOMER: &str = "customer_id";
const NUMBER: &str = "number";

/// The columns of an [`OrderSummary`].
const SUMMARY: &str = "order_id, number, reference, customer_id, country, order_lines, units, total_minor,
    coalesce(due_minor, total_minor) as due_minor, currency, fulfilment, status, placed_at, cancelled_at";

/// An order, in short.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
pub struct Found {
    /// Its contact is not opened yet.
    pub order: Order,
    sealed: Option<Sealed>,
    /// Position of the last event in it.
    changed_at: i64,
}

pub const ID_RULE: &str = "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057";

impl OrderSummary {
    /// Whose it is; `None`: a guest's.
    fn customer(&self) -> Option<CustomerId> {
        self.customer_id.as_deref()?.parse().ok()
    }
}

/// Position in the list of a customer's orders. Times are microseconds since the Unix epoch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterOrder {
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

fn sealed(contact: Option<&str>) -> sqlx::Result<Option<Sealed>> {
    contact.map(serde_json::from_str).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
}

fn price(row: &PgRow, column: &str) -> sqlx::Result<Price> {
    Ok(Price { amount_minor: row.try_get(column)?, currency: row.try_get("currency")? })
}

fn document(text: Option<String>) -> sqlx::Result<Option<Box<RawValue>>> {
    text.map(RawValue::from_string).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
}

/// A document that is a list; null stands for an empty one.
fn list_in(text: Option<String>) -> sqlx::Result<Box<RawValue>> {
    let nothing = || RawValue::from_string("[]".to_owned()).expect("it is JSON");
    Ok(document(text)?.unwrap_or_else(nothing))
}

/// `None`: the row has no order.
fn found(row: &PgRow) -> sqlx::Result<Option<Found>> {
    let Some(summary) = summary(row)? else { return Ok(None) };
    let order = Order {
        summary,
        lines: list_in(row.try_get("lines")?)?,
        breakdown: document(row.try_get("breakdown")?)?,
        payment_id: row.try_get("payment_id")?,
        captured: price(row, "captured_minor")?,
        refunded: price(row, "refunded_minor")?,
        cancel_reason: row.try_get("cancel_reason")?,
        shipments: list_in(row.try_get("shipments")?)?,
        returns: list_in(row.try_get("returns")?)?,
        contact: None,
    };
    let sealed = sealed(row.try_get("contact")?)?;
    Ok(Some(Found { order, sealed, changed_at: row.try_get("changed_at")? }))
}

/// The order with this id as far as it concerns the caller: whether others have such an order is not a customer's to know.
pub async fn find(order_id: Uuid, caller: &Caller, view: &View) -> Result<(i64, Found), Problem> {
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
    let read = |rows: &[PgRow]| Ok((rows[0].try_get("reached")?, found(&rows[0])?));
    let (position, found) = view.rows(PROJECTION, || sqlx::query(&statement).bind(order_id), read).await?;
    concerning(caller, found, order_id, position)
}

fn concerning(caller: &Caller, found: Option<Found>, id: Uuid, position: i64) -> Result<(i64, Found), Problem> {
    let found = found.filter(|found| caller.concerns(found.order.summary.customer().as_ref()));
    Ok((position, found.ok_or_else(|| Problem::not_found("order", &id.to_string(), position))?))
}

#[utoipa::path(
    get,
    path = "/v1/orders/{order_id}",
    params(("order_id" = Uuid, Path), MomentParameters, AsOfParameter, MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = Order, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The row is the one that If-None-Match names"),
        (status = 404, description = "unknown-order, unknown-version or unknown-generation", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// One order; with `version` or `at` what it was, for those who look after the shop. Personal data is opened for its customer
/// and for those who run the shop. 304 with `If-None-Match`; 404 `unknown-order`; 503 `keys-unavailable`.
pub async fn one(
    request: HttpRequest,
    Asker(caller): Asker,
    order_id: Path<String>,
    view: View,
    streams: Data<Streams>,
    keyring: Data<Keyring>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[VERSION, AT, AS_OF])?;
    let id: Uuid = from_path("order_id", &order_id, ID_RULE)?;
    let moment = Moment::of(&parameters)?;
    let (position, Found { mut order, sealed, changed_at }) = match moment {
        None => find(id, &caller, &view).await?,
        Some(moment) => {
            let (position, found) = past::order(&streams, &view, id, moment).await?;
            concerning(&caller, found, id, position)?
        }
    };
    if let Some(sealed) = sealed {
        order.contact = sealed.open(&caller, &keyring).await?;
    }
    let tag = match &order.contact {
        Some(contact) if contact.erased => etag::of_erased(changed_at),
        _ => etag::of(changed_at),
    };
    Ok(etag::answer_in_confidence(&request, position, tag, &order))
}

#[utoipa::path(
    get,
    path = "/v1/orders",
    params(
        ("customer_id" = Option<String>, Query, description = "Whose; customers need not say"),
        ("number" = Option<String>, Query, description = "An order's number instead, however it is spelt"),
        PageParameters,
        AsOfParameter,
        MinPositionHeader,
    ),
    responses(
        (status = 200, body = Page<OrderSummary>, headers(("Kontor-Position" = i64))),
        (status = 404, description = "unknown-order: none has this number; unknown-customer: it is another; \
            unknown-generation", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// A page of a customer's orders, newest first; or the order with a number: 404 `unknown-order`.
pub async fn list(request: HttpRequest, Asker(caller): Asker, view: View) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[CUSTOMER, NUMBER, LIMIT, CURSOR, AS_OF])?;
    if let Some(number) = parameters.text(NUMBER) {
        if [CUSTOMER, LIMIT, CURSOR].into_iter().any(|other| parameters.text(other).is_some()) {
            return Err(Problem::parameter(NUMBER, "must be the only parameter"));
        }
        return numbered(number, &caller, &view).await;
    }
    // A customer need not say whose.
    let own = caller.customer().map(|customer| customer.as_str());
    let customer_id = if own.is_some() { parameters.text(CUSTOMER).or(own) } else { None };
    let customer_id = customer_id.map_or_else(|| parameters.needed(CUSTOMER), Ok)?;
    if own.is_some_and(|own| own != customer_id) {
        return Err(Problem::not_found("customer", customer_id, 0));
    }
    let page = page(customer_id, &view, Asked::of(&parameters)?).await?;
    Ok(HttpResponse::Ok().insert_header((POSITION, page.position)).json(page))
}

/// A page of a customer's orders, newest first.
pub async fn page(customer_id: &str, view: &View, asked: Asked<AfterOrder>) -> Result<Page<OrderSummary>, Problem> {
    let after = asked.after.as_ref();
    let after_time = after.map(|after| DateTime::from_timestamp_micros(after.placed_at));
    let Some(after_time) = after_time.unwrap_or(Some(DateTime::<Utc>::MAX_UTC)) else {
        return Err(bad_cursor());
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
    let query = || {
        sqlx::query(&statement)
            .bind(customer_id)
            .bind(after_time)
            .bind(after.map_or(Uuid::max(), |after| after.order_id))
            .bind(asked.rows())
    };
    let (position, found) = view.rows(PROJECTION, query, summaries).await?;
    Ok(Page::of(position, found, &asked, |order: &OrderSummary| AfterOrder {
        placed_at: order.placed_at.timestamp_micros(),
        order_id: order.order_id,
    }))
}

/// The order with this number as a page, which has two once in a blue moon: see [`OrderNumber`].
async fn numbered(text: &str, caller: &Caller, view: &View) -> Result<HttpResponse, Problem> {
    let number: OrderNumber = text.parse().map_err(|error| Problem::parameter(NUMBER, error))?;
    let number = number.to_string();
    let statement = format!(
        "select coalesce(c.position, 0) as reached, o.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'orders'
         left join (select {SUMMARY} from orders where number = $1) o on true
         order by o.placed_at desc, o.order_id desc"
    );
    let (position, mut items) = view.rows(PROJECTION, || sqlx::query(&statement).bind(&number), summaries).await?;
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
