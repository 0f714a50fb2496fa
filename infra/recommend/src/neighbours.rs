//! What customers bought of late who buy alike.

use crate::affinity::{self, HALF_LIFE_DAYS};
use crate::sparse::{Sparse, largest};
use crate::trade::Sale;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Those who bought last: what a customer is compared with has to be of late, and an answer has to be soon.
const CUSTOMERS_MAX: usize = 20_000;
/// Days in which a purchase says half as much of what is wanted now.
const LATE_HALF_LIFE: f64 = 14.0;
/// Less than this is left of what was bought a quarter ago, and is forgotten.
const LATE_MIN: f32 = 0.01;
/// Who is this much alike is the same customer, as they were when this was learnt.
const SAME: f32 = 0.95;
/// So many have a say.
const NEIGHBOURS: usize = 300;

/// Customers by short numbers of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Neighbours {
    /// For each item, the customers who have it, and how much of all that they have it is: rows of length 1.
    customers_of: Sparse,
    /// For each customer, what they bought of late, from 0 to 1.
    late: Sparse,
}

impl Neighbours {
    pub fn of(sales: &[Sale], items: usize) -> Self {
        let mut last = BTreeMap::<u32, f64>::new();
        for sale in sales {
            if let Some(customer) = sale.customer {
                let days_ago = last.entry(customer).or_insert(sale.days_ago);
                *days_ago = days_ago.min(sale.days_ago);
            }
        }
        let mut latest: Vec<_> = last.into_iter().collect();
        latest.sort_by(|(a, x), (b, y)| x.total_cmp(y).then(a.cmp(b)));
        latest.truncate(CUSTOMERS_MAX);
        let latest: BTreeSet<_> = latest.into_iter().map(|(customer, _)| customer).collect();
        let of_them = |sale: &&Sale| sale.customer.is_some_and(|customer| latest.contains(&customer));
        let theirs: Vec<_> = sales.iter().filter(of_them).cloned().collect();
        // Rows come in the order of the customers.
        let mut customers_of = vec![Vec::new(); items];
        for (row, customer) in affinity::rows(&theirs, HALF_LIFE_DAYS).iter().zip(0_u32..) {
            let length = row.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
            if length == 0.0 {
                continue; // All of it was bought longer ago than numbers can tell.
            }
            row.iter().for_each(|&(item, weight)| customers_of[item as usize].push((customer, weight / length)));
        }
        let late = affinity::rows(&theirs, LATE_HALF_LIFE).into_iter();
        let late = late.map(|row| row.into_iter().filter(|(_, weight)| *weight > LATE_MIN).collect());
        Self { customers_of: Sparse::of(customers_of), late: Sparse::of(late) }
    }

    /// Adds to `scores`, one for each item, how much of it those buy of late, from 0 to 1, who have what `own` weighs.
    pub fn spread(&self, own: impl Iterator<Item = (u32, f32)>, scores: &mut [f32]) {
        let (mut alike, mut length) = (vec![0.0_f32; self.late.rows()], 0.0);
        for (item, weight) in own {
            length += weight * weight;
            self.customers_of
                .row(item)
                .iter()
                .for_each(|&(customer, of_item)| alike[customer as usize] += weight * of_item);
        }
        let same = SAME * length.sqrt();
        let others = alike.into_iter().zip(0_u32..).filter(|(cosine, _)| *cosine > 0.0 && *cosine < same);
        let nearest = largest(others.map(|(cosine, customer)| (customer, cosine)).collect(), NEIGHBOURS);
        let all: f32 = nearest.iter().map(|(_, cosine)| cosine).sum();
        for (customer, cosine) in nearest {
            self.late.row(customer).iter().for_each(|&(item, late)| scores[item as usize] += cosine / all * late);
        }
    }

    pub fn is_sound(&self, items: usize) -> bool {
        let customers = self.late.rows();
        self.customers_of.is_sound(items, customers) && self.late.is_sound(customers, items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sale(customer: Option<u32>, days_ago: f64, items: &[u32]) -> Sale {
        Sale { customer, days_ago, items: items.to_vec() }
    }

    fn spread(sales: &[Sale], own: &[u32]) -> Vec<f32> {
        let mut scores = vec![0.0; 6];
        Neighbours::of(sales, 6).spread(own.iter().map(|item| (*item, 1.0)), &mut scores);
        scores
    }

    #[test]
    fn what_those_bought_of_late_who_buy_alike_counts_by_how_alike_they_are_and_how_late_it_was() {
        let sales = [
            sale(Some(7), 3.0, &[0, 1, 2]), // Has both.
            sale(Some(3), 3.0, &[1, 3, 5]), // Has one of them.
            sale(Some(9), 200.0, &[0, 1, 4]),
            sale(Some(8), 40_000.0, &[0, 1, 4]),
            sale(None, 1.0, &[0, 1, 5]),
        ];
        let scores = spread(&sales, &[0, 1]);
        assert!(scores[2] > scores[3] && scores[3] > 0.0, "{scores:?}");
        assert_eq!(scores[4], 0.0, "long ago");
        assert_eq!(scores[5], scores[3], "a guest has no say");
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
        assert_eq!(spread(&sales, &[4, 2])[3], 0.0, "has nothing of it");
    }

    #[test]
    fn a_customer_is_no_neighbour_of_their_own() {
        let sales = [sale(Some(1), 2.0, &[0, 1, 2])];
        assert_eq!(spread(&sales, &[0, 1, 2]), [0.0; 6]);
        assert_eq!(spread(&[], &[0]), [0.0; 6]);
    }

    #[test]
    fn those_who_bought_last_are_compared_with() {
        let early = (0..10).map(|customer| sale(Some(customer), 30.0, &[0, 1]));
        let late = (0..CUSTOMERS_MAX as u32).map(|customer| sale(Some(100 + customer), 1.0, &[2, 3]));
        let sales: Vec<_> = early.chain(late).collect();
        assert_eq!(spread(&sales, &[0]), [0.0; 6]);
        assert!(spread(&sales, &[2])[3] > 0.9);
    }
}
