//! Which items are bought in one order.

use crate::demand::decay;
use crate::sparse::{Sparse, largest};
use crate::trade::Sale;
use serde::{Deserialize, Serialize};

/// Days in which the weight of an order halves.
const HALF_LIFE_DAYS: f64 = 120.0;
/// An order of more items than this restocks a shop: its pairs say nothing, and there are many.
const ITEMS_MAX: usize = 600;
/// Others kept of an item.
const KEPT: usize = 150;
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baskets {
    /// For each item, the orders that have it with each other one. An order counts for less the older it is and the more
    /// items it has.
    pub with: Sparse,
    /// For each item, its orders, counted likewise.
    pub evidence: Vec<f32>,
}

impl Baskets {
    pub fn of(sales: &[Sale], items: usize) -> Self {
        let weigh = |sale: &Sale| decay(sale.days_ago, HALF_LIFE_DAYS) / sale.items.len() as f32;
        let mut evidence = Vec::with_capacity(items);
        let rows = sums_of_pairs(sales, items, weigh).map(|(all, met)| {
            evidence.push(all);
            largest(met, KEPT)
        });
        let with = Sparse::of(rows);
        Self { with, evidence }
    }
}

/// For each item, what its orders of several items weigh, and what those weigh that have it with each other item.
pub(crate) fn sums_of_pairs(
    sales: &[Sale],
    items: usize,
    weigh: impl Fn(&Sale) -> f32,
) -> impl Iterator<Item = (f32, Vec<(u32, f32)>)> {
    let orders = sales.iter().filter(|sale| (2..=ITEMS_MAX).contains(&sale.items.len()));
    let orders: Vec<_> = orders.map(|sale| (weigh(sale), &sale.items)).collect();
    let mut orders_of = vec![Vec::new(); items];
    for (order, (_, there)) in orders.iter().enumerate() {
        there.iter().for_each(|item| orders_of[*item as usize].push(order));
    }
    let mut sums = vec![0.0_f32; items];
    orders_of.into_iter().zip(0_u32..).map(move |(orders_of, item)| {
        let (mut all, mut met) = (0.0, Vec::new());
        for (weight, there) in orders_of.into_iter().map(|order| &orders[order]) {
            all += weight;
            for &other in there.iter().filter(|other| **other != item) {
                if sums[other as usize] == 0.0 {
                    met.push(other);
                }
                sums[other as usize] += weight;
            }
        }
        (all, met.into_iter().map(|other| (other, std::mem::take(&mut sums[other as usize]))).collect())
    })
}
