//! What has happened to an order.

use super::{Checkout, Line, LinePart, OrderNumber, Picked};
use crate::text::{Country, Reason, Reference};
use crate::{AttemptId, CustomerId, Money, OrderId, PaymentId, ReturnId, ShipmentId};
use chrono::{DateTime, Utc};
use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

/// What has happened to one order. Stored and published: a field may be added, none renamed or removed. Times are
/// business time, UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OrderEvent {
    /// The order stands, and its goods are reserved or shipped in the same append.
    Placed(Placed),
    /// The order does not stand any more; its goods are released in the same append.
    Cancelled { order_id: OrderId, total: Money, reason: Reason, cancelled_at: DateTime<Utc> },
    /// The payment holds `amount`, which is all that is due.
    Authorised { order_id: OrderId, payment_id: PaymentId, amount: Money, authorised_at: DateTime<Utc> },
    /// The shop will deliver. The goods stay reserved until they are shipped, however long that takes.
    Confirmed { order_id: OrderId, number: OrderNumber, due: Money, confirmed_at: DateTime<Utc> },
    /// `parts` have left the building, in the same append. `charge` is what they cost, with shipping in the first
    /// shipment; all shipments together cost what is due. `complete`: nothing is left to ship.
    Shipped {
        order_id: OrderId,
        shipment_id: ShipmentId,
        parts: Vec<LinePart>,
        charge: Money,
        tracking: Option<Reference>,
        complete: bool,
        shipped_at: DateTime<Utc>,
    },
    /// The shipment has arrived. `complete`: everything has.
    Delivered { order_id: OrderId, shipment_id: ShipmentId, complete: bool, delivered_at: DateTime<Utc> },
    /// `amount` has moved from the payment to us. `captured_total` includes it.
    Captured {
        order_id: OrderId,
        payment_id: PaymentId,
        amount: Money,
        captured_total: Money,
        captured_at: DateTime<Utc>,
    },
    /// The customer will send `parts` back. `worth` is what they cost, without shipping; what is refunded may differ by
    /// a penny of rounding, as it depends on what was received before.
    ReturnRequested {
        order_id: OrderId,
        return_id: ReturnId,
        parts: Vec<LinePart>,
        worth: Money,
        reason: Reason,
        requested_at: DateTime<Utc>,
    },
    /// `parts` of what was to be sent back are here, and `refund` is owed for them.
    ReturnReceived {
        order_id: OrderId,
        return_id: ReturnId,
        parts: Vec<LinePart>,
        refund: Money,
        received_at: DateTime<Utc>,
    },
    /// The returned `parts` are on sale again, in the same append.
    Restocked { order_id: OrderId, return_id: ReturnId, parts: Vec<LinePart>, restocked_at: DateTime<Utc> },
    /// `amount` has moved back to the customer. `refunded_total` includes it.
    Refunded {
        order_id: OrderId,
        return_id: ReturnId,
        amount: Money,
        refunded_total: Money,
        /// The payment's attempt that moved it; `None` in an event from before refunds could bounce.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<AttemptId>,
        refunded_at: DateTime<Utc>,
    },
    /// `amount`, which had moved back to the customer, has come back: they are still owed it. `refunded_total` is without it.
    RefundBounced {
        order_id: OrderId,
        return_id: ReturnId,
        attempt: AttemptId,
        amount: Money,
        refunded_total: Money,
        bounced_at: DateTime<Utc>,
    },
}

/// An order as it was placed. `total` is the sum of quantity x unit price over the lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Placed {
    pub order_id: OrderId,
    pub reference: Option<Reference>,
    /// `None`: a guest.
    pub customer_id: Option<CustomerId>,
    pub country: Country,
    pub lines: Vec<Line>,
    pub total: Money,
    pub fulfilment: Fulfilment,
    /// Business time, UTC.
    pub placed_at: DateTime<Utc>,
    /// Of an order with [`Fulfilment::Checkout`], and of no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<Box<Checkout>>,
}

/// What becomes of the goods when the order is placed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Fulfilment {
    /// They are set aside until they are shipped or released.
    #[default]
    Reserve,
    /// They leave at once: trade over the counter, or recorded after the fact.
    Ship,
    /// They are set aside for a while, in which the order waits for its payment.
    Checkout,
}

impl Placed {
    /// What the customer is to pay: with tax and shipping if the order came from checkout.
    pub fn due(&self) -> Money {
        self.checkout.as_ref().map_or(self.total, |checkout| checkout.breakdown.total)
    }

    /// By line: all its units.
    pub fn quantities(&self) -> Picked {
        (1..).zip(&self.lines).map(|(line, Line { quantity, .. })| (line, *quantity)).collect()
    }
}

impl DomainEvent for OrderEvent {
    fn event_type(&self) -> String {
        match self {
            OrderEvent::Placed(_) => "Placed",
            OrderEvent::Cancelled { .. } => "Cancelled",
            OrderEvent::Authorised { .. } => "Authorised",
            OrderEvent::Confirmed { .. } => "Confirmed",
            OrderEvent::Shipped { .. } => "Shipped",
            OrderEvent::Delivered { .. } => "Delivered",
            OrderEvent::Captured { .. } => "Captured",
            OrderEvent::ReturnRequested { .. } => "ReturnRequested",
            OrderEvent::ReturnReceived { .. } => "ReturnReceived",
            OrderEvent::Restocked { .. } => "Restocked",
            OrderEvent::Refunded { .. } => "Refunded",
            OrderEvent::RefundBounced { .. } => "RefundBounced",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}
