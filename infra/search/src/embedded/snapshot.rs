//! A collection as it is at one moment, ready to be searched.

use super::columns::{Columns, FacetNames};
use super::schema::Fields;
use crate::engine::{Checkpoint, SearchError};
use std::collections::HashMap;
use std::sync::Arc;
use tantivy::index::{InvertedIndexReader, SegmentId};
use tantivy::{Index, IndexReader, Searcher, SegmentReader};

/// What of a document a word was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    Title,
    /// Two words of the title as one.
    Pair,
    Code,
    Label,
    Prose,
}

pub const PARTS: [Part; 5] = [Part::Title, Part::Pair, Part::Code, Part::Label, Part::Prose];

/// A part of a collection.
#[derive(Clone)]
pub struct Segment {
    pub reader: SegmentReader,
    pub columns: Arc<Columns>,
    /// By part.
    words: [Arc<InvertedIndexReader>; PARTS.len()],
}

impl Segment {
    pub fn words(&self, part: Part) -> &InvertedIndexReader {
        &self.words[part as usize]
    }
}

#[derive(Clone)]
pub struct Snapshot {
    pub searcher: Searcher,
    pub fields: Fields,
    /// Those of the searcher, in its order.
    pub segments: Vec<Segment>,
    pub facets: Arc<FacetNames>,
    /// Of the highest `sold` of a document, as [`Columns::sold`] has it.
    pub best_sold: f32,
    /// It is in what is searched; what is searched may be ahead of it for a moment.
    pub checkpoint: Option<Checkpoint>,
    by_segment: HashMap<SegmentId, Arc<Columns>>,
}

impl Snapshot {
    /// What was committed last. `before` lends the columns of the segments that are still there.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn take(
        index: &Index,
        reader: &IndexReader,
        fields: Fields,
        before: Option<&Snapshot>,
    ) -> Result<Snapshot, SearchError> {
        // First, so that it says no more than is there.
        let payload = index.load_metas()?.payload;
        reader.reload()?;
        let searcher = reader.searcher();
        let mut facets = before.map(|before| before.facets.clone()).unwrap_or_default();
        let mut by_segment = HashMap::new();
        let mut segments = Vec::with_capacity(searcher.segment_readers().len());
        for reader in searcher.segment_readers() {
            let id = reader.segment_id();
            let of_segment = match before.and_then(|before| before.by_segment.get(&id)) {
                Some(known) => known.clone(),
                None => Arc::new(Columns::of(reader, &fields, Arc::make_mut(&mut facets))?),
            };
            by_segment.insert(id, of_segment.clone());
            let words = |field| reader.inverted_index(field);
            let words = [
                words(fields.title)?,
                words(fields.pair)?,
                words(fields.code)?,
                words(fields.label)?,
                words(fields.prose)?,
            ];
            segments.push(Segment { reader: reader.clone(), columns: of_segment, words });
        }
        let checkpoint = payload.map(|payload| serde_json::from_str(&payload)).transpose();
        let checkpoint = checkpoint
            .map_err(|error| SearchError::Failed(format!("the checkpoint of the index is damaged: {error}")))?;
        let sold = segments.iter().flat_map(|segment| &segment.columns.sold).copied();
        let best_sold = sold.fold(0.0, f32::max);
        Ok(Snapshot { searcher, fields, segments, facets, best_sold, checkpoint, by_segment })
    }

    pub fn position(&self) -> i64 {
        self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.position)
    }
}

impl From<tantivy::TantivyError> for SearchError {
    fn from(error: tantivy::TantivyError) -> Self {
        SearchError::Failed(error.to_string())
    }
}
