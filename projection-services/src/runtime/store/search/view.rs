//! What a projection sees of its collection while it folds events: what is there, and what it has put so far.

use crate::runtime::store::StoreError;
use kontor_search::{Document, Engine};
use std::collections::{BTreeMap, HashMap};

/// A generation in a search store.
pub struct SearchView<'a> {
    engine: &'a dyn Engine,
    collection: &'a str,
    /// By product; `None`: it goes.
    changed: BTreeMap<String, Option<Document>>,
    /// Which of the documents that were put are sold under a SKU.
    by_sku: HashMap<String, String>,
}

impl<'a> SearchView<'a> {
    pub(super) fn new(engine: &'a dyn Engine, collection: &'a str) -> Self {
        SearchView { engine, collection, changed: BTreeMap::new(), by_sku: HashMap::new() }
    }

    /// The document of this product, if there is one.
    pub async fn read(&self, product: &str) -> Result<Option<Document>, StoreError> {
        if let Some(changed) = self.changed.get(product) {
            return Ok(changed.clone());
        }
        Ok(self.engine.read(self.collection, &[product.to_owned()]).await?.pop())
    }

    /// The documents that are sold under any of these SKUs, each once.
    pub async fn read_by_sku(&self, skus: impl IntoIterator<Item = String>) -> Result<Vec<Document>, StoreError> {
        let (put, others): (Vec<_>, Vec<_>) = skus.into_iter().partition(|sku| self.by_sku.contains_key(sku));
        let mut put: Vec<_> = put.iter().map(|sku| &self.by_sku[sku]).collect();
        put.sort();
        put.dedup();
        let mut found: Vec<_> = put.into_iter().filter_map(|product| self.changed.get(product)?.clone()).collect();
        if !others.is_empty() {
            let there = self.engine.read_by_sku(self.collection, &others).await?;
            found.extend(there.into_iter().filter(|document| !self.changed.contains_key(&document.product)));
        }
        Ok(found)
    }

    /// The documents that are in this category, or in one below it.
    pub async fn read_by_category(&self, category: &str) -> Result<Vec<Document>, StoreError> {
        let mut found = self.engine.read_by_category(self.collection, &[category.to_owned()]).await?;
        found.retain(|document| !self.changed.contains_key(&document.product));
        let is_in = |document: &&Document| document.categories.iter().any(|of| of.id == category);
        found.extend(self.changed.values().flatten().filter(is_in).cloned());
        Ok(found)
    }

    pub fn put(&mut self, document: Document) {
        let product = document.product.clone();
        self.forget_skus(&product);
        for sku in &document.skus {
            self.by_sku.insert(sku.clone(), product.clone());
        }
        self.changed.insert(product, Some(document));
    }

    pub fn remove(&mut self, product: String) {
        self.forget_skus(&product);
        self.changed.insert(product, None);
    }

    fn forget_skus(&mut self, product: &str) {
        if let Some(Some(before)) = self.changed.get(product) {
            for sku in &before.skus {
                if self.by_sku.get(sku).is_some_and(|of| of == product) {
                    self.by_sku.remove(sku);
                }
            }
        }
    }

    /// Documents to be written, and products whose documents go.
    pub(super) fn changes(self) -> (Vec<Document>, Vec<String>) {
        let (mut documents, mut removed) = (Vec::new(), Vec::new());
        for (product, document) in self.changed {
            match document {
                Some(document) => documents.push(document),
                None => removed.push(product),
            }
        }
        (documents, removed)
    }
}
