//! Stock: received, counted, moved, set aside for orders, shipped, taken back.

use crate::executor::{Decision, Effect, Stop, Unit};
use crate::refusal::Refusal;
use chrono::{DateTime, Utc};
use kontor_domain::stock::{Change, Stock, StockCommand};
use kontor_domain::text::{Reason, Reference};
use kontor_domain::timer::{Timer, TimerCommand, TimerReason};
use kontor_domain::{LocationId, OrderId, Quantity, Sku};
use schemars::JsonSchema;
use serde::Deserialize;

/// A command about one SKU's stock, as it comes in: its fields, and what it asks of the aggregate.
macro_rules! stock_commands {
    ($($(#[$doc:meta])* $form:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* } => $command:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Deserialize, schemars::JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct $form {
                sku: Sku,
                $($(#[$attribute])* $field: $type,)*
            }

            impl Decision for $form {
                async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
                    let command: fn(&Self) -> StockCommand = $command;
                    handle(unit, &self.sku, command(self)).await.map(drop)
                }
            }
        )*
    };
}

stock_commands! {
    /// Goods came in.
    ReceiveStock { quantity: Quantity, reference: Option<Reference>, #[serde(default)] location: LocationId, } => |form| {
        StockCommand::Receive {
            quantity: form.quantity,
            reference: form.reference.clone(),
            location: form.location.clone(),
        }
    };

    /// So many more or fewer than was booked.
    AdjustStock { change: Change, reason: Reason, #[serde(default)] location: LocationId, } => |form| {
        StockCommand::Adjust { location: form.location.clone(), change: form.change, reason: form.reason.clone() }
    };

    /// So many are there.
    CountStock { counted: Quantity, reason: Reason, #[serde(default)] location: LocationId, } => |form| {
        StockCommand::Count { location: form.location.clone(), counted: form.counted, reason: form.reason.clone() }
    };

    /// From one location to another.
    TransferStock { quantity: Quantity, from: LocationId, to: LocationId, reference: Option<Reference>, } => |form| {
        StockCommand::Transfer {
            quantity: form.quantity,
            from: form.from.clone(),
            to: form.to.clone(),
            reference: form.reference.clone(),
        }
    };

    /// The reservation does not expire any more.
    ConfirmStock { order_id: OrderId, } => |form| StockCommand::Confirm { order_id: form.order_id };

    /// Back on sale.
    ReleaseStock { order_id: OrderId, } => |form| StockCommand::Release { order_id: form.order_id };

    /// Back on sale, if its time is over.
    ExpireStock { order_id: OrderId, } => |form| StockCommand::Expire { order_id: form.order_id, now: Utc::now() };

    /// What the order has reserved, or `quantity` units of it.
    ShipStock { order_id: OrderId, quantity: Option<Quantity>, } => |form| {
        StockCommand::Ship { order_id: form.order_id, quantity: form.quantity }
    };

    /// Units that were shipped to the order are back.
    ReturnStock { order_id: OrderId, quantity: Quantity, #[serde(default)] location: LocationId, } => |form| {
        StockCommand::Return { order_id: form.order_id, quantity: form.quantity, location: form.location.clone() }
    };

    /// Orders may wait for `up_to` units in all.
    LimitBackOrders { up_to: Quantity, } => |form| StockCommand::LimitBackOrders { up_to: form.up_to };
}

/// Sets goods aside for an order: until `expires_at`, if that is given, when they go back on sale by themselves.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReserveStock {
    sku: Sku,
    order_id: OrderId,
    quantity: Quantity,
    expires_at: Option<DateTime<Utc>>,
}

impl Decision for ReserveStock {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let &Self { ref sku, order_id, quantity, expires_at } = self;
        let reserved = handle(unit, sku, StockCommand::Reserve { order_id, quantity, expires_at }).await?;
        let Some(at) = expires_at.filter(|_| !reserved.is_unchanged()) else { return Ok(()) };
        let set = TimerCommand::Set { order_id, reason: TimerReason::ReservationEnds, at, sku: Some(sku.clone()) };
        let set = unit.handle::<Timer>(&order_id.to_string(), set).await;
        set.map_err(|refused| refused.or(Refusal::Timer))?;
        Ok(())
    }
}

/// One SKU's part in a command; its refusals name the SKU.
pub async fn handle(unit: &mut Unit<'_>, sku: &Sku, command: StockCommand) -> Result<Effect, Stop> {
    let refusal = |error| Refusal::Stock { sku: sku.clone(), error };
    unit.handle::<Stock>(sku.as_str(), command).await.map_err(|refused| refused.or(refusal))
}
