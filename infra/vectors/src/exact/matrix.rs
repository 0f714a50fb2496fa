//! A collection in memory: the vectors one after the other, and which of them have which tag.

use crate::Near;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// Sums that a processor works out side by side.
const LANES: usize = 16;

/// Vectors of one length, by SKU.
#[derive(Debug)]
pub struct Matrix {
    dimensions: usize,
    /// Numbers of a row: the dimensions, filled up with zeros to whole lanes.
    stride: usize,
    numbers: Vec<f32>,
    skus: Vec<String>,
    rows: HashMap<String, usize>,
    /// The rows that have a tag, a bit for each.
    tagged: HashMap<String, Vec<u64>>,
}

/// A row with its score, such that the worst of a heap is at its top.
#[derive(PartialEq)]
struct Scored {
    score: f32,
    row: usize,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Matrix {
    pub fn new(dimensions: usize) -> Self {
        Matrix {
            dimensions,
            stride: dimensions.next_multiple_of(LANES),
            numbers: Vec::new(),
            skus: Vec::new(),
            rows: HashMap::new(),
            tagged: HashMap::new(),
        }
    }

    /// Adds a row; numbers beyond the dimensions are cut off, those that lack are zeros.
    pub fn push(&mut self, sku: String, numbers: impl Iterator<Item = f32>, tags: Vec<String>) {
        let row = self.skus.len();
        self.numbers.extend(numbers.take(self.dimensions));
        self.numbers.resize((row + 1) * self.stride, 0.0);
        for tag in tags {
            let bits = self.tagged.entry(tag).or_default();
            bits.resize(row / 64 + 1, 0);
            bits[row / 64] |= 1 << (row % 64);
        }
        self.rows.insert(sku.clone(), row);
        self.skus.push(sku);
    }

    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub fn row_of(&self, sku: &str) -> Option<usize> {
        self.rows.get(sku).copied()
    }

    pub fn vector(&self, row: usize) -> &[f32] {
        &self.numbers[row * self.stride..][..self.dimensions]
    }

    /// Those rows but `itself` that have all tags, by their dot products with `vector`; among equals the lower SKU first.
    pub fn nearest(&self, vector: &[f32], itself: Option<usize>, tags: &[&str], most: usize) -> Vec<Near> {
        let Some(tagged) = tags.iter().map(|tag| self.tagged.get(*tag)).collect::<Option<Vec<_>>>() else {
            return Vec::new();
        };
        let mut wanted = vec![0.0; self.stride];
        wanted[..vector.len()].copy_from_slice(vector);
        let mut best = BinaryHeap::with_capacity(most + 1);
        for (row, numbers) in self.numbers.chunks_exact(self.stride).enumerate() {
            let has = |bits: &&Vec<u64>| bits.get(row / 64).is_some_and(|bits| bits >> (row % 64) & 1 == 1);
            if Some(row) == itself || !tagged.iter().all(has) {
                continue;
            }
            let score = dot(&wanted, numbers);
            if best.len() < most || best.peek().is_some_and(|worst: &Scored| score > worst.score) {
                best.push(Scored { score, row });
                if best.len() > most {
                    best.pop();
                }
            }
        }
        let sorted = best.into_sorted_vec().into_iter();
        sorted.map(|Scored { score, row }| Near { sku: self.skus[row].clone(), score }).collect()
    }
}

/// Both are whole lanes: each lane has a sum of its own, so that the compiler adds several at once.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn among_many_the_nearest_with_the_tags_are_found() {
        let mut matrix = Matrix::new(20);
        for row in 0..200 {
            let tags = if row % 2 == 0 { vec!["even".to_owned()] } else { vec![] };
            let numbers = (0..20).map(move |place| if place == 19 { row as f32 } else { 1.0 });
            matrix.push(format!("S{row:03}"), numbers, tags);
        }
        let mut wanted = [0.0; 20];
        wanted[19] = 2.0;
        let found = matrix.nearest(&wanted, matrix.row_of("S198"), &["even"], 2);
        let expected = [("S196", 392.0), ("S194", 388.0)];
        assert_eq!(found, expected.map(|(sku, score)| Near { sku: sku.to_owned(), score }));
        assert_eq!(matrix.nearest(&wanted, None, &["odd"], 2), []);
        assert_eq!(matrix.nearest(&wanted, None, &[], 0), []);
        assert_eq!(matrix.nearest(&wanted, None, &[], 1_000).len(), 200);
    }

    #[test]
    fn among_equals_the_lower_sku_is_first() {
        let mut matrix = Matrix::new(1);
        for sku in ["A", "B", "C"] {
            matrix.push(sku.to_owned(), [1.0].into_iter(), vec![]);
        }
        let found = matrix.nearest(&[1.0], None, &[], 2);
        assert_eq!(found.iter().map(|near| near.sku.as_str()).collect::<Vec<_>>(), ["A", "B"]);
    }
}
