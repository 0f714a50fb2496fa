//! What was sold to whom when: all that a model is learnt from.

use crate::goods::is_goods;
use crate::history::History;
use chrono::{DateTime, Utc};
use kontor_domain::{CustomerId, Sku};
use std::collections::{BTreeMap, HashMap};

/// A product, as far as it is told from others by words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub sku: Sku,
    pub name: String,
    /// Ids of the categories that it is in, in any order.
    pub categories: Vec<String>,
}

/// Products, and what was sold and taken back of them, in the order of time. Names are short numbers in here.
#[derive(Debug, Clone, Default)]
pub struct Trade {
    pub(crate) products: Vec<Product>,
    item_of: HashMap<Sku, u32>,
    pub(crate) customers: Vec<CustomerId>,
    customer_of: HashMap<CustomerId, u32>,
    pub(crate) entries: Vec<Entry>,
}

/// One order or cancellation.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// `None`: a guest.
    pub customer: Option<u32>,
    pub at: DateTime<Utc>,
    pub taken_back: bool,
    /// Item and units, an item once.
    pub lines: Vec<(u32, u64)>,
}

impl Trade {
    /// What a product is called and where it stands; the last word counts. What is no goods is passed over.
    pub fn describe(&mut self, product: Product) {
        if is_goods(product.sku.as_str()) {
            let item = self.item(&product.sku);
            self.products[item as usize] = product;
        }
    }

    /// An order was placed at `at` (business time), which is none before the last entry.
    pub fn sell<'a>(
        &mut self,
        customer: Option<&CustomerId>,
        at: DateTime<Utc>,
        lines: impl IntoIterator<Item = (&'a Sku, u64)>,
    ) {
        self.enter(customer, at, false, lines);
    }

    /// Goods were taken back at `at`: a cancellation, or an order that was cancelled as a whole.
    pub fn take_back<'a>(
        &mut self,
        customer: Option<&CustomerId>,
        at: DateTime<Utc>,
        lines: impl IntoIterator<Item = (&'a Sku, u64)>,
    ) {
        self.enter(customer, at, true, lines);
    }

    /// What each customer had bought when it was `until`, that moment included.
    pub fn histories(&self, until: DateTime<Utc>) -> BTreeMap<CustomerId, History> {
        let mut histories = BTreeMap::<CustomerId, History>::new();
        for entry in self.entries.iter().take_while(|entry| entry.at <= until) {
            let Some(customer) = entry.customer else { continue };
            let history = histories.entry(self.customers[customer as usize].clone()).or_default();
            for &(item, units) in &entry.lines {
                let sku = &self.products[item as usize].sku;
                match entry.taken_back {
                    false => history.buy(entry.at, sku, units),
                    true => history.take_back(sku, units),
                }
            }
        }
        histories
    }

    /// When the last entry was made; `None`: there is none.
    pub fn last(&self) -> Option<DateTime<Utc>> {
        self.entries.last().map(|entry| entry.at)
    }

    fn enter<'a>(
        &mut self,
        customer: Option<&CustomerId>,
        at: DateTime<Utc>,
        taken_back: bool,
        lines: impl IntoIterator<Item = (&'a Sku, u64)>,
    ) {
        let mut units_of = BTreeMap::<u32, u64>::new();
        for (sku, units) in lines.into_iter().filter(|(sku, units)| is_goods(sku.as_str()) && *units > 0) {
            let sum = units_of.entry(self.item(sku)).or_default();
            *sum = sum.saturating_add(units);
        }
        if !units_of.is_empty() {
            let customer = customer.map(|customer| self.customer(customer));
            self.entries.push(Entry { customer, at, taken_back, lines: units_of.into_iter().collect() });
        }
    }

    fn item(&mut self, sku: &Sku) -> u32 {
        *self.item_of.entry(sku.clone()).or_insert_with(|| {
            self.products.push(Product { sku: sku.clone(), name: String::new(), categories: Vec::new() });
            (self.products.len() - 1) as u32
        })
    }

    fn customer(&mut self, id: &CustomerId) -> u32 {
        *self.customer_of.entry(id.clone()).or_insert_with(|| {
            self.customers.push(id.clone());
            (self.customers.len() - 1) as u32
        })
    }
}
