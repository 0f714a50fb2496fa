//! What a product and its variants cost, and which of them are on sale.

use super::{Product, ProductError, ProductEvent, Stage};
use crate::pricing::Price;
use crate::{Currency, Money, Sku};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// At most one price a currency, in its minor units.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Prices(BTreeMap<Currency, i64>);

impl Prices {
    pub fn get(&self, currency: Currency) -> Option<Money> {
        self.0.get(&currency).map(|&amount_minor| Money::new(amount_minor, currency))
    }

    pub fn set(&mut self, price: Money) {
        self.0.insert(price.currency, price.amount_minor);
    }

    pub fn remove(&mut self, currency: Currency) {
        self.0.remove(&currency);
    }
}

impl Product {
    /// What one unit of `sku` costs in `currency`, and how it is taxed: its own price, else the product's. `None`: it has
    /// none, or is not a SKU of the product.
    ///
    /// A product does not know its own code: without variants, `sku` is taken to be it.
    pub fn price(&self, sku: &Sku, currency: Currency) -> Option<Price> {
        let own = match self.variants.get(sku) {
            Some(variant) => variant.prices.get(currency),
            None if self.variants.is_empty() => None,
            None => return None,
        };
        let unit_price = own.or_else(|| self.prices.get(currency))?;
        Some(Price { unit_price, tax_class: self.tax_class.clone() })
    }

    /// Whether `sku` can be bought: a variant of a product that is published or, where it has none, its code.
    pub fn is_on_sale(&self, sku: &Sku) -> bool {
        self.described.is_some()
            && self.stage == Stage::Published
            && (self.variants.is_empty() || self.variants.contains_key(sku))
    }

    /// What a line with `sku` is called: the product's name, and what tells the variant from the others, such as
    /// `T-shirt, red, L`. `None`: it is not a SKU of the product.
    pub fn line_name(&self, sku: &Sku) -> Option<String> {
        let (name, _) = self.described.as_ref()?;
        match self.variants.get(sku) {
            Some(variant) => {
                let values = variant.options.values().map(|value| value.as_str());
                Some([name.as_str()].into_iter().chain(values).collect::<Vec<_>>().join(", "))
            }
            None => self.variants.is_empty().then(|| name.to_string()),
        }
    }

    /// Sets the price of one unit, in one currency. `None`: it already is this.
    pub(super) fn set_price(&self, price: Money) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        let previous = self.prices.get(price.currency);
        Ok(change(price, previous)?.then_some(ProductEvent::Priced { price, previous }))
    }

    /// Sets a variant's own price. `None`: it already is this.
    pub(super) fn set_price_of_variant(&self, sku: Sku, price: Money) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        let Some(variant) = self.variants.get(&sku) else { return Err(ProductError::UnknownVariant { sku }) };
        let previous = variant.prices.get(price.currency);
        Ok(change(price, previous)?.then_some(ProductEvent::VariantPriced { sku, price, previous }))
    }

    /// Takes a variant's own price away, so that it costs what the product does. `None`: it has none of its own.
    pub(super) fn remove_price_of_variant(
        &self,
        sku: Sku,
        currency: Currency,
    ) -> Result<Option<ProductEvent>, ProductError> {
        self.registered()?;
        let Some(variant) = self.variants.get(&sku) else { return Err(ProductError::UnknownVariant { sku }) };
        let previous = variant.prices.get(currency);
        Ok(previous.map(|previous| ProductEvent::VariantPriceRemoved { sku, previous }))
    }
}

