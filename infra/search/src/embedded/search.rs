//! A search from the text to the page of hits.

use super::counts::Counts;
use super::filters::Filters;
use super::highlight::Highlighter;
use super::matching::{Enough, Match, Room};
use super::plan::{Effort, Plan};
use super::snapshot::{Part, Snapshot};
use super::thesaurus::Thesaurus;
use crate::answer::{Answer, Hit};
use crate::engine::SearchError;
use crate::query::{Order, Query};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use tantivy::{DocAddress, DocId, TantivyDocument};

/// Of the best hits the order of the words is looked at, too.
const READ_CLOSELY: usize = 64;
/// What all words of a text weigh together that a document must have when none has all words.
const WEIGHT_LEAST: f32 = 0.6;
/// What sales are worth beside a text that is matched whole.
const SALES: f32 = 0.06;

/// What the title adds to a match: whether its words follow each other as typed, whether they are all of it, and whether it
/// begins with them.
mod title {
    pub const ADJACENT: f32 = 0.06;
    pub const IN_ORDER: f32 = 0.03;
    pub const WHOLE: f32 = 0.1;
    pub const BEGINS: f32 = 0.03;
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// A hit as it is sorted.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// The higher, the earlier.
    key: f64,
    score: f32,
    tie: u64,
    segment: u32,
    document: DocId,
    slots: u32,
}

impl Found {
    fn order(&self, other: &Self) -> Ordering {
        other.key.total_cmp(&self.key).then(other.score.total_cmp(&self.score)).then(self.tie.cmp(&other.tie))
    }
}

/// The best of those that were found, in no order until the end.
struct Best {
    most: usize,
    found: Vec<Found>,
}

impl Best {
    fn push(&mut self, found: Found) {
        self.found.push(found);
        if self.found.len() >= 2 * self.most.max(128) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.found.len() > self.most {
            self.found.select_nth_unstable_by(self.most, Found::order);
            self.found.truncate(self.most);
        }
    }

    fn sorted(mut self) -> Vec<Found> {
        self.cut();
        self.found.sort_unstable_by(Found::order);
        self.found
    }
}

/// Answers a query that is checked; `collection` and `took` are left to the caller.
///
/// # Errors
/// The index cannot be read.
pub fn search(snapshot: &Snapshot, thesaurus: &Thesaurus, query: &Query) -> Result<Answer, SearchError> {
    let mut search = Search::of(snapshot, query);
    if query.text.trim().is_empty() {
        search.all();
        return search.answer(&Plan::default());
    }
    let mut plan = Plan::default();
    for effort in [Effort::AsWritten, Effort::Misspelt, Effort::BadlyMisspelt] {
        plan = Plan::of(&query.text, snapshot, thesaurus, effort)?;
        if plan.slots.is_empty() {
            return search.answer(&plan); // Of nothing but punctuation.
        }
        search.matching(&plan, &Enough::All(plan.required()))?;
        if search.has_found {
            return search.answer(&plan);
        }
    }
    if plan.slots.len() > 1 {
        let all: f32 = plan.slots.iter().map(|slot| slot.weight).sum();
        search.matching(&plan, &Enough::Weight(all * WEIGHT_LEAST))?;
    }
    search.answer(&plan)
}

struct Search<'a> {
    snapshot: &'a Snapshot,
    query: &'a Query,
    filters: Filters,
    counts: Option<Counts<'a>>,
    best: Best,
    total: usize,
    /// Whether the text matched anything that may be seen, whatever the filters say.
    has_found: bool,
}

impl<'a> Search<'a> {
    fn of(snapshot: &'a Snapshot, query: &'a Query) -> Self {
        let page = query.offset + query.limit;
        let most = if query.order == Order::Relevance { page.max(READ_CLOSELY) } else { page };
        Search {
            snapshot,
            query,
            filters: Filters::of(query, &snapshot.facets),
            counts: query.facets.then(|| Counts::of(query, &snapshot.facets)),
            best: Best { most, found: Vec::new() },
            total: 0,
            has_found: false,
        }
    }

    /// Every document.
    fn all(&mut self) {
        for segment in 0..self.snapshot.segments.len() {
            for document in self.snapshot.segments[segment].reader.doc_ids_alive() {
                self.take(segment, Match { document, score: 0.0, slots: 0 });
            }
        }
    }

    fn matching(&mut self, plan: &Plan, enough: &Enough) -> Result<(), SearchError> {
        ROOM.with_borrow_mut(|room| {
            for (at, segment) in self.snapshot.segments.iter().enumerate() {
                room.each(segment, plan, enough, |found| self.take(at, found))?;
            }
            Ok(())
        })
    }

