//! What a cart costs: one pure function of its lines, the prices, the tax and the shipping rules.

mod rounding;
mod shipping;
mod tax;

pub use shipping::{ShippingBand, ShippingMethod, ShippingRules};
pub use tax::{ShippingTax, TaxRules};

use crate::personal::CountryCode;
use crate::{Currency, Money, Quantity, ShippingMethodId, Sku, TaxClass};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tax::{Charge, Taxed};

/// A rate in hundredths of a per cent: 2,000 is 20 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct BasisPoints(pub u32);

impl BasisPoints {
    /// 100 %.
    pub const WHOLE: BasisPoints = BasisPoints(10_000);
}

/// What is to be paid and why. Each `total` is the sum of what is above it, to the penny.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Breakdown {
    pub currency: Currency,
    pub lines: Vec<PricedLine>,
    pub shipping: Option<ShippingCharge>,
    /// One entry a rate, ascending: what is taxed at it, and the tax.
    pub taxes: Vec<TaxShare>,
    pub total: Money,
}

/// One line with its price. `total` = quantity x unit price, plus `tax` where prices are without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PricedLine {
    pub sku: Sku,
    pub quantity: Quantity,
    pub unit_price: Money,
    pub tax_rate: BasisPoints,
    pub net: Money,
    pub tax: Money,
    pub total: Money,
}

/// What shipping costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ShippingCharge {
    pub method: ShippingMethodId,
    pub tax_rate: BasisPoints,
    pub net: Money,
    pub tax: Money,
    pub total: Money,
}

/// All that is taxed at one rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaxShare {
    pub rate: BasisPoints,
    pub net: Money,
    pub tax: Money,
}

/// One line of a cart: so many units of a product, at whatever they cost when asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CartLine {
    pub sku: Sku,
    pub quantity: Quantity,
}

/// What one unit of a product costs, in one currency, and how it is taxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub unit_price: Money,
    pub tax_class: TaxClass,
}

/// What somebody wants to have and where.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub currency: Currency,
    pub lines: &'a [CartLine],
    pub destination: CountryCode,
    /// `None`: not chosen yet, so shipping is not part of the breakdown.
    pub shipping_method: Option<&'a ShippingMethodId>,
}

/// Why there is no price. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PricingError {
    #[error("there is nothing in the cart")]
    Empty,
    #[error("no units of {sku} are wanted")]
    NoUnits { sku: Sku },
    #[error("{sku} has no price in {currency}")]
    NoPrice { sku: Sku, currency: Currency },
    #[error("{sku} must be priced in {expected}, is in {found}")]
    Currency { sku: Sku, expected: Currency, found: Currency },
    #[error("the unit price of {sku} must not be below 0, is {unit_price}")]
    NegativePrice { sku: Sku, unit_price: Money },
    #[error("no tax rate is known for {tax_class} in {country}")]
    NoTaxRate { country: CountryCode, tax_class: TaxClass },
    #[error("there is no shipping method {method}")]
    UnknownShippingMethod { method: ShippingMethodId },
    #[error("{method} does not go to {country}")]
    NoShippingTo { method: ShippingMethodId, country: CountryCode },
    #[error("{method} has no price for goods of {goods}")]
    NoShippingPrice { method: ShippingMethodId, goods: Money },
    #[error("the price of {method} must not be below 0, is {price}")]
    NegativeShippingPrice { method: ShippingMethodId, price: Money },
    #[error("quantities or amounts add up to more than can be booked")]
    TooLarge,
}

