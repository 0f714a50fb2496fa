//! Orders on their way: shipped with their goods in one append, perhaps in parts, and delivered.

use crate::executor::{Decision, Stop, Unit};
use crate::orders::{Part, all_of, handle, picked};
use crate::stock;
use chrono::{DateTime, Utc};
use kontor_domain::order::{Order, OrderCommand, goods};
use kontor_domain::stock::StockCommand;
use kontor_domain::text::Reference;
use kontor_domain::{OrderId, ShipmentId};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

/// Ships all that is left, or `lines`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShipOrder {
    order_id: OrderId,
    #[serde(default = "new_shipment_id")]
    shipment_id: ShipmentId,
    lines: Option<Vec<Part>>,
    /// The carrier's number.
    tracking: Option<Reference>,
    #[serde(default = "Utc::now")]
    shipped_at: DateTime<Utc>,
}

/// Books that a shipment has arrived.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliverShipment {
    order_id: OrderId,
    shipment_id: ShipmentId,
    #[serde(default = "Utc::now")]
    delivered_at: DateTime<Utc>,
}

fn new_shipment_id() -> ShipmentId {
    ShipmentId(Uuid::now_v7())
}

impl Decision for ShipOrder {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { order_id, shipment_id, shipped_at, .. } = *self;
        let order = unit.state::<Order>(&order_id.to_string()).await?;
        let picked = match (&self.lines, order.shipment(shipment_id)) {
            (Some(lines), _) => picked(lines)?,
            (None, Some(shipped)) => all_of(shipped), // So that a retry asks for what it asked for at first.
            (None, None) => order.left_to_ship(),
        };
        let ship = OrderCommand::Ship { shipment_id, picked, tracking: self.tracking.clone(), shipped_at };
        if handle(unit, order_id, ship).await?.is_unchanged() {
            return Ok(());
        }
        let order = unit.state::<Order>(&order_id.to_string()).await?;
        for (sku, quantity) in goods(order.shipment(shipment_id).unwrap_or_default()) {
            let ship = StockCommand::Ship { order_id, quantity: Some(quantity) };
            stock::handle(unit, &sku, ship).await?;
        }
        Ok(())
    }
}

impl Decision for DeliverShipment {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let deliver = OrderCommand::Deliver { shipment_id: self.shipment_id, delivered_at: self.delivered_at };
        handle(unit, self.order_id, deliver).await?;
        Ok(())
    }
}
