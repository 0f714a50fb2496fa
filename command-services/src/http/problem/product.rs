//! Why a product command was refused.

use super::Problem;
use super::kind::problems;
use kontor_domain::product::ProductError;

problems! {
    /// No product has this SKU: register it first.
    UNKNOWN_PRODUCT = 404 "unknown-product", "There is no such product", [];
    /// A product is registered once. To change it, describe it.
    REGISTERED_DIFFERENTLY = 409 "registered-differently", "The SKU belongs to another product", [name];
    /// A withdrawn product is neither described nor priced any more.
    PRODUCT_WITHDRAWN = 409 "product-withdrawn", "The product was withdrawn", [];
    /// A product is not given away: its price is at least one minor unit.
    PRICE_NOT_POSITIVE = 422 "price-not-positive", "The price is not above 0", [field, price];
}

pub fn problem(error: ProductError, detail: String) -> Problem {
    match error {
        ProductError::Unknown => UNKNOWN_PRODUCT.problem(detail),
        ProductError::RegisteredDifferently { name } => REGISTERED_DIFFERENTLY.problem(detail).with("name", name),
        ProductError::Withdrawn => PRODUCT_WITHDRAWN.problem(detail),
        ProductError::PriceNotPositive { price } => {
            PRICE_NOT_POSITIVE.problem(detail).with("field", "price").with("price", price)
        }
    }
}
