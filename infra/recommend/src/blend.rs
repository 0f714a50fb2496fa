//! What signs are worth: a logistic regression, learnt from what customers did last.

use faer::linalg::matmul::matmul;
use faer::prelude::*;
use faer::{Accum, Mat, MatRef, Par, Side};
use serde::{Deserialize, Serialize};

/// Rows that are multiplied at a time, so that they stay in the cache.
const CHUNK: usize = 2_048;
/// Newton's method is there after a few.
const ROUNDS_MAX: usize = 12;
/// A step that makes outcomes more likely by a smaller share than this is the last.
const GAIN_MIN: f64 = 1e-7;
/// Shorter than this a step is not made.
const LENGTH_MIN: f64 = 1e-3;
/// What keeps weights small (for features of variance 1): as much as so many rows that say nothing.
const RIDGE: f64 = 10.0;
/// Less than this many things bought teach nothing.
const POSITIVE_MIN: f64 = 200.0;

/// Log-odds as a weighted sum of features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Blend {
    bias: f32,
    weights: Vec<f32>,
}

/// Rows of features, each with what came of it.
pub(crate) struct Lessons {
    width: usize,
    features: Vec<f32>,
    outcomes: Vec<Outcome>,
}

/// What came of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Outcome {
    /// From 0 to 1.
    pub value: f32,
    /// How many rows it stands for.
    pub weight: f32,
}

/// How many rows they stand for, and what came of all of those together.
fn sums(outcomes: &[Outcome]) -> (f64, f64) {
    outcomes.iter().fold((0.0, 0.0), |(rows, values), outcome| {
        let weight = f64::from(outcome.weight);
        (rows + weight, values + weight * f64::from(outcome.value))
    })
}

impl Lessons {
    pub fn new(width: usize) -> Self {
        Self { width, features: Vec::new(), outcomes: Vec::new() }
    }

    /// `features` has at least as many as a row is wide; the first count.
    pub fn add(&mut self, features: &[f32], outcome: Outcome) {
        self.features.extend_from_slice(&features[..self.width]);
        self.outcomes.push(outcome);
    }

    pub fn append(&mut self, mut other: Self) {
        self.features.append(&mut other.features);
        self.outcomes.append(&mut other.outcomes);
    }
}

impl Blend {
    pub fn new(bias: f32, weights: Vec<f32>) -> Self {
        Self { bias, weights }
    }

    pub fn width(&self) -> usize {
        self.weights.len()
    }

    pub fn score(&self, features: &[f32]) -> f32 {
        self.bias + self.weights.iter().zip(features).map(|(weight, feature)| weight * feature).sum::<f32>()
    }

    /// `None`: the lessons are too few.
    pub fn learn(lessons: Lessons) -> Option<Self> {
        let Lessons { width, mut features, outcomes } = lessons;
        if sums(&outcomes).1 < POSITIVE_MIN {
            return None;
        }
        let (mean, deviation) = standardise(&mut features, width, &outcomes);
        let weights = newton(&features, width, &outcomes)?;
        let (of_features, bias) = weights.split_at(width);
        let scaled: Vec<_> = of_features.iter().zip(&deviation).map(|(weight, deviation)| weight / deviation).collect();
        let shift: f64 = scaled.iter().zip(&mean).map(|(weight, mean)| weight * mean).sum();
        let weights = scaled.into_iter().map(|weight| weight as f32).collect();
        Some(Self { bias: (bias[0] - shift) as f32, weights })
    }
}

/// Brings each column to mean 0 and deviation 1; returns what they were.
fn standardise(features: &mut [f32], width: usize, outcomes: &[Outcome]) -> (Vec<f64>, Vec<f64>) {
    let (rows, _) = sums(outcomes);
    let shares = || outcomes.iter().map(|outcome| f64::from(outcome.weight) / rows);
    let (mut mean, mut deviation) = (vec![0.0; width], vec![0.0; width]);
    for (row, share) in features.chunks_exact(width).zip(shares()) {
        mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += share * f64::from(*value));
    }
    for (row, share) in features.chunks_exact(width).zip(shares()) {
        let squares = row.iter().zip(&mean).map(|(value, mean)| share * (f64::from(*value) - mean).powi(2));
        deviation.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
    }
    // A column that is always the same says nothing, and is left at 0.
    deviation.iter_mut().for_each(|square| *square = square.sqrt().max(1e-6));
    for row in features.chunks_exact_mut(width) {
        for ((value, mean), deviation) in row.iter_mut().zip(&mean).zip(&deviation) {
            *value = ((f64::from(*value) - mean) / deviation) as f32;
        }
    }
    (mean, deviation)
}

/// The weights of the features and, last, the bias, that make the outcomes most likely. `None`: there are no such.
fn newton(features: &[f32], width: usize, outcomes: &[Outcome]) -> Option<Vec<f64>> {
    let mut weights = vec![0.0_f64; width + 1];
    let (rows, values) = sums(outcomes);
    let mean = values / rows;
    weights[width] = (mean / (1.0 - mean)).ln();
    let mut here = Surface::at(&weights, features, outcomes);
    for _ in 0..ROUNDS_MAX {
        let step = here.curvature.llt(Side::Lower).ok()?.solve(&here.slope);
        // A whole step may go too far where outcomes are rare: it is halved until it goes down.
        let (mut length, before) = (1.0, here.loss);
        let (next, there) = loop {
            let next: Vec<_> = (0..=width).map(|at| weights[at] + length * step[(at, 0)]).collect();
            let there = Surface::at(&next, features, outcomes);
            if there.loss <= before || length < LENGTH_MIN {
                break (next, there);
            }
            length /= 2.0;
        };
        if there.loss.is_nan() || there.loss > before {
            break;
        }
        (weights, here) = (next, there);
        if before - here.loss < GAIN_MIN * before {
            break;
        }
    }
    weights.iter().all(|weight| weight.is_finite()).then_some(weights)
}

