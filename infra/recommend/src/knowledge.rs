//! What is known at one moment, before anybody asks.

use crate::affinity::{self, Gram};
use crate::baskets::Baskets;
use crate::demand::Demand;
use crate::neighbours::Neighbours;
use crate::sparse::Sparse;
use crate::trade::Sale;
use crate::words::Words;
use serde::{Deserialize, Serialize};

/// How long directions are.
pub(crate) const DIRECTIONS: usize = 64;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Knowledge {
    pub demand: Demand,
    pub affinity: Sparse,
    pub baskets: Baskets,
    pub neighbours: Neighbours,
    pub words: Words,
    pub dimensions: usize,
    /// A row of `dimensions` for each item, of length 1 or 0.
    pub directions: Vec<f32>,
}

impl Knowledge {
    pub fn of(sales: &[Sale], words: Words, items: usize) -> Self {
        let gram = Gram::of(&affinity::rows(sales, affinity::HALF_LIFE_DAYS), items);
        Self {
            demand: Demand::of(sales, items),
            baskets: Baskets::of(sales, items),
            neighbours: Neighbours::of(sales, items),
            words,
            dimensions: DIRECTIONS,
            directions: gram.directions(items, DIRECTIONS),
            affinity: gram.into_affinity(items),
        }
    }

    pub fn direction(&self, item: u32) -> &[f32] {
        &self.directions[item as usize * self.dimensions..][..self.dimensions]
    }

    /// Whether each part is about `items` items, and names no other: so when it was stored by us.
    pub fn is_sound(&self, items: usize) -> bool {
        self.demand.is_sound(items)
            && self.affinity.is_sound(items, items)
            && self.baskets.with.is_sound(items, items)
            && self.baskets.evidence.len() == items
            && self.neighbours.is_sound(items)
            && self.words.is_sound(items)
            && self.dimensions > 0
            && self.directions.len() == items * self.dimensions
    }
}
