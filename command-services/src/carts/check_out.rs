//! Check-out: the cart ends, its order is placed, its payment is requested, its goods are reserved and its time begins to
//! run, in one append. What follows is for the process managers.
//!
//! A cart becomes one order, which has its id, as has the payment: whoever checks out twice, under whatever keys, has
//! bought once.

use super::owned;
use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use crate::{prices, stock};
use chrono::{DateTime, Utc};
use kontor_domain::cart::{Cart, CartCommand, CartError, CheckOut, Status};
use kontor_domain::order::{Checkout, Fulfilment, Line, Order, OrderCommand, OrderError, OrderNumber, demand};
use kontor_domain::payment::{Payment, PaymentCommand};
use kontor_domain::pricing::{Breakdown, PricedLine};
use kontor_domain::processes::command_id;
use kontor_domain::stock::StockCommand;
use kontor_domain::text::{Country, PaymentMethod};
use kontor_domain::timer::{Timer, TimerCommand, TimerReason};
use kontor_domain::{AttemptId, CartId, Money, OrderId, PaymentId};
use schemars::JsonSchema;
use serde::Deserialize;

/// Ends the cart, places its order, reserves its goods and requests its payment: all of it, or nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckOutCart {
    cart_id: CartId,
    payment_method: PaymentMethod,
    /// The total that the buyer was shown; another is refused.
    agreed_total: Option<Money>,
    #[serde(skip, default = "Utc::now")]
    now: DateTime<Utc>,
}

/// The order that a cart becomes.
pub fn order_of(CartId(id): CartId) -> OrderId {
    OrderId(id)
}

/// The payment of an order from check-out.
pub fn payment_of(OrderId(id): OrderId) -> PaymentId {
    PaymentId(id)
}

impl Decision for CheckOutCart {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (cart_id, now) = (self.cart_id, self.now);
        let order_id = order_of(cart_id);
        let cart = owned(unit, cart_id).await?.clone();
        let breakdown = match cart.status() {
            Status::CheckedOut(before) => before.breakdown.clone(), // What it costs now is of no interest any more.
            _ => price_of(unit, &cart).await?,
        };
        let destination = cart.shipping_address().ok_or(Refusal::Cart(CartError::NoShippingAddress))?.country;
        let check_out = CartCommand::CheckOut(CheckOut {
            order_id,
            destination,
            breakdown: breakdown.clone(),
            agreed_total: self.agreed_total,
            checked_out_at: now,
        });
        let cart_id_text = cart_id.to_string();
        let checked_out = unit.handle::<Cart>(&cart_id_text, check_out).await;
        if checked_out.map_err(|refused| refused.or(Refusal::Cart))?.is_unchanged() {
            return Ok(()); // Its order was placed with it.
        }
        let Status::CheckedOut(agreed) = unit.state::<Cart>(&cart_id_text).await?.status().clone() else {
            unreachable!("it was checked out just now")
        };

        let payment_id = payment_of(order_id);
        let pay_by = now + unit.shop().pay_within;
        let priced = |PricedLine { sku, quantity, unit_price, .. }: &PricedLine| Line {
            sku: sku.clone(),
            quantity: *quantity,
            unit_price: *unit_price,
        };
        let lines: Vec<Line> = breakdown.lines.iter().map(priced).collect();
        let goods = demand(&lines).map_err(OrderError::Lines)?;
        let place = OrderCommand::Place {
            order_id,
            reference: None,
            customer_id: agreed.customer_id.clone(),
            country: Country::new(destination.code()).expect("two letters are a country in any words"),
            lines,
            fulfilment: Fulfilment::Checkout,
            placed_at: now,
            checkout: Some(Box::new(Checkout {
                cart_id,
                number: OrderNumber::of(order_id),
                email: agreed.email,
                shipping_address: agreed.shipping_address,
                billing_address: agreed.billing_address,
                breakdown: breakdown.clone(),
                payment_id,
                payment_method: self.payment_method.clone(),
                pay_by,
            })),
        };
        let order_id_text = order_id.to_string();
        unit.create::<Order>(&order_id_text, place).await.map_err(|refused| refused.or(Refusal::Order))?;
        // What costs nothing needs no payment.
        if breakdown.total.amount_minor > 0 {
            let request = PaymentCommand::RequestAuthorisation {
                order_id,
                attempt: AttemptId(command_id(order_id.0, "authorise-payment")),
                provider: unit.shop().provider.clone(),
                method: self.payment_method.clone(),
                amount: breakdown.total,
                requested_at: now,
            };
            let requested = unit.create::<Payment>(&payment_id.to_string(), request).await;
            requested.map_err(|refused| refused.or(Refusal::Payment))?;
        }
        for (sku, quantity) in goods {
            let reserve = StockCommand::Reserve { order_id, quantity, expires_at: Some(pay_by) };
            stock::handle(unit, &sku, reserve).await?;
        }
        let set = TimerCommand::Set { order_id, reason: TimerReason::ReservationEnds, at: pay_by, sku: None };
        unit.create::<Timer>(&order_id_text, set).await.map_err(|refused| refused.or(Refusal::Timer))?;
        Ok(())
    }
}

/// What the cart costs now.
async fn price_of(unit: &Unit<'_>, cart: &Cart) -> Result<Breakdown, Stop> {
    Ok(prices::of_cart(unit.executor(), cart).await.map_err(Stop::Failed)??)
}
