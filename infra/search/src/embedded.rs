//! The search store that needs no server: a folder with an index of tantivy for each collection.
//!
//! The projector writes it, the query API reads it, on the same machine. What is written is seen by the writer's process at
//! once, by others within [`LOOK`].

mod collection;
mod columns;
mod counts;
mod filters;
mod highlight;
mod matching;
mod names;
mod plan;
mod schema;
mod search;
mod snapshot;
mod thesaurus;

use crate::answer::Answer;
use crate::document::Document;
use crate::engine::{Batch, Checkpoint, Engine, SearchError, check_name};
use crate::query::Query;
use crate::synonyms::{self, Synonym};
use collection::Collection;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use parking_lot::RwLock;
use snapshot::{Segment, Snapshot};
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tantivy::{TantivyDocument, Term};
use thesaurus::Thesaurus;
use tokio::task::spawn_blocking;
use tracing::warn;

/// How often it is looked at what other processes have written.
pub const LOOK: Duration = Duration::from_millis(50);

/// Documents that are read between two looks at whether anybody still wants them.
const SCAN_STEP: u32 = 500;

/// Collections in a folder.
#[derive(Clone)]
pub struct Embedded(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    open: RwLock<HashMap<String, Arc<Collection>>>,
    /// Where aliases that were asked for pointed when they were last looked at.
    aliases: RwLock<HashMap<String, String>>,
    thesaurus: RwLock<(names::Version, Arc<Thesaurus>)>,
}

impl Embedded {
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, SearchError> {
        fs::create_dir_all(folder)?;
        let inner = Inner {
            folder: folder.to_owned(),
            open: RwLock::default(),
            aliases: RwLock::default(),
            thesaurus: RwLock::new((names::Version::default(), Arc::new(Thesaurus::of(&synonyms::usual())))),
        };
        let inner = Arc::new(inner);
        inner.look_at_synonyms();
        let watched = Arc::downgrade(&inner);
        thread::Builder::new().name("search-look".to_owned()).spawn(move || look(&watched))?;
        Ok(Embedded(inner))
    }

    /// Works on a collection where waiting for a disk holds nobody up.
    fn at_work<'a, T: Send + 'static>(
        &'a self,
        collection: &'a str,
        work: impl FnOnce(&Collection) -> Result<T, SearchError> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, SearchError>> {
        let (inner, name) = (self.0.clone(), collection.to_owned());
        blocking(move || work(&*inner.collection(&name)?))
    }
}

fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> BoxFuture<'static, Result<T, SearchError>> {
    let work = spawn_blocking(work);
    async { work.await.map_err(|error| SearchError::Failed(error.to_string()))? }.boxed()
}

impl Inner {
    fn folder_of(&self, collection: &str) -> Result<PathBuf, SearchError> {
        Ok(self.folder.join(check_name(collection)?))
    }

    fn collection(&self, name: &str) -> Result<Arc<Collection>, SearchError> {
        if let Some(open) = self.open.read().get(name) {
            return Ok(open.clone());
        }
        let folder = self.folder_of(name)?;
        let mut open = self.open.write();
        if let Some(open) = open.get(name) {
            return Ok(open.clone());
        }
        let collection = Arc::new(Collection::open(name, &folder)?);
        open.insert(name.to_owned(), collection.clone());
        Ok(collection)
    }

    /// The collection of this name, or the one that an alias of this name points at.
    fn searched(&self, name: &str) -> Result<(String, Arc<Collection>), SearchError> {
        if let Some(collection) = self.open.read().get(name) {
            return Ok((name.to_owned(), collection.clone()));
        }
        let known = self.aliases.read().get(name).cloned();
        let collection = match known {
            Some(collection) => Some(collection),
            None => names::alias(&self.folder, check_name(name)?)?.inspect(|collection| {
                self.aliases.write().insert(name.to_owned(), collection.clone());
            }),
        };
        let collection = collection.unwrap_or_else(|| name.to_owned());
        let open = self.collection(&collection)?;
        Ok((collection, open))
    }

