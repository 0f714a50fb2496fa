//! Orders and cancellations. An order and its goods are one append: both are booked, or neither.

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use crate::stock;
use chrono::{DateTime, Utc};
use kontor_domain::cancellation::{Cancellation, CancellationCommand, CancellationError};
use kontor_domain::order::{Fulfilment, Line, Order, OrderCommand, OrderError, demand};
use kontor_domain::stock::{RESERVATION_TTL, StockCommand};
use kontor_domain::text::{Country, Reason, Reference};
use kontor_domain::{CancellationId, CustomerId, LocationId, OrderId};
use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use uuid::Uuid;

/// Books an order and sets its goods aside, or ships them, at once: all of it, or nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// Chosen for you if it is left out.
    #[serde(default = "new_order_id")]
    #[schemars(transform = undecided)]
    order_id: OrderId,
    reference: Option<Reference>,
    customer_id: Option<CustomerId>,
    country: Country,
    lines: Vec<Line>,
    #[serde(default)]
    fulfilment: Fulfilment,
    /// Now, if it is left out.
    #[serde(default = "Utc::now")]
    #[schemars(transform = undecided)]
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
    #[schemars(transform = undecided)]
    cancelled_at: DateTime<Utc>,
}

/// Books goods that came back without saying of which order, and puts them back on sale.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BookCancellation {
    /// Chosen for you if it is left out.
    #[serde(default = "new_cancellation_id")]
    #[schemars(transform = undecided)]
    cancellation_id: CancellationId,
    reference: Option<Reference>,
    customer_id: Option<CustomerId>,
    country: Country,
    lines: Vec<Line>,
    /// Now, if it is left out.
    #[serde(default = "Utc::now")]
    #[schemars(transform = undecided)]
    cancelled_at: DateTime<Utc>,
}

/// Its default is another one each time, so the schema names none.
fn undecided(schema: &mut Schema) {
    schema.remove("default");
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
        let id = self.order_id.to_string();
        let caller = unit.caller().clone();
        let order = unit.state::<Order>(&id).await?;
        if !caller.concerns(order.placed().and_then(|placed| placed.customer_id.as_ref())) {
            return Err(Refusal::Order(OrderError::Unknown).into()); // Whether others have such an order is not theirs to know.
        }
        let cancel = OrderCommand::Cancel { reason: self.reason.clone(), cancelled_at: self.cancelled_at };
        if unit.handle::<Order>(&id, cancel).await.map_err(|refused| refused.or(Refusal::Order))?.is_unchanged() {
            return Ok(());
        }
        let order = unit.state::<Order>(&id).await?;
        let lines = order.placed().map(|placed| placed.lines.clone()).unwrap_or_default();
        for sku in demand(&lines).map_err(OrderError::Lines)?.into_keys() {
            stock::handle(unit, &sku, StockCommand::Release { order_id: self.order_id }).await?;
        }
        Ok(())
    }
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
