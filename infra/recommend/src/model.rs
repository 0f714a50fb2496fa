//! What is recommended: learnt from [`Trade`](crate::Trade), asked by the shop.

use crate::history::History;
use crate::knowledge::Knowledge;
use crate::leaning::{FOR_ANSWERS, Leaning, Past};
use crate::pair::likely_with;
use crate::sparse::largest;
use crate::trade::{Product, days};
use crate::train::Blends;
use crate::vectors::{self, DIMENSIONS};
use chrono::{DateTime, Utc};
use kontor_domain::Sku;
use std::collections::{BTreeMap, HashMap};

/// What was learnt, as of one moment. The same trade makes the same model, and the same question gets the same answer.
/// Answers name no SKU twice, and none that was neither described nor sold.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(crate) version: u64,
    pub(crate) trained_at: DateTime<Utc>,
    pub(crate) skus: Vec<Sku>,
    pub(crate) knowledge: Knowledge,
    pub(crate) blends: Blends,
    item_of: HashMap<Sku, u32>,
    /// A row of [`DIMENSIONS`] for each SKU.
    vectors: Vec<f32>,
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
    pub(crate) fn of(
        version: u64,
        trained_at: DateTime<Utc>,
        skus: Vec<Sku>,
        knowledge: Knowledge,
        blends: Blends,
    ) -> Self {
        let item_of = skus.iter().cloned().zip(0..).collect();
        let vectors = vectors::of_items(&knowledge);
        Self { version, trained_at, skus, knowledge, blends, item_of, vectors }
    }

    /// What training was told.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The moment up to which it has learnt, business time.
    pub fn trained_at(&self) -> DateTime<Utc> {
        self.trained_at
    }

    /// How long each vector is.
    pub fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    /// The vector of each SKU, of length 1 (so cosine and dot product are one), or 0 where nothing at all is known. Those
    /// of models of two versions have nothing to do with each other.
    pub fn vectors(&self) -> impl Iterator<Item = (&Sku, &[f32])> {
        self.skus.iter().zip(self.vectors.chunks_exact(DIMENSIONS))
    }

    /// The vector of a SKU, to search a vector store for what is similar.
    pub fn vector(&self, sku: &Sku) -> Option<&[f32]> {
        Some(self.vector_of(*self.item_of.get(sku)?))
    }

    /// The vector of a product that came after the training, from its words and categories alone.
    pub fn vector_of_new(&self, product: &Product) -> Vec<f32> {
        vectors::of_words(&self.knowledge.words.weighed(product))
    }

    /// Where a customer's taste points among the vectors; `None`: nothing that they have is known.
    pub fn taste(&self, history: &History, now: DateTime<Utc>) -> Option<Vec<f32>> {
        let mut taste = vec![0.0; DIMENSIONS];
        for (item, days_ago) in self.past(history, now).kept {
            let weight = crate::demand::decay(days_ago, crate::affinity::HALF_LIFE_DAYS);
            taste.iter_mut().zip(self.vector_of(item)).for_each(|(sum, value)| *sum += weight * value);
        }
        crate::affinity::scale_to_unit(&mut taste);
        taste.iter().any(|value| *value != 0.0).then_some(taste)
    }

    /// What is like this SKU. Empty for one that is not known: [`Self::similar_to_new`].
    pub fn similar(&self, sku: &Sku, choice: Choice<'_>) -> Vec<Recommended> {
        self.vector(sku).map_or_else(Vec::new, |vector| self.near(vector, sku, choice))
    }

    /// What is like a product that came after the training.
    pub fn similar_to_new(&self, product: &Product, choice: Choice<'_>) -> Vec<Recommended> {
        self.near(&self.vector_of_new(product), &product.sku, choice)
    }

    /// What is bought with these, a cart say, in one order. With none that is known: what is trending.
    pub fn together(&self, skus: &[Sku], choice: Choice<'_>) -> Vec<Recommended> {
        let items: Vec<_> = skus.iter().filter_map(|sku| self.item_of.get(sku).copied()).collect();
        let allowed = |item: u32| !items.contains(&item) && (choice.allowed)(&self.skus[item as usize]);
        if items.is_empty() {
            return self.trending(choice);
        }
        // How likely it is that nothing of the cart brings it.
        let mut unlikely = BTreeMap::<u32, f32>::new();
        for &item in &items {
            for (other, likely) in likely_with(&self.knowledge, item, &allowed) {
                *unlikely.entry(other).or_insert(1.0) *= 1.0 - likely.min(1.0);
            }
        }
        self.ranked(unlikely.into_iter().map(|(item, unlikely)| (item, 1.0 - unlikely)).collect(), choice.most)
    }

    /// Whether `other` was in an order with any of these. If not, [`Self::together`] has it for what it is called or how it sells.
    pub fn were_together(&self, skus: &[Sku], other: &Sku) -> bool {
        let Some(&other) = self.item_of.get(other) else { return false };
        let items = skus.iter().filter_map(|sku| self.item_of.get(sku));
        items.flat_map(|item| self.knowledge.baskets.with.row(*item)).any(|(with, _)| *with == other)
    }

    /// What the customer has never bought and may want now. Without a history: what is trending.
    pub fn for_you(&self, history: &History, now: DateTime<Utc>, choice: Choice<'_>) -> Vec<Recommended> {
        let past = self.past(history, now);
        let is_new = |sku: &Sku| !self.item_of.get(sku).is_some_and(|item| past.had.contains(item));
        let choice = Choice { most: choice.most, allowed: &|sku| is_new(sku) && (choice.allowed)(sku) };
        self.likely(&past, choice)
    }

    /// What the customer has bought and may want again now.
    pub fn buy_again(&self, history: &History, now: DateTime<Utc>, choice: Choice<'_>) -> Vec<Recommended> {
        let past = self.past(history, now);
        let Some(leaning) = Leaning::of(&self.knowledge, &past) else { return Vec::new() };
        let own: std::collections::BTreeSet<_> = past.kept.iter().map(|(item, _)| *item).collect();
        let allowed = own.into_iter().filter(|item| (choice.allowed)(&self.skus[*item as usize]));
        self.ranked(allowed.map(|item| (item, self.blends.again.score(&leaning.signs(item)))).collect(), choice.most)
    }

    /// What the customer may buy next, be it new to them or not. Without a history: what is trending.
    pub fn next_order(&self, history: &History, now: DateTime<Utc>, choice: Choice<'_>) -> Vec<Recommended> {
        self.likely(&self.past(history, now), choice)
    }

    /// What sells most of late.
    pub fn trending(&self, choice: Choice<'_>) -> Vec<Recommended> {
        let demand = &self.knowledge.demand;
        let allowed = demand.by_demand().iter().filter(|item| (choice.allowed)(&self.skus[**item as usize]));
        let scored = allowed.take(choice.most).map(|&item| (item, demand.of_week(item)));
        self.ranked(scored.collect(), choice.most)
    }

    fn likely(&self, past: &Past, choice: Choice<'_>) -> Vec<Recommended> {
        let Some(leaning) = Leaning::of(&self.knowledge, past) else { return self.trending(choice) };
        let candidates = leaning.candidates(FOR_ANSWERS, &|item| (choice.allowed)(&self.skus[item as usize]));
        let scored = candidates.into_iter().map(|item| {
            let blend = if leaning.has(item) { &self.blends.again } else { &self.blends.new };
            (item, blend.score(&leaning.signs(item)))
        });
        self.ranked(scored.collect(), choice.most)
    }

    fn near(&self, vector: &[f32], to: &Sku, choice: Choice<'_>) -> Vec<Recommended> {
        let others = (0..).zip(&self.skus).filter(|(_, sku)| *sku != to && (choice.allowed)(sku));
        let scored = others.map(|(item, _)| {
            let cosine = self.vector_of(item).iter().zip(vector).map(|(a, b)| a * b).sum::<f32>();
            (item, cosine)
        });
        self.ranked(scored.filter(|(_, cosine)| *cosine > 0.0).collect(), choice.most)
    }

    fn vector_of(&self, item: u32) -> &[f32] {
        &self.vectors[item as usize * DIMENSIONS..][..DIMENSIONS]
    }

    fn past(&self, history: &History, now: DateTime<Utc>) -> Past {
        let mut past = Past::default();
        for bought in history.bought() {
            let Some(&item) = self.item_of.get(&bought.sku) else { continue };
            past.had.insert(item);
            if bought.units > 0 {
                past.kept.push((item, days(now - bought.at).max(0.0)));
            }
        }
        past
    }

    fn ranked(&self, scored: Vec<(u32, f32)>, most: usize) -> Vec<Recommended> {
        let recommended = |(item, score)| Recommended { sku: self.skus[item as usize].clone(), score };
        largest(scored, most).into_iter().map(recommended).collect()
    }
}
