//! What a search store can do: one small trait, one file a store.

use crate::answer::Answer;
use crate::document::Document;
use crate::query::Query;
use crate::synonyms::Synonym;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

/// Holds collections of products and searches them. Names of collections and aliases are of `a-z`, `0-9`, `_` and `-`, at most
/// 100 of them; no alias is called as a collection is.
pub trait Engine: Send + Sync {
    /// `tantivy`, `typesense`
    fn kind(&self) -> &'static str;

    /// Makes an empty collection. One that is there already stays as it is.
    fn create<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>>;

    /// Removes a collection with all that is in it, if it is there.
    fn remove<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>>;

    /// The names of all collections, sorted.
    fn collections(&self) -> BoxFuture<'_, Result<Vec<String>, SearchError>>;

    /// Points an alias at a collection: who searches the alias searches that one from now on, in other processes within
    /// a moment.
    fn show<'a>(&'a self, alias: &'a str, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>>;

    /// Takes an alias away, if it is there: who searches it learns that there is none, in other processes within a moment.
    fn hide<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<(), SearchError>>;

    /// The collection that an alias points at.
    fn shown<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<Option<String>, SearchError>>;

    /// Opens a collection for the writer with this fence and says how far the collection has come. A writer with a lower fence
    /// is refused from then on.
    ///
    /// # Errors
    /// [`SearchError::Fenced`]: a writer with a higher fence was here. [`SearchError::Busy`]: another process still holds the
    /// collection; it is told to let go, so to be tried again.
    fn open<'a>(&'a self, collection: &'a str, fence: i64) -> BoxFuture<'a, Result<Option<Checkpoint>, SearchError>>;

    /// Writes documents and checkpoint. They are found when this returns, in other processes within a moment.
    ///
    /// With tantivy both are written or neither. With Typesense the checkpoint is written last, so a batch that failed may be
    /// there in part, and is to be written again.
    fn write<'a>(&'a self, collection: &'a str, batch: Batch) -> BoxFuture<'a, Result<(), SearchError>>;

    /// How far a collection has come, as last written. `None`: nothing was.
    fn checkpoint<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<Option<Checkpoint>, SearchError>>;

    /// The documents of these products, those that there are, in no order; as last written.
    fn read<'a>(
        &'a self,
        collection: &'a str,
        products: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>>;

    /// The documents that are sold under any of these SKUs, each once, in no order; as last written.
    fn read_by_sku<'a>(
        &'a self,
        collection: &'a str,
        skus: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>>;

    /// The documents that are in any of these categories, each once, in no order; as last written.
    fn read_by_category<'a>(
        &'a self,
        collection: &'a str,
        categories: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>>;

    /// Every document, in no order. With tantivy as they are at one moment; with Typesense only if nothing is written meanwhile.
    fn scan<'a>(
        &'a self,
        collection: &'a str,
    ) -> BoxFuture<'a, Result<BoxStream<'a, Result<Document, SearchError>>, SearchError>>;

    /// Searches a collection, or the one that an alias of this name points at.
    fn search<'a>(&'a self, name: &'a str, query: &'a Query) -> BoxFuture<'a, Result<Answer, SearchError>>;

    /// Replaces the synonyms, of all collections.
    fn set_synonyms<'a>(&'a self, synonyms: &'a [Synonym]) -> BoxFuture<'a, Result<(), SearchError>>;

    /// The synonyms that are in force.
    fn synonyms(&self) -> BoxFuture<'_, Result<Vec<Synonym>, SearchError>>;
}

/// What is written together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Of whom it is.
    pub fence: i64,
    /// Each product once.
    pub documents: Vec<Document>,
    /// Products whose documents go. None of them is in `documents`.
    pub removed: Vec<String>,
    pub checkpoint: Checkpoint,
}

/// How far a collection has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Every event up to this position is in the documents.
    pub position: i64,
    /// What else its writer keeps, as it is.
    #[serde(default)]
    pub state: String,
}

/// Why a search store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Nothing was written.
    #[error("the collection {collection} is written with fence {by}, not {fence} any more")]
    Fenced { collection: String, fence: i64, by: i64 },
    /// To be tried again.
    #[error("the collection {collection} is held by another process")]
    Busy { collection: String },
    #[error("there is no collection or alias {0}")]
    Unknown(String),
    #[error("the name of a collection or alias must be 1 to 100 of a-z, 0-9, _ and -, is {0:?}")]
    Name(String),
    /// Such as text that is too long; `must` follows the field.
    #[error("{field} {must}")]
    Refused { field: &'static str, must: String },
    /// The store cannot be reached, or did not answer in time.
    #[error("the search store cannot be reached: {0}")]
    Unreachable(String),
    /// The store is there, but something is wrong with it or with what it said.
    #[error("the search store failed: {0}")]
    Failed(String),
}

/// # Errors
/// [`SearchError::Name`]
pub(crate) fn check_name(name: &str) -> Result<&str, SearchError> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    match (1..=100).contains(&name.len()) && name.bytes().all(is_allowed) {
        true => Ok(name),
        false => Err(SearchError::Name(name.chars().take(100).collect())),
    }
}
