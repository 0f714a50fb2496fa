//! What a list is worth.

use kontor_domain::Sku;
use std::collections::BTreeSet;

/// The share of `truth` that is among the first `most`.
pub fn recall(list: &[Sku], truth: &BTreeSet<Sku>, most: usize) -> f64 {
    let hits = list.iter().take(most).filter(|sku| truth.contains(*sku)).count();
    hits as f64 / truth.len().max(1) as f64
}

/// Discounted cumulative gain of the first `most`, a hit at rank r (from 1) counting 1 / log2(r + 1), over that of the best
/// list there could be: as many hits as fit, all in front.
pub fn ndcg(list: &[Sku], truth: &BTreeSet<Sku>, most: usize) -> f64 {
    let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let hits = list.iter().take(most).enumerate().filter(|(_, sku)| truth.contains(*sku));
    let ideal: f64 = (0..truth.len().min(most)).map(gain).sum();
    if ideal == 0.0 { 0.0 } else { hits.map(|(rank, _)| gain(rank)).sum::<f64>() / ideal }
}

/// A mean as it grows; 0 of nothing.
#[derive(Default)]
pub struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    pub fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    pub fn value(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(skus: &str) -> Vec<Sku> {
        skus.split(' ').map(|sku| sku.parse().expect("a SKU")).collect()
    }

    fn truth(skus: &str) -> BTreeSet<Sku> {
        list(skus).into_iter().collect()
    }

    #[test]
    fn recall_is_the_share_that_was_found() {
        assert_eq!(recall(&list("A B C"), &truth("C X"), 3), 0.5);
        assert_eq!(recall(&list("A B C"), &truth("C X"), 2), 0.0, "C is behind the second place");
    }

    #[test]
    fn ndcg_counts_hits_in_front_for_more() {
        // 1 / log2(2) + 1 / log2(4), over 1 / log2(2) + 1 / log2(3).
        let found = ndcg(&list("A B C"), &truth("A C"), 20);
        assert!((found - 1.5 / (1.0 + 1.0 / 3.0_f64.log2())).abs() < 1e-12, "{found}");
        assert_eq!(ndcg(&list("A B"), &truth("A B C D"), 2), 1.0, "no list of two is better");
        assert_eq!(ndcg(&list("A B"), &truth("C"), 2), 0.0);
    }

    #[test]
    fn a_mean_of_nothing_is_nothing() {
        let mut mean = Mean::default();
        assert_eq!(mean.value(), 0.0);
        mean.add(1.0);
        mean.add(0.0);
        assert_eq!(mean.value(), 0.5);
    }
}
