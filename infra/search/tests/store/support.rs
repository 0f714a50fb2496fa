//! A store to test, and a small shop in it.

use crate::between::{Between, Other};
use kontor_search::{Batch, Category, Checkpoint, Document, Embedded, Engine, Query, Typesense};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Where it is, and a name for its collections that no other test has.
pub struct Store {
    engine: Arc<dyn Engine>,
    pub name: String,
    folder: Option<TempDir>,
    /// Looks at what we say to a Typesense, and at what it says.
    _between: Option<Between>,
}

impl Deref for Store {
    type Target = dyn Engine;

    fn deref(&self) -> &Self::Target {
        &*self.engine
    }
}

impl Store {
    pub fn in_a_folder() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let engine = Arc::new(Embedded::open(folder.path()).expect("a folder that can be written"));
        Store { engine, name: "products_1".to_owned(), folder: Some(folder), _between: None }
    }

    /// `None`, and says so, if none is named.
    pub fn in_typesense() -> Option<Self> {
        let Ok(url) = std::env::var("KONTOR_SEARCH_URL") else {
            eprintln!("NOT TESTED: KONTOR_SEARCH_URL names no Typesense");
            return None;
        };
        let key = std::env::var("KONTOR_SEARCH__API_KEY").unwrap_or_default();
        let server = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let between = Between::and(Other::Server(server));
        let url = between.as_ref().map_or(url, |between| between.url.clone());
        let engine = Arc::new(Typesense::of(&url, &key, Duration::from_secs(20)).expect("a URL"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970").as_nanos();
        Some(Store { engine, name: format!("test_{now}"), folder: None, _between: between })
    }

    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("it is in a folder").path()
    }

    /// Makes the collection, with these in it.
    pub async fn fill(&self, documents: Vec<Document>) {
        self.create(&self.name).await.expect("a collection is made");
        self.open(&self.name, 1).await.expect("it is opened");
        self.put(documents, 1).await;
    }

    pub async fn put(&self, documents: Vec<Document>, position: i64) {
        let checkpoint = Checkpoint { position, state: format!("{{\"at\":{position}}}") };
        let batch = Batch { fence: 1, documents, removed: Vec::new(), checkpoint };
        self.write(&self.name, batch).await.expect("it is written");
    }

    /// The products that are found, in their order.
    pub async fn found(&self, query: &Query) -> Vec<String> {
        let answer = self.search(&self.name, query).await.expect("an answer");
        answer.hits.into_iter().map(|hit| hit.product).collect()
    }

    pub async fn found_by(&self, text: &str) -> Vec<String> {
        self.found(&Query::of(text)).await
    }

    pub async fn clear(&self) {
        self.remove(&self.name).await.expect("it is removed");
    }
}

/// A product that is on sale, found by its title.
pub fn product(code: &str, title: &str) -> Document {
    Document {
        product: code.to_owned(),
        is_public: true,
        title: title.to_owned(),
        skus: vec![code.to_owned()],
        available: 5,
        position: 1,
        card: format!("{{\"sku\":\"{code}\"}}"),
        ..Document::default()
    }
}

pub fn category(id: &str, name: &str) -> Category {
    Category { id: id.to_owned(), name: name.to_owned() }
}

pub fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
}

pub fn gbp(amount_minor: i64) -> BTreeMap<String, i64> {
    BTreeMap::from([("GBP".to_owned(), amount_minor)])
}

pub fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