/// How unlikely outcomes are with some weights, and which way it goes down from there.
struct Surface {
    loss: f64,
    slope: Mat<f64>,
    curvature: Mat<f64>,
}

impl Surface {
    fn at(weights: &[f64], features: &[f32], outcomes: &[Outcome]) -> Self {
        let width = weights.len() - 1;
        let (mut loss, mut slope) = (0.0, Mat::<f64>::zeros(width + 1, 1));
        let mut curvature = Mat::<f64>::zeros(width + 1, width + 1);
        for (rows, outcomes) in features.chunks(CHUNK * width).zip(outcomes.chunks(CHUNK)) {
            let mut scaled = Vec::with_capacity(rows.len() + outcomes.len());
            for (row, outcome) in rows.chunks_exact(width).zip(outcomes) {
                let sum: f64 = row.iter().zip(weights).map(|(value, weight)| f64::from(*value) * weight).sum();
                let odds = sum + weights[width];
                let likely = 1.0 / (1.0 + (-odds).exp());
                let (value, weight) = (f64::from(outcome.value), f64::from(outcome.weight));
                loss += weight * (odds.max(0.0) + (-odds.abs()).exp().ln_1p() - value * odds);
                let (error, spread) = (weight * (value - likely), (weight * likely * (1.0 - likely)).sqrt() as f32);
                row.iter().enumerate().for_each(|(at, value)| slope[(at, 0)] += error * f64::from(*value));
                slope[(width, 0)] += error;
                scaled.extend(row.iter().map(|value| value * spread));
                scaled.push(spread);
            }
            let scaled = MatRef::from_row_major_slice(&scaled, outcomes.len(), width + 1);
            let mut product = Mat::<f32>::zeros(width + 1, width + 1);
            matmul(&mut product, Accum::Replace, scaled.transpose(), scaled, 1.0, Par::Seq);
            for at in 0..=width {
                (0..=width).for_each(|other| curvature[(at, other)] += f64::from(product[(at, other)]));
            }
        }
        for at in 0..width {
            loss += RIDGE / 2.0 * weights[at].powi(2);
            slope[(at, 0)] -= RIDGE * weights[at];
            curvature[(at, at)] += RIDGE;
        }
        curvature[(width, width)] += f64::MIN_POSITIVE;
        Self { loss, slope, curvature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of two features that say something, and one that says nothing.
    fn lessons(rows: usize, outcome: impl Fn(f32, f32) -> f32) -> Lessons {
        let mut lessons = Lessons::new(3);
        for at in 0..rows {
            let (a, b) = ((at % 10) as f32, (at / 10 % 10) as f32);
            lessons.add(&[a, b, 5.0], Outcome { value: outcome(a, b), weight: 1.0 });
        }
        lessons
    }

    #[test]
    fn odds_are_learnt_as_they_are() {
        let odds = |a: f32, b: f32| 0.5 * a - b + 1.0;
        let blend = Blend::learn(lessons(20_000, |a, b| 1.0 / (1.0 + (-odds(a, b)).exp()))).expect("enough of them");
        for (a, b) in [(0.0, 0.0), (9.0, 0.0), (3.0, 7.0)] {
            let found = blend.score(&[a, b, 5.0]);
            assert!((found - odds(a, b)).abs() < 0.2, "{found} instead of {}", odds(a, b));
        }
    }

    #[test]
    fn a_row_counts_for_as_many_as_it_stands_for() {
        let mut few = Lessons::new(3);
        let mut many = Lessons::new(3);
        for at in 0..3_000 {
            let row = [(at % 10) as f32, (at / 10 % 10) as f32, 5.0];
            let value = if at % 7 == 0 { 1.0 } else { 0.0 };
            few.add(&row, Outcome { value, weight: 3.0 });
            (0..3).for_each(|_| many.add(&row, Outcome { value, weight: 1.0 }));
        }
        let [few, many] = [few, many].map(|lessons| Blend::learn(lessons).expect("enough of them"));
        let differ = |a: f32, b: f32| (few.score(&[a, b, 5.0]) - many.score(&[a, b, 5.0])).abs();
        assert!([(0.0, 0.0), (9.0, 0.0), (3.0, 7.0)].iter().all(|(a, b)| differ(*a, *b) < 1e-3), "{few:?} {many:?}");
    }

    #[test]
    fn what_is_always_so_has_finite_weights() {
        let blend = Blend::learn(lessons(1_000, |a, _| if a > 4.5 { 1.0 } else { 0.0 })).expect("enough of them");
        assert!(blend.score(&[9.0, 0.0, 5.0]) > 2.0 && blend.score(&[0.0, 0.0, 5.0]) < -2.0);
    }

    #[test]
    fn a_few_purchases_teach_nothing() {
        assert_eq!(Blend::learn(lessons(1_000, |a, b| if a + b > 17.5 { 1.0 } else { 0.0 })), None);
        assert_eq!(Blend::learn(Lessons::new(3)), None);
    }
}
