//! A Typesense (version 30 or newer) as the search store, by the crate of its makers.
//!
//! Collections, aliases and the set of synonyms are Typesense's own. Checkpoints and fences are documents of one more
//! collection, [`CHECKPOINTS`]: they are written after the documents that they speak of, and a batch that was interrupted is
//! written again. A writer looks at its fence before it writes, not in one transaction with it: one that stands still
//! between the two for longer than its lease, and then goes on, may write a batch late; it looks once
//! more before it moves the checkpoint, which is never its to move then.

mod answers;
mod documents;
mod error;
mod searches;

use crate::answer::{Answer, Facets};
use crate::document::Document;
use crate::engine::{Batch, Checkpoint, Engine, SearchError, check_name};
use crate::query::Query;
use crate::synonyms::{self, Synonym};
use answers::Found;
use documents::{KEPT, Kept, PARTS};
use error::{Trouble, optional};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use searches::{Search, any_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use typesense::models::{
    CollectionAliasSchema, CollectionSchema, DeleteDocumentsParameters, ExportDocumentsParameters, Field,
    GetCollectionsParameters, ImportDocumentsParameters, IndexAction, MultiSearchBody, MultiSearchParameters,
    SynonymItemSchema, SynonymSetCreateSchema,
};
use typesense::{Client, ExponentialBackoff, NodeConfig};

/// The collection with how far each of the others has come, and who writes it.
const CHECKPOINTS: &str = "kontor_checkpoints";
/// The set of synonyms of all collections.
const SYNONYMS: &str = "kontor";
/// How long it is taken for granted where an alias points.
const ALIAS_FOR: Duration = Duration::from_millis(250);
/// Documents of one import.
const IMPORT_MAX: usize = 1_000;
/// Values of one filter, and documents of one page: Typesense gives no more at once.
const PAGE: usize = 250;

pub struct Typesense {
    client: Client,
    /// Where aliases pointed, and when that was.
    aliases: Mutex<HashMap<String, (String, Instant)>>,
}

/// A document of [`CHECKPOINTS`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Written {
    /// The collection.
    id: String,
    fence: i64,
    /// `None`: nothing was written yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<i64>,
    #[serde(default)]
    state: String,
}

impl Written {
    fn checkpoint(self) -> Option<Checkpoint> {
        Some(Checkpoint { position: self.position?, state: self.state })
    }
}

impl Typesense {
    /// `url` such as `http://host:8108`. Typesense need not be there yet. What takes longer than `timeout` has failed.
    ///
    /// # Errors
    /// [`SearchError::Failed`]: the URL is none.
    pub fn of(url: &str, api_key: &str, timeout: Duration) -> Result<Self, SearchError> {
        let node = NodeConfig::new(url).http_builder(move |builder| {
            // The crate brings OpenSSL along; what is sent goes through rustls with ring all the same.
            builder.use_rustls_tls().connect_timeout(timeout.min(Duration::from_secs(1))).timeout(timeout)
        });
        // Whoever asks knows when to ask again.
        let never = ExponentialBackoff::builder().build_with_max_retries(0);
        let client = Client::builder().nodes([node]).api_key(api_key).retry_policy(never).build();
        let client = client.map_err(|error| SearchError::Failed(error.to_owned()))?;
        Ok(Typesense { client, aliases: Mutex::default() })
    }

    /// The collection of this name, or the one that an alias of this name points at.
    async fn searched(&self, name: &str) -> Result<String, SearchError> {
        let known = self.aliases.lock().get(name).filter(|(_, at)| at.elapsed() < ALIAS_FOR).cloned();
        if let Some((collection, _)) = known {
            return Ok(collection);
        }
        let collection = self.shown(name).await?.unwrap_or_else(|| name.to_owned());
        self.aliases.lock().insert(name.to_owned(), (collection.clone(), Instant::now()));
        Ok(collection)
    }

    async fn written(&self, collection: &str) -> Result<Option<Written>, SearchError> {
        let checkpoints = self.client.collection_named::<Written>(CHECKPOINTS);
        optional(checkpoints.document(collection).retrieve().await.map_err(Trouble::from))
    }

    async fn write_checkpoint(&self, written: &Written) -> Result<(), SearchError> {
        self.import(CHECKPOINTS, &[serde_json::to_value(written).expect("it has a JSON form")]).await
    }

