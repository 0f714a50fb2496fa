//! Why a stock command was refused.

use super::Problem;
use super::kind::problems;
use kontor_domain::stock::StockError;

problems! {
    /// Other orders hold the rest, and the SKU may not be back-ordered. Ask for fewer, or wait for a delivery.
    INSUFFICIENT_STOCK = 409 "insufficient-stock", "There is not enough stock", [requested, available, sku];
    /// What is missing would have to wait, and more than the limit would be waiting then.
    BACK_ORDERS_FULL = 409 "back-orders-full", "There is not enough stock, and too much is back-ordered", [requested, available, left, sku];
    /// Elsewhere there may be enough: the units can be transferred.
    INSUFFICIENT_STOCK_AT_LOCATION = 409 "insufficient-stock-at-location", "There is not enough stock at the location", [location, requested, available, sku];
    /// What orders hold can be neither lost nor moved away; release it first.
    BELOW_RESERVED = 409 "below-reserved", "Orders hold these units", [location, fewer, on_hand, reserved, sku];
    /// A transfer is between two locations.
    SAME_LOCATION = 422 "same-location", "The units are there already", [field, location, sku];
    /// An order reserves a SKU once. To change the quantity, release and reserve again.
    RESERVED_DIFFERENTLY = 409 "reserved-differently", "The order holds another quantity", [held, sku];
    /// It never reserved any, or they were released, have expired or were shipped.
    NOT_RESERVED = 409 "not-reserved", "The order holds nothing of this SKU", [sku];
    /// No more can be shipped than the order has set aside.
    MORE_THAN_RESERVED = 409 "more-than-reserved", "The order holds fewer units", [requested, held, sku];
    /// Units that are on back-order cannot be shipped before they are received.
    BACK_ORDERED = 409 "back-ordered", "Not all of the order's units have come in", [requested, filled, sku];
    /// A confirmed reservation stays until it is shipped or released.
    RESERVATION_CONFIRMED = 409 "reservation-confirmed", "The reservation does not expire", [sku];
    /// Before that time the units can only be released.
    NOT_YET_EXPIRED = 409 "not-yet-expired", "The reservation's time is not up", [expires_at, sku];
    /// What was never shipped cannot come back.
    MORE_THAN_SHIPPED = 409 "more-than-shipped", "Fewer units were shipped", [requested, shipped, sku];
    /// At least one unit is moved.
    NOTHING_TO_MOVE = 422 "nothing-to-move", "The quantity is 0", [sku];
    /// The stock of one SKU has a largest number of units.
    TOO_MANY_UNITS = 422 "too-many-units", "That is more than can be booked", [quantity, sku, field];
}

pub fn problem(error: StockError, detail: String) -> Problem {
    match error {
        StockError::Insufficient { requested, available } => {
            INSUFFICIENT_STOCK.problem(detail).with("requested", requested).with("available", available)
        }
        StockError::BackOrdersFull { requested, available, left } => BACK_ORDERS_FULL
            .problem(detail)
            .with("requested", requested)
            .with("available", available)
            .with("left", left),
        StockError::InsufficientAt { location, requested, available } => INSUFFICIENT_STOCK_AT_LOCATION
            .problem(detail)
            .with("location", location)
            .with("requested", requested)
            .with("available", available),
        StockError::BelowReserved { location, fewer, on_hand, reserved } => BELOW_RESERVED
            .problem(detail)
            .with("location", location)
            .with("fewer", fewer)
            .with("on_hand", on_hand)
            .with("reserved", reserved),
        StockError::SameLocation { location } => {
            SAME_LOCATION.problem(detail).with("field", "to").with("location", location)
        }
        StockError::ReservedDifferently { held } => RESERVED_DIFFERENTLY.problem(detail).with("held", held),
        StockError::NotReserved => NOT_RESERVED.problem(detail),
        StockError::MoreThanReserved { requested, held } => {
            MORE_THAN_RESERVED.problem(detail).with("requested", requested).with("held", held)
        }
        StockError::BackOrdered { requested, filled } => {
            BACK_ORDERED.problem(detail).with("requested", requested).with("filled", filled)
        }
        StockError::Confirmed => RESERVATION_CONFIRMED.problem(detail),
        StockError::NotYetExpired { expires_at } => NOT_YET_EXPIRED.problem(detail).with("expires_at", expires_at),
        StockError::MoreThanShipped { requested, shipped } => {
            MORE_THAN_SHIPPED.problem(detail).with("requested", requested).with("shipped", shipped)
        }
        StockError::NothingToMove => NOTHING_TO_MOVE.problem(detail),
        StockError::TooMany { quantity } => TOO_MANY_UNITS.problem(detail).with("quantity", quantity),
    }
}
