//! Live updates as server-sent events (WHATWG HTML, section 9.2): where an order stands, how much there is of a SKU, and what is
//! sold at the moment ([`figures`]).
//!
//! Each update of the first two is an event of the log, its `id` the event's position: a client that comes back with `Last-Event-ID` is told all
//! that it has missed, and nothing twice. What is told is read from the log on the replica; NATS only says when to look.

mod connection;
pub mod figures;
mod hub;

pub use figures::Figures;
pub use hub::Hub;

use crate::callers::Asker;
use crate::openapi::{MinPositionHeader, Refused};
use crate::orders::ID_RULE;
use crate::parameters::{Parameters, from_path};
use crate::past::{Streams, decoded};
use crate::problem::Problem;
use crate::view::View;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use connection::{Connection, Voice};
use cqrs_es::Aggregate;
use kontor_domain::Sku;
use kontor_domain::order::{Order, OrderEvent};
use kontor_domain::stock::Stock;
use kontor_event_schemas::{Fact, RecordedEvent, subject};
use kontor_projection_services::projections::catalogue::past;
use kontor_projection_services::projections::orders::past::Course;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

const LAST_EVENT_ID: &str = "Last-Event-ID";
const SKUS: &str = "skus";
/// Of one connection.
const SKUS_MAX: usize = 50;

/// Where an order stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderUpdate {
    pub order_id: Uuid,
    /// As in the order itself.
    pub status: &'static str,
    /// What made it so, such as `shipped`.
    pub what: String,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    pub version: i64,
}

/// How much there is of a SKU.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockUpdate {
    pub sku: String,
    /// Units that no order holds.
    pub available: i64,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    pub version: i64,
}

/// Of a stream of updates.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub struct LastEventIdHeader {
    /// The `id` of the last update that the client has: all later ones follow. Without it, what is comes first.
    #[param(rename = "Last-Event-ID", minimum = 0)]
    last_event_id: Option<i64>,
}

/// The position up to which the client has been told. `None`: it comes for the first time.
fn last_told(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let Some(header) = request.headers().get(LAST_EVENT_ID) else { return Ok(None) };
    let position = header.to_str().ok().and_then(|text| text.parse().ok()).filter(|position: &i64| *position >= 0);
    position.map(Some).ok_or_else(|| Problem::header(LAST_EVENT_ID, "must be the id of an update, a number from 0 on"))
}

