//! What is looked at for each product that matches, in memory: one block a segment, built when the segment is first seen.

use super::schema::{Fields, SEPARATOR, column, unpacked};
use std::collections::HashMap;
use std::sync::Arc;
use tantivy::columnar::StrColumn;
use tantivy::postings::Postings;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocId, DocSet, SegmentReader, TERMINATED};

/// Number of a facet, the same in all segments of a collection.
pub type FacetId = u32;
/// [`FacetNames::group`] of categories; that of an attribute is higher.
pub const CATEGORIES: u16 = 0;

/// Of each document of a segment.
#[derive(Debug)]
pub struct Columns {
    /// Words of the title in its order, by their ordinals in the segment's dictionary.
    pub titles: Lists,
    pub facets: Lists,
    /// By currency, minor units or [`NO_PRICE`].
    pub prices: Vec<(u16, Vec<i64>)>,
    pub flags: Vec<Flags>,
    /// ln(1 + units).
    pub sold: Vec<f32>,
    pub listed: Vec<i64>,
    pub ties: Vec<u64>,
}

pub const NO_PRICE: i64 = -1;

#[derive(Debug, Clone, Copy, Default)]
pub struct Flags {
    pub is_public: bool,
    pub is_in_stock: bool,
}

/// A list of numbers for each document, one after another.
#[derive(Debug)]
pub struct Lists {
    ends: Vec<u32>,
    values: Vec<u32>,
}

impl Lists {
    pub fn of(&self, document: DocId) -> &[u32] {
        let document = document as usize;
        let start = if document == 0 { 0 } else { self.ends[document - 1] };
        &self.values[start as usize..self.ends[document] as usize]
    }

    fn new(lists: impl Iterator<Item = Vec<u32>>) -> Self {
        let mut built = Lists { ends: Vec::new(), values: Vec::new() };
        for list in lists {
            built.values.extend(list);
            built.ends.push(built.values.len() as u32);
        }
        built
    }
}

impl Columns {
    /// `names` learns facets that are new.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn of(segment: &SegmentReader, fields: &Fields, names: &mut FacetNames) -> tantivy::Result<Self> {
        let documents = segment.max_doc();
        let columns = segment.fast_fields();
        let (public, in_stock) = (columns.bool(column::PUBLIC)?, columns.bool(column::IN_STOCK)?);
        let flags = |document| Flags {
            is_public: public.first(document).unwrap_or_default(),
            is_in_stock: in_stock.first(document).unwrap_or_default(),
        };
        let sold = columns.f64(column::SOLD)?;
        let sold = |document| sold.first(document).unwrap_or_default().max(0.0).ln_1p() as f32;
        let (listed, tie) = (columns.i64(column::LISTED)?, columns.u64(column::TIE)?);
        Ok(Columns {
            titles: titles(segment, fields)?,
            facets: facets(columns.str(column::FACET)?, documents, names)?,
            prices: prices(&columns.u64(column::PRICE)?, documents),
            flags: (0..documents).map(flags).collect(),
            sold: (0..documents).map(sold).collect(),
            listed: (0..documents).map(|document| listed.first(document).unwrap_or_default()).collect(),
            ties: (0..documents).map(|document| tie.first(document).unwrap_or_default()).collect(),
        })
    }

    /// `None`: nothing here has a price in it.
    pub fn prices_in(&self, currency: u16) -> Option<&[i64]> {
        self.prices.iter().find(|(of, _)| *of == currency).map(|(_, prices)| prices.as_slice())
    }
}

/// Put together from the places that each word is at.
fn titles(segment: &SegmentReader, fields: &Fields) -> tantivy::Result<Lists> {
    let index = segment.inverted_index(fields.title)?;
    let mut titles: Vec<Vec<u32>> = vec![Vec::new(); segment.max_doc() as usize];
    let mut words = index.terms().stream()?;
    let mut places = Vec::new();
    while words.advance() {
        let word = words.term_ord() as u32;
        let option = IndexRecordOption::WithFreqsAndPositions;
        let mut postings = index.read_postings_from_terminfo(words.value(), option)?;
        while postings.doc() != TERMINATED {
            postings.positions(&mut places);
            let title = &mut titles[postings.doc() as usize];
            for &place in &places {
                let place = place as usize;
                if title.len() <= place {
                    title.resize(place + 1, u32::MAX);
                }
                title[place] = word;
            }
            postings.advance();
        }
    }
    Ok(Lists::new(titles.into_iter()))
}

