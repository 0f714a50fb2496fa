//! Goods on their way back: requested by the customer, received by the warehouse. What follows (restocking, refunding) is
//! for the process managers.

use crate::executor::{Decision, Stop, Unit};
use crate::orders::{Part, all_of, handle, own, picked};
use chrono::{DateTime, Utc};
use kontor_domain::order::{Order, OrderCommand};
use kontor_domain::text::Reason;
use kontor_domain::{Money, OrderId, ReturnId};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

/// Announces goods that will come back: for customers, those of one of their own orders.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestReturn {
    order_id: OrderId,
    #[serde(default = "new_return_id")]
    return_id: ReturnId,
    lines: Vec<Part>,
    reason: Reason,
    #[serde(default = "Utc::now")]
    requested_at: DateTime<Utc>,
}

/// Books what has come back: all that was announced, or `lines`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiveReturn {
    order_id: OrderId,
    return_id: ReturnId,
    lines: Option<Vec<Part>>,
    /// What is owed for it; what the goods cost, if it is left out.
    refund: Option<Money>,
    #[serde(default = "Utc::now")]
    received_at: DateTime<Utc>,
}

fn new_return_id() -> ReturnId {
    ReturnId(Uuid::now_v7())
}

impl Decision for RequestReturn {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        own(unit, self.order_id).await?;
        let request = OrderCommand::RequestReturn {
            return_id: self.return_id,
            picked: picked(&self.lines)?,
            reason: self.reason.clone(),
            requested_at: self.requested_at,
        };
        handle(unit, self.order_id, request).await?;
        Ok(())
    }
}

impl Decision for ReceiveReturn {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { order_id, return_id, refund, received_at, .. } = *self;
        let order = unit.state::<Order>(&order_id.to_string()).await?;
        let picked = match &self.lines {
            Some(lines) => picked(lines)?,
            None => all_of(order.returned_parts(return_id).unwrap_or_default()),
        };
        handle(unit, order_id, OrderCommand::ReceiveReturn { return_id, picked, refund, received_at }).await?;
        Ok(())
    }
}
