//! What a cart costs now: its lines, the catalogue's prices, the shop's rules.

use crate::executor::{Executor, Failure};
use crate::refusal::Refusal;
use kontor_domain::cart::{Cart, CartError};
use kontor_domain::pricing::{Breakdown, Price, Wanted, price};
use kontor_domain::product::Product;
use kontor_domain::sku::SkuClaim;
use kontor_domain::{Currency, Sku};
use std::collections::BTreeMap;

/// The cart's breakdown, without shipping as long as no method is chosen.
///
/// # Errors
/// The outer one when the catalogue cannot be read; the inner one says why there is no price.
pub async fn of_cart(executor: &Executor, cart: &Cart) -> Result<Result<Breakdown, Refusal>, Failure> {
    let Some(opened) = cart.opened() else { return Ok(Err(Refusal::Cart(CartError::Unknown))) };
    let Some(address) = cart.shipping_address() else { return Ok(Err(Refusal::Cart(CartError::NoShippingAddress))) };
    let (lines, currency) = (cart.lines(), opened.currency);
    let mut prices = BTreeMap::new();
    for line in &lines {
        match of_sku(executor, &line.sku, currency).await? {
            Ok(Some(price)) => drop(prices.insert(line.sku.clone(), price)),
            Ok(None) => {} // Pricing says so.
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let wanted =
        Wanted { currency, lines: &lines, destination: address.country, shipping_method: cart.shipping_method() };
    let rules = &executor.shop().rules;
    Ok(price(&wanted, &prices, &rules.tax, &rules.shipping).map_err(Refusal::Pricing))
}

/// The price of one unit, if it has one in this currency. The inner error: it is not on sale.
async fn of_sku(executor: &Executor, sku: &Sku, currency: Currency) -> Result<Result<Option<Price>, Refusal>, Failure> {
    let (claim, _) = executor.peek::<SkuClaim>(sku.as_str()).await?;
    let code = claim.product().unwrap_or(sku); // A product without variants is its own.
    let (product, _) = executor.peek::<Product>(code.as_str()).await?;
    if !product.is_on_sale(sku) {
        return Ok(Err(Refusal::NotOnSale { sku: sku.clone() }));
    }
    Ok(Ok(product.price(sku, currency)))
}
