//! What anybody would try first.

use super::{LIST, Method, TOGETHER};
use crate::affinity::{self, Gram};
use crate::baskets::sums_of_pairs;
use crate::history::History;
use crate::sparse::{Sparse, largest};
use crate::trade::{Sale, Trade};
use chrono::{DateTime, Utc};
use kontor_domain::Sku;
use std::collections::{BTreeSet, HashMap};

/// Dimensions of the plain factorisation.
const FACTORS: usize = 64;
/// Others counted of an item.
const COUNTED: usize = 500;

/// Scores of all items for somebody who has these.
type Score = Box<dyn Fn(&BTreeSet<u32>) -> Vec<f32>>;

pub struct Baselines(Vec<Plain>);

struct Plain {
    name: &'static str,
    skus: std::sync::Arc<[Sku]>,
    item_of: std::sync::Arc<HashMap<Sku, u32>>,
    score: Score,
}

impl Baselines {
    /// Trained on what was known at `at`.
    pub fn of(trade: &Trade, at: DateTime<Utc>) -> Self {
        let (sales, items) = (trade.sales(at), trade.products.len());
        let skus: std::sync::Arc<[Sku]> = trade.products.iter().map(|product| product.sku.clone()).collect();
        let item_of = std::sync::Arc::new(skus.iter().cloned().zip(0..).collect::<HashMap<_, _>>());
        let methods: [(&str, Score); 4] = [
            ("popularity of 7 days", popularity(&sales, items, 7.0)),
            ("popularity of 14 days", popularity(&sales, items, 14.0)),
            ("plain factorisation", factorisation(&sales, items)),
            ("co-occurrence counts", co_occurrence(&sales, items)),
        ];
        let plain = |(name, score)| Plain { name, skus: skus.clone(), item_of: item_of.clone(), score };
        Self(methods.into_iter().map(plain).collect())
    }

    pub fn methods(&self) -> impl Iterator<Item = &dyn Method> {
        self.0.iter().map(|method| method as &dyn Method)
    }
}

impl Plain {
    fn list(&self, has: &BTreeSet<u32>, without: &BTreeSet<u32>, most: usize) -> Vec<Sku> {
        let scores = (self.score)(has);
        let scored = scores.into_iter().zip(0..).filter(|(score, item)| *score > 0.0 && !without.contains(item));
        let best = largest(scored.map(|(score, item)| (item, score)).collect(), most);
        best.into_iter().map(|(item, _)| self.skus[item as usize].clone()).collect()
    }
}

impl Method for Plain {
    fn name(&self) -> &'static str {
        self.name
    }

    fn for_customer(&self, history: &History, new: bool) -> Vec<Sku> {
        let had = history.bought().iter().filter_map(|bought| self.item_of.get(&bought.sku).copied()).collect();
        self.list(&had, if new { &had } else { const { &BTreeSet::new() } }, LIST)
    }

    fn with_item(&self, sku: &Sku) -> Vec<Sku> {
        let item = self.item_of.get(sku).copied().into_iter().collect();
        self.list(&item, &item, TOGETHER)
    }
}

/// Orders of the last days, whoever asks.
fn popularity(sales: &[Sale], items: usize, days: f64) -> Score {
    let mut orders = vec![0.0; items];
    let recent = sales.iter().filter(|sale| sale.days_ago <= days);
    recent.flat_map(|sale| &sale.items).for_each(|item| orders[*item as usize] += 1.0);
    Box::new(move |_| orders.clone())
}

/// The truncated singular value decomposition of who bought what, ever (PureSVD; Cremonesi, Koren and Turrin, RecSys 2010).
fn factorisation(sales: &[Sale], items: usize) -> Score {
    let gram = Gram::of(&affinity::rows(sales, f64::INFINITY), items);
    let factors = gram.factors(items, FACTORS);
    Box::new(move |has| {
        let row = |item: u32| &factors[item as usize * FACTORS..][..FACTORS];
        let mut sum = [0.0; FACTORS];
        has.iter().for_each(|item| sum.iter_mut().zip(row(*item)).for_each(|(sum, value)| *sum += value));
        (0..items as u32).map(|item| row(item).iter().zip(&sum).map(|(a, b)| a * b).sum()).collect()
    })
}

/// How many orders ever had it with something that they have.
fn co_occurrence(sales: &[Sale], items: usize) -> Score {
    let counts = Sparse::of(sums_of_pairs(sales, items, |_| 1.0).map(|(_, met)| largest(met, COUNTED)));
    Box::new(move |has| {
        let mut scores = vec![0.0; items];
        let met = has.iter().flat_map(|item| counts.row(*item));
        met.for_each(|(other, count)| scores[*other as usize] += count);
        scores
    })
}
