//! Which documents the filters of a query let through, and what they would let through without one of them.

use super::columns::{CATEGORIES, Columns, FacetId, FacetNames, NO_PRICE};
use super::schema::currency_number;
use crate::query::Query;
use tantivy::DocId;

/// One bit a filter that does not let a document through.
pub type Failed = u32;
/// Of attributes, from this bit on.
const CATEGORY: Failed = 1;
const PRICE: Failed = 1 << 1;
const STOCK: Failed = 1 << 2;
const FIRST_ATTRIBUTE: u32 = 3;
/// Filters of one query at most; those of further attributes let nothing through.
const ATTRIBUTES_MAX: usize = 28;

pub struct Filters {
    hidden: bool,
    categories: Option<Vec<FacetId>>,
    /// With the group of each, if there is one.
    attributes: Vec<(Option<u16>, Vec<FacetId>)>,
    currency: Option<u16>,
    price: Option<(i64, i64)>,
    in_stock: bool,
}

impl Filters {
    pub fn of(query: &Query, names: &FacetNames) -> Self {
        let attribute = |(name, values): (&String, &Vec<String>)| {
            let group = names.group(name);
            (group, group.map(|group| names.find(group, values)).unwrap_or_default())
        };
        let is_priced = query.price_min.is_some() || query.price_max.is_some();
        Filters {
            hidden: query.hidden,
            categories: (!query.categories.is_empty()).then(|| names.find(CATEGORIES, &query.categories)),
            attributes: query.attributes.iter().map(attribute).collect(),
            currency: query.currency.as_deref().and_then(currency_number),
            price: is_priced.then(|| (query.price_min.unwrap_or(0), query.price_max.unwrap_or(i64::MAX))),
            in_stock: query.in_stock,
        }
    }

    /// In which currency prices are meant.
    pub fn prices<'a>(&self, columns: &'a Columns) -> Option<&'a [i64]> {
        columns.prices_in(self.currency?)
    }

    /// `None`: it is not to be seen at all.
    pub fn failed(&self, columns: &Columns, prices: Option<&[i64]>, document: DocId) -> Option<Failed> {
        let flags = columns.flags[document as usize];
        if !flags.is_public && (!self.hidden || columns.titles.of(document).is_empty()) {
            return None;
        }
        let mut failed = 0;
        if self.in_stock && !flags.is_in_stock {
            failed |= STOCK;
        }
        if let Some((min, max)) = self.price {
            let price = prices.map_or(NO_PRICE, |prices| prices[document as usize]);
            if price == NO_PRICE || price < min || price > max {
                failed |= PRICE;
            }
        }
        if self.categories.is_none() && self.attributes.is_empty() {
            return Some(failed);
        }
        let facets = columns.facets.of(document);
        let has_any = |wanted: &[FacetId]| facets.iter().any(|facet| wanted.contains(facet));
        if self.categories.as_ref().is_some_and(|wanted| !has_any(wanted)) {
            failed |= CATEGORY;
        }
        for (at, (_, wanted)) in self.attributes.iter().enumerate() {
            if !has_any(wanted) {
                failed |= 1 << (FIRST_ATTRIBUTE + at.min(ATTRIBUTES_MAX) as u32);
            }
        }
        Some(failed)
    }

    /// What a document counts for that only one filter does not let through.
    pub fn counts_for(&self, failed: Failed) -> CountsFor {
        match failed {
            0 => CountsFor::All,
            CATEGORY => CountsFor::Group(CATEGORIES),
            PRICE => CountsFor::Prices,
            STOCK => CountsFor::Stock,
            _ if failed.is_power_of_two() => {
                let attribute = self.attributes.get((failed.trailing_zeros() - FIRST_ATTRIBUTE) as usize);
                attribute.and_then(|(group, _)| *group).map_or(CountsFor::Nothing, CountsFor::Group)
            }
            _ => CountsFor::Nothing,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountsFor {
    All,
    /// Of facets.
    Group(u16),
    Prices,
    Stock,
    Nothing,
}
