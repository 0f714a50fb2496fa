//! Why a cart command was refused, and why a cart has no price.

use super::Problem;
use super::kind::problems;
use super::stock::TOO_MANY_UNITS;
use kontor_domain::Sku;
use kontor_domain::cart::CartError;
use kontor_domain::pricing::PricingError;

problems! {
    /// There is none with this id, or it is somebody else's.
    UNKNOWN_CART = 404 "unknown-cart", "There is no such cart", [];
    /// A cart is opened once. For another one, choose another id.
    OPENED_DIFFERENTLY = 409 "opened-differently", "The id belongs to another cart", [currency];
    /// A cart is bought once. Its order is `order_id`.
    CART_CHECKED_OUT = 409 "cart-checked-out", "The cart was checked out", [order_id, total];
    /// Its lines are in the cart `target` now.
    CART_MERGED = 409 "cart-merged", "The cart was merged into another", [target];
    /// A cart that has an owner keeps them.
    CART_OF_ANOTHER = 409 "cart-of-another", "The cart belongs to another customer", [];
    /// Buy in several orders.
    TOO_MANY_LINES = 422 "too-many-lines", "A cart may not have so many lines", [lines, lines_max];
    /// `source` is another cart than the one that takes its lines over.
    MERGED_INTO_ITSELF = 422 "merged-into-itself", "Both are the same cart", [];
    /// A cart has one currency. Open another cart for the other.
    CART_CURRENCY = 409 "cart-currency", "The carts are in different currencies", [expected, found];
    /// A cart is left behind when nothing has happened to it for long.
    CART_NOT_IDLE = 409 "cart-not-idle", "The cart was changed lately", [changed_at];
    /// Put something into it first.
    CART_EMPTY = 409 "cart-empty", "There is nothing in the cart", [];
    /// The buyer agreed to another total than it costs now. Show them the new one.
    TOTAL_CHANGED = 409 "total-changed", "It costs something else now", [agreed, total];
    /// `missing` is what the cart still needs: an e-mail address, a shipping address or a shipping method.
    CART_INCOMPLETE = 409 "cart-incomplete", "Something is missing for check-out", [missing];
    /// It was changed while it was being checked out. Look again, then decide again.
    CART_CHANGED = 409 "cart-changed", "The cart changed while it was priced", [];
    /// At least one unit is wanted.
    NO_UNITS = 422 "no-units", "No units are wanted", [sku];
    /// Not everything is sold in every currency.
    NO_PRICE = 409 "no-price", "It has no price in this currency", [sku, currency];
    /// The price list is at odds with the cart.
    PRICE_CURRENCY = 409 "price-currency", "It is priced in another currency", [sku, expected, found];
    /// The price list has a price below 0.
    PRICE_NEGATIVE = 409 "price-negative", "Its price is below 0", [sku, unit_price];
    /// What would be due in this country is not known, so nothing is sold to it.
    NO_TAX_RATE = 409 "no-tax-rate", "Nothing is sold to this country", [country, tax_class];
    /// The cart's view offers those that there are.
    UNKNOWN_SHIPPING_METHOD = 409 "unknown-shipping-method", "There is no such way of shipping", [method];
    /// The cart's view offers those that go there.
    NO_SHIPPING_TO = 409 "no-shipping-to", "It does not go to this country", [method, country];
    /// The cart's view offers those that carry it.
    NO_SHIPPING_PRICE = 409 "no-shipping-price", "It does not carry goods of this value", [method, goods];
    /// The shipping rules have a price below 0.
    SHIPPING_PRICE_NEGATIVE = 409 "shipping-price-negative", "Its price is below 0", [method, price];
    /// Buy in several orders.
    TOO_LARGE = 422 "too-large", "It adds up to more than can be booked", [];
    /// Nothing more is kept about somebody who was erased.
    SUBJECT_ERASED = 409 "subject-erased", "The customer has been erased", [];
    /// It was withdrawn, or is not published.
    NOT_ON_SALE = 409 "not-on-sale", "It is not on sale", [sku];
}

