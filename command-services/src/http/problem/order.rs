//! Why a command about an order was refused, or about a cancellation.

use super::Problem;
use super::kind::problems;
use kontor_domain::cancellation::CancellationError;
use kontor_domain::order::{LinesError, OrderError};

problems! {
    /// Timers are set and fire by themselves.
    TIMER_REFUSED = 409 "timer-refused", "The order's timer does not allow it", [];
    /// Which of the two was meant? Name a line once.
    LINE_TWICE = 422 "line-twice", "A line is named twice", [field, line];
    /// There is none with this id, or it is somebody else's.
    UNKNOWN_ORDER = 404 "unknown-order", "There is no such order", [];
    /// An order is placed once. For another one, choose another id.
    PLACED_DIFFERENTLY = 409 "placed-differently", "The id belongs to another order", [total];
    /// Goods that have left can be returned, not cancelled.
    ALREADY_SHIPPED = 409 "already-shipped", "The goods have left", [];
    /// Orders with the fulfilment `checkout` come from a cart that is checked out, and no others do.
    CHECKOUT_MISMATCH = 422 "checkout-mismatch", "Only an order from checkout has a checkout part", [];
    /// The number follows from the id.
    OTHER_NUMBER = 422 "other-number", "The order has another number", [expected, found];
    /// Each line of the price breakdown is that of the order's line of the same number.
    PRICED_DIFFERENTLY = 409 "priced-differently", "The prices are of another line", [line];
    /// Goods, discounts, tax and shipping add up to the total, to the penny.
    BREAKDOWN_UNBALANCED = 422 "breakdown-unbalanced", "The prices do not add up", [sum, total];
    /// Discounts do not go below 0.
    CHARGE_NEGATIVE = 422 "charge-negative", "A charge is below 0", [charge];
    /// Nothing more is done for a cancelled order.
    ORDER_CANCELLED = 409 "order-cancelled", "The order is cancelled", [];
    /// It was placed without checkout, so its money is booked elsewhere.
    NO_PAYMENT = 409 "no-payment", "The order is not paid through a payment", [];
    /// An order is paid through one payment.
    OTHER_PAYMENT = 409 "other-payment", "The order is paid through another payment", [expected, found];
    /// Exactly what is due is authorised.
    AUTHORISED_DIFFERENTLY = 409 "authorised-differently", "Another amount is due", [due, authorised];
    /// An order is confirmed when its money is authorised.
    NOT_AUTHORISED = 409 "not-authorised", "The order is not paid", [due];
    /// There is nothing to authorise any more.
    ALREADY_PAID = 409 "already-paid", "The order is paid", [due];
    /// Only confirmed orders are shipped.
    NOT_CONFIRMED = 409 "not-confirmed", "The order is not confirmed", [];
    /// Money is captured for goods that have left.
    CAPTURED_TOO_MUCH = 409 "captured-too-much", "More is captured than was shipped", [captured_total, charged];
    /// Name at least one unit of one line.
    NOTHING_PICKED = 422 "nothing-picked", "No units were named", [field];
    /// Lines are counted from 1.
    UNKNOWN_LINE = 422 "unknown-line", "The order has no such line", [line, lines];
    /// The other units of the line were shipped before.
    NOT_LEFT_TO_SHIP = 409 "not-left-to-ship", "Fewer units are left to ship", [line, requested, left];
    /// No shipment of this order has this id.
    UNKNOWN_SHIPMENT = 404 "unknown-shipment", "There is no such shipment", [shipment_id];
    /// A shipment leaves once. For another one, choose another id.
    SHIPPED_DIFFERENTLY = 409 "shipped-differently", "The id belongs to another shipment", [charge];
    /// No return of this order has this id.
    UNKNOWN_RETURN = 404 "unknown-return", "There is no such return", [return_id];
    /// Only what was shipped, and is not on its way back already, can be returned.
    NOT_RETURNABLE = 409 "not-returnable", "Fewer units can be returned", [line, requested, returnable];
    /// A return is requested once. For another one, choose another id.
    RETURNED_DIFFERENTLY = 409 "returned-differently", "The id belongs to another return", [worth];
    /// More can only come back with another return.
    RECEIVED_TOO_MANY = 409 "received-too-many", "More came back than was agreed", [line, received, requested];
    /// A return is received once.
    RECEIVED_DIFFERENTLY = 409 "received-differently", "The return was received otherwise", [refund];
    /// A return is refunded once its goods are back.
    NOT_RECEIVED = 409 "not-received", "The goods are not back", [];
    /// A refund gives money back.
    REFUND_NEGATIVE = 422 "refund-negative", "The refund is below 0", [refund];
    /// No more is refunded than was captured.
    REFUND_TOO_LARGE = 409 "refund-too-large", "Less can be refunded", [requested, refundable];
    /// What is refunded was agreed when the goods were received.
    REFUNDED_DIFFERENTLY = 409 "refunded-differently", "Another amount is to be refunded", [refund, found];
    /// There are no lines or too many, or a line has no units, a negative price, another currency than the first, or an
    /// amount that is too large. `field` says which.
    INVALID_LINES = 422 "invalid-lines", "The lines cannot be booked", [field];
    /// A cancellation is booked once. For another one, choose another id.
    BOOKED_DIFFERENTLY = 409 "booked-differently", "The id belongs to another cancellation", [total];
}

