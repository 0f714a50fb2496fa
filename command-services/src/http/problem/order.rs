//! Why an order command was refused, and why lines were, of an order or of a cancellation.

use super::{Problem, conflict, not_found, unprocessable};
use kontor_domain::order::{LinesError, OrderError};

pub fn problem(error: OrderError, detail: String) -> Problem {
    match error {
        OrderError::Unknown => not_found("unknown-order", "There is no such order", detail),
        OrderError::PlacedDifferently { total } => {
            conflict("placed-differently", "The id belongs to another order", detail).with("total", total)
        }
        OrderError::AlreadyShipped => conflict("already-shipped", "The goods have left", detail),
        OrderError::Lines(error) => of_lines(error, detail),
        OrderError::CheckoutMismatch { .. } => {
            unprocessable("checkout-mismatch", "Only an order from checkout has a checkout part", detail)
        }
        OrderError::OtherNumber { expected, found } => {
            unprocessable("other-number", "The order has another number", detail)
                .with("expected", expected)
                .with("found", found)
        }
        OrderError::PricedDifferently { line } => {
            conflict("priced-differently", "The prices are of another line", detail).with("line", line)
        }
        OrderError::BreakdownUnbalanced { sum, total } => {
            unprocessable("breakdown-unbalanced", "The prices do not add up", detail)
                .with("sum", sum)
                .with("total", total)
        }
        OrderError::ChargeNegative { charge } => {
            unprocessable("charge-negative", "A charge is below 0", detail).with("charge", charge)
        }
        OrderError::Cancelled => conflict("order-cancelled", "The order is cancelled", detail),
        OrderError::NoPayment => conflict("no-payment", "The order is not paid through a payment", detail),
        OrderError::OtherPayment { expected, found } => {
            conflict("other-payment", "The order is paid through another payment", detail)
                .with("expected", expected)
                .with("found", found)
        }
        OrderError::AuthorisedDifferently { due, authorised } => {
            conflict("authorised-differently", "Another amount is due", detail)
                .with("due", due)
                .with("authorised", authorised)
        }
        OrderError::NotAuthorised { due } => {
            conflict("not-authorised", "The order is not paid", detail).with("due", due)
        }
        OrderError::AlreadyPaid { due } => conflict("already-paid", "The order is paid", detail).with("due", due),
        OrderError::NotConfirmed => conflict("not-confirmed", "The order is not confirmed", detail),
        OrderError::CapturedTooMuch { captured_total, charged } => {
            conflict("captured-too-much", "More is captured than was shipped", detail)
                .with("captured_total", captured_total)
                .with("charged", charged)
        }
        OrderError::NothingPicked => {
            unprocessable("nothing-picked", "No units were named", detail).with("field", "lines")
        }
        OrderError::UnknownLine { line, lines } => {
            unprocessable("unknown-line", "The order has no such line", detail).with("line", line).with("lines", lines)
        }
        OrderError::NotLeftToShip { line, requested, left } => {
            conflict("not-left-to-ship", "Fewer units are left to ship", detail)
                .with("line", line)
                .with("requested", requested)
                .with("left", left)
        }
        OrderError::UnknownShipment { shipment_id } => {
            not_found("unknown-shipment", "There is no such shipment", detail).with("shipment_id", shipment_id)
        }
        OrderError::ShippedDifferently { charge } => {
            conflict("shipped-differently", "The id belongs to another shipment", detail).with("charge", charge)
        }
        OrderError::UnknownReturn { return_id } => {
            not_found("unknown-return", "There is no such return", detail).with("return_id", return_id)
        }
        OrderError::NotReturnable { line, requested, returnable } => {
            conflict("not-returnable", "Fewer units can be returned", detail)
                .with("line", line)
                .with("requested", requested)
                .with("returnable", returnable)
        }
        OrderError::ReturnedDifferently { worth } => {
            conflict("returned-differently", "The id belongs to another return", detail).with("worth", worth)
        }
        OrderError::ReceivedTooMany { line, received, requested } => {
            conflict("received-too-many", "More came back than was agreed", detail)
                .with("line", line)
                .with("received", received)
                .with("requested", requested)
        }
        OrderError::ReceivedDifferently { refund } => {
            conflict("received-differently", "The return was received otherwise", detail).with("refund", refund)
        }
        OrderError::NotReceived => conflict("not-received", "The goods are not back", detail),
        OrderError::RefundNegative { refund } => {
            unprocessable("refund-negative", "The refund is below 0", detail).with("refund", refund)
        }
        OrderError::RefundTooLarge { requested, refundable } => {
            conflict("refund-too-large", "Less can be refunded", detail)
                .with("requested", requested)
                .with("refundable", refundable)
        }
        OrderError::RefundedDifferently { refund, found } => {
            conflict("refunded-differently", "Another amount is to be refunded", detail)
                .with("refund", refund)
                .with("found", found)
        }
    }
}

pub fn of_lines(error: LinesError, detail: String) -> Problem {
    let at = |line: usize, field: &str| format!("lines[{}].{field}", line - 1);
    let field = match error {
        LinesError::Count { .. } => "lines".to_owned(),
        LinesError::Quantity { line } | LinesError::TooLarge { line } => at(line, "quantity"),
        LinesError::Price { line, .. } | LinesError::Currency { line, .. } => at(line, "unit_price"),
    };
    unprocessable("invalid-lines", "The lines cannot be booked", detail).with("field", field)
}
