//! Orders and cancellations. An order and its goods are one append: both are booked, or neither. [`shipping`] and
//! [`returns`] tell what becomes of them.

pub mod returns;
pub mod shipping;

use crate::executor::{Decision, Effect, Stop, Unit};
use crate::refusal::Refusal;
use crate::stock;
use chrono::{DateTime, Utc};
use kontor_domain::cancellation::{Cancellation, CancellationCommand, CancellationError};
use kontor_domain::order::{Fulfilment, Line, LinePart, Order, OrderCommand, OrderError, Picked, demand};
use kontor_domain::stock::{RESERVATION_TTL, StockCommand};
use kontor_domain::text::{Country, Reason, Reference};
use kontor_domain::{CancellationId, CustomerId, LocationId, OrderId, Quantity};
use kontor_identity::Caller;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

/// Books an order and sets its goods aside, or ships them, at once: all of it, or nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// Chosen for you if it is left out.
    #[serde(default = "new_order_id")]
    order_id: OrderId,
    reference: Option<Reference>,
    customer_id: Option<CustomerId>,
    country: Country,
    lines: Vec<Line>,
    #[serde(default)]
    fulfilment: Fulfilment,
    /// Now, if it is left out.
    #[serde(default = "Utc::now")]
    placed_at: DateTime<Utc>,
}

/// Takes an order back that has not left, and puts its goods back on sale.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelOrder {
    order_id: OrderId,
    reason: Reason,
    /// Now, if it is left out.
    #[serde(default = "Utc::now")]
    cancelled_at: DateTime<Utc>,
}

/// Books goods that came back without saying of which order, and puts them back on sale.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookCancellation {
    /// Chosen for you if it is left out.
    #[serde(default = "new_cancellation_id")]
    cancellation_id: CancellationId,
    reference: Option<Reference>,
    customer_id: Option<CustomerId>,
    country: Country,
    lines: Vec<Line>,
    /// Now, if it is left out.
    #[serde(default = "Utc::now")]
    cancelled_at: DateTime<Utc>,
}

fn new_order_id() -> OrderId {
    OrderId(Uuid::now_v7())
}

fn new_cancellation_id() -> CancellationId {
    CancellationId(Uuid::now_v7())
}

impl Decision for PlaceOrder {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let order_id = self.order_id;
        let place = OrderCommand::Place {
            order_id,
            reference: self.reference.clone(),
            customer_id: self.customer_id.clone(),
            country: self.country.clone(),
            lines: self.lines.clone(),
            fulfilment: self.fulfilment,
            placed_at: self.placed_at,
            checkout: None, // So `fulfilment: checkout` is refused: such orders come from carts.
        };
        let id = order_id.to_string();
        if unit.create::<Order>(&id, place).await.map_err(|refused| refused.or(Refusal::Order))?.is_unchanged() {
            return Ok(()); // It stands already, and its goods with it.
        }
        for (sku, quantity) in demand(&self.lines).map_err(OrderError::Lines)? {
            let command = match self.fulfilment {
                Fulfilment::Reserve => StockCommand::Reserve { order_id, quantity, expires_at: None },
                Fulfilment::Checkout => {
                    let expires_at = Some(self.placed_at + RESERVATION_TTL);
                    StockCommand::Reserve { order_id, quantity, expires_at }
                }
                Fulfilment::Ship => StockCommand::ShipUnreserved { order_id, quantity },
            };
            stock::handle(unit, &sku, command).await?;
        }
        Ok(())
    }
}

impl Decision for CancelOrder {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        own(unit, self.order_id).await?;
        let cancel = OrderCommand::Cancel { reason: self.reason.clone(), cancelled_at: self.cancelled_at };
        give_up(unit, self.order_id, cancel).await
    }
}

/// Cancels the order and releases its goods.
pub async fn give_up(unit: &mut Unit<'_>, order_id: OrderId, cancel: OrderCommand) -> Result<(), Stop> {
    if handle(unit, order_id, cancel).await?.is_unchanged() {
        return Ok(());
    }
    let order = unit.state::<Order>(&order_id.to_string()).await?;
    let lines = order.placed().map(|placed| placed.lines.clone()).unwrap_or_default();
    for sku in demand(&lines).map_err(OrderError::Lines)?.into_keys() {
        stock::handle(unit, &sku, StockCommand::Release { order_id }).await?;
    }
    Ok(())
}

/// The order, if it concerns the caller: whether others have one of this id is not theirs to know.
async fn own<'u>(unit: &'u mut Unit<'_>, order_id: OrderId) -> Result<&'u Order, Stop> {
    let caller = unit.caller().clone();
    let order = unit.state::<Order>(&order_id.to_string()).await?;
    if is_open_to(order, &caller) { Ok(order) } else { Err(Refusal::Order(OrderError::Unknown).into()) }
}

/// Whether the order exists and is the caller's to see.
pub fn is_open_to(order: &Order, caller: &Caller) -> bool {
    order.placed().is_some_and(|placed| caller.concerns(placed.customer_id.as_ref()))
}

/// Has the order handle a command.
pub async fn handle(unit: &mut Unit<'_>, order_id: OrderId, command: OrderCommand) -> Result<Effect, Stop> {
    let handled = unit.handle::<Order>(&order_id.to_string(), command).await;
    handled.map_err(|refused| refused.or(Refusal::Order))
}

/// `quantity` units of an order's line, which counts from 1.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    line: u32,
    quantity: Quantity,
}

/// What a request names. A line named twice is refused: which of the two was meant?
fn picked(parts: &[Part]) -> Result<Picked, Stop> {
    let mut picked = Picked::new();
    for &Part { line, quantity } in parts {
        if picked.insert(line, quantity).is_some() {
            return Err(Refusal::LineTwice { line }.into());
        }
    }
    Ok(picked)
}

/// All that is in `parts`.
fn all_of(parts: &[LinePart]) -> Picked {
    parts.iter().map(|part| (part.line, part.quantity)).collect()
}

impl Decision for BookCancellation {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let book = CancellationCommand::Book {
            cancellation_id: self.cancellation_id,
            reference: self.reference.clone(),
            customer_id: self.customer_id.clone(),
            country: self.country.clone(),
            lines: self.lines.clone(),
            cancelled_at: self.cancelled_at,
        };
        let id = self.cancellation_id.to_string();
        let booked = unit.create::<Cancellation>(&id, book).await;
        if booked.map_err(|refused| refused.or(Refusal::Cancellation))?.is_unchanged() {
            return Ok(());
        }
        for (sku, quantity) in demand(&self.lines).map_err(CancellationError::Lines)? {
            let reference = self.reference.clone();
            let receive = StockCommand::Receive { quantity, reference, location: LocationId::MAIN };
            stock::handle(unit, &sku, receive).await?;
        }
        Ok(())
    }
}
