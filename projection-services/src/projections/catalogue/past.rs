//! A product as it was: what its rows would be if the log had ended earlier, by the same rules, without writing them.

use super::variants::{Prices, VariantChange, json};
use super::{Changes, StockChange, units};
use crate::runtime::Event;
use kontor_domain::stock::StockEvent;
use kontor_domain::text::{Description, Reason};
use kontor_domain::{CategoryId, Sku, Slug, TaxClass};
use std::collections::BTreeMap;

/// The events of stock that say what is on hand; the others leave it as it is.
pub const COUNTS_ON_HAND: [&str; 5] = ["Received", "Adjusted", "Transferred", "Shipped", "Returned"];

/// A product as its row has it. Documents are JSON text.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductRow {
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    /// Minor units and currency of the price set last.
    pub price: Option<(i64, String)>,
    pub prices: BTreeMap<String, i64>,
    pub withdrawn: bool,
    pub withdrawal_reason: Option<String>,
    pub draft: bool,
    pub slug: Option<String>,
    pub tax_class: String,
    pub categories: Vec<String>,
    pub attributes: String,
    pub media: String,
    pub on_hand: i64,
    pub available: i64,
    /// By SKU.
    pub variants: Vec<VariantRow>,
}

/// One variant with its stock.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantRow {
    pub sku: String,
    /// JSON.
    pub options: String,
    pub prices: BTreeMap<String, i64>,
    pub on_hand: i64,
    pub available: i64,
}

/// Folds `events`, in the order of their positions: all of the product, of its and its variants' stock and of the tree of
/// categories up to some position. `None`: it was not registered by then.
pub fn product(sku: &Sku, events: &[Event]) -> Option<ProductRow> {
    let Changes { products, variants, stock, .. } = Changes::of(events);
    let product = products.get(sku)?;
    let (name, description) = product.words?;
    let stock_of = |sku: &Sku| {
        let found: Option<&StockChange> = stock.get(sku);
        found.map_or((0, 0), |stock| (stock.on_hand.map_or(0, units), units(stock.available)))
    };
    let (on_hand, available) = stock_of(sku);
    let variants = variants.of(sku).filter_map(|(variant, change)| match change {
        VariantChange::Is { options, prices } => {
            let (on_hand, available) = stock_of(variant);
            let (sku, options) = (variant.to_string(), json(options));
            Some(VariantRow { sku, options, prices: prices.clone(), on_hand, available })
        }
        VariantChange::Costs(_) | VariantChange::Gone => None,
    });
    let categories = product.categories.iter().flatten().copied();
    Some(ProductRow {
        sku: sku.to_string(),
        name: name.to_string(),
        description: description.map(Description::to_string),
        price: product.price.map(|price| (price.amount_minor, price.currency.to_string())),
        prices: Prices::clone(&product.prices),
        withdrawn: product.withdrawn.is_some(),
        withdrawal_reason: product.withdrawn.map(Reason::to_string),
        draft: product.draft.unwrap_or_default(),
        slug: product.slug.map(Slug::to_string),
        tax_class: product.tax_class.unwrap_or(&TaxClass::STANDARD).to_string(),
        categories: categories.map(CategoryId::to_string).collect(),
        attributes: product.attributes.map_or_else(|| "{}".to_owned(), json),
        media: product.media.map_or_else(|| "[]".to_owned(), |media| json(&media)),
        on_hand,
        available,
        variants: variants.collect(),
    })
}

/// Units on hand, if the event says so, and available after it.
pub fn stock(event: &StockEvent) -> (Option<i64>, i64) {
    let mut change = StockChange::default();
    change.fold(event);
    (change.on_hand.map(units), units(change.available))
}

/// The variants that the product has after `events`, all of its own.
pub fn variants(sku: &Sku, events: &[Event]) -> Vec<String> {
    let changes = Changes::of(events);
    let there = changes.variants.of(sku).filter(|(_, change)| matches!(change, VariantChange::Is { .. }));
    there.map(|(variant, _)| variant.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::Quantity;

    #[test]
    fn a_later_event_that_counts_says_what_is_on_hand() {
        let [two, five] = [2, 5].map(|units| Quantity::new(units).expect("a small quantity"));
        let order_id = kontor_domain::OrderId(uuid::Uuid::nil());
        let confirmed = StockEvent::Confirmed { order_id, quantity: two, available_after: five };
        assert_eq!(stock(&confirmed), (None, 5));
        let location = kontor_domain::LocationId::MAIN;
        let returned =
            StockEvent::Returned { order_id, quantity: two, on_hand_after: five, available_after: two, location };
        assert_eq!(stock(&returned), (Some(5), 2));
    }
}
