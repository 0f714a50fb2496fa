//! The lines of an order: what was bought at which price, and parts of them, as they are shipped and returned.

use super::OrderError;
use crate::{Money, Quantity, Sku};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most lines that one order or cancellation may have.
pub const LINES_MAX: usize = 2_000;

/// One line of an order or a cancellation: `quantity` units at `unit_price` each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub sku: Sku,
    pub quantity: Quantity,
    pub unit_price: Money,
}

/// Units picked from the lines of an order: line, counted from 1, to quantity.
pub type Picked = BTreeMap<u32, Quantity>;

/// `quantity` units of the order's line `line`, which counts from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LinePart {
    pub line: u32,
    pub sku: Sku,
    pub quantity: Quantity,
}

/// Why the lines of an order or a cancellation were refused. `line` counts from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinesError {
    #[error("there must be 1 to {LINES_MAX} lines, there are {lines}")]
    Count { lines: usize },
    #[error("line {line}: the quantity must be at least 1")]
    Quantity { line: usize },
    #[error("line {line}: the unit price must not be below 0, is {unit_price}")]
    Price { line: usize, unit_price: Money },
    #[error("line {line}: all prices must be in {expected}, this one is in {found}")]
    Currency { line: usize, expected: crate::Currency, found: crate::Currency },
    #[error("line {line}: quantities or amounts add up to more than can be booked")]
    TooLarge { line: usize },
}

/// The sum of quantity x unit price. Refuses lines that cannot be booked.
pub fn total(lines: &[Line]) -> Result<Money, LinesError> {
    let (1..=LINES_MAX, Some(first)) = (lines.len(), lines.first()) else {
        return Err(LinesError::Count { lines: lines.len() });
    };
    let currency = first.unit_price.currency;
    let mut total = Money::zero(currency);
    for (line, Line { quantity, unit_price, .. }) in (1..).zip(lines) {
        if quantity.is_zero() {
            return Err(LinesError::Quantity { line });
        }
        if unit_price.amount_minor < 0 {
            return Err(LinesError::Price { line, unit_price: *unit_price });
        }
        if unit_price.currency != currency {
            return Err(LinesError::Currency { line, expected: currency, found: unit_price.currency });
        }
        total = unit_price
            .checked_mul(*quantity)
            .and_then(|amount| total.checked_add(amount))
            .ok_or(LinesError::TooLarge { line })?;
    }
    Ok(total)
}

/// Units wanted of each SKU, summed over the lines, in the order of the SKUs.
pub fn demand(lines: &[Line]) -> Result<BTreeMap<Sku, Quantity>, LinesError> {
    let mut demand = BTreeMap::<Sku, Quantity>::new();
    for (line, Line { sku, quantity, .. }) in (1..).zip(lines) {
        let wanted = demand.entry(sku.clone()).or_default();
        *wanted = wanted.checked_add(*quantity).ok_or(LinesError::TooLarge { line })?;
    }
    Ok(demand)
}

/// What was `picked`, with the SKUs. Refuses what the order does not have, and nothing at all.
pub(super) fn parts(lines: &[Line], picked: &Picked) -> Result<Vec<LinePart>, OrderError> {
    if picked.is_empty() {
        return Err(OrderError::NothingPicked);
    }
    let part = |(&line, &quantity): (&u32, &Quantity)| {
        let there = (line as usize).checked_sub(1).and_then(|index| lines.get(index));
        let sku = there.ok_or(OrderError::UnknownLine { line, lines: lines.len() })?.sku.clone();
        if quantity.is_zero() {
            return Err(LinesError::Quantity { line: line as usize }.into());
        }
        Ok(LinePart { line, sku, quantity })
    };
    picked.iter().map(part).collect()
}

/// Units of each SKU, summed over the parts.
pub fn goods(parts: &[LinePart]) -> BTreeMap<Sku, Quantity> {
    let mut goods = BTreeMap::<Sku, Quantity>::new();
    for LinePart { sku, quantity, .. } in parts {
        let units = goods.entry(sku.clone()).or_default();
        *units = plus(*units, *quantity);
    }
    goods
}

/// The sum of what is part of one order.
pub(super) fn plus(a: Quantity, b: Quantity) -> Quantity {
    a.checked_add(b).expect("the units of an order were added up when it was placed")
}