    fn look_at_aliases(&self) {
        let known: Vec<_> = self.aliases.read().iter().map(|(alias, at)| (alias.clone(), at.clone())).collect();
        for (alias, before) in known {
            match names::alias(&self.folder, &alias) {
                Ok(Some(now)) if now == before => {}
                // Opened first, so that no search waits for it.
                Ok(Some(now)) => match self.collection(&now) {
                    Ok(_) => drop(self.aliases.write().insert(alias, now)),
                    Err(error) => warn!(%alias, %error, "Alias {alias} points at what cannot be read: {error}"),
                },
                Ok(None) => drop(self.aliases.write().remove(&alias)),
                Err(error) => warn!(%alias, %error, "Alias {alias} cannot be read: {error}"),
            }
        }
    }

    fn look_at_synonyms(&self) {
        let changed = names::Version::of(&names::synonyms_file(&self.folder));
        if changed == self.thesaurus.read().0 {
            return;
        }
        match names::synonyms(&self.folder) {
            Ok(synonyms) => {
                let thesaurus = Thesaurus::of(&synonyms.unwrap_or_else(synonyms::usual));
                *self.thesaurus.write() = (changed, Arc::new(thesaurus));
            }
            Err(error) => warn!(%error, "Synonyms cannot be read: {error}"),
        }
    }

    fn look_at_collections(&self) {
        let open: Vec<_> = self.open.read().iter().map(|(name, open)| (name.clone(), open.clone())).collect();
        for (name, collection) in open {
            if !collection.is_there() {
                self.open.write().remove(&name);
                continue;
            }
            collection.yield_to_higher();
            if let Err(error) = collection.refresh() {
                warn!(collection = name, %error, "Collection {name} cannot be read: {error}");
            }
        }
    }
}

/// Every document of a collection as it was at one moment.
fn documents(snapshot: Arc<Snapshot>) -> impl Stream<Item = Result<Document, SearchError>> + Send {
    let steps = stream::unfold(Some((snapshot, 0, 0)), |at| async {
        let (snapshot, segment, from) = at?;
        let step = blocking(move || {
            let Some(Segment { reader, .. }) = snapshot.segments.get(segment) else { return Ok(None) };
            let store = reader.get_store_reader(1)?;
            let to = reader.max_doc().min(from + SCAN_STEP);
            let mut documents = Vec::new();
            for document in (from..to).filter(|&document| !reader.is_deleted(document)) {
                documents.push(Ok(snapshot.fields.document(&store.get::<TantivyDocument>(document)?)?));
            }
            let next = if to == reader.max_doc() { (segment + 1, 0) } else { (segment, to) };
            Ok(Some((documents, (snapshot, next.0, next.1))))
        });
        match step.await {
            Ok(None) => None,
            Ok(Some((documents, next))) => Some((documents, Some(next))),
            Err(error) => Some((vec![Err(error)], None)),
        }
    });
    steps.flat_map(stream::iter)
}

/// Sees what other processes have written, until nobody needs it any more.
fn look(watched: &Weak<Inner>) {
    while let Some(inner) = watched.upgrade() {
        inner.look_at_collections();
        inner.look_at_aliases();
        inner.look_at_synonyms();
        drop(inner);
        thread::sleep(LOOK);
    }
}