pub fn problem(error: OrderError, detail: String) -> Problem {
    match error {
        OrderError::Unknown => UNKNOWN_ORDER.problem(detail),
        OrderError::PlacedDifferently { total } => PLACED_DIFFERENTLY.problem(detail).with("total", total),
        OrderError::AlreadyShipped => ALREADY_SHIPPED.problem(detail),
        OrderError::Lines(error) => of_lines(error, detail),
        OrderError::CheckoutMismatch { .. } => CHECKOUT_MISMATCH.problem(detail),
        OrderError::OtherNumber { expected, found } => {
            OTHER_NUMBER.problem(detail).with("expected", expected).with("found", found)
        }
        OrderError::PricedDifferently { line } => PRICED_DIFFERENTLY.problem(detail).with("line", line),
        OrderError::BreakdownUnbalanced { sum, total } => {
            BREAKDOWN_UNBALANCED.problem(detail).with("sum", sum).with("total", total)
        }
        OrderError::ChargeNegative { charge } => CHARGE_NEGATIVE.problem(detail).with("charge", charge),
        OrderError::Cancelled => ORDER_CANCELLED.problem(detail),
        OrderError::NoPayment => NO_PAYMENT.problem(detail),
        OrderError::OtherPayment { expected, found } => {
            OTHER_PAYMENT.problem(detail).with("expected", expected).with("found", found)
        }
        OrderError::AuthorisedDifferently { due, authorised } => {
            AUTHORISED_DIFFERENTLY.problem(detail).with("due", due).with("authorised", authorised)
        }
        OrderError::NotAuthorised { due } => NOT_AUTHORISED.problem(detail).with("due", due),
        OrderError::AlreadyPaid { due } => ALREADY_PAID.problem(detail).with("due", due),
        OrderError::NotConfirmed => NOT_CONFIRMED.problem(detail),
        OrderError::CapturedTooMuch { captured_total, charged } => {
            CAPTURED_TOO_MUCH.problem(detail).with("captured_total", captured_total).with("charged", charged)
        }
        OrderError::NothingPicked => NOTHING_PICKED.problem(detail).with("field", "lines"),
        OrderError::UnknownLine { line, lines } => UNKNOWN_LINE.problem(detail).with("line", line).with("lines", lines),
        OrderError::NotLeftToShip { line, requested, left } => {
            NOT_LEFT_TO_SHIP.problem(detail).with("line", line).with("requested", requested).with("left", left)
        }
        OrderError::UnknownShipment { shipment_id } => {
            UNKNOWN_SHIPMENT.problem(detail).with("shipment_id", shipment_id)
        }
        OrderError::ShippedDifferently { charge } => SHIPPED_DIFFERENTLY.problem(detail).with("charge", charge),
        OrderError::UnknownReturn { return_id } => UNKNOWN_RETURN.problem(detail).with("return_id", return_id),
        OrderError::NotReturnable { line, requested, returnable } => NOT_RETURNABLE
            .problem(detail)
            .with("line", line)
            .with("requested", requested)
            .with("returnable", returnable),
        OrderError::ReturnedDifferently { worth } => RETURNED_DIFFERENTLY.problem(detail).with("worth", worth),
        OrderError::ReceivedTooMany { line, received, requested } => {
            RECEIVED_TOO_MANY.problem(detail).with("line", line).with("received", received).with("requested", requested)
        }
        OrderError::ReceivedDifferently { refund } => RECEIVED_DIFFERENTLY.problem(detail).with("refund", refund),
        OrderError::NotReceived => NOT_RECEIVED.problem(detail),
        OrderError::RefundNegative { refund } => REFUND_NEGATIVE.problem(detail).with("refund", refund),
        OrderError::RefundTooLarge { requested, refundable } => {
            REFUND_TOO_LARGE.problem(detail).with("requested", requested).with("refundable", refundable)
        }
        OrderError::RefundedDifferently { refund, found } => {
            REFUNDED_DIFFERENTLY.problem(detail).with("refund", refund).with("found", found)
        }
    }
}

pub fn of_cancellation(error: CancellationError, detail: String) -> Problem {
    match error {
        CancellationError::Lines(error) => of_lines(error, detail),
        CancellationError::BookedDifferently { total } => BOOKED_DIFFERENTLY.problem(detail).with("total", total),
    }
}

fn of_lines(error: LinesError, detail: String) -> Problem {
    let at = |line: usize, field: &str| format!("lines[{}].{field}", line - 1);
    let field = match error {
        LinesError::Count { .. } => "lines".to_owned(),
        LinesError::Quantity { line } | LinesError::TooLarge { line } => at(line, "quantity"),
        LinesError::Price { line, .. } | LinesError::Currency { line, .. } => at(line, "unit_price"),
    };
    INVALID_LINES.problem(detail).with("field", field)
}

pub fn line_twice(line: u32, detail: String) -> Problem {
    LINE_TWICE.problem(detail).with("field", "lines").with("line", line)
}

pub fn timer(detail: String) -> Problem {
    TIMER_REFUSED.problem(detail)
}