#[utoipa::path(
    get,
    path = "/v1/orders/{order_id}/events",
    params(("order_id" = Uuid, Path), LastEventIdHeader, MinPositionHeader),
    responses(
        (status = 200, body = OrderUpdate, content_type = "text/event-stream"),
        (status = 404, description = "unknown-order", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// Where an order stands, live. 404 `unknown-order`; 503 `too-many-connections`.
pub async fn order(
    request: HttpRequest,
    Asker(caller): Asker,
    order_id: Path<String>,
    view: View,
    hub: Data<Hub>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let id: Uuid = from_path("order_id", &order_id, ID_RULE)?;
    let last_told = last_told(&request)?;
    let listener = hub.clone().into_inner().listen()?;
    let id = id.to_string();
    let reach = hub.streams.reach(&view.positions, view.min, (Order::TYPE, "order", &id), None).await?;
    let recorded = hub.streams.read(Order::TYPE, &id, reach.position).await?;
    let unknown = || Problem::not_found("order", &order_id, reach.position);
    let (first, last) = recorded.first().zip(recorded.last()).ok_or_else(unknown)?;
    match decoded(first)?.fact {
        Fact::Order(_, OrderEvent::Placed(placed)) if caller.concerns(placed.customer_id.as_ref()) => {}
        _ => return Err(unknown()),
    }
    // Without a position: what is, and what comes.
    let after = last_told.unwrap_or(last.position - 1);
    let (told, untold) = recorded.split_at(recorded.partition_point(|event| event.position <= after));
    let mut course = OrderVoice(Course::default());
    for event in told {
        course.update(event)?;
    }
    let versions = BTreeMap::from([(id, told.len() as i64)]);
    let mut connection = Connection::new(listener, course, (Order::TYPE, versions));
    for event in untold {
        connection.tell(event)?;
    }
    Ok(connection.answer())
}

struct OrderVoice(Course);

impl Voice for OrderVoice {
    const EVENT: &'static str = "order";
    type Update = OrderUpdate;

    fn update(&mut self, event: &RecordedEvent) -> sqlx::Result<OrderUpdate> {
        let Fact::Order(order_id, change) = decoded(event)?.fact else { return Err(no_such(event)) };
        self.0.fold(&change, event.position);
        let (status, what) = (self.0.status(), what(event));
        Ok(OrderUpdate { order_id: order_id.0, status, what, at: event.recorded_at, version: event.sequence })
    }
}

#[utoipa::path(
    get,
    path = "/v1/stock/{sku}/events",
    params(
        ("sku" = String, Path),
        ("skus" = Option<String>, Query, description = "others besides, up to 49, divided by commas"),
        LastEventIdHeader,
        MinPositionHeader,
    ),
    responses((status = 200, body = StockUpdate, content_type = "text/event-stream"), Refused)
)]
/// How much there is of a SKU, and of others, live. A SKU that there never was any of is told of when there is. 503
/// `too-many-connections`.
pub async fn stock(
    request: HttpRequest,
    sku: Path<String>,
    view: View,
    hub: Data<Hub>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[SKUS])?;
    let others = parameters.text(SKUS).unwrap_or_default().split(',').filter(|sku| !sku.is_empty());
    let mut skus = vec![sku.parse::<Sku>().map_err(|error| Problem::parameter("sku", error))?];
    for other in others {
        skus.push(other.parse().map_err(|error| Problem::parameter(SKUS, error))?);
    }
    if skus.len() > SKUS_MAX {
        return Err(Problem::parameter(SKUS, format_args!("may name {} others", SKUS_MAX - 1)));
    }
    let last_told = last_told(&request)?;
    let listener = hub.clone().into_inner().listen()?;
    let first = (Stock::TYPE, "stock", skus[0].as_str());
    let reach = hub.streams.reach(&view.positions, view.min, first, None).await?;
    let latest = latest(&hub.streams, &skus, last_told.unwrap_or(reach.position)).await?;
    let mut versions: BTreeMap<String, i64> = skus.iter().map(|sku| (sku.to_string(), 0)).collect();
    versions.extend(latest.iter().map(|event| (event.aggregate_id.to_string(), event.sequence)));
    let mut connection = Connection::new(listener, StockVoice, (Stock::TYPE, versions));
    if last_told.is_none() {
        for event in &latest {
            let update = StockVoice.update(event)?;
            connection.say(event.position, &update);
        }
    }
    connection.look().await?;
    Ok(connection.answer())
}

/// The last event of each at that position, in the order of the log.
async fn latest(streams: &Streams, skus: &[Sku], position: i64) -> sqlx::Result<Vec<RecordedEvent>> {
    let rows = sqlx::query(&format!(
        "select e.* from unnest($1::text[]) as s (sku) cross join lateral (
             select {} from public.events e
             where e.aggregate_type = $2 and e.aggregate_id = s.sku and e.position <= $3
             order by e.sequence desc limit 1
         ) e order by e.position",
        crate::past::COLUMNS
    ))
    .bind(skus.iter().map(Sku::as_str).collect::<Vec<_>>())
    .bind(Stock::TYPE)
    .bind(position)
    .fetch_all(streams.replica())
    .await?;
    streams.recorded(&rows)
}

struct StockVoice;

impl Voice for StockVoice {
    const EVENT: &'static str = "stock";
    type Update = StockUpdate;

    fn update(&mut self, event: &RecordedEvent) -> sqlx::Result<StockUpdate> {
        let Fact::Stock(sku, change) = decoded(event)?.fact else { return Err(no_such(event)) };
        let (_, available) = past::stock(&change);
        Ok(StockUpdate { sku: sku.to_string(), available, at: event.recorded_at, version: event.sequence })
    }
}

fn what(event: &RecordedEvent) -> String {
    let subject = subject::subject(&event.aggregate_type, &event.event_type);
    subject.rsplit('.').next().unwrap_or_default().to_owned()
}

fn no_such(event: &RecordedEvent) -> sqlx::Error {
    sqlx::Error::Decode(format!("event {} is another's", event.position).into())
}
