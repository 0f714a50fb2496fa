//! Why a stock command was refused.

use super::{Problem, conflict, unprocessable};
use kontor_domain::stock::StockError;

pub fn problem(error: StockError, detail: String) -> Problem {
    match error {
        StockError::Insufficient { requested, available } => {
            conflict("insufficient-stock", "There is not enough stock", detail)
                .with("requested", requested)
                .with("available", available)
        }
        StockError::BackOrdersFull { requested, available, left } => {
            conflict("back-orders-full", "There is not enough stock, and too much is back-ordered", detail)
                .with("requested", requested)
                .with("available", available)
                .with("left", left)
        }
        StockError::InsufficientAt { location, requested, available } => {
            conflict("insufficient-stock-at-location", "There is not enough stock at the location", detail)
                .with("location", location)
                .with("requested", requested)
                .with("available", available)
        }
        StockError::BelowReserved { location, fewer, on_hand, reserved } => {
            conflict("below-reserved", "Orders hold these units", detail)
                .with("location", location)
                .with("fewer", fewer)
                .with("on_hand", on_hand)
                .with("reserved", reserved)
        }
        StockError::SameLocation { location } => {
            unprocessable("same-location", "The units are there already", detail).with("location", location)
        }
        StockError::ReservedDifferently { held } => {
            conflict("reserved-differently", "The order holds another quantity", detail).with("held", held)
        }
        StockError::NotReserved => conflict("not-reserved", "The order holds nothing of this SKU", detail),
        StockError::MoreThanReserved { requested, held } => {
            conflict("more-than-reserved", "The order holds fewer units", detail)
                .with("requested", requested)
                .with("held", held)
        }
        StockError::BackOrdered { requested, filled } => {
            conflict("back-ordered", "Not all of the order's units have come in", detail)
                .with("requested", requested)
                .with("filled", filled)
        }
        StockError::Confirmed => conflict("reservation-confirmed", "The reservation does not expire", detail),
        StockError::NotYetExpired { expires_at } => {
            conflict("not-yet-expired", "The reservation's time is not up", detail).with("expires_at", expires_at)
        }
        StockError::MoreThanShipped { requested, shipped } => {
            conflict("more-than-shipped", "Fewer units were shipped to the order", detail)
                .with("requested", requested)
                .with("shipped", shipped)
        }
        StockError::NothingToMove => unprocessable("nothing-to-move", "The quantity is 0", detail),
        StockError::TooMany { quantity } => {
            unprocessable("too-many-units", "That is more than can be booked", detail).with("quantity", quantity)
        }
    }
}
