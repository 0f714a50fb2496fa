//! Shipping: which methods serve a country, and what they cost.

use super::PricingError;
use crate::personal::CountryCode;
use crate::{Money, ShippingMethodId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The shop's ways of shipping.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShippingRules {
    pub methods: BTreeMap<ShippingMethodId, ShippingMethod>,
}

/// One way of shipping. Where it costs something else it is another method, such as `standard-abroad`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShippingMethod {
    pub countries: BTreeSet<CountryCode>,
    /// In any order and of every currency it is sold in. A method whose bands begin above 0 has a least order value.
    pub bands: Vec<ShippingBand>,
}

/// Shipping costs `price` when the goods are worth `from` or more, up to the next band; both in one currency. The goods
/// are worth quantity x unit price, with or without tax as prices are; so is `price`. 0 is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShippingBand {
    pub from: Money,
    pub price: Money,
}

impl ShippingRules {
    /// What `method` costs for goods of this value, with or without tax as prices are.
    pub(super) fn price(
        &self,
        method: &ShippingMethodId,
        destination: CountryCode,
        goods: Money,
    ) -> Result<Money, PricingError> {
        let rules =
            self.methods.get(method).ok_or_else(|| PricingError::UnknownShippingMethod { method: method.clone() })?;
        if !rules.countries.contains(&destination) {
            return Err(PricingError::NoShippingTo { method: method.clone(), country: destination });
        }
        let price =
            rules.price(goods).ok_or_else(|| PricingError::NoShippingPrice { method: method.clone(), goods })?;
        if price.amount_minor < 0 {
            return Err(PricingError::NegativeShippingPrice { method: method.clone(), price });
        }
        Ok(price)
    }

    /// The methods among which a customer may choose, with what each costs for goods of this value.
    pub fn offers(&self, destination: CountryCode, goods: Money) -> impl Iterator<Item = (&ShippingMethodId, Money)> {
        let offer = move |method| Some((method, self.price(method, destination, goods).ok()?));
        self.methods.keys().filter_map(offer)
    }
}

impl ShippingMethod {
    fn price(&self, goods: Money) -> Option<Money> {
        let applies = |band: &&ShippingBand| {
            let currencies = [band.from.currency, band.price.currency];
            currencies == [goods.currency; 2] && band.from.amount_minor <= goods.amount_minor
        };
        Some(self.bands.iter().filter(applies).max_by_key(|band| band.from.amount_minor)?.price)
    }
}