/// The breakdown of what is wanted, its lines in the order of their SKUs: the order they were given in changes nothing.
///
/// Tax is rounded once a rate, not a line, and shared among the lines and shipping by largest remainder; of equal
/// remainders the first SKU is rounded up, shipping last. So every total is the sum of its parts, and no line is off by
/// a whole minor unit.
pub fn price(
    wanted: &Wanted,
    prices: &BTreeMap<Sku, Price>,
    tax_rules: &TaxRules,
    shipping_rules: &ShippingRules,
) -> Result<Breakdown, PricingError> {
    let &Wanted { currency, destination, shipping_method, .. } = wanted;
    let goods = goods(wanted, prices)?;

    let mut charges = Vec::with_capacity(goods.len() + 1);
    for (line, price) in &goods {
        let amount = price.unit_price.checked_mul(line.quantity).ok_or(PricingError::TooLarge)?;
        charges.push(Charge { rate: tax_rules.rate(destination, &price.tax_class)?, amount });
    }
    if let Some(method) = shipping_method {
        let goods_value = sum(currency, charges.iter().map(|charge| charge.amount))?;
        let amount = shipping_rules.price(method, destination, goods_value)?;
        charges.push(Charge { rate: tax_rules.shipping_rate(&charges), amount });
    }
    let taxed = tax_rules.tax(&charges)?;

    let total = sum(currency, taxed.iter().map(|taxed| taxed.total))?;
    let taxes = tax::shares(&taxed)?;
    let (taxed_goods, taxed_shipping) = taxed.split_at(goods.len());
    let lines = goods.iter().zip(taxed_goods).map(|(&(line, price), taxed)| priced_line(line, price, taxed)).collect();
    let shipping = shipping_method.zip(taxed_shipping.first()).map(|(method, taxed)| shipping_charge(method, taxed));
    Ok(Breakdown { currency, lines, shipping, taxes, total })
}

/// The lines with their prices, in the order of their SKUs. Refuses what cannot be sold.
fn goods<'a>(
    wanted: &Wanted<'a>,
    prices: &'a BTreeMap<Sku, Price>,
) -> Result<Vec<(&'a CartLine, &'a Price)>, PricingError> {
    if wanted.lines.is_empty() {
        return Err(PricingError::Empty);
    }
    let expected = wanted.currency;
    let mut goods = Vec::with_capacity(wanted.lines.len());
    for line in wanted.lines {
        let sku = || line.sku.clone();
        if line.quantity.is_zero() {
            return Err(PricingError::NoUnits { sku: sku() });
        }
        let price = prices.get(&line.sku).ok_or_else(|| PricingError::NoPrice { sku: sku(), currency: expected })?;
        let unit_price = price.unit_price;
        if unit_price.currency != expected {
            return Err(PricingError::Currency { sku: sku(), expected, found: unit_price.currency });
        }
        if unit_price.amount_minor < 0 {
            return Err(PricingError::NegativePrice { sku: sku(), unit_price });
        }
        goods.push((line, price));
    }
    goods.sort_by_key(|&(line, _)| line);
    Ok(goods)
}

fn priced_line(line: &CartLine, price: &Price, &Taxed { rate, net, tax, total }: &Taxed) -> PricedLine {
    let CartLine { sku, quantity } = line.clone();
    PricedLine { sku, quantity, unit_price: price.unit_price, tax_rate: rate, net, tax, total }
}

fn shipping_charge(method: &ShippingMethodId, &Taxed { rate, net, tax, total }: &Taxed) -> ShippingCharge {
    ShippingCharge { method: method.clone(), tax_rate: rate, net, tax, total }
}

