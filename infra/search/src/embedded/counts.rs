//! Counts of what the filters of a query could be.

use super::columns::{CATEGORIES, Columns, FacetId, FacetNames, NO_PRICE};
use super::filters::CountsFor;
use crate::answer::{Attribute, Band, Facets, Value};
use crate::query::{FACET_ATTRIBUTES_MAX, FACET_VALUES_MAX, Query};
use std::collections::BTreeMap;
use tantivy::DocId;

pub struct Counts<'a> {
    names: &'a FacetNames,
    /// By facet.
    facets: Vec<u32>,
    /// Where a band ends and the next begins.
    edges: &'a [i64],
    bands: Vec<usize>,
    in_stock: usize,
    out_of_stock: usize,
}

impl<'a> Counts<'a> {
    pub fn of(query: &'a Query, names: &'a FacetNames) -> Self {
        let bands = match query.currency.is_some() && !query.price_bands.is_empty() {
            true => vec![0; query.price_bands.len() + 1],
            false => Vec::new(),
        };
        Counts { names, facets: vec![0; names.len()], edges: &query.price_bands, bands, in_stock: 0, out_of_stock: 0 }
    }

    pub fn count(&mut self, counts_for: CountsFor, columns: &Columns, prices: Option<&[i64]>, document: DocId) {
        match counts_for {
            CountsFor::Nothing => {}
            CountsFor::All => {
                for &facet in columns.facets.of(document) {
                    self.facets[facet as usize] += 1;
                }
                self.count_price(prices, document);
                self.count_stock(columns, document);
            }
            CountsFor::Group(group) => {
                for &facet in columns.facets.of(document) {
                    self.facets[facet as usize] += u32::from(self.names.get(facet).group == group);
                }
            }
            CountsFor::Prices => self.count_price(prices, document),
            CountsFor::Stock => self.count_stock(columns, document),
        }
    }

    fn count_price(&mut self, prices: Option<&[i64]>, document: DocId) {
        let price = prices.map_or(NO_PRICE, |prices| prices[document as usize]);
        if price != NO_PRICE && !self.bands.is_empty() {
            self.bands[self.edges.partition_point(|&edge| edge <= price)] += 1;
        }
    }

    fn count_stock(&mut self, columns: &Columns, document: DocId) {
        match columns.flags[document as usize].is_in_stock {
            true => self.in_stock += 1,
            false => self.out_of_stock += 1,
        }
    }

    pub fn facets(self) -> Facets {
        let mut groups: BTreeMap<u16, Vec<(u32, FacetId)>> = BTreeMap::new();
        for (id, &count) in (0..).zip(&self.facets).filter(|(_, count)| **count > 0) {
            groups.entry(self.names.get(id).group).or_default().push((count, id));
        }
        let categories = groups.remove(&CATEGORIES).map(|values| self.top(values)).unwrap_or_default();
        let mut attributes: Vec<_> = groups
            .into_iter()
            .filter_map(|(group, values)| {
                let documents: u32 = values.iter().map(|(count, _)| count).sum();
                Some((documents, self.names.attribute(group)?, values))
            })
            .collect();
        attributes.sort_unstable_by(|(a, left, _), (b, right, _)| b.cmp(a).then_with(|| left.cmp(right)));
        attributes.truncate(FACET_ATTRIBUTES_MAX);
        let attribute = |(_, name, values): (_, &str, _)| Attribute { name: name.to_owned(), values: self.top(values) };
        let from = std::iter::once(0).chain(self.edges.iter().copied());
        let to = self.edges.iter().map(|&edge| Some(edge)).chain([None]);
        let band = |((from, to), &count): (_, &usize)| Band { from, to, count };
        Facets {
            categories,
            attributes: attributes.into_iter().map(attribute).collect(),
            prices: from.zip(to).zip(&self.bands).map(band).collect(),
            in_stock: self.in_stock,
            out_of_stock: self.out_of_stock,
        }
    }

    /// The most frequent.
    fn top(&self, mut values: Vec<(u32, FacetId)>) -> Vec<Value> {
        let order = |(a, left): &(u32, FacetId), (b, right): &(u32, FacetId)| {
            b.cmp(a).then_with(|| self.names.get(*left).value.cmp(&self.names.get(*right).value))
        };
        if values.len() > FACET_VALUES_MAX {
            values.select_nth_unstable_by(FACET_VALUES_MAX, order);
            values.truncate(FACET_VALUES_MAX);
        }
        values.sort_unstable_by(order);
        let value = |(count, id)| {
            let name = self.names.get(id);
            Value { value: name.value.to_string(), label: name.label.clone(), count: count as usize }
        };
        values.into_iter().map(value).collect()
    }
}
