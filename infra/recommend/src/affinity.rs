//! Which items customers have who have others: a linear autoencoder over items, in closed form.
//!
//! EASE (Steck, *Embarrassingly Shallow Autoencoders for Sparse Data*, WWW 2019) on what customers bought, where a purchase
//! counts less the older it is. Beside it the leading directions of the same matrix, as short vectors.

use crate::demand::decay;
use crate::sparse::{Sparse, largest};
use crate::trade::Sale;
use faer::linalg::solvers::DenseSolveCore;
use faer::{Mat, Side};
use std::collections::BTreeMap;

/// Days in which the weight of a purchase halves.
pub(crate) const HALF_LIFE_DAYS: f64 = 120.0;
/// What is added to the diagonal (λ of the paper): customers who have to agree before it counts.
const RIDGE: f32 = 100.0;
/// The items that take part, those with the most customers first: work and memory grow with the cube and the square.
const ITEMS_MAX: usize = 3_000;
/// An item that hardly anybody has bought says nothing of others: its words do.
const CUSTOMERS_MIN: f32 = 0.5;
/// Weights kept of an item.
const KEPT: usize = 250;
/// Rounds of the subspace iteration; more change no list.
const ROUNDS: usize = 12;

/// What customers bought, each item once, as they would be weighed today: 1 for a purchase of now, less for older ones.
pub(crate) type Rows = Vec<Vec<(u32, f32)>>;

pub(crate) fn rows(sales: &[Sale], half_life_days: f64) -> Rows {
    let mut rows = BTreeMap::<u32, BTreeMap<u32, f32>>::new();
    for sale in sales {
        let Some(customer) = sale.customer else { continue };
        let row = rows.entry(customer).or_default();
        for &item in &sale.items {
            *row.entry(item).or_default() += decay(sale.days_ago, half_life_days);
        }
    }
    let bounded = |row: BTreeMap<u32, f32>| row.into_iter().map(|(item, weight)| (item, weight.min(1.0))).collect();
    rows.into_values().map(bounded).collect()
}

/// How much any two items are bought by the same customers.
pub(crate) struct Gram {
    /// The items that take part, by their place in the matrix.
    items: Vec<u32>,
    matrix: Mat<f32>,
}

impl Gram {
    pub fn of(rows: &Rows, items: usize) -> Self {
        let mut customers = vec![0.0_f32; items];
        rows.iter().flatten().for_each(|&(item, weight)| customers[item as usize] += weight);
        let counted = customers.iter().zip(0..).filter(|(sum, _)| **sum >= CUSTOMERS_MIN);
        let counted = counted.map(|(sum, item)| (item, *sum)).collect();
        let mut taking_part: Vec<_> = largest(counted, ITEMS_MAX).into_iter().map(|(item, _)| item).collect();
        taking_part.sort_unstable();
        let mut place = vec![usize::MAX; items];
        taking_part.iter().enumerate().for_each(|(at, item)| place[*item as usize] = at);
        let size = taking_part.len();
        let mut matrix = Mat::<f32>::zeros(size, size);
        for row in rows {
            let placed: Vec<_> = row.iter().map(|&(item, weight)| (place[item as usize], weight)).collect();
            let placed: Vec<_> = placed.into_iter().filter(|(at, _)| *at != usize::MAX).collect();
            for &(column, of_column) in &placed {
                let column = matrix.col_as_slice_mut(column);
                placed.iter().for_each(|&(at, weight)| column[at] += weight * of_column);
            }
        }
        Self { items: taking_part, matrix }
    }

    /// For each item, how much having it speaks for others; below 0: against. The matrix goes, to make room.
    pub fn into_affinity(self, items: usize) -> Sparse {
        let Self { items: taking_part, mut matrix } = self;
        (0..taking_part.len()).for_each(|at| matrix[(at, at)] += RIDGE);
        let factor = matrix.llt(Side::Lower).expect("a Gram matrix with a ridge is positive definite");
        drop(matrix);
        let inverse = factor.inverse();
        drop(factor);
        let mut rows = vec![Vec::new(); items];
        for (at, &item) in taking_part.iter().enumerate() {
            let column = inverse.col_as_slice(at); // The inverse is symmetric: its column is its row.
            let weights = taking_part.iter().enumerate().filter(|(other, _)| *other != at);
            let weights = weights.map(|(other, &to)| (to, -column[other] / inverse[(other, other)]));
            rows[item as usize] = largest(weights.collect(), KEPT);
        }
        Sparse::of(rows)
    }

    /// The `dimensions` leading directions of the matrix, where each item counts alike however much it sells: a row of
    /// length 1 for each item, or of 0 for one that takes no part.
    pub fn directions(&self, items: usize, dimensions: usize) -> Vec<f32> {
        let size = self.items.len();
        let scale: Vec<_> = (0..size).map(|at| self.matrix[(at, at)].max(f32::MIN_POSITIVE).sqrt().recip()).collect();
        let scaled = |rows: &Mat<f32>| Mat::from_fn(size, rows.ncols(), |i, j| rows[(i, j)] * scale[i]);
        // The matrix of cosines, which need not be there.
        let cosines = |basis: &Mat<f32>| scaled(&(&self.matrix * scaled(basis)));
        let basis = leading(size, dimensions.min(size), cosines);
        // Once more, so that a direction counts as much as it explains.
        let mut rows = self.spread(&cosines(&basis), items, dimensions);
        rows.chunks_exact_mut(dimensions).for_each(scale_to_unit);
        rows
    }

    /// A row for each item whose products with each other are those of the matrix's leading singular vectors.
    pub fn factors(&self, items: usize, dimensions: usize) -> Vec<f32> {
        let size = self.items.len();
        self.spread(&leading(size, dimensions.min(size), |basis| &self.matrix * basis), items, dimensions)
    }

    /// The rows of those that take part, in their places among all items.
    fn spread(&self, rows: &Mat<f32>, items: usize, dimensions: usize) -> Vec<f32> {
        let mut all = vec![0.0; items * dimensions];
        for (at, &item) in self.items.iter().enumerate() {
            let row = &mut all[item as usize * dimensions..][..dimensions];
            row.iter_mut().zip(0..rows.ncols()).for_each(|(value, column)| *value = rows[(at, column)]);
        }
        all
    }
}

/// An orthonormal basis of the space of the `rank` leading eigenvectors of a matrix of `size` rows, by subspace iteration.
/// `times`: the product of the matrix with a basis.
fn leading(size: usize, rank: usize, times: impl Fn(&Mat<f32>) -> Mat<f32>) -> Mat<f32> {
    let mut basis = Mat::from_fn(size, rank, |i, j| sign((i * rank + j) as u64));
    if rank == 0 {
        return basis;
    }
    for _ in 0..ROUNDS {
        basis = times(&basis).qr().compute_thin_Q();
    }
    basis
}

/// 1 or -1, as good as by chance and always the same (SplitMix64).
pub(crate) fn sign(number: u64) -> f32 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    if (mixed ^ (mixed >> 31)) & 1 == 0 { 1.0 } else { -1.0 }
}

pub(crate) fn scale_to_unit(row: &mut [f32]) {
    let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        row.iter_mut().for_each(|value| *value /= length);
    }
}
