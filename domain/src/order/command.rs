//! What an order can be told, and why it refuses.

use super::{Checkout, Fulfilment, Line, LinesError, OrderNumber, Picked};
use crate::text::{Country, Reason, Reference};
use crate::{AttemptId, CustomerId, Money, OrderId, PaymentId, Quantity, ReturnId, ShipmentId};
use chrono::{DateTime, Utc};

#[derive(Debug, Clone, PartialEq)]
pub enum OrderCommand {
    Place {
        order_id: OrderId,
        reference: Option<Reference>,
        customer_id: Option<CustomerId>,
        country: Country,
        lines: Vec<Line>,
        fulfilment: Fulfilment,
        placed_at: DateTime<Utc>,
        checkout: Option<Box<Checkout>>,
    },
    Cancel {
        reason: Reason,
        cancelled_at: DateTime<Utc>,
    },
    /// Cancels an order whose payment did not come, and no other: one that is paid meanwhile stands.
    CancelUnpaid {
        reason: Reason,
        cancelled_at: DateTime<Utc>,
    },
    /// Books what the payment holds.
    Authorise {
        payment_id: PaymentId,
        amount: Money,
        authorised_at: DateTime<Utc>,
    },
    Confirm {
        confirmed_at: DateTime<Utc>,
    },
    Ship {
        shipment_id: ShipmentId,
        picked: Picked,
        tracking: Option<Reference>,
        shipped_at: DateTime<Utc>,
    },
    Deliver {
        shipment_id: ShipmentId,
        delivered_at: DateTime<Utc>,
    },
    /// Books what the payment has captured by now.
    BookCapture {
        captured_total: Money,
        captured_at: DateTime<Utc>,
    },
    RequestReturn {
        return_id: ReturnId,
        picked: Picked,
        reason: Reason,
        requested_at: DateTime<Utc>,
    },
    /// `refund`: `None` for what the goods cost, if they were paid through us.
    ReceiveReturn {
        return_id: ReturnId,
        picked: Picked,
        refund: Option<Money>,
        received_at: DateTime<Utc>,
    },
    Restock {
        return_id: ReturnId,
        restocked_at: DateTime<Utc>,
    },
    /// Books what the payment has refunded for the return.
    BookRefund {
        return_id: ReturnId,
        attempt: AttemptId,
        amount: Money,
        refunded_at: DateTime<Utc>,
    },
    /// Books that what an attempt had refunded has come back.
    BookRefundBounce {
        return_id: ReturnId,
        attempt: AttemptId,
        bounced_at: DateTime<Utc>,
    },
}

/// Why an order command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OrderError {
    #[error("no order has this id")]
    Unknown,
    #[error("another order of {total} was placed under this id")]
    PlacedDifferently { total: Money },
    #[error("the goods of this order have been shipped")]
    AlreadyShipped,
    #[error(transparent)]
    Lines(#[from] LinesError),

    #[error(
        "an order has a checkout part if its fulfilment is `checkout`, and only then; this one has `{fulfilment:?}`"
    )]
    CheckoutMismatch { fulfilment: Fulfilment },
    #[error("the number of this order is {expected}, not {found}")]
    OtherNumber { expected: OrderNumber, found: OrderNumber },
    #[error("line {line}: the price breakdown is of another line")]
    PricedDifferently { line: usize },
    #[error("the price breakdown adds up to {sum}, not to {total}")]
    BreakdownUnbalanced { sum: Money, total: Money },
    #[error("the price breakdown must not charge below 0, charges {charge}")]
    ChargeNegative { charge: Money },

    #[error("the order is cancelled")]
    Cancelled,
    #[error("the order is not paid through a payment")]
    NoPayment,
    #[error("the order is paid through payment {expected}, not {found}")]
    OtherPayment { expected: PaymentId, found: PaymentId },
    #[error("{due} is due, {authorised} is authorised")]
    AuthorisedDifferently { due: Money, authorised: Money },
    #[error("{due} is due, and nothing is authorised yet")]
    NotAuthorised { due: Money },
    #[error("the {due} due is paid")]
    AlreadyPaid { due: Money },
    #[error("the order is not confirmed")]
    NotConfirmed,
    #[error("{captured_total} captured is more than the {charged} charged for what was shipped")]
    CapturedTooMuch { captured_total: Money, charged: Money },

    #[error("no units were named")]
    NothingPicked,
    #[error("there is no line {line}, the order has {lines}")]
    UnknownLine { line: u32, lines: usize },
    #[error("line {line}: {requested} units requested, {left} left to ship")]
    NotLeftToShip { line: u32, requested: Quantity, left: Quantity },
    #[error("the order has no shipment {shipment_id}")]
    UnknownShipment { shipment_id: ShipmentId },
    #[error("another shipment of {charge} was shipped under this id")]
    ShippedDifferently { charge: Money },

    #[error("the order has no return {return_id}")]
    UnknownReturn { return_id: ReturnId },
    #[error("line {line}: {requested} units requested, {returnable} were shipped and not returned")]
    NotReturnable { line: u32, requested: Quantity, returnable: Quantity },
    #[error("another return of goods worth {worth} was requested under this id")]
    ReturnedDifferently { worth: Money },
    #[error("line {line}: {received} units received, {requested} were to be returned")]
    ReceivedTooMany { line: u32, received: Quantity, requested: Quantity },
    #[error("the return was received with a refund of {refund}")]
    ReceivedDifferently { refund: Money },
    #[error("the return has not been received")]
    NotReceived,
    #[error("a refund must not be below 0, is {refund}")]
    RefundNegative { refund: Money },
    #[error("a refund of {requested} requested, {refundable} is captured and not refunded")]
    RefundTooLarge { requested: Money, refundable: Money },
    #[error("{refund} is to be refunded for the return, not {found}")]
    RefundedDifferently { refund: Money, found: Money },
}