/// Whether `price` is another one.
fn change(price: Money, previous: Option<Money>) -> Result<bool, ProductError> {
    if price.amount_minor <= 0 {
        return Err(ProductError::PriceNotPositive { price });
    }
    Ok(previous != Some(price))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::ProductCommand;
    use crate::product::tests::*;
    use crate::scenario::{given, state};

    fn priced(amount_minor: i64, previous: Option<i64>) -> ProductEvent {
        ProductEvent::Priced { price: pence(amount_minor), previous: previous.map(pence) }
    }

    fn price(price: Money) -> ProductCommand {
        ProductCommand::Price { price }
    }

    fn variant_priced(amount_minor: i64) -> ProductEvent {
        ProductEvent::VariantPriced { sku: sku("MUG-L"), price: pence(amount_minor), previous: None }
    }

    fn price_variant(text: &str, amount_minor: i64) -> ProductCommand {
        ProductCommand::PriceVariant { sku: sku(text), price: pence(amount_minor) }
    }

    #[test]
    fn a_price_names_the_one_before() {
        given::<Product>([registered()]).when(price(pence(250))).then(priced(250, None));
        given::<Product>([registered(), priced(250, None)]).when(price(pence(300))).then(priced(300, Some(250)));
        given::<Product>([registered(), priced(250, None)]).when(price(pence(250))).then_nothing();
    }

    #[test]
    fn a_price_in_one_currency_leaves_the_others() {
        let in_euro = ProductEvent::Priced { price: euro(290), previous: None };
        given::<Product>([registered(), priced(250, None)]).when(price(euro(290))).then(in_euro.clone());
        let product: Product = state([registered(), priced(250, None), in_euro]);
        let costs = |currency| product.price(&sku("MUG"), currency).map(|price| price.unit_price);
        assert_eq!(costs(Currency::GBP), Some(pence(250)));
        assert_eq!(costs(euro(0).currency), Some(euro(290)));
    }

    #[test]
    fn a_price_is_above_zero() {
        let refusal = ProductError::PriceNotPositive { price: pence(0) };
        given::<Product>([registered()]).when(price(pence(0))).then_refused(refusal.clone());
        given::<Product>([registered(), added("L")]).when(price_variant("MUG-L", 0)).then_refused(refusal);
        given::<Product>([]).when(price(pence(1))).then_refused(ProductError::Unknown);
        given::<Product>([]).when(price_variant("MUG-L", 1)).then_refused(ProductError::Unknown);
    }

    #[test]
    fn a_variant_may_have_a_price_of_its_own() {
        let events = || [registered(), priced(250, None), added("L"), added("S")];
        given::<Product>(events()).when(price_variant("MUG-L", 300)).then(variant_priced(300));
        given::<Product>(events().into_iter().chain([variant_priced(300)]))
            .when(price_variant("MUG-L", 300))
            .then_nothing();
        given::<Product>(events())
            .when(price_variant("CUP", 300))
            .then_refused(ProductError::UnknownVariant { sku: sku("CUP") });
        let product: Product = state(events().into_iter().chain([variant_priced(300)]));
        let costs = |text: &str| product.price(&sku(text), Currency::GBP).map(|price| price.unit_price);
        assert_eq!((costs("MUG-L"), costs("MUG-S"), costs("MUG")), (Some(pence(300)), Some(pence(250)), None));
    }

    #[test]
    fn a_variant_without_its_own_price_costs_what_the_product_does() {
        let events = || [registered(), priced(250, None), added("L"), variant_priced(300)];
        let remove = |text: &str| ProductCommand::RemoveVariantPrice { sku: sku(text), currency: Currency::GBP };
        let removed = || ProductEvent::VariantPriceRemoved { sku: sku("MUG-L"), previous: pence(300) };
        given::<Product>(events()).when(remove("MUG-L")).then(removed());
        given::<Product>(events().into_iter().chain([removed()])).when(remove("MUG-L")).then_nothing();
        let in_euro = ProductCommand::RemoveVariantPrice { sku: sku("MUG-L"), currency: euro(0).currency };
        given::<Product>(events()).when(in_euro).then_nothing();
        given::<Product>(events()).when(remove("CUP")).then_refused(ProductError::UnknownVariant { sku: sku("CUP") });
        given::<Product>([]).when(remove("MUG-L")).then_refused(ProductError::Unknown);
        let product: Product = state(events().into_iter().chain([removed()]));
        let price = product.price(&sku("MUG-L"), Currency::GBP);
        assert_eq!(price.map(|price| price.unit_price), Some(pence(250)));
    }

    #[test]
    fn a_product_without_variants_is_sold_under_its_code() {
        let product: Product = state([registered()]);
        assert!(product.is_on_sale(&sku("MUG")));
        assert_eq!(product.price(&sku("MUG"), Currency::GBP), None, "it has no price yet");
        assert_eq!(product.line_name(&sku("MUG")).as_deref(), Some("MUG"));
        assert!(!Product::default().is_on_sale(&sku("MUG")), "nobody has registered it");
    }

    #[test]
    fn a_product_with_variants_is_sold_under_theirs() {
        let product: Product = state([registered(), added("L")]);
        assert!(product.is_on_sale(&sku("MUG-L")) && !product.is_on_sale(&sku("MUG")));
        assert_eq!(product.line_name(&sku("MUG-L")).as_deref(), Some("MUG, L"));
        assert_eq!(product.line_name(&sku("MUG")), None);
    }

    #[test]
    fn neither_a_draft_nor_what_was_withdrawn_is_on_sale() {
        for events in [vec![drafted()], vec![registered(), withdrawn()]] {
            assert!(!state::<Product>(events).is_on_sale(&sku("MUG")));
        }
        let published = ProductEvent::Published { name: name("MUG") };
        assert!(state::<Product>([drafted(), published]).is_on_sale(&sku("MUG")));
    }
}
