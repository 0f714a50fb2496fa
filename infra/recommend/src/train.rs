//! Training: what is known now, and, from what customers did last, how much each sign of it is worth.

use crate::blend::{Blend, Lessons, Outcome};
use crate::knowledge::Knowledge;
use crate::leaning::{FOR_LESSONS, Leaning, OF_HAD, OF_NEW, Past};
use crate::model::Model;
use crate::trade::{Sale, Trade};
use crate::words::Words;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How far lessons look ahead: each compares what was known at one moment with what was bought in the days after it.
const LESSON: TimeDelta = TimeDelta::days(30);
/// Lessons that are learnt from, the last ones.
const LESSONS: i32 = 2;
/// Customers of a lesson, evenly drawn if there are more.
const CUSTOMERS_MAX: usize = 2_500;
/// Of what was not bought, which is nearly all, one in so many teaches for all of them.
const STANDS_FOR: usize = 3;

/// What signs are worth: of an item that is new to the customer, and of one that they have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Blends {
    pub new: Blend,
    pub again: Blend,
}

impl Default for Blends {
    /// For a shop that has sold too little to learn from: what held for one with much trade, roughly.
    fn default() -> Self {
        let blend = |width: usize, bias: f32, weights: &[(usize, f32)]| {
            let mut all = vec![0.0; width];
            weights.iter().for_each(|&(at, weight)| all[at] = weight);
            Blend::new(bias, all)
        };
        Self {
            new: blend(OF_NEW, -3.0, &[(1, 0.5), (10, 1.0), (11, 0.5), (13, 0.5)]),
            again: blend(OF_HAD, -2.0, &[(1, 0.2), (OF_NEW + 4, 0.5), (OF_NEW + 7, 1.5), (OF_NEW + 9, -0.5)]),
        }
    }
}

impl Blends {
    pub fn is_sound(&self) -> bool {
        (self.new.width(), self.again.width()) == (OF_NEW, OF_HAD)
    }
}

impl Model {
    /// Learns from what was sold at `at` (business time) or before. `version` is the caller's, and comes back from
    /// [`Self::version`]. `tell` hears how much is done, from 0 to 1. Takes one processor, since there is trade beside it, and
    /// the memory of two square matrices of 3,000 items, if there are so many: 72 MB, and as much for what was bought.
    pub fn train(trade: &Trade, at: DateTime<Utc>, version: u64, tell: &dyn Fn(f64)) -> Self {
        let trade = &trade.in_order();
        let words = Words::of(&trade.products);
        let lessons = (1..=LESSONS).map(|lesson| {
            let drawn = Drawn::of(trade, &words, at - LESSON * lesson);
            tell(f64::from(lesson) / f64::from(LESSONS + 1));
            drawn
        });
        let blends = lessons.reduce(Drawn::with).map(Drawn::learn).unwrap_or_default();
        let knowledge = Knowledge::of(&trade.sales(at), words, trade.products.len());
        let skus = trade.products.iter().map(|product| product.sku.clone()).collect();
        let model = Self::of(version, at, skus, knowledge, blends);
        tell(1.0);
        model
    }
}

/// What one lesson has to teach.
struct Drawn {
    new: Lessons,
    again: Lessons,
}

impl Drawn {
    /// Compares what was known at `cut` with what was bought after it.
    fn of(trade: &Trade, words: &Words, cut: DateTime<Utc>) -> Self {
        let mut drawn = Self { new: Lessons::new(OF_NEW), again: Lessons::new(OF_HAD) };
        let sales = trade.sales(cut);
        if sales.is_empty() {
            return drawn;
        }
        let knowledge = Knowledge::of(&sales, words.clone(), trade.products.len());
        drawn.customers(&knowledge, &sales, trade, cut);
        drawn
    }

    fn customers(&mut self, knowledge: &Knowledge, sales: &[Sale], trade: &Trade, cut: DateTime<Utc>) {
        let mut bought = BTreeMap::<u32, BTreeSet<u32>>::new();
        for entry in trade.sold_between(cut, cut + LESSON) {
            if let Some(customer) = entry.customer {
                bought.entry(customer).or_default().extend(entry.lines.iter().map(|(item, _)| *item));
            }
        }
        let pasts = pasts(sales);
        let taught: Vec<_> =
            bought.iter().filter_map(|(customer, bought)| Some((pasts.get(customer)?, bought))).collect();
        let mut passed_over = 0;
        for (past, bought) in evenly(&taught, CUSTOMERS_MAX) {
            let Some(leaning) = Leaning::of(knowledge, past) else { continue };
            for item in leaning.candidates(FOR_LESSONS, &|_| true) {
                let is_bought = bought.contains(&item);
                passed_over += usize::from(!is_bought);
                if !is_bought && passed_over % STANDS_FOR > 0 {
                    continue;
                }
                let (value, weight) = if is_bought { (1.0, 1.0) } else { (0.0, STANDS_FOR as f32) };
                let lessons = if leaning.has(item) { &mut self.again } else { &mut self.new };
                lessons.add(&leaning.signs(item), Outcome { value, weight });
            }
        }
    }

    fn with(mut self, other: Self) -> Self {
        self.new.append(other.new);
        self.again.append(other.again);
        self
    }

    fn learn(self) -> Blends {
        let usual = Blends::default();
        Blends {
            new: Blend::learn(self.new).unwrap_or(usual.new),
            again: Blend::learn(self.again).unwrap_or(usual.again),
        }
    }
}

/// What each customer has kept.
fn pasts(sales: &[Sale]) -> BTreeMap<u32, Past> {
    let mut pasts = BTreeMap::<u32, Past>::new();
    for sale in sales {
        if let Some(customer) = sale.customer {
            let past = pasts.entry(customer).or_default();
            past.kept.extend(sale.items.iter().map(|item| (*item, sale.days_ago)));
            past.had.extend(&sale.items);
        }
    }
    pasts
}

/// At most `most` of them, at equal distances.
fn evenly<T>(all: &[T], most: usize) -> impl Iterator<Item = &T> {
    let drawn = all.len().min(most);
    (0..drawn).map(move |at| &all[at * all.len() / drawn])
}