fn sum(currency: Currency, mut amounts: impl Iterator<Item = Money>) -> Result<Money, PricingError> {
    amounts.try_fold(Money::zero(currency), Money::checked_add).ok_or(PricingError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pence(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::GBP)
    }

    fn euro() -> Currency {
        Currency::from_code("EUR").expect("EUR is in ISO 4217")
    }

    fn country(code: &str) -> CountryCode {
        CountryCode::from_code(code).expect("two capital letters")
    }

    fn sku(text: &str) -> Sku {
        text.parse().expect("a valid SKU")
    }

    fn method(text: &str) -> ShippingMethodId {
        text.parse().expect("a valid shipping method")
    }

    fn class(text: &str) -> TaxClass {
        text.parse().expect("a valid tax class")
    }

    fn line(text: &str, units: u64) -> CartLine {
        CartLine { sku: sku(text), quantity: Quantity::new(units).expect("few units") }
    }

    fn priced<const N: usize>(prices: [(&str, i64, &str); N]) -> BTreeMap<Sku, Price> {
        let price =
            |(text, amount, tax_class)| (sku(text), Price { unit_price: pence(amount), tax_class: class(tax_class) });
        prices.map(price).into()
    }

    /// Britain, with three rates of tax.
    fn tax(prices_include_tax: bool) -> TaxRules {
        let rates = [("standard", 2_000), ("reduced", 500), ("books", 0)];
        let rates = rates.map(|(tax_class, rate)| (class(tax_class), BasisPoints(rate)));
        TaxRules {
            prices_include_tax,
            shipping: ShippingTax::HighestRateOfGoods,
            rates: [(country("GB"), rates.into())].into(),
        }
    }

    /// `standard` in Britain: 4.95, from 50.00 free. `pallet` for goods of 1,000.00 or more.
    fn shipping() -> ShippingRules {
        let band = |from, price| ShippingBand { from: pence(from), price: pence(price) };
        let to_britain = |bands| ShippingMethod { countries: [country("GB")].into(), bands };
        let methods = [
            (method("standard"), to_britain(vec![band(5_000, 0), band(0, 495)])),
            (method("pallet"), to_britain(vec![band(100_000, 9_900)])),
            (method("broken"), to_britain(vec![band(0, -1)])),
        ];
        ShippingRules { methods: methods.into() }
    }

    fn to_britain<'a>(lines: &'a [CartLine], shipping_method: Option<&'a ShippingMethodId>) -> Wanted<'a> {
        Wanted { currency: Currency::GBP, lines, destination: country("GB"), shipping_method }
    }

    #[test]
    fn prices_with_tax_are_what_is_paid() {
        let prices = priced([("MUG", 250, "standard"), ("NOVEL", 799, "books")]);
        let lines = [line("NOVEL", 1), line("MUG", 3)];
        let standard = method("standard");
        let breakdown = price(&to_britain(&lines, Some(&standard)), &prices, &tax(true), &shipping());
        let priced_line = |text, units, each, rate, [net, tax, total]: [i64; 3]| PricedLine {
            sku: sku(text),
            quantity: Quantity::new(units).expect("few units"),
            unit_price: pence(each),
            tax_rate: BasisPoints(rate),
            net: pence(net),
            tax: pence(tax),
            total: pence(total),
        };
        // 7.50 + 4.95 = 12.45 with 20 %: 2.075 tax, rounded to 2.08. Mugs 1.25, shipping 0.825.
        let expected = Breakdown {
            currency: Currency::GBP,
            lines: vec![
                priced_line("MUG", 3, 250, 2_000, [625, 125, 750]),
                priced_line("NOVEL", 1, 799, 0, [799, 0, 799]),
            ],
            shipping: Some(ShippingCharge {
                method: standard.clone(),
                tax_rate: BasisPoints(2_000),
                net: pence(412),
                tax: pence(83),
                total: pence(495),
            }),
            taxes: vec![
                TaxShare { rate: BasisPoints(0), net: pence(799), tax: pence(0) },
                TaxShare { rate: BasisPoints(2_000), net: pence(1_037), tax: pence(208) },
            ],
            total: pence(2_044),
        };
        assert_eq!(breakdown, Ok(expected));
    }

    #[test]
    fn prices_without_tax_have_it_added() {
        let prices = priced([("MUG", 250, "standard")]);
        let breakdown = price(&to_britain(&[line("MUG", 3)], None), &prices, &tax(false), &shipping());
        let breakdown = breakdown.expect("a mug can be bought");
        assert_eq!(breakdown.taxes, [TaxShare { rate: BasisPoints(2_000), net: pence(750), tax: pence(150) }]);
        assert_eq!((breakdown.shipping, breakdown.total), (None, pence(900)));
    }

    #[test]
    fn shipping_is_free_from_some_value() {
        let prices = priced([("MUG", 250, "standard")]);
        let shipping_of = |units| {
            let breakdown =
                price(&to_britain(&[line("MUG", units)], Some(&method("standard"))), &prices, &tax(true), &shipping());
            breakdown.map(|breakdown| breakdown.shipping.map(|charge| charge.total))
        };
        assert_eq!(shipping_of(19), Ok(Some(pence(495)))); // Goods of 47.50.
        assert_eq!(shipping_of(20), Ok(Some(pence(0)))); // Goods of 50.00.
    }

    #[test]
    fn shipping_that_the_law_exempts_is_not_taxed() {
        let prices = priced([("MUG", 250, "standard")]);
        let exempt = TaxRules { shipping: ShippingTax::Untaxed, ..tax(true) };
        let breakdown = price(&to_britain(&[line("MUG", 1)], Some(&method("standard"))), &prices, &exempt, &shipping());
        let charge = breakdown.expect("a mug can be bought").shipping.expect("it is shipped");
        assert_eq!((charge.tax_rate, charge.net, charge.tax), (BasisPoints(0), pence(495), pence(0)));
    }

    #[test]
    fn a_customer_is_offered_what_goes_there_for_that_value() {
        let rules = shipping();
        let offered = |code, goods| -> Vec<_> {
            rules.offers(country(code), goods).map(|(method, price)| (method.as_str(), price.amount_minor)).collect()
        };
        assert_eq!(offered("GB", pence(100)), [("standard", 495)]);
        assert_eq!(offered("GB", pence(100_000)), [("pallet", 9_900), ("standard", 0)]);
        assert_eq!(offered("FR", pence(100)), []);
        assert_eq!(offered("GB", Money::new(100, euro())), []);
    }

    #[test]
    fn what_cannot_be_priced_is_named() {
        let refused = |lines: &[CartLine], chosen: Option<&str>, error| {
            let prices = priced([("MUG", 250, "standard"), ("GOLD", i64::MAX, "books"), ("WINE", 900, "alcohol")]);
            let chosen = chosen.map(method);
            assert_eq!(price(&to_britain(lines, chosen.as_ref()), &prices, &tax(true), &shipping()), Err(error));
        };
        refused(&[], None, PricingError::Empty);
        refused(&[line("MUG", 0)], None, PricingError::NoUnits { sku: sku("MUG") });
        refused(&[line("CUP", 1)], None, PricingError::NoPrice { sku: sku("CUP"), currency: Currency::GBP });
        let untaxed = PricingError::NoTaxRate { country: country("GB"), tax_class: class("alcohol") };
        refused(&[line("WINE", 1)], None, untaxed);
        refused(&[line("GOLD", 2)], None, PricingError::TooLarge);
        refused(&[line("GOLD", 1), line("MUG", 1)], None, PricingError::TooLarge);
        refused(&[line("GOLD", 1), line("MUG", 1)], Some("standard"), PricingError::TooLarge);
        let unknown = PricingError::UnknownShippingMethod { method: method("pigeon") };
        refused(&[line("MUG", 1)], Some("pigeon"), unknown);
        let too_little = PricingError::NoShippingPrice { method: method("pallet"), goods: pence(250) };
        refused(&[line("MUG", 1)], Some("pallet"), too_little);
        let negative = PricingError::NegativeShippingPrice { method: method("broken"), price: pence(-1) };
        refused(&[line("MUG", 1)], Some("broken"), negative);
    }

    #[test]
    fn tax_on_top_may_be_more_than_can_be_booked() {
        let prices = priced([("GOLD", i64::MAX, "standard")]);
        let breakdown = price(&to_britain(&[line("GOLD", 1)], None), &prices, &tax(false), &shipping());
        assert_eq!(breakdown, Err(PricingError::TooLarge));
    }

    #[test]
    fn a_price_in_another_currency_or_below_zero_is_refused() {
        let lines = [line("MUG", 1)];
        let wanted = Wanted { currency: euro(), ..to_britain(&lines, None) };
        let prices = priced([("MUG", 250, "standard")]);
        let error = PricingError::Currency { sku: sku("MUG"), expected: euro(), found: Currency::GBP };
        assert_eq!(price(&wanted, &prices, &tax(true), &shipping()), Err(error));

        let prices = priced([("MUG", -250, "standard")]);
        let error = PricingError::NegativePrice { sku: sku("MUG"), unit_price: pence(-250) };
        assert_eq!(price(&to_britain(&lines, None), &prices, &tax(true), &shipping()), Err(error));
    }

    #[test]
    fn where_a_method_does_not_go_it_is_refused() {
        let (lines, standard) = ([line("NOVEL", 1)], method("standard"));
        let rules =
            TaxRules { rates: [(country("FR"), [(class("books"), BasisPoints(550))].into())].into(), ..tax(true) };
        let wanted = Wanted { destination: country("FR"), ..to_britain(&lines, Some(&standard)) };
        let error = PricingError::NoShippingTo { method: method("standard"), country: country("FR") };
        assert_eq!(price(&wanted, &priced([("NOVEL", 799, "books")]), &rules, &shipping()), Err(error));
    }

    /// Up to 30 products of all tax classes, some of each, shipped or not.
    fn any_cart() -> impl Strategy<Value = (Vec<CartLine>, BTreeMap<Sku, Price>, Option<ShippingMethodId>)> {
        let tax_class = prop::sample::select(vec!["standard", "reduced", "books"]);
        let lines = prop::collection::vec((1_u64..50, 0_i64..10_000, tax_class), 1..30);
        (lines, any::<bool>()).prop_map(|(lines, shipped)| {
            let lines = (1..).zip(lines).map(|(number, (units, amount, tax_class))| {
                let text = format!("S{number}");
                (line(&text, units), (sku(&text), Price { unit_price: pence(amount), tax_class: class(tax_class) }))
            });
            let (lines, prices) = lines.unzip();
            (lines, prices, shipped.then(|| method("standard")))
        })
    }

    proptest! {
        #[test]
        fn every_total_is_the_sum_of_its_parts((lines, prices, method) in any_cart(), with_tax in any::<bool>()) {
            let breakdown = price(&to_britain(&lines, method.as_ref()), &prices, &tax(with_tax), &shipping());
            let Breakdown { lines, shipping, taxes, total, .. } = breakdown.expect("all of it is on sale");
            let parts = lines.iter().map(|line| (line.tax_rate, line.net, line.tax, line.total));
            let shipping = shipping.iter().map(|charge| (charge.tax_rate, charge.net, charge.tax, charge.total));
            let mut by_rate = BTreeMap::<BasisPoints, (i64, i64)>::new();
            let mut sum = 0;
            for (rate, net, tax, total) in parts.chain(shipping) {
                prop_assert_eq!(net.checked_add(tax), Some(total));
                let share = by_rate.entry(rate).or_default();
                *share = (share.0 + net.amount_minor, share.1 + tax.amount_minor);
                sum += total.amount_minor;
            }
            prop_assert_eq!(total, pence(sum));
            let taxes = taxes.iter().map(|share| (share.rate, (share.net.amount_minor, share.tax.amount_minor)));
            prop_assert_eq!(taxes.collect::<BTreeMap<_, _>>(), by_rate);
        }

        #[test]
        fn the_order_of_the_lines_changes_nothing(
            ((lines, prices, method), shuffled) in any_cart()
                .prop_flat_map(|cart| (Just(cart.clone()), Just(cart.0).prop_shuffle())),
            with_tax in any::<bool>(),
        ) {
            let breakdown = |lines| price(&to_britain(lines, method.as_ref()), &prices, &tax(with_tax), &shipping());
            prop_assert_eq!(breakdown(&lines), breakdown(&shuffled));
        }

        #[test]
        fn no_tax_is_off_by_a_whole_penny((lines, prices, method) in any_cart(), with_tax in any::<bool>()) {
            let breakdown = price(&to_britain(&lines, method.as_ref()), &prices, &tax(with_tax), &shipping());
            let Breakdown { lines, shipping, taxes, .. } = breakdown.expect("all of it is on sale");
            // Pence x 10,000 by which the tax differs from rate x net; rounding tax out of a gross price moves net too.
            let off = |rate: BasisPoints, net: Money, tax: Money| {
                (tax.amount_minor * 10_000 - net.amount_minor * i64::from(rate.0)).abs()
            };
            let whole = |rate: BasisPoints| if with_tax { 10_000 + i64::from(rate.0) } else { 10_000 };
            for line in &lines {
                prop_assert!(off(line.tax_rate, line.net, line.tax) < whole(line.tax_rate));
            }
            if let Some(charge) = &shipping {
                prop_assert!(off(charge.tax_rate, charge.net, charge.tax) < whole(charge.tax_rate));
            }
            for share in &taxes {
                prop_assert!(2 * off(share.rate, share.net, share.tax) <= whole(share.rate));
            }
        }

        #[test]
        fn prices_with_tax_add_up_to_the_total((lines, prices, method) in any_cart()) {
            let breakdown = price(&to_britain(&lines, method.as_ref()), &prices, &tax(true), &shipping());
            let Breakdown { lines, shipping, total, .. } = breakdown.expect("all of it is on sale");
            let goods: i64 = lines.iter().map(|l| l.unit_price.amount_minor * l.quantity.units() as i64).sum();
            let shipping = match shipping {
                Some(_) if goods < 5_000 => 495,
                _ => 0,
            };
            prop_assert_eq!(total, pence(goods + shipping));
        }

        #[test]
        fn prices_without_tax_add_up_to_the_net((lines, prices, method) in any_cart()) {
            let breakdown = price(&to_britain(&lines, method.as_ref()), &prices, &tax(false), &shipping());
            for line in breakdown.expect("all of it is on sale").lines {
                prop_assert_eq!(Some(line.net), line.unit_price.checked_mul(line.quantity));
            }
        }
    }
}
