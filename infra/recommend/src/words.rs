//! What names and categories say: the only thing that is known of a product that nobody has bought.

use crate::sparse::{Sparse, largest};
use crate::trade::Product;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Words of names and ids of categories, weighed by how few products have them (tf-idf), each product's of length 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Words {
    /// Each word's number and weight.
    vocabulary: BTreeMap<String, (u32, f32)>,
    /// Word and weight, of each product.
    of_item: Sparse,
    /// Product and weight, of each word.
    of_word: Sparse,
}

impl Words {
    pub fn of(products: &[Product]) -> Self {
        let mut products_with = BTreeMap::<String, u32>::new();
        for product in products {
            for word in words(product).into_keys() {
                *products_with.entry(word).or_default() += 1;
            }
        }
        let rarity = |with: u32| ((1.0 + products.len() as f32) / (1.0 + with as f32)).ln() + 1.0;
        let numbered = products_with.into_iter().zip(0..);
        let vocabulary: BTreeMap<_, _> =
            numbered.map(|((word, with), number)| (word, (number, rarity(with)))).collect();
        let mut words = Self { vocabulary, of_item: Sparse::default(), of_word: Sparse::default() };
        words.of_item = Sparse::of(products.iter().map(|product| words.weighed(product)));
        let mut of_word = vec![Vec::new(); words.vocabulary.len()];
        for item in 0..products.len() as u32 {
            for &(word, weight) in words.of_item.row(item) {
                of_word[word as usize].push((item, weight));
            }
        }
        words.of_word = Sparse::of(of_word);
        words
    }

    /// The words of a product, known or not, that others have, too.
    pub fn weighed(&self, product: &Product) -> Vec<(u32, f32)> {
        let known = words(product).into_iter().filter_map(|(word, times)| {
            let &(number, rarity) = self.vocabulary.get(&word)?;
            Some((number, (1.0 + (times as f32).ln()) * rarity))
        });
        unit(known.collect())
    }

    pub fn of_item(&self, item: u32) -> &[(u32, f32)] {
        self.of_item.row(item)
    }

    /// Adds to each item what it has in common with these words.
    pub fn spread(&self, words: &[(u32, f32)], scores: &mut [f32]) {
        for &(word, weight) in words {
            for &(item, other) in self.of_word.row(word) {
                scores[item as usize] += weight * other;
            }
        }
    }

    /// The items nearest to `item` by words, with the cosines, from 0 to 1.
    pub fn nearest(&self, item: u32, most: usize) -> Vec<(u32, f32)> {
        let mut sums = HashMap::<u32, f32>::new();
        for &(word, weight) in self.of_item.row(item) {
            for &(other, weight_there) in self.of_word.row(word).iter().filter(|(other, _)| *other != item) {
                *sums.entry(other).or_default() += weight * weight_there;
            }
        }
        largest(sums.into_iter().collect(), most)
    }

    pub fn is_sound(&self, items: usize) -> bool {
        let words = self.vocabulary.len();
        self.of_item.is_sound(items, words) && self.of_word.is_sound(words, items)
    }
}

/// How often each word is there, in lower case; categories as words of their own that no name has.
fn words(product: &Product) -> BTreeMap<String, u32> {
    let mut times = BTreeMap::new();
    let named = product.name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let categories = product.categories.iter().map(|category| format!("/{category}"));
    for word in named.map(str::to_lowercase).chain(categories) {
        *times.entry(word).or_default() += 1;
    }
    times
}

/// The same direction, of length 1; nothing stays nothing.
pub(crate) fn unit(mut entries: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    let length = entries.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
    if length > 0.0 {
        entries.iter_mut().for_each(|(_, weight)| *weight /= length);
    }
    entries
}
