//! Stock: receive, reserve, release, ship.

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::stock::{Stock, StockCommand};
use kontor_domain::text::Reference;
use kontor_domain::{LocationId, OrderId, Quantity, Sku};
use serde::Deserialize;

/// `POST /v1/stock/{sku}/receive`, `receive-stock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiveStock {
    sku: Sku,
    quantity: Quantity,
    reference: Option<Reference>,
}

/// `POST /v1/stock/{sku}/reserve`, `reserve-stock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReserveStock {
    sku: Sku,
    order_id: OrderId,
    quantity: Quantity,
}

/// `POST /v1/stock/{sku}/release`, `release-stock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseStock {
    sku: Sku,
    order_id: OrderId,
}

/// `POST /v1/stock/{sku}/ship`, `ship-stock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShipStock {
    sku: Sku,
    order_id: OrderId,
}

impl Decision for ReceiveStock {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (quantity, reference) = (self.quantity, self.reference.clone());
        handle(unit, &self.sku, StockCommand::Receive { quantity, reference, location: LocationId::MAIN }).await
    }
}

impl Decision for ReserveStock {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (order_id, quantity) = (self.order_id, self.quantity);
        handle(unit, &self.sku, StockCommand::Reserve { order_id, quantity, expires_at: None }).await
    }
}

impl Decision for ReleaseStock {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, StockCommand::Release { order_id: self.order_id }).await
    }
}

impl Decision for ShipStock {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, StockCommand::Ship { order_id: self.order_id, quantity: None }).await
    }
}

/// One SKU's part in a command; its refusals name the SKU.
pub async fn handle(unit: &mut Unit<'_>, sku: &Sku, command: StockCommand) -> Result<(), Stop> {
    let refusal = |error| Refusal::Stock { sku: sku.clone(), error };
    unit.handle::<Stock>(sku.as_str(), command).await.map_err(|refused| refused.or(refusal))?;
    Ok(())
}
