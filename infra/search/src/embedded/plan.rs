//! What a text may mean: for each of its words, the words of the collection that may be meant by it, and how surely.

use super::snapshot::{Part, Snapshot};
use super::thesaurus::Thesaurus;
use crate::analysis::{Word, edits, forms, is_filler, is_number, pairs, words};
use crate::engine::SearchError;
use std::collections::HashMap;
use tantivy::Term;
use tantivy::query::FuzzyTermQuery;

/// Words of a text that are looked for; further ones are passed over.
const WORDS_MAX: usize = 16;
/// Words that an unfinished or a misspelt one may be, those that are most frequent.
const GUESSES_MAX: usize = 48;
/// Words that are looked at to find those.
const GUESSES_SEEN_MAX: usize = 1_000;

/// How surely a word is meant, from 0 to 1.
mod surely {
    pub const SAME: f32 = 1.0;
    /// In another form, or written together or apart.
    pub const FORM: f32 = 0.96;
    pub const SYNONYM: f32 = 0.9;
    /// An unfinished word of which nothing is there yet; what is there is added.
    pub const PREFIX: f32 = 0.78;
    pub const PREFIX_WHOLE: f32 = 0.14;
    /// By the number of edits.
    pub const TYPO: [f32; 3] = [0.92, 0.74, 0.58];
    /// Less, if the first letter is another: people seldom miss that one.
    pub const FIRST_LETTER: f32 = 0.1;
    /// Less, if it is unfinished as well.
    pub const TYPO_PREFIX: f32 = 0.1;
}

/// How much a word counts where it is.
fn worth(part: Part) -> f32 {
    match part {
        Part::Title | Part::Pair | Part::Code => 1.0,
        Part::Label => 0.6,
        Part::Prose => 0.35,
    }
}

/// What is looked for.
#[derive(Debug, Default)]
pub struct Plan {
    pub slots: Vec<Slot>,
    /// The surest first.
    pub terms: Vec<Candidate>,
}

/// One word of the text.
#[derive(Debug)]
pub struct Slot {
    /// The rarer it is, the more: ln(1 + all documents / documents with it).
    pub weight: f32,
    pub is_filler: bool,
}

/// A word of the collection that stands for some of the slots. A phrase has more than one pair, all of which must be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub part: Part,
    pub texts: Vec<String>,
    pub quality: f32,
    /// Bit by bit.
    pub slots: u32,
}

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// Words as they are written, in other forms, unfinished, and synonyms.
    AsWritten,
    /// Misspelt ones, too: more is looked at, and more is found that was not meant.
    Misspelt,
    /// Also such as have more edits than their length allows, beside a word that is known: or else nonsense would find something.
    BadlyMisspelt,
}

impl Plan {
    /// # Errors
    /// The index cannot be read.
    pub fn of(text: &str, snapshot: &Snapshot, thesaurus: &Thesaurus, effort: Effort) -> Result<Plan, SearchError> {
        let mut words = words(text);
        words.truncate(WORDS_MAX);
        let is_unfinished = text.chars().next_back().is_some_and(char::is_alphanumeric);
        let effort = match effort {
            Effort::BadlyMisspelt if !is_any_known(&words, snapshot)? => Effort::Misspelt,
            effort => effort,
        };
        let mut plan = Plan::default();
        for (at, word) in words.iter().enumerate() {
            let is_last = is_unfinished && at + 1 == words.len();
            plan.word(&word.text, 1 << at, is_last, snapshot, effort)?;
            let is_filler = is_filler(&word.text) && words.len() > 1;
            plan.slots.push(Slot { weight: 0.0, is_filler });
        }
        for (at, pair) in pairs(&words).enumerate() {
            plan.add(Part::Title, &pair, surely::FORM, 0b11 << at);
            forms(&pair).iter().for_each(|form| plan.add(Part::Title, form, surely::FORM, 0b11 << at));
        }
        plan.codes(text, &words, snapshot, is_unfinished)?;
        for (slots, phrase) in thesaurus.others(&words) {
            plan.phrase(phrase, slots);
        }
        plan.terms.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        plan.weigh(snapshot)?;
        Ok(plan)
    }

    /// Slots that must be found.
    pub fn required(&self) -> u32 {
        self.slots.iter().enumerate().filter(|(_, slot)| !slot.is_filler).fold(0, |bits, (at, _)| bits | 1 << at)
    }

    fn add(&mut self, part: Part, text: &str, quality: f32, slots: u32) {
        let quality = quality * worth(part);
        self.terms.push(Candidate { part, texts: vec![text.to_owned()], quality, slots });
    }

