//! Items as vectors of one space, where near is alike: who buys them, and what they are called.

use crate::affinity::{scale_to_unit, sign};
use crate::knowledge::{DIRECTIONS, Knowledge};

/// How long the part is that words make.
const OF_WORDS: usize = 128;
/// How long vectors are.
pub(crate) const DIMENSIONS: usize = DIRECTIONS + OF_WORDS;
/// What customers say counts for at most so much of the whole, so that what nobody has bought yet is near to something.
const TRUST_MAX: f32 = 0.6;
/// Sales, decayed, at which they are trusted half as much.
const SALES_HALF: f32 = 3.0;

/// A row of [`DIMENSIONS`] for each item, of length 1; of 0 for one without any sale or word.
pub(crate) fn of_items(knowledge: &Knowledge) -> Vec<f32> {
    let vector = |item: u32| {
        let direction = knowledge.direction(item);
        let sales = knowledge.demand.of_quarter(item).exp_m1();
        let trust =
            if direction.iter().any(|value| *value != 0.0) { TRUST_MAX * sales / (sales + SALES_HALF) } else { 0.0 };
        joined(direction, trust, knowledge.words.of_item(item))
    };
    (0..knowledge.demand.items() as u32).flat_map(vector).collect()
}

/// Of a product that nobody has bought, from its words and their weights.
pub(crate) fn of_words(words: &[(u32, f32)]) -> Vec<f32> {
    joined(&[0.0; DIRECTIONS], 0.0, words)
}

fn joined(direction: &[f32], trust: f32, words: &[(u32, f32)]) -> Vec<f32> {
    let mut vector: Vec<_> = direction.iter().map(|value| value * trust.sqrt()).collect();
    // Words are more than there are dimensions: each points somewhere, any two at about a right angle.
    let mut of_words = vec![0.0; OF_WORDS];
    for &(word, weight) in words {
        let places = u64::from(word) * OF_WORDS as u64..;
        of_words.iter_mut().zip(places).for_each(|(sum, place)| *sum += weight * sign(place));
    }
    scale_to_unit(&mut of_words);
    vector.extend(of_words.into_iter().map(|value| value * (1.0 - trust).sqrt()));
    scale_to_unit(&mut vector);
    vector
}