fn facets(column: Option<StrColumn>, documents: DocId, names: &mut FacetNames) -> tantivy::Result<Lists> {
    let Some(column) = column else { return Ok(Lists::new((0..documents).map(|_| Vec::new()))) };
    let mut ids = Vec::with_capacity(column.num_terms());
    let mut text = String::new();
    for ordinal in 0..column.num_terms() as u64 {
        text.clear();
        column.ord_to_str(ordinal, &mut text)?;
        ids.push(names.learn(&text));
    }
    let of = |document| column.term_ords(document).filter_map(|ordinal| ids.get(ordinal as usize).copied()).collect();
    Ok(Lists::new((0..documents).map(of)))
}

fn prices(column: &tantivy::columnar::Column<u64>, documents: DocId) -> Vec<(u16, Vec<i64>)> {
    let mut prices: Vec<(u16, Vec<i64>)> = Vec::new();
    for document in 0..documents {
        for (currency, amount) in column.values_for_doc(document).map(unpacked) {
            let at = prices.iter().position(|(of, _)| *of == currency).unwrap_or_else(|| {
                prices.push((currency, vec![NO_PRICE; documents as usize]));
                prices.len() - 1
            });
            prices[at].1[document as usize] = amount;
        }
    }
    prices
}

/// All facets that a collection has, or had, by number.
#[derive(Debug, Clone, Default)]
pub struct FacetNames {
    names: Vec<Arc<FacetName>>,
    /// By what is in the index.
    ids: HashMap<Arc<str>, FacetId>,
    /// By group and value: a category that is renamed stays the same.
    of_values: HashMap<(u16, Arc<str>), FacetId>,
    attributes: Vec<Arc<str>>,
}

#[derive(Debug)]
pub struct FacetName {
    pub group: u16,
    /// What the filter takes.
    pub value: Arc<str>,
    /// What people read.
    pub label: String,
}

impl FacetNames {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn get(&self, id: FacetId) -> &FacetName {
        &self.names[id as usize]
    }

    /// The group of an attribute. `None`: nothing has it.
    pub fn group(&self, attribute: &str) -> Option<u16> {
        self.attributes.iter().position(|name| **name == *attribute).map(|at| at as u16 + CATEGORIES + 1)
    }

    /// The attribute of a group. `None`: it is that of categories.
    pub fn attribute(&self, group: u16) -> Option<&str> {
        self.attributes.get(usize::from(group.checked_sub(CATEGORIES + 1)?)).map(|name| &**name)
    }

    /// Those with one of these values.
    pub fn find(&self, group: u16, values: &[String]) -> Vec<FacetId> {
        let of = |value: &String| self.of_values.get(&(group, value.as_str().into())).copied();
        values.iter().filter_map(of).collect()
    }

    fn learn(&mut self, text: &str) -> FacetId {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let mut parts = text.splitn(3, SEPARATOR);
        let (kind, first, second) = (parts.next(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (group, value, label) = match kind {
            Some("a") => (self.group_of_attribute(first), second, second),
            _ => (CATEGORIES, first, second),
        };
        let name = Arc::new(FacetName { group, value: value.into(), label: label.to_owned() });
        let id = *self.of_values.entry((group, name.value.clone())).or_insert(self.names.len() as FacetId);
        match self.names.get_mut(id as usize) {
            Some(renamed) => *renamed = name,
            None => self.names.push(name),
        }
        self.ids.insert(text.into(), id);
        id
    }

    fn group_of_attribute(&mut self, attribute: &str) -> u16 {
        self.group(attribute).unwrap_or_else(|| {
            self.attributes.push(attribute.into());
            self.attributes.len() as u16 + CATEGORIES
        })
    }
}