    fn word(
        &mut self,
        word: &str,
        slot: u32,
        is_unfinished: bool,
        snapshot: &Snapshot,
        effort: Effort,
    ) -> Result<(), SearchError> {
        for part in [Part::Title, Part::Label, Part::Prose] {
            self.add(part, word, surely::SAME, slot);
            forms(word).iter().for_each(|form| self.add(part, form, surely::FORM, slot));
        }
        self.add(Part::Pair, word, surely::FORM, slot);
        forms(word).iter().for_each(|form| self.add(Part::Pair, form, surely::FORM, slot));
        if is_unfinished && !is_number(word) {
            for part in [Part::Title, Part::Label] {
                for (text, _) in prefixed(snapshot, part, word)? {
                    let quality = surely::PREFIX + surely::PREFIX_WHOLE * word.len() as f32 / text.len() as f32;
                    self.add(part, &text, quality, slot);
                }
            }
            if word.len() > 3 {
                for (text, _) in prefixed(snapshot, Part::Pair, word)? {
                    self.add(Part::Pair, &text, surely::PREFIX, slot);
                }
            }
        }
        if effort > Effort::AsWritten {
            for part in [Part::Title, Part::Pair, Part::Label] {
                for (text, quality) in misspelt(snapshot, part, word, is_unfinished, edits_max(part, word, effort))? {
                    self.add(part, &text, quality, slot);
                }
            }
        }
        Ok(())
    }

    /// Codes are looked for as they are typed: from space to space.
    fn codes(
        &mut self,
        text: &str,
        words: &[Word],
        snapshot: &Snapshot,
        is_unfinished: bool,
    ) -> Result<(), SearchError> {
        let mut from = 0;
        for code in text.split_whitespace() {
            let start = from + text[from..].find(code).unwrap_or_default();
            from = start + code.len();
            let is_inside = |word: &Word| word.start >= start && word.end <= from;
            let slots = (0..).zip(words).filter(|(_, word)| is_inside(word)).fold(0, |bits, (at, _)| bits | 1u32 << at);
            let lower = code.to_lowercase();
            if slots == 0 || !lower.bytes().any(|byte| byte.is_ascii_digit()) {
                continue;
            }
            self.add(Part::Code, &lower, surely::SAME, slots);
            if is_unfinished && from == text.len() && lower.len() > 2 {
                for (text, _) in prefixed(snapshot, Part::Code, &lower)? {
                    self.add(Part::Code, &text, surely::PREFIX, slots);
                }
            }
        }
        Ok(())
    }

    /// What has the same meaning as some slots.
    fn phrase(&mut self, phrase: &[Word], slots: u32) {
        match phrase {
            [] => {}
            [word] => {
                for part in [Part::Title, Part::Label, Part::Prose] {
                    self.add(part, &word.text, surely::SYNONYM, slots);
                    forms(&word.text).iter().for_each(|form| self.add(part, form, surely::SYNONYM, slots));
                }
                self.add(Part::Pair, &word.text, surely::SYNONYM, slots);
            }
            phrase => {
                let texts = pairs(phrase).collect();
                self.terms.push(Candidate { part: Part::Pair, texts, quality: surely::SYNONYM, slots });
            }
        }
    }

    /// How much each slot counts: by the documents that have it as it is written, or else as it may be meant.
    fn weigh(&mut self, snapshot: &Snapshot) -> Result<(), SearchError> {
        const FILLER: f32 = 0.15;
        if let [only] = self.slots.as_mut_slice() {
            only.weight = 1.0;
            return Ok(());
        }
        let all = snapshot.searcher.num_docs() as f32;
        let mut unknown = Vec::new();
        for at in 0..self.slots.len() {
            if self.slots[at].is_filler {
                self.slots[at].weight = FILLER;
                continue;
            }
            let of_slot = || self.terms.iter().filter(|term| term.slots == 1 << at && term.part != Part::Prose);
            let sure = of_slot().filter(|term| term.quality >= surely::FORM);
            let mut documents = frequency(snapshot, sure)?;
            if documents == 0 {
                documents = frequency(snapshot, of_slot())?;
            }
            match documents {
                0 => unknown.push(at),
                _ => self.slots[at].weight = (all / documents as f32).ln_1p(),
            }
        }
        // As much as any other: a word that nobody knows is misspelt, more often than not.
        let most = self.slots.iter().map(|slot| slot.weight).fold(FILLER, f32::max);
        unknown.into_iter().for_each(|at| self.slots[at].weight = most);
        Ok(())
    }
}

/// Documents that have any of these, those counted twice that have two.
fn frequency<'a>(snapshot: &Snapshot, terms: impl Iterator<Item = &'a Candidate>) -> Result<u32, SearchError> {
    let mut documents = 0;
    for term in terms {
        for segment in &snapshot.segments {
            let found = segment.words(term.part).terms().get(&term.texts[0]).map_err(tantivy::TantivyError::from)?;
            documents += found.map_or(0, |found| found.doc_freq);
        }
    }
    Ok(documents)
}