impl Engine for Embedded {
    fn kind(&self) -> &'static str {
        "tantivy"
    }

    fn create<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>> {
        let folder = self.0.folder_of(collection);
        blocking(move || Collection::create(&folder?))
    }

    fn remove<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>> {
        let (inner, name) = (self.0.clone(), collection.to_owned());
        blocking(move || {
            let folder = inner.folder_of(&name)?;
            let open = inner.open.write().remove(&name);
            open.iter().for_each(|collection| collection.close());
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        })
    }

    fn collections(&self) -> BoxFuture<'_, Result<Vec<String>, SearchError>> {
        let inner = self.0.clone();
        blocking(move || {
            let mut names = Vec::new();
            for entry in fs::read_dir(&inner.folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    names.extend(entry.file_name().into_string().ok().filter(|name| check_name(name).is_ok()));
                }
            }
            names.sort();
            Ok(names)
        })
    }

    fn show<'a>(&'a self, alias: &'a str, collection: &'a str) -> BoxFuture<'a, Result<(), SearchError>> {
        let (inner, alias, collection) = (self.0.clone(), alias.to_owned(), collection.to_owned());
        blocking(move || {
            inner.collection(&collection)?;
            names::replace(&names::alias_file(&inner.folder, check_name(&alias)?), &collection)?;
            inner.aliases.write().insert(alias, collection);
            Ok(())
        })
    }

    fn hide<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<(), SearchError>> {
        let (inner, alias) = (self.0.clone(), alias.to_owned());
        blocking(move || {
            names::remove(&names::alias_file(&inner.folder, check_name(&alias)?))?;
            inner.aliases.write().remove(&alias);
            Ok(())
        })
    }

    fn shown<'a>(&'a self, alias: &'a str) -> BoxFuture<'a, Result<Option<String>, SearchError>> {
        let (inner, alias) = (self.0.clone(), alias.to_owned());
        blocking(move || names::alias(&inner.folder, check_name(&alias)?))
    }

    fn open<'a>(&'a self, collection: &'a str, fence: i64) -> BoxFuture<'a, Result<Option<Checkpoint>, SearchError>> {
        self.at_work(collection, move |collection| collection.claim(fence))
    }

    fn write<'a>(&'a self, collection: &'a str, batch: Batch) -> BoxFuture<'a, Result<(), SearchError>> {
        self.at_work(collection, move |collection| collection.write(&batch))
    }

    fn checkpoint<'a>(&'a self, collection: &'a str) -> BoxFuture<'a, Result<Option<Checkpoint>, SearchError>> {
        self.at_work(collection, |collection| {
            collection.refresh()?;
            Ok(collection.snapshot().checkpoint.clone())
        })
    }

    fn read<'a>(
        &'a self,
        collection: &'a str,
        products: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>> {
        let products = products.to_vec();
        self.at_work(collection, move |collection| {
            let fields = collection.fields();
            collection.read(products.iter().map(|product| fields.by_product(product)))
        })
    }

    fn read_by_sku<'a>(
        &'a self,
        collection: &'a str,
        skus: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>> {
        let skus = skus.to_vec();
        self.at_work(collection, move |collection| {
            let sku = collection.fields().sku;
            collection.read(skus.iter().map(|text| Term::from_field_text(sku, text)))
        })
    }

    fn read_by_category<'a>(
        &'a self,
        collection: &'a str,
        categories: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Document>, SearchError>> {
        let categories = categories.to_vec();
        self.at_work(collection, move |collection| {
            let category = collection.fields().category;
            collection.read(categories.iter().map(|text| Term::from_field_text(category, text)))
        })
    }

    fn scan<'a>(
        &'a self,
        collection: &'a str,
    ) -> BoxFuture<'a, Result<BoxStream<'a, Result<Document, SearchError>>, SearchError>> {
        async move {
            let now = self.at_work(collection, |collection| {
                collection.refresh()?;
                Ok(collection.snapshot())
            });
            Ok(documents(now.await?).boxed())
        }
        .boxed()
    }

    fn search<'a>(&'a self, name: &'a str, query: &'a Query) -> BoxFuture<'a, Result<Answer, SearchError>> {
        // In place: it takes less than it would cost to send it to another thread.
        async move {
            let begun = Instant::now();
            query.check()?;
            let (name, collection) = self.0.searched(name)?;
            let thesaurus = self.0.thesaurus.read().1.clone();
            let answer = search::search(&collection.snapshot(), &thesaurus, query)?;
            Ok(Answer { took: begun.elapsed(), collection: name, ..answer })
        }
        .boxed()
    }

    fn set_synonyms<'a>(&'a self, synonyms: &'a [Synonym]) -> BoxFuture<'a, Result<(), SearchError>> {
        let (inner, synonyms) = (self.0.clone(), synonyms.to_vec());
        blocking(move || {
            synonyms::check(&synonyms)?;
            names::set_synonyms(&inner.folder, &synonyms)?;
            inner.look_at_synonyms();
            Ok(())
        })
    }

    fn synonyms(&self) -> BoxFuture<'_, Result<Vec<Synonym>, SearchError>> {
        let inner = self.0.clone();
        blocking(move || Ok(names::synonyms(&inner.folder)?.unwrap_or_else(synonyms::usual)))
    }
}
