//! Texts in HTML with what matched marked.

use super::plan::Plan;
use super::snapshot::Part;
use crate::analysis::{Word, words};
use crate::html::{MARK, MARK_END, escape};
use std::collections::HashSet;

/// Characters of an excerpt.
const EXCERPT_CHARACTERS: usize = 200;
/// Characters before the first match in an excerpt.
const EXCERPT_BEFORE: usize = 40;

pub struct Highlighter<'a> {
    words: HashSet<&'a str>,
    pairs: HashSet<&'a str>,
}

impl<'a> Highlighter<'a> {
    pub fn of(plan: &'a Plan) -> Self {
        let of = |is_pair: bool| {
            let terms =
                plan.terms.iter().filter(move |term| (term.part == Part::Pair) == is_pair && term.part != Part::Code);
            terms.flat_map(|term| &term.texts).map(String::as_str).collect()
        };
        Highlighter { words: of(false), pairs: of(true) }
    }

    /// The whole text.
    pub fn whole(&self, text: &str) -> String {
        self.marked(text, &self.matches(text))
    }

    /// What is around the first match. `None`: there is none.
    pub fn excerpt(&self, text: &str) -> Option<String> {
        let matches = self.matches(text);
        let &(first, _) = matches.first()?;
        let before = text[..first].char_indices().rev().take(EXCERPT_BEFORE);
        // From the beginning of a word on.
        let start = before.last().map_or(first, |(at, _)| at);
        let start = match start {
            0 => 0,
            start => text[start..first].find(' ').map_or(first, |space| start + space + 1),
        };
        let end = text[start..].char_indices().nth(EXCERPT_CHARACTERS).map_or(text.len(), |(at, _)| start + at);
        let inside = matches.into_iter().filter(|&(from, to)| from >= start && to <= end);
        let inside: Vec<_> = inside.map(|(from, to)| (from - start, to - start)).collect();
        Some(self.marked(&text[start..end], &inside))
    }

    /// From and to which byte, in order.
    fn matches(&self, text: &str) -> Vec<(usize, usize)> {
        let words = words(text);
        let is_pair = |two: &[Word]| {
            let [first, second] = two else { return false };
            let length = first.text.len() + second.text.len();
            let is_same =
                |pair: &&str| pair.len() == length && pair.starts_with(&first.text) && pair.ends_with(&second.text);
            !self.pairs.is_empty() && self.pairs.iter().any(is_same)
        };
        let mut is_match: Vec<bool> = words.iter().map(|word| self.words.contains(word.text.as_str())).collect();
        for at in 1..words.len() {
            if !is_match[at - 1] && !is_match[at] && is_pair(&words[at - 1..=at]) {
                (is_match[at - 1], is_match[at]) = (true, true);
            }
        }
        words.iter().zip(is_match).filter(|(_, is_match)| *is_match).map(|(word, _)| (word.start, word.end)).collect()
    }

    fn marked(&self, text: &str, matches: &[(usize, usize)]) -> String {
        let mut html = String::with_capacity(text.len() + matches.len() * (MARK.len() + MARK_END.len()));
        let mut done = 0;
        for &(from, to) in matches {
            escape(&text[done..from], &mut html);
            html.push_str(MARK);
            escape(&text[from..to], &mut html);
            html.push_str(MARK_END);
            done = to;
        }
        escape(&text[done..], &mut html);
        html
    }
}