/// Words that begin so and are longer, the most frequent first, with the number of documents that have them.
fn prefixed(snapshot: &Snapshot, part: Part, prefix: &str) -> Result<Vec<(String, u32)>, SearchError> {
    let mut found: HashMap<String, u32> = HashMap::new();
    for segment in &snapshot.segments {
        let mut words = segment.words(part).terms().range().gt(prefix).into_stream()?;
        let mut seen = 0;
        while seen < GUESSES_SEEN_MAX && words.advance() && words.key().starts_with(prefix.as_bytes()) {
            seen += 1;
            count(&mut found, words.key(), words.value().doc_freq);
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    if found.len() > GUESSES_MAX {
        found.select_nth_unstable_by(GUESSES_MAX, |a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found.truncate(GUESSES_MAX);
    }
    Ok(found)
}

fn count(found: &mut HashMap<String, u32>, word: &[u8], documents: u32) {
    let Ok(word) = std::str::from_utf8(word) else { return };
    match found.get_mut(word) {
        Some(count) => *count += documents,
        None => drop(found.insert(word.to_owned(), documents)),
    }
}

/// Whether any of the words that say something is in a title as it is typed, or in another form.
fn is_any_known(words: &[Word], snapshot: &Snapshot) -> Result<bool, SearchError> {
    for word in words.iter().filter(|word| !is_filler(&word.text) && !is_number(&word.text)) {
        let forms = forms(&word.text);
        for text in std::iter::once(word.text.as_str()).chain(forms.iter().map(AsRef::as_ref)) {
            for segment in &snapshot.segments {
                if segment.words(Part::Title).terms().get(text).map_err(tantivy::TantivyError::from)?.is_some() {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// How many edits may be between what is typed and what is meant: the longer a word, the more. A pair is many words' neighbour.
fn edits_max(part: Part, word: &str, effort: Effort) -> u8 {
    let letters = word.chars().count();
    match (part, effort) {
        (_, Effort::AsWritten) => 0,
        (Part::Pair, _) => u8::from(letters > 5),
        (_, Effort::Misspelt) => u8::from(letters > 3) + u8::from(letters > 6),
        (_, Effort::BadlyMisspelt) => u8::from(letters > 2) + u8::from(letters > 4),
    }
}

/// Words that may be meant by a misspelt one, with at most `most` edits between the two: the surest first, and how surely.
fn misspelt(
    snapshot: &Snapshot,
    part: Part,
    word: &str,
    is_unfinished: bool,
    most: u8,
) -> Result<Vec<(String, f32)>, SearchError> {
    if most == 0 || word.bytes().any(|byte| byte.is_ascii_digit()) {
        return Ok(Vec::new());
    }
    let field = match part {
        Part::Title => snapshot.fields.title,
        Part::Pair => snapshot.fields.pair,
        Part::Code => snapshot.fields.code,
        Part::Label => snapshot.fields.label,
        Part::Prose => snapshot.fields.prose,
    };
    let term = Term::from_field_text(field, word);
    let mut found: HashMap<String, u32> = HashMap::new();
    for segment in &snapshot.segments {
        let query = match is_unfinished {
            true => FuzzyTermQuery::new_prefix(term.clone(), most, true),
            false => FuzzyTermQuery::new(term.clone(), most, true),
        };
        let mut words = segment.words(part).terms().search(query.automaton()?).into_stream()?;
        let mut seen = 0;
        while seen < GUESSES_SEEN_MAX && words.advance() {
            seen += 1;
            count(&mut found, words.key(), words.value().doc_freq);
        }
    }
    let first = |word: &str| word.chars().next();
    let mut guesses: Vec<_> = found
        .into_iter()
        .filter_map(|(text, documents)| {
            let whole = edits(word, &text, false, most);
            let unfinished = || edits(word, &text, true, most).map(|edits| (edits, surely::TYPO_PREFIX));
            let (edits, less) = whole.map(|edits| (edits, 0.0)).or_else(|| unfinished().filter(|_| is_unfinished))?;
            if edits == 0 {
                return None; // It is found without.
            }
            // Two of five letters are many; so they must begin alike.
            let begins_alike = first(word) == first(&text);
            if edits > 1 && !begins_alike {
                return None;
            }
            let less = if begins_alike { less } else { less + surely::FIRST_LETTER };
            Some((text, surely::TYPO[usize::from(edits)] - less, documents))
        })
        .collect();
    guesses.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.2.cmp(&a.2)).then_with(|| a.0.cmp(&b.0)));
    guesses.truncate(GUESSES_MAX);
    Ok(guesses.into_iter().map(|(text, quality, _)| (text, quality)).collect())
}
