//! Synonyms as they are looked up.

use crate::analysis::{Word, words};
use crate::synonyms::Synonym;
use std::collections::HashMap;

/// Words of a phrase that has a synonym, at most.
const PHRASE_WORDS_MAX: usize = 4;

/// By a phrase, its words in one text, what else it may be.
#[derive(Debug, Default)]
pub struct Thesaurus {
    others: HashMap<String, Vec<Vec<Word>>>,
}

impl Thesaurus {
    pub fn of(synonyms: &[Synonym]) -> Self {
        let mut thesaurus = Thesaurus::default();
        for synonym in synonyms {
            match synonym {
                Synonym::Equal(all) => {
                    for one in all {
                        all.iter().filter(|other| *other != one).for_each(|other| thesaurus.learn(one, other));
                    }
                }
                Synonym::OneWay { word, finds } => finds.iter().for_each(|other| thesaurus.learn(word, other)),
            }
        }
        thesaurus
    }

    fn learn(&mut self, phrase: &str, other: &str) {
        let (phrase, other) = (words(phrase), words(other));
        if !phrase.is_empty() && !other.is_empty() {
            self.others.entry(key(&phrase)).or_default().push(other);
        }
    }

    /// What else parts of a text may be, with the places of these parts, bit by bit.
    pub fn others<'a>(&'a self, text: &[Word]) -> Vec<(u32, &'a [Word])> {
        let mut found = Vec::new();
        if self.others.is_empty() {
            return found;
        }
        for start in 0..text.len() {
            for end in start + 1..=text.len().min(start + PHRASE_WORDS_MAX) {
                let others = self.others.get(&key(&text[start..end])).into_iter().flatten();
                let slots = (start..end).fold(0, |bits, at| bits | 1 << at);
                found.extend(others.map(|other| (slots, other.as_slice())));
            }
        }
        found
    }
}

fn key(phrase: &[Word]) -> String {
    let mut key = String::new();
    for word in phrase {
        key.push_str(&word.text);
        key.push(' ');
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(synonyms: &[Synonym], text: &str) -> Vec<(u32, String)> {
        let others = Thesaurus::of(synonyms);
        others.others(&words(text)).into_iter().map(|(slots, other)| (slots, key(other).trim().to_owned())).collect()
    }

    #[test]
    fn equal_ones_stand_for_each_other_and_a_one_way_one_only_for_what_it_finds() {
        let synonyms = [
            Synonym::Equal(vec!["tea light".into(), "T-LIGHT".into()]),
            Synonym::OneWay { word: "mug".into(), finds: vec!["cup".into()] },
        ];
        assert_eq!(found(&synonyms, "red tea-light"), [(0b110, "t light".to_owned())]);
        assert_eq!(found(&synonyms, "t light holder"), [(0b11, "tea light".to_owned())]);
        assert_eq!(found(&synonyms, "mug"), [(1, "cup".to_owned())]);
        assert!(found(&synonyms, "cup").is_empty());
    }
}
