//! What is recommended: learnt from [`Trade`], asked by the shop.

use crate::history::History;
use crate::trade::{Product, Trade};
use chrono::{DateTime, Utc};
use kontor_domain::Sku;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What was learnt, as of one moment. Answers are the same on every machine, list no SKU twice, and no SKU that was neither
/// described nor sold.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(crate) version: u64,
    pub(crate) trained_at: DateTime<Utc>,
    pub(crate) skus: Vec<Sku>,
    pub(crate) item_of: HashMap<Sku, u32>,
    /// How much was sold of each lately.
    pub(crate) demand: Vec<f32>,
    pub(crate) dimensions: usize,
    /// A row of `dimensions` for each SKU.
    pub(crate) vectors: Vec<f32>,
}

/// One SKU of a ranked list. Scores fall along a list and are comparable within it only.
#[derive(Debug, Clone, PartialEq)]
pub struct Recommended {
    pub sku: Sku,
    pub score: f32,
}

/// How many are wanted, and which may be shown: what is on sale in the channel, say.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    pub most: usize,
    pub allowed: &'a dyn Fn(&Sku) -> bool,
}

impl Choice<'static> {
    /// The best `most`, whichever they are.
    pub fn any(most: usize) -> Self {
        Choice { most, allowed: &|_| true }
    }
}

impl Model {
    /// Learns from what was sold at `at` (business time) or before. `version` is the caller's, and comes back from
    /// [`Self::version`]. `tell` hears how much is done, from 0 to 1.
    pub fn train(trade: &Trade, at: DateTime<Utc>, version: u64, tell: &dyn Fn(f64)) -> Self {
        let skus: Vec<_> = trade.products.iter().map(|product| product.sku.clone()).collect();
        let mut demand = vec![0.0; skus.len()];
        for entry in trade.entries.iter().filter(|entry| entry.at <= at && !entry.taken_back) {
            let age_days = (at - entry.at).num_seconds() as f32 / 86_400.0;
            for &(item, _) in &entry.lines {
                demand[item as usize] += (-age_days / 14.0).exp2();
            }
        }
        tell(1.0);
        let item_of = (0..).zip(&skus).map(|(item, sku)| (sku.clone(), item)).collect();
        let vectors = demand.clone();
        Self { version, trained_at: at, skus, item_of, demand, dimensions: 1, vectors }
    }

    /// What [`Self::train`] was told.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The moment up to which it has learnt, business time.
    pub fn trained_at(&self) -> DateTime<Utc> {
        self.trained_at
    }

    /// How long each vector is.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The vector of each SKU, of length 1 (cosine and dot product are one), or all 0 where nothing at all is known.
    pub fn vectors(&self) -> impl Iterator<Item = (&Sku, &[f32])> {
        self.skus.iter().zip(self.vectors.chunks_exact(self.dimensions))
    }

    /// The vector of a SKU, to search a vector store for what is similar.
    pub fn vector(&self, sku: &Sku) -> Option<&[f32]> {
        let item = *self.item_of.get(sku)? as usize;
        Some(&self.vectors[item * self.dimensions..][..self.dimensions])
    }

    /// The vector of a product that came after the training, from its words and categories alone.
    pub fn vector_of_new(&self, product: &Product) -> Vec<f32> {
        self.vector(&product.sku).map_or_else(|| vec![0.0; self.dimensions], <[f32]>::to_vec)
    }

    /// What is like this SKU. Empty for one that is not known: [`Self::similar_to_new`].
    pub fn similar(&self, sku: &Sku, choice: Choice<'_>) -> Vec<Recommended> {
        self.best(choice, |other| (self.skus[other] != *sku).then_some(self.demand[other]))
    }

    /// What is like a product that came after the training.
    pub fn similar_to_new(&self, product: &Product, choice: Choice<'_>) -> Vec<Recommended> {
        self.similar(&product.sku, choice)
    }

    /// What is bought with these, a cart say, in one order.
    pub fn together(&self, skus: &[Sku], choice: Choice<'_>) -> Vec<Recommended> {
        self.best(choice, |other| (!skus.contains(&self.skus[other])).then_some(self.demand[other]))
    }

    /// What the customer has never bought and may want now. Without a history: what is trending.
    pub fn for_you(&self, history: &History, _now: DateTime<Utc>, choice: Choice<'_>) -> Vec<Recommended> {
        let had: HashSet<_> = history.bought().iter().map(|bought| &bought.sku).collect();
        self.best(choice, |other| (!had.contains(&self.skus[other])).then_some(self.demand[other]))
    }

    /// What the customer has bought and may want again now.
    pub fn buy_again(&self, history: &History, _now: DateTime<Utc>, choice: Choice<'_>) -> Vec<Recommended> {
        let mut times = BTreeMap::<u32, f32>::new();
        for bought in history.bought().iter().filter(|bought| bought.units > 0) {
            if let Some(&item) = self.item_of.get(&bought.sku) {
                *times.entry(item).or_default() += 1.0;
            }
        }
        self.best(choice, |other| times.get(&(other as u32)).copied())
    }

    /// What the customer may buy next, be it new or again.
    pub fn next_order(&self, history: &History, now: DateTime<Utc>, choice: Choice<'_>) -> Vec<Recommended> {
        let _ = (history, now);
        self.trending(choice)
    }

    /// What sells most of late.
    pub fn trending(&self, choice: Choice<'_>) -> Vec<Recommended> {
        self.best(choice, |other| Some(self.demand[other]))
    }

    /// The best of those that have a score; among equals those with the lower SKU.
    fn best(&self, choice: Choice<'_>, score: impl Fn(usize) -> Option<f32>) -> Vec<Recommended> {
        let mut scored: Vec<_> = (0..self.skus.len())
            .filter_map(|item| Some((item, score(item)?)))
            .filter(|(_, score)| *score > 0.0)
            .collect();
        scored.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| self.skus[*a].cmp(&self.skus[*b])));
        let allowed = scored.into_iter().filter(|(item, _)| (choice.allowed)(&self.skus[*item]));
        allowed.take(choice.most).map(|(item, score)| Recommended { sku: self.skus[item].clone(), score }).collect()
    }
}
