//! Carts as their owners see them, and orders that somebody waits for.

use super::context::Request;
use super::problem::Problem;
use super::routes::{Answer, POSITION, carry_out};
use crate::carts::check_out::order_of;
use crate::carts::{is_open_to, view};
use crate::command::Spec;
use crate::executor::{Done, Executor};
use crate::orders;
use crate::processes::Settlements;
use crate::processes::settlements::Settled;
use crate::refusal::Refusal;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderName, LOCATION};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use kontor_domain::cart::{Cart, CartError};
use kontor_domain::order::{Order, OrderError, OrderNumber};
use kontor_domain::text::Reason;
use kontor_domain::{CartId, Money, OrderId};
use kontor_identity::Permission;
use schemars::JsonSchema;
use serde::Serialize;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The command that is answered with an order.
pub const CHECK_OUT: &str = "check-out-cart";
/// How long to wait for an order, RFC 7240: `wait=10` seconds.
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Nobody waits longer, whatever they prefer.
const WAIT_S_MAX: u64 = 60;

/// An order on its way to being settled.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OrderStatus<'a> {
    #[serde(flatten)]
    command: Option<Answer<'a>>,
    order_id: OrderId,
    /// For people.
    #[schemars(with = "String")]
    number: OrderNumber,
    status: Status,
    /// What is to be paid.
    due: Money,
    /// Why it was cancelled, if that is known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Status {
    /// Its payment is on its way.
    Placed,
    Confirmed,
    Cancelled,
}

/// `GET /v1/carts/{id}`.
pub async fn cart(request: HttpRequest, executor: Data<Arc<Executor>>) -> Result<HttpResponse, Problem> {
    let ours = Request::of(&request)?;
    ours.caller().may(Permission::Shop)?;
    let unknown = || Problem::from(Refusal::Cart(CartError::Unknown));
    let path = request.match_info().query("cart_id");
    let id = CartId::from_str(path).map_err(|_| unknown())?;
    let (cart, version) = executor.peek::<Cart>(path).await?;
    if !is_open_to(&cart, ours.caller()) {
        return Err(unknown());
    }
    let view = view::of(&executor, id, &cart, version).await?.ok_or_else(unknown)?;
    Ok(HttpResponse::Ok()
        .insert_header((ETAG, format!("\"{version}\"")))
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(view))
}

/// `POST /v1/carts/{id}/check-out`: 202 with where to follow the order; with `Prefer: wait=N`, 200 with the settled order
/// if it is settled within N seconds.
pub async fn check_out(
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
    executor: Data<Arc<Executor>>,
    settlements: Data<Settlements>,
) -> Result<HttpResponse, Problem> {
    let wait = preferred_wait(&request)?;
    let cart_id = CartId::from_str(request.match_info().query("cart_id"));
    // Before the order is placed: it may be settled before its placing is answered.
    let settlement = cart_id.ok().map(order_of).zip(wait).map(|(order_id, _)| settlements.of(order_id));
    let spec = Spec::of(CHECK_OUT).expect("it is in the table of commands");
    let done = carry_out(spec, &request, body, &executor).await?;
    let order_id = order_of(CartId::from_str(&done.id).expect("the command was for a cart"));
    let mut order = Placed::read(&executor, order_id).await?;
    if let (Some(wait), Some(settlement), Status::Placed) = (wait, settlement, order.status)
        && let Ok(settled) = tokio::time::timeout(wait, settlement.wait()).await
    {
        order.settle(settled);
    }
    Ok(order.answer(Some(&done), wait))
}

/// `GET /v1/orders/{id}/settlement`: how far the order is; with `Prefer: wait=N` as soon as it is settled. An order without
/// a customer is a guest's: whoever knows its id may ask.
pub async fn settlement(
    request: HttpRequest,
    executor: Data<Arc<Executor>>,
    settlements: Data<Settlements>,
) -> Result<HttpResponse, Problem> {
    let ours = Request::of(&request)?;
    ours.caller().may(Permission::Shop)?;
    let wait = preferred_wait(&request)?;
    let unknown = || Problem::from(Refusal::Order(OrderError::Unknown));
    let path = request.match_info().query("order_id");
    let order_id = OrderId::from_str(path).map_err(|_| unknown())?;
    let settlement = settlements.of(order_id);
    let (order, _) = executor.peek::<Order>(path).await?;
    let placed = order.placed().ok_or_else(unknown)?;
    if placed.customer_id.is_some() && !orders::is_open_to(&order, ours.caller()) {
        return Err(unknown());
    }
    let mut order = Placed::of(order_id, &order).ok_or_else(unknown)?;
    if let (Some(wait), Status::Placed) = (wait, order.status)
        && let Ok(settled) = tokio::time::timeout(wait, settlement.wait()).await
    {
        order.settle(settled);
    }
    Ok(order.answer(None, wait))
}

/// What is told of an order.
struct Placed {
    order_id: OrderId,
    due: Money,
    status: Status,
    reason: Option<Reason>,
    position: Option<i64>,
}

impl Placed {
    async fn read(executor: &Executor, order_id: OrderId) -> Result<Self, Problem> {
        let (order, _) = executor.peek::<Order>(&order_id.to_string()).await?;
        Self::of(order_id, &order).ok_or_else(|| Refusal::Order(OrderError::Unknown).into())
    }

    fn of(order_id: OrderId, order: &Order) -> Option<Self> {
        let status = match order {
            order if order.is_cancelled() => Status::Cancelled,
            order if order.is_confirmed() => Status::Confirmed,
            _ => Status::Placed,
        };
        Some(Self { order_id, due: order.placed()?.due(), status, reason: None, position: None })
    }

    fn settle(&mut self, settled: Settled) {
        self.status = if settled.cancelled.is_some() { Status::Cancelled } else { Status::Confirmed };
        self.reason = settled.cancelled;
        self.position = Some(settled.position);
    }

    fn answer(self, done: Option<&Done>, wait: Option<Duration>) -> HttpResponse {
        let Self { order_id, due, status, reason, position } = self;
        let code = if status == Status::Placed { StatusCode::ACCEPTED } else { StatusCode::OK };
        let mut response = HttpResponse::build(code);
        response
            .insert_header((LOCATION, format!("/v1/orders/{order_id}/settlement")))
            .insert_header((CACHE_CONTROL, "no-store"));
        if let Some(position) = position.or(done.map(|done| done.position)) {
            response.insert_header((POSITION, position));
        }
        if let Some(wait) = wait {
            response.insert_header((PREFERENCE_APPLIED, format!("wait={}", wait.as_secs())));
        }
        let command = done.map(|done| {
            response.insert_header((ETAG, format!("\"{}\"", done.version)));
            Answer { id: &done.id, version: done.version, position: done.position, replayed: done.replayed }
        });
        response.json(OrderStatus { command, order_id, number: OrderNumber::of(order_id), status, due, reason })
    }
}

/// `None`: does not wait. Other preferences are passed over, as RFC 7240 asks.
fn preferred_wait(request: &HttpRequest) -> Result<Option<Duration>, Problem> {
    for header in request.headers().get_all(PREFER) {
        for preference in header.to_str().unwrap_or_default().split([',', ';']) {
            let Some(("wait", seconds)) = preference.split_once('=').map(|(name, value)| (name.trim(), value.trim()))
            else {
                continue;
            };
            let seconds: u64 =
                seconds.parse().map_err(|_| Problem::header("Prefer", "wait must be a number of seconds"))?;
            return Ok(Some(Duration::from_secs(seconds.min(WAIT_S_MAX))));
        }
    }
    Ok(None)
}