pub fn problem(error: CartError, detail: String) -> Problem {
    match error {
        CartError::Unknown => UNKNOWN_CART.problem(detail),
        CartError::OpenedDifferently { currency } => OPENED_DIFFERENTLY.problem(detail).with("currency", currency),
        CartError::CheckedOut { order_id, total } => {
            CART_CHECKED_OUT.problem(detail).with("order_id", order_id).with("total", total)
        }
        CartError::ClosedInto { target } => CART_MERGED.problem(detail).with("target", target),
        CartError::OwnedByAnother => CART_OF_ANOTHER.problem(detail),
        CartError::TooManyLines { lines } => {
            TOO_MANY_LINES.problem(detail).with("lines", lines).with("lines_max", kontor_domain::cart::LINES_MAX)
        }
        CartError::TooManyUnits { sku, quantity } => {
            TOO_MANY_UNITS.problem(detail).with("field", "quantity").with("sku", sku).with("quantity", quantity)
        }
        CartError::MergedIntoItself => MERGED_INTO_ITSELF.problem(detail),
        CartError::Currency { expected, found } => {
            CART_CURRENCY.problem(detail).with("expected", expected).with("found", found)
        }
        CartError::NotIdle { changed_at, .. } => CART_NOT_IDLE.problem(detail).with("changed_at", changed_at),
        CartError::Empty => CART_EMPTY.problem(detail),
        CartError::NoEmail => incomplete(detail, "email"),
        CartError::NoShippingAddress => incomplete(detail, "shipping_address"),
        CartError::NoShippingMethod => incomplete(detail, "shipping_method"),
        CartError::QuantityPricedDifferently { sku, in_cart, priced } => {
            priced_differently(detail).with("sku", sku).with("in_cart", in_cart).with("priced", priced)
        }
        CartError::DestinationPricedDifferently { destination, priced } => {
            priced_differently(detail).with("destination", destination).with("priced", priced)
        }
        CartError::ShippingPricedDifferently { method, priced } => {
            priced_differently(detail).with("method", method).with("priced", priced)
        }
        CartError::TotalChanged { agreed, total } => {
            TOTAL_CHANGED.problem(detail).with("agreed", agreed).with("total", total)
        }
    }
}

fn incomplete(detail: String, missing: &str) -> Problem {
    CART_INCOMPLETE.problem(detail).with("missing", missing)
}

fn priced_differently(detail: String) -> Problem {
    CART_CHANGED.problem(detail)
}

pub fn unpriced(error: PricingError, detail: String) -> Problem {
    match error {
        PricingError::Empty => CART_EMPTY.problem(detail),
        PricingError::NoUnits { sku } => NO_UNITS.problem(detail).with("sku", sku),
        PricingError::NoPrice { sku, currency } => NO_PRICE.problem(detail).with("sku", sku).with("currency", currency),
        PricingError::Currency { sku, expected, found } => {
            PRICE_CURRENCY.problem(detail).with("sku", sku).with("expected", expected).with("found", found)
        }
        PricingError::NegativePrice { sku, unit_price } => {
            PRICE_NEGATIVE.problem(detail).with("sku", sku).with("unit_price", unit_price)
        }
        PricingError::NoTaxRate { country, tax_class } => {
            NO_TAX_RATE.problem(detail).with("country", country).with("tax_class", tax_class)
        }
        PricingError::UnknownShippingMethod { method } => {
            UNKNOWN_SHIPPING_METHOD.problem(detail).with("method", method)
        }
        PricingError::NoShippingTo { method, country } => {
            NO_SHIPPING_TO.problem(detail).with("method", method).with("country", country)
        }
        PricingError::NoShippingPrice { method, goods } => {
            NO_SHIPPING_PRICE.problem(detail).with("method", method).with("goods", goods)
        }
        PricingError::NegativeShippingPrice { method, price } => {
            SHIPPING_PRICE_NEGATIVE.problem(detail).with("method", method).with("price", price)
        }
        PricingError::TooLarge => TOO_LARGE.problem(detail),
    }
}

pub fn erased(detail: String) -> Problem {
    SUBJECT_ERASED.problem(detail)
}

pub fn not_on_sale(sku: Sku, detail: String) -> Problem {
    NOT_ON_SALE.problem(detail).with("sku", sku)
}
