//! Tax: which rate, on what, and how it is shared among the lines.

use super::rounding::apportion;
use super::{BasisPoints, PricingError, TaxShare};
use crate::personal::CountryCode;
use crate::{Money, TaxClass};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is due to the tax office. Rates are those of the country that the goods go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaxRules {
    /// Whether prices, of goods and of shipping, include tax. Where they do, a customer pays the same in every country.
    pub prices_include_tax: bool,
    pub shipping: ShippingTax,
    /// The rate of each class in each country. Where nothing is due that must be said with a rate of 0: what is not
    /// said is refused, so that a forgotten rate cannot become tax that the shop owes.
    pub rates: BTreeMap<CountryCode, BTreeMap<TaxClass, BasisPoints>>,
}

/// How shipping is taxed.
///
/// It is ancillary to the goods and shares their rate (Court of Justice of the EU, C-349/96, Card Protection Plan).
/// Where goods of several rates travel together it takes the highest of them: never too little tax, and one rate on the
/// invoice, which sharing it out by value would not give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShippingTax {
    #[default]
    HighestRateOfGoods,
    Untaxed,
}

/// An amount as the price list has it, with or without tax, and the rate on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    pub rate: BasisPoints,
    pub amount: Money,
}

/// An amount with its tax told apart. `total` = `net` + `tax`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taxed {
    pub rate: BasisPoints,
    pub net: Money,
    pub tax: Money,
    pub total: Money,
}

impl TaxRules {
    pub(super) fn rate(&self, country: CountryCode, tax_class: &TaxClass) -> Result<BasisPoints, PricingError> {
        let rate = self.rates.get(&country).and_then(|rates| rates.get(tax_class));
        rate.copied().ok_or_else(|| PricingError::NoTaxRate { country, tax_class: tax_class.clone() })
    }

    pub(super) fn shipping_rate(&self, goods: &[Charge]) -> BasisPoints {
        match self.shipping {
            ShippingTax::HighestRateOfGoods => goods.iter().map(|charge| charge.rate).max().unwrap_or_default(),
            ShippingTax::Untaxed => BasisPoints(0),
        }
    }

    /// Tells the tax of each charge apart, in their order.
    ///
    /// All that has one rate is taxed as one sum and rounded half up, as a European invoice has it (EN 16931,
    /// BR-CO-17); each charge then gets its part by largest remainder, of equals the earlier.
    pub(super) fn tax(&self, charges: &[Charge]) -> Result<Vec<Taxed>, PricingError> {
        let mut places_by_rate = BTreeMap::<BasisPoints, Vec<usize>>::new();
        for (place, charge) in charges.iter().enumerate() {
            places_by_rate.entry(charge.rate).or_default().push(place);
        }
        let mut taxes = vec![0; charges.len()];
        for (rate, places) in places_by_rate {
            let amounts: Vec<i64> = places.iter().map(|&place| charges[place].amount.amount_minor).collect();
            // Of 120 with 20 % tax, 20 / 120 are the tax.
            let included = if self.prices_include_tax { rate.0 } else { 0 };
            let whole = BasisPoints::WHOLE.0.checked_add(included).ok_or(PricingError::TooLarge)?;
            for (place, tax) in places.into_iter().zip(apportion(&amounts, rate.0, whole)) {
                taxes[place] = tax;
            }
        }
        charges.iter().zip(taxes).map(|(charge, tax)| self.tell_apart(charge, tax)).collect()
    }

    fn tell_apart(&self, &Charge { rate, amount }: &Charge, tax: i128) -> Result<Taxed, PricingError> {
        let listed = i128::from(amount.amount_minor);
        let (net, total) = if self.prices_include_tax { (listed - tax, listed) } else { (listed, listed + tax) };
        let money = |amount_minor: i128| match i64::try_from(amount_minor) {
            Ok(amount_minor) => Ok(Money::new(amount_minor, amount.currency)),
            Err(_) => Err(PricingError::TooLarge),
        };
        Ok(Taxed { rate, net: money(net)?, tax: money(tax)?, total: money(total)? })
    }
}

/// One entry a rate, ascending.
pub(super) fn shares(taxed: &[Taxed]) -> Result<Vec<TaxShare>, PricingError> {
    let mut shares = BTreeMap::<BasisPoints, TaxShare>::new();
    for &Taxed { rate, net, tax, .. } in taxed {
        let zero = Money::zero(net.currency);
        let share = shares.entry(rate).or_insert(TaxShare { rate, net: zero, tax: zero });
        share.net = share.net.checked_add(net).ok_or(PricingError::TooLarge)?;
        share.tax = share.tax.checked_add(tax).ok_or(PricingError::TooLarge)?;
    }
    Ok(shares.into_values().collect())
}
