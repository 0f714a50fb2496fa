//! What was sold to whom when: all that a model is learnt from.

use crate::goods::is_goods;
use crate::history::History;
use chrono::{DateTime, TimeDelta, Utc};
use kontor_domain::{CustomerId, Sku};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A product, as far as it is told from others by words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub sku: Sku,
    pub name: String,
    /// Ids of the categories that it is in, in any order.
    pub categories: Vec<String>,
}

/// Products, and what was sold and taken back of them. Names are short numbers in here.
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
    /// Item and units, an item once, in the order of the items.
    pub lines: Vec<(u32, u64)>,
}

impl Entry {
    fn key(&self) -> impl Ord + '_ {
        (self.at, self.taken_back, self.customer, &self.lines)
    }
}

/// What was kept of one order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sale {
    pub customer: Option<u32>,
    pub days_ago: f64,
    /// Each once.
    pub items: Vec<u32>,
}

/// A length of time in days.
pub(crate) fn days(time: TimeDelta) -> f64 {
    time.as_seconds_f64() / 86_400.0
}

impl Trade {
    /// What a product is called and where it stands; the last word counts. What is no goods is passed over.
    pub fn describe(&mut self, product: Product) {
        if is_goods(product.sku.as_str()) {
            let item = self.item(&product.sku);
            self.products[item as usize] = product;
        }
    }

    /// An order was placed at `at` (business time). Entries may come in any order; those of one moment stay in theirs.
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
        for entry in self.until(until) {
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

    /// What was sold, taken back or not, after `from` and not after `until`.
    pub(crate) fn sold_between(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = &Entry> {
        let sold = self.until(until).iter().filter(|entry| !entry.taken_back);
        sold.skip_while(move |entry| entry.at <= from)
    }

    /// The orders of which something was kept, as it was known at `until`: what is taken back is taken from the latest
    /// orders of the customer. A guest's cancellation finds no order, and changes none.
    pub(crate) fn sales(&self, until: DateTime<Utc>) -> Vec<Sale> {
        let mut sales = Vec::<Sale>::new();
        // Customer and item to sale and units, of what will be taken back: most never is.
        let mut kept = HashMap::<(u32, u32), Vec<(usize, u64)>>::new();
        for entry in self.until(until).iter().filter(|entry| entry.taken_back) {
            let Some(customer) = entry.customer else { continue };
            kept.extend(entry.lines.iter().map(|(item, _)| ((customer, *item), Vec::new())));
        }
        for entry in self.until(until) {
            match (entry.taken_back, entry.customer) {
                (false, customer) => {
                    for &(item, units) in &entry.lines {
                        if let Some(kept) = customer.and_then(|customer| kept.get_mut(&(customer, item))) {
                            kept.push((sales.len(), units));
                        }
                    }
                    let items = entry.lines.iter().map(|(item, _)| *item).collect();
                    sales.push(Sale { customer, days_ago: days(until - entry.at), items });
                }
                (true, Some(customer)) => {
                    for &(item, mut units) in &entry.lines {
                        let Some(held) = kept.get_mut(&(customer, item)) else { continue };
                        while let Some((sale, of_sale)) = held.last_mut().filter(|_| units > 0) {
                            let taken = units.min(*of_sale);
                            units -= taken;
                            *of_sale -= taken;
                            if *of_sale == 0 {
                                sales[*sale].items.retain(|other| *other != item);
                                held.pop();
                            }
                        }
                    }
                }
                (true, None) => {}
            }
        }
        sales.retain(|sale| !sale.items.is_empty());
        sales
    }

    fn until(&self, until: DateTime<Utc>) -> &[Entry] {
        &self.entries[..self.entries.partition_point(|entry| entry.at <= until)]
    }

    /// As it was known at `until`: without later entries, and without products that were not sold yet, whose names nobody who
    /// looks back can have known.
    pub fn known(&self, until: DateTime<Utc>) -> Trade {
        let mut known = Trade::default();
        let sold: HashSet<_> = self.sold(until).into_iter().collect();
        self.products
            .iter()
            .filter(|product| sold.contains(&product.sku))
            .cloned()
            .for_each(|product| known.describe(product));
        for entry in self.until(until) {
            let lines = entry.lines.iter().map(|(item, units)| (&self.products[*item as usize].sku, *units));
            known.enter(
                entry.customer.map(|customer| &self.customers[customer as usize]),
                entry.at,
                entry.taken_back,
                lines,
            );
        }
        known
    }

    /// The same, numbered by SKU and by customer and with entries of one moment in an order of their own, so that what is
    /// learnt does not depend on the order in which it was told.
    pub(crate) fn in_order(&self) -> Trade {
        let mut trade = Trade::default();
        let mut products: Vec<_> = self.products.iter().collect();
        products.sort_unstable_by(|a, b| a.sku.cmp(&b.sku));
        products.into_iter().cloned().for_each(|product| trade.describe(product));
        let mut customers: Vec<_> = self.customers.iter().collect();
        customers.sort_unstable();
        for id in customers {
            trade.customer(id);
        }
        trade.entries = self.entries.clone();
        for entry in &mut trade.entries {
            entry.customer = entry.customer.map(|customer| trade.customer_of[&self.customers[customer as usize]]);
            entry.lines.iter_mut().for_each(|(item, _)| *item = trade.item_of[&self.products[*item as usize].sku]);
            entry.lines.sort_unstable();
        }
        // What was bought and taken back in the same moment was bought first.
        trade.entries.sort_by(|a, b| a.key().cmp(&b.key()));
        trade
    }

    /// The SKUs that were ever sold at `until` or before, also if all of it was taken back; each once.
    pub fn sold(&self, until: DateTime<Utc>) -> Vec<&Sku> {
        let sold = self.sold_between(DateTime::<Utc>::MIN_UTC, until).flat_map(|entry| &entry.lines);
        let sold: BTreeSet<_> = sold.map(|(item, _)| &self.products[*item as usize].sku).collect();
        sold.into_iter().collect()
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
            let entry = Entry { customer, at, taken_back, lines: units_of.into_iter().collect() };
            let place = self.entries.partition_point(|other| other.at <= at); // Mostly the last.
            self.entries.insert(place, entry);
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