    async fn import(&self, collection: &str, documents: &[Value]) -> Result<(), SearchError> {
        let lines: Vec<_> = documents.iter().map(Value::to_string).collect();
        let how = ImportDocumentsParameters { action: Some(IndexAction::Upsert), ..Default::default() };
        let collection = self.client.collection_schemaless(collection);
        let said = collection.documents().import_jsonl(lines.join("\n"), how).await.map_err(Trouble::from)?;
        // The import as a whole succeeds even if documents of it do not.
        #[derive(Deserialize)]
        struct Imported {
            success: bool,
            #[serde(default)]
            error: String,
        }
        for line in said.lines() {
            let imported: Imported = serde_json::from_str(line)
                .map_err(|error| SearchError::Failed(format!("Typesense said what is not understood: {error}")))?;
            if !imported.success {
                return Err(SearchError::Failed(format!("Typesense has not taken a document: {}", imported.error)));
            }
        }
        match said.lines().count() == documents.len() {
            true => Ok(()),
            false => Err(SearchError::Failed("Typesense has not taken all documents".to_owned())),
        }
    }

    /// # Errors
    /// [`SearchError::Unknown`]: one of the collections is not there.
    async fn find(&self, searches: Vec<Search>) -> Result<Vec<Found>, SearchError> {
        let asking = self.client.multi_search();
        let found = asking.perform(MultiSearchBody { searches }, MultiSearchParameters::default()).await;
        let found = found.map_err(Trouble::from)?.results;
        for result in &found {
            match (result.code, &result.error) {
                (Some(404), Some(error)) => return Err(SearchError::Unknown(error.clone())),
                // Of a field that is filtered by it is said in another way than of one that is sorted by or counted.
                (Some(400), Some(error)) if error.starts_with("Could not find") => {
                    return Err(SearchError::Unknown(error.clone()));
                }
                (code, Some(error)) => {
                    let code = code.map_or(String::new(), |code| format!(" {code}"));
                    return Err(SearchError::Failed(format!("Typesense answered{code}: {error}")));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Those for which a field has one of these values.
    async fn having(&self, collection: &str, field: &str, values: &[String]) -> Result<Vec<Document>, SearchError> {
        let mut documents: HashMap<String, Document> = HashMap::new();
        for values in values.chunks(PAGE) {
            let filter = any_of(field, values.iter().map(Cow::from));
            for document in self.export(collection, filter).await? {
                documents.insert(document.product.clone(), document);
            }
        }
        Ok(documents.into_values().collect())
    }

    async fn export(&self, collection: &str, filter: String) -> Result<Vec<Document>, SearchError> {
        let what = ExportDocumentsParameters {
            filter_by: Some(filter.into()),
            include_fields: Some(KEPT.into()),
            exclude_fields: None,
        };
        let collection = self.client.collection_schemaless(collection);
        let lines = collection.documents().export_jsonl(what).await.map_err(Trouble::from)?;
        let kept = |line: &str| {
            let kept: Kept = serde_json::from_str(line)
                .map_err(|error| SearchError::Failed(format!("Typesense said what is not understood: {error}")))?;
            documents::document(kept)
        };
        lines.lines().filter(|line| !line.is_empty()).map(kept).collect()
    }

    /// Makes what all collections need.
    async fn prepare(&self) -> Result<(), SearchError> {
        let number = |name: &str| Field { optional: Some(true), ..Field::new(name.to_owned(), "int64".to_owned()) };
        let schema = CollectionSchema::new(CHECKPOINTS.into(), vec![number("fence"), number("position")]);
        match self.client.collections().create(schema).await.map_err(Trouble::from) {
            Ok(_) | Err(Trouble::Exists) => {}
            Err(trouble) => return Err(trouble.into()),
        }
        let set = self.client.synonym_set(SYNONYMS).retrieve().await.map_err(Trouble::from);
        if optional(set)?.is_none() {
            self.put_synonyms(&synonyms::usual()).await?;
        }
        Ok(())
    }

    async fn put_synonyms(&self, synonyms: &[Synonym]) -> Result<(), SearchError> {
        let item = |(at, synonym): (usize, &Synonym)| {
            let (root, synonyms) = match synonym {
                Synonym::Equal(all) => (None, all),
                Synonym::OneWay { word, finds } => (Some(word.clone()), finds),
            };
            SynonymItemSchema { root, ..SynonymItemSchema::new(synonyms.clone(), at.to_string()) }
        };
        let set = SynonymSetCreateSchema::new(synonyms.iter().enumerate().map(item).collect());
        self.client.synonym_sets().upsert(SYNONYMS, set).await.map_err(Trouble::from)?;
        Ok(())
    }

    /// The searches that `query` is made of, and before them the one for the position, so that it says no more than is there.
    async fn ask(&self, collection: &str, query: &Query) -> Result<Answer, SearchError> {
        let position = Search {
            collection: Some(CHECKPOINTS.into()),
            q: Some("*".into()),
            filter_by: Some(any_of("id", std::iter::once(collection.into())).into()),
            limit: Some(1),
            ..Search::default()
        };
        let (counted, searches): (Vec<_>, Vec<_>) = searches::searches(collection, query).into_iter().unzip();
        let mut found = self.find(std::iter::once(position).chain(searches).collect()).await?.into_iter();
        let written = found.next().and_then(|position| position.hits?.into_iter().next()?.document);
        let written: Written = written.and_then(|document| serde_json::from_value(document).ok()).unwrap_or_default();
        let answer = answers::answer(query, counted.into_iter().zip(found).collect())?;
        Ok(Answer { position: written.position.unwrap_or_default(), collection: collection.to_owned(), ..answer })
    }
}

impl Engine for Typesense {
    fn kind(&self) -> &'static str {
        "typesense"
    }

    fn create<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>> {
        async move {
            self.prepare().await?;
            let schema = documents::schema(check_name(collection)?, SYNONYMS);
            match self.client.collections().create(schema).await.map_err(Trouble::from) {
                Ok(_) | Err(Trouble::Exists) => Ok(()),
                Err(trouble) => Err(trouble.into()),
            }
        }
        .boxed()
    }

    fn remove<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>> {
        async move {
            let name = check_name(collection)?;
            // The checkpoint first: documents without one are filled anew, a checkpoint without documents would lie.
            let checkpoints = self.client.collection_schemaless(CHECKPOINTS);
            optional(checkpoints.document(name).delete().await.map_err(Trouble::from))?;
            let removed = self.client.collection_schemaless(name).delete().await.map_err(Trouble::from);
            optional(removed).map(drop)
        }
        .boxed()
    }

    fn collections(&self) -> BoxFuture<'_, Result<Vec<String>, SearchError>> {
        async move {
            let found =
                self.client.collections().retrieve(GetCollectionsParameters::default()).await.map_err(Trouble::from)?;
            let mut names: Vec<_> = found.into_iter().map(|collection| collection.name).collect();
            names.retain(|name| name != CHECKPOINTS);
            names.sort();
            Ok(names)
        }
        .boxed()
    }

    fn show<'a>(&'a self, alias: &'a str, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>> {
        async move {
            let (alias, collection) = (check_name(alias)?, check_name(collection)?);
            // Typesense takes an alias of nothing.
            self.client.collection_schemaless(collection).retrieve().await.map_err(Trouble::from)?;
            let at = CollectionAliasSchema::new(collection.into());
            self.client.aliases().upsert(alias, at).await.map_err(Trouble::from)?;
            self.aliases.lock().insert(alias.to_owned(), (collection.to_owned(), Instant::now()));
            Ok(())
        }
        .boxed()
    }

    fn hide<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<(), SearchError>> {
        async move {
            optional(self.client.alias(check_name(alias)?).delete().await.map_err(Trouble::from))?;
            self.aliases.lock().remove(alias);
            Ok(())
        }
        .boxed()
    }

    fn shown<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<Option<String>, SearchError>> {
        async move {
            let found = self.client.alias(check_name(alias)?).retrieve().await.map_err(Trouble::from);
            Ok(optional(found)?.map(|alias| alias.collection_name))
        }
        .boxed()
    }

    fn open<'a>(&'a self, collection: &'a str, fence: i64) -> BoxFuture<'a, Result<Option<Checkpoint>, SearchError>> {
        async move {
            self.client.collection_schemaless(check_name(collection)?).retrieve().await.map_err(Trouble::from)?;
            let before = self.written(collection).await?;
            let mut written = before.unwrap_or_else(|| Written { id: collection.to_owned(), ..Written::default() });
            if written.fence > fence {
                return Err(SearchError::Fenced { collection: collection.to_owned(), fence, by: written.fence });
            }
            if written.fence < fence {
                written.fence = fence;
                self.write_checkpoint(&written).await?;
            }
            Ok(written.checkpoint())
        }
        .boxed()
    }

    fn write<'a>(&'a self, collection: &'a str, batch: Batch) -> BoxFuture<'a, Result<(), SearchError>> {
        async move {
            let Batch { fence, documents, removed, checkpoint } = batch;
            let held = || async {
                let by = self.written(collection).await?.map_or(0, |written| written.fence);
                match by == fence {
                    true => Ok(()),
                    false => Err(SearchError::Fenced { collection: collection.to_owned(), fence, by }),
                }
            };
            held().await?;
            for documents in documents.chunks(IMPORT_MAX) {
                let lines: Vec<_> = documents.iter().map(documents::written).collect();
                self.import(collection, &lines).await?;
            }
            for products in removed.chunks(PAGE) {
                let what = DeleteDocumentsParameters::new(any_of("id", products.iter().map(Cow::from)).into());
                let collection = self.client.collection_schemaless(collection);
                collection.documents().delete(what).await.map_err(Trouble::from)?;
            }
            held().await?;
            let Checkpoint { position, state } = checkpoint;
            let written = Written { id: collection.to_owned(), fence, position: Some(position), state };
            self.write_checkpoint(&written).await
        }
        .boxed()
    }

    fn checkpoint<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<Option<Checkpoint>, SearchError>> {
        async move {
            self.client.collection_schemaless(check_name(collection)?).retrieve().await.map_err(Trouble::from)?;
            Ok(self.written(collection).await?.and_then(Written::checkpoint))
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        collection: &'a str,
        products: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>> {
        self.having(collection, "id", products).boxed()
    }

    fn read_by_sku<'a>(
        &'a self,
        collection: &'a str,
        skus: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>> {
        async move {
            let mut documents = self.having(collection, "skus", skus).await?;
            // Typesense does not tell capitals from small letters.
            documents.retain(|document| document.skus.iter().any(|sku| skus.contains(sku)));
            Ok(documents)
        }
        .boxed()
    }

    fn read_by_category<'a>(
        &'a self,
        collection: &'a str,
        categories: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>> {
        async move {
            let mut documents = self.having(collection, "category_ids", categories).await?;
            documents.retain(|document| document.categories.iter().any(|category| categories.contains(&category.id)));
            Ok(documents)
        }
        .boxed()
    }

    fn scan<'a>(
        &'a self,
        collection: &'a str,
    ) -> BoxFuture<'a, Result<BoxStream<'a, Result<Document, SearchError>>, SearchError>> {
        async move {
            // By parts: an export comes as one text.
            let parts = stream::iter(0..PARTS).then(move |part| self.export(collection, format!("part:={part}")));
            Ok(parts.map_ok(|documents| stream::iter(documents.into_iter().map(Ok))).try_flatten().boxed())
        }
        .boxed()
    }

    fn search<'a>(&'a self, name: &'a str, query: &'a Query) -> BoxFuture<'a, Result<Answer, SearchError>> {
        async move {
            let begun = Instant::now();
            query.check()?;
            let collection = self.searched(check_name(name)?).await?;
            let answer = match self.ask(&collection, query).await {
                // Nothing has a price in this currency, so there is no such field.
                Err(SearchError::Unknown(what)) if what.contains("price_") => {
                    let unpriced = Query { currency: None, price_min: None, price_max: None, ..query.clone() };
                    let order = match query.order {
                        crate::Order::Price | crate::Order::PriceDescending => crate::Order::Relevance,
                        order => order,
                    };
                    let mut answer = self.ask(&collection, &Query { order, ..unpriced }).await?;
                    if query.price_min.is_some() || query.price_max.is_some() {
                        let facets = query.facets.then(Facets::default);
                        answer = Answer { hits: Vec::new(), total: 0, facets, ..answer };
                    }
                    answer.facets.iter_mut().for_each(|facets| facets.prices = answers::bands(query));
                    answer
                }
                // It was removed since the alias was looked at.
                Err(SearchError::Unknown(_)) => {
                    self.aliases.lock().remove(name);
                    self.ask(&self.searched(name).await?, query).await?
                }
                answer => answer?,
            };
            Ok(Answer { took: begun.elapsed(), ..answer })
        }
        .boxed()
    }

    fn set_synonyms<'a>(&'a self, synonyms: &'a [Synonym]) -> BoxFuture<'a, Result<(), SearchError>> {
        async move {
            synonyms::check(synonyms)?;
            self.put_synonyms(synonyms).await
        }
        .boxed()
    }

    fn synonyms(&self) -> BoxFuture<'_, Result<Vec<Synonym>, SearchError>> {
        async move {
            let set = self.client.synonym_set(SYNONYMS).retrieve().await.map_err(Trouble::from);
            let Some(set) = optional(set)? else { return Ok(synonyms::usual()) };
            let mut items = set.items;
            // Typesense gives them by their names.
            items.sort_by_key(|item| item.id.parse::<usize>().unwrap_or(usize::MAX));
            let synonym = |item: SynonymItemSchema| match item.root.filter(|root| !root.is_empty()) {
                Some(word) => Synonym::OneWay { word, finds: item.synonyms },
                None => Synonym::Equal(item.synonyms),
            };
            Ok(items.into_iter().map(synonym).collect())
        }
        .boxed()
    }
}
