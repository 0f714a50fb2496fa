//! Why a product command was refused.

use super::{Problem, conflict, not_found, unprocessable};
use kontor_domain::product::ProductError;

pub fn problem(error: ProductError, detail: String) -> Problem {
    match error {
        ProductError::Unknown => not_found("unknown-product", "There is no such product", detail),
        ProductError::RegisteredDifferently { name } => {
            conflict("registered-differently", "The SKU belongs to another product", detail).with("name", name)
        }
        ProductError::Withdrawn => conflict("product-withdrawn", "The product was withdrawn", detail),
        ProductError::PriceNotPositive { price } => {
            unprocessable("price-not-positive", "The price is not above 0", detail).with("price", price)
        }
    }
}