    fn take(&mut self, segment: usize, Match { document, score, slots }: Match) {
        let columns = &*self.snapshot.segments[segment].columns;
        let prices = self.filters.prices(columns);
        let Some(failed) = self.filters.failed(columns, prices, document) else { return };
        self.has_found = true;
        if let Some(counts) = &mut self.counts {
            counts.count(self.filters.counts_for(failed), columns, prices, document);
        }
        if failed != 0 {
            return;
        }
        self.total += 1;
        let at = document as usize;
        let best_sold = self.snapshot.best_sold;
        let sales = if best_sold > 0.0 { columns.sold[at] / best_sold * SALES } else { 0.0 };
        let words = columns.titles.of(document).len().max(1) as f32;
        let score = score + title::WHOLE * (slots.count_ones() as f32 / words).min(1.0) + sales;
        let price = |sign: f64| {
            let price = prices.map(|prices| prices[at]).filter(|&price| price != super::columns::NO_PRICE);
            price.map_or(f64::NEG_INFINITY, |price| sign * price as f64)
        };
        let key = match self.query.order {
            Order::Relevance => f64::from(score),
            Order::Price => price(-1.0),
            Order::PriceDescending => price(1.0),
            Order::Newest => columns.listed[at] as f64,
            Order::BestSelling => f64::from(columns.sold[at]),
        };
        self.best.push(Found { key, score, tie: columns.ties[at], segment: segment as u32, document, slots });
    }

    fn answer(self, plan: &Plan) -> Result<Answer, SearchError> {
        let Search { snapshot, query, counts, best, total, .. } = self;
        let mut found = best.sorted();
        if query.order == Order::Relevance {
            let read = found.len().min(READ_CLOSELY);
            read_closely(snapshot, plan, &mut found[..read])?;
        }
        let highlighter = Highlighter::of(plan);
        let mut hits = Vec::with_capacity(query.limit);
        for found in found.iter().skip(query.offset).take(query.limit) {
            let kept: TantivyDocument = snapshot.searcher.doc(DocAddress::new(found.segment, found.document))?;
            let shown = snapshot.fields.shown(&kept)?;
            hits.push(Hit {
                title: highlighter.whole(&shown.title),
                excerpt: shown.description.as_deref().and_then(|description| highlighter.excerpt(description)),
                product: shown.product.into_owned(),
                score: f64::from(found.score),
                card: snapshot.fields.card(&kept)?,
            });
        }
        Ok(Answer {
            hits,
            total,
            facets: counts.map(Counts::facets),
            position: snapshot.position(),
            ..Answer::default()
        })
    }
}

/// Looks at the titles of the best hits, and sorts them anew.
fn read_closely(snapshot: &Snapshot, plan: &Plan, found: &mut [Found]) -> Result<(), SearchError> {
    if plan.slots.is_empty() {
        return Ok(());
    }
    // By segment, which slots a word of a title stands for.
    let mut meanings: Vec<Option<HashMap<u32, u32>>> = vec![None; snapshot.segments.len()];
    for found in found.iter_mut() {
        let segment = &snapshot.segments[found.segment as usize];
        let meaning = match &mut meanings[found.segment as usize] {
            Some(known) => known,
            unknown => {
                let mut meaning = HashMap::new();
                for term in plan.terms.iter().filter(|term| term.part == Part::Title) {
                    if let Some(word) = segment.words(Part::Title).terms().term_ord(&term.texts[0])? {
                        *meaning.entry(word as u32).or_default() |= term.slots;
                    }
                }
                unknown.insert(meaning)
            }
        };
        let words = segment.columns.titles.of(found.document);
        let slots = words.iter().map(|word| meaning.get(word).copied().unwrap_or_default());
        let rough = title::WHOLE * (found.slots.count_ones() as f32 / words.len().max(1) as f32).min(1.0);
        found.score += closeness(&slots.collect::<Vec<_>>(), plan.slots.len()) - rough;
        found.key = f64::from(found.score);
    }
    found.sort_unstable_by(Found::order);
    Ok(())
}

/// What a title adds, with the slots that each of its words stands for.
fn closeness(words: &[u32], slots: usize) -> f32 {
    let place = |slot: usize| words.iter().position(|word| word >> slot & 1 == 1);
    let steps = (1..slots).map(|slot| (place(slot - 1), place(slot)));
    let steps: Vec<_> = steps.filter_map(|(a, b)| Some((a?, b?))).collect();
    let share = |count: usize| if slots > 1 { count as f32 / (slots - 1) as f32 } else { 0.0 };
    let adjacent = words.windows(2).filter(|two| two[0] << 1 & two[1] != 0).count().min(slots - 1);
    let in_order = steps.iter().filter(|(a, b)| a < b).count();
    let matched = words.iter().filter(|word| **word != 0).count();
    let begins = words.first().is_some_and(|word| word & 1 == 1);
    title::ADJACENT * share(adjacent)
        + title::IN_ORDER * share(in_order)
        + title::WHOLE * matched as f32 / words.len().max(1) as f32
        + if begins { title::BEGINS } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_closer_the_more_it_is_what_was_typed() {
        let typed = closeness(&[0b01, 0b10], 2);
        let longer = closeness(&[0b01, 0b10, 0], 2);
        let apart = closeness(&[0b01, 0, 0b10], 2);
        let turned = closeness(&[0b10, 0, 0b01], 2);
        assert!(typed > longer && longer > apart && apart > turned, "{typed} {longer} {apart} {turned}");
    }
}
