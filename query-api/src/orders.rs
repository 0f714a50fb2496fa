//! Orders.

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
use kontor_domain::CustomerId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use utoipa::ToSchema;
use uuid::Uuid;

const PROJECTION: &str = "orders";
const CUSTOMER: &str = "customer_id";

/// One line of an order: `quantity` units at `unit_price` each.
#[derive(Debug, ToSchema)]
pub struct Line {
    pub sku: String,
    pub quantity: i64,
    pub unit_price: Price,
}

/// An order, without its lines.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderSummary {
    pub order_id: Uuid,
    /// The shop's own number.
    pub reference: Option<String>,
    /// `null`: a guest.
    pub customer_id: Option<String>,
    pub country: String,
    pub order_lines: i64,
    /// Over all lines.
    pub units: i64,
    pub total: Price,
    /// `reserve` or `ship`.
    pub fulfilment: String,
    /// `placed` or `cancelled`.
    pub status: String,
    /// Business time.
    pub placed_at: DateTime<Utc>,
    pub cancelled_at: Option<DateTime<Utc>>,
}

/// An order with its lines.
#[derive(Debug, Serialize, ToSchema)]
pub struct Order {
    #[serde(flatten)]
    pub summary: OrderSummary,
    /// As they were ordered: the text of the event, unparsed.
    #[schema(value_type = Vec<Line>)]
    pub lines: Box<RawValue>,
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
        reference: row.try_get("reference")?,
        customer_id: row.try_get("customer_id")?,
        country: row.try_get("country")?,
        order_lines: row.try_get("order_lines")?,
        units: row.try_get("units")?,
        total: Price { amount_minor: row.try_get("total_minor")?, currency: row.try_get("currency")? },
        fulfilment: row.try_get("fulfilment")?,
        status: row.try_get("status")?,
        placed_at: row.try_get("placed_at")?,
        cancelled_at: row.try_get("cancelled_at")?,
    }))
}

/// An order, with the position of the last event in it.
fn order(row: &PgRow) -> sqlx::Result<Option<(Order, i64)>> {
    let Some(summary) = summary(row)? else { return Ok(None) };
    let lines = RawValue::from_string(row.try_get("lines")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Some((Order { summary, lines }, row.try_get("changed_at")?)))
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
/// One order. 304 with `If-None-Match`; 404 `unknown-order`.
pub async fn one(
    request: HttpRequest,
    Asker(caller): Asker,
    order_id: Path<String>,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let id: Uuid = from_path("order_id", &order_id, "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")?;
    let find = async || {
        let row = sqlx::query(
            "select coalesce(c.position, 0) as reached, o.order_id, o.reference, o.customer_id, o.country,
                 o.lines::text as lines, o.order_lines, o.units, o.total_minor, o.currency, o.fulfilment, o.status,
                 o.placed_at, o.cancelled_at, o.position as changed_at
             from (select 1) as always
             left join projections.checkpoints c on c.projection = 'orders'
             left join projections.orders o on o.order_id = $1",
        )
        .bind(id)
        .fetch_one(&**replica)
        .await?;
        Ok((row.try_get("reached")?, order(&row)?))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    // Whether others have such an order is not a customer's to know.
    let found = found.filter(|(order, _)| caller.concerns(order.summary.customer().as_ref()));
    let (order, changed_at) = found.ok_or_else(|| Problem::not_found("order", &order_id, position))?;
    let tag = etag::of(changed_at);
    if etag::is_known(&request, &tag) {
        return Ok(HttpResponse::NotModified().insert_header((POSITION, position)).insert_header(tag).finish());
    }
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).insert_header(tag).json(order))
}

#[utoipa::path(
    get,
    path = "/v1/orders",
    params(("customer_id" = String, Query), PageParameters, MinPositionHeader),
    responses((status = 200, body = Page<OrderSummary>, headers(("Kontor-Position" = i64))), Refused)
)]
/// A page of a customer's orders, newest first.
pub async fn list(
    request: HttpRequest,
    Asker(caller): Asker,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[CUSTOMER, LIMIT, CURSOR])?;
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
    let find = async || {
        let rows = sqlx::query(
            "select coalesce(c.position, 0) as reached, o.*
             from (select 1) as always
             left join projections.checkpoints c on c.projection = 'orders'
             left join (
                 select order_id, reference, customer_id, country, order_lines, units, total_minor, currency,
                     fulfilment, status, placed_at, cancelled_at
                 from projections.orders
                 where customer_id = $1 and (placed_at, order_id) < ($2, $3)
                 order by placed_at desc, order_id desc limit $4
             ) o on true
             order by o.placed_at desc, o.order_id desc",
        )
        .bind(customer_id)
        .bind(after_time)
        .bind(after.map_or(Uuid::max(), |after| after.order_id))
        .bind(asked.rows())
        .fetch_all(&**replica)
        .await?;
        let reached: i64 = rows[0].try_get("reached")?;
        let found: sqlx::Result<Vec<_>> = rows.iter().filter_map(|row| summary(row).transpose()).collect();
        Ok((reached, found?))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let page = Page::of(position, found, &asked, |order: &OrderSummary| AfterOrder {
        placed_at: order.placed_at.timestamp_micros(),
        order_id: order.order_id,
    });
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(page))
}
