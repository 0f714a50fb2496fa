//! What a cart costs: one pure function of its lines, the prices, the tax and the shipping rules.

use crate::{Currency, Money, Quantity, ShippingMethodId, Sku};
use serde::{Deserialize, Serialize};

/// A rate in hundredths of a per cent: 2,000 is 20 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BasisPoints(pub u32);

/// What is to be paid and why. Each `total` is the sum of what is above it, to the penny.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
pub struct ShippingCharge {
    pub method: ShippingMethodId,
    pub tax_rate: BasisPoints,
    pub net: Money,
    pub tax: Money,
    pub total: Money,
}

/// All that is taxed at one rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaxShare {
    pub rate: BasisPoints,
    pub net: Money,
    pub tax: Money,
}
