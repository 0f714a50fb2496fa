//! Which documents of a segment match a plan, and how well.

use super::plan::{Candidate, Plan};
use super::snapshot::{Part, Segment};
use crate::engine::SearchError;
use tantivy::postings::BlockSegmentPostings;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, TERMINATED};

/// Room to match in, kept from one search to the next. Between searches all of it is zero.
#[derive(Default)]
pub struct Room {
    /// Slots that a document has, by document.
    slots: Vec<u32>,
    /// What they are worth.
    scores: Vec<f32>,
    /// Documents that have any.
    touched: Vec<DocId>,
}

/// A document that matches.
#[derive(Debug, Clone, Copy)]
pub struct Match {
    pub document: DocId,
    /// From 0 to 1: how much of the text it has.
    pub score: f32,
    pub slots: u32,
}

impl Room {
    /// Calls `found` with each document that has enough of the plan and is not deleted.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn each(
        &mut self,
        segment: &Segment,
        plan: &Plan,
        enough: &Enough,
        mut found: impl FnMut(Match),
    ) -> Result<(), SearchError> {
        let documents = segment.reader.max_doc() as usize;
        if self.slots.len() < documents {
            self.slots.resize(documents, 0);
            self.scores.resize(documents, 0.0);
        }
        let matched = plan.terms.iter().try_for_each(|term| self.add(segment, plan, term));
        let all: f32 = plan.slots.iter().map(|slot| slot.weight).sum();
        for &document in &self.touched {
            let slots = std::mem::take(&mut self.slots[document as usize]);
            let score = std::mem::take(&mut self.scores[document as usize]) / all;
            if matched.is_ok() && enough.is_met(slots, plan) && !segment.reader.is_deleted(document) {
                found(Match { document, score, slots });
            }
        }
        self.touched.clear();
        matched
    }

    /// The surest term comes first, so what a slot is worth is settled by the first that a document has.
    fn add(&mut self, segment: &Segment, plan: &Plan, term: &Candidate) -> Result<(), SearchError> {
        match term.texts.as_slice() {
            [text] => {
                let Some(mut postings) = postings(segment, term.part, text)? else { return Ok(()) };
                while !postings.docs().is_empty() {
                    for &document in postings.docs() {
                        self.touch(document, plan, term);
                    }
                    postings.advance();
                }
            }
            texts => {
                for document in with_all(segment, term.part, texts)? {
                    self.touch(document, plan, term);
                }
            }
        }
        Ok(())
    }

    fn touch(&mut self, document: DocId, plan: &Plan, term: &Candidate) {
        let slots = &mut self.slots[document as usize];
        let mut new = term.slots & !*slots;
        if new == 0 {
            return;
        }
        if *slots == 0 {
            self.touched.push(document);
        }
        *slots |= new;
        while new != 0 {
            self.scores[document as usize] += plan.slots[new.trailing_zeros() as usize].weight * term.quality;
            new &= new - 1;
        }
    }
}

/// What a document must have of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Enough {
    /// All that is required.
    All(u32),
    /// So much of what all slots weigh.
    Weight(f32),
}

impl Enough {
    fn is_met(&self, slots: u32, plan: &Plan) -> bool {
        match *self {
            Enough::All(required) => slots & required == required,
            Enough::Weight(least) => {
                let weight =
                    |(at, slot): (usize, &super::plan::Slot)| if slots >> at & 1 == 1 { slot.weight } else { 0.0 };
                plan.slots.iter().enumerate().map(weight).sum::<f32>() >= least
            }
        }
    }
}

fn postings(segment: &Segment, part: Part, text: &str) -> Result<Option<BlockSegmentPostings>, SearchError> {
    let index = segment.words(part);
    let Some(info) = index.terms().get(text)? else { return Ok(None) };
    Ok(Some(index.read_block_postings_from_terminfo(&info, IndexRecordOption::Basic)?))
}

fn with_all(segment: &Segment, part: Part, texts: &[String]) -> Result<Vec<DocId>, SearchError> {
    let mut all: Option<Vec<DocId>> = None;
    for text in texts {
        let mut documents = Vec::new();
        if let Some(mut postings) = postings(segment, part, text)? {
            while !postings.docs().is_empty() {
                documents.extend_from_slice(postings.docs());
                postings.advance();
            }
        }
        documents.retain(|&document| document != TERMINATED);
        all = Some(match all {
            None => documents,
            Some(before) => before.into_iter().filter(|document| documents.binary_search(document).is_ok()).collect(),
        });
    }
    Ok(all.unwrap_or_default())
}
