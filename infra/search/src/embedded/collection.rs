//! One collection: an index of tantivy in a folder of its own. One process writes it, others read it.

use super::names::{Version, replace};
use super::schema::{Fields, schema};
use super::snapshot::Snapshot;
use crate::document::Document;
use crate::engine::{Batch, Checkpoint, SearchError};
use parking_lot::{Mutex, RwLock};
use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use tantivy::directory::MmapDirectory;
use tantivy::index::SegmentReader;
use tantivy::merge_policy::LogMergePolicy;
use tantivy::schema::IndexRecordOption;
use tantivy::{
    DocSet, Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TERMINATED, TantivyDocument, Term,
};
use tracing::warn;

/// The file in the folder with the fence of its writer.
const FENCE: &str = "fence";
/// The file of tantivy that each commit replaces.
const COMMIT: &str = "meta.json";
/// Bytes that a batch may take before a part of it goes to the disk.
const WRITER_BYTES: usize = 15 << 20;
/// Deleted documents of a segment before it is written anew: each update leaves one behind.
const DELETED_RATIO_MAX: f32 = 0.3;
/// Segments of about the same size before they become one: each is looked at by every search, and there is a commit several
/// times a second.
const SEGMENTS_MAX: usize = 6;
/// How far the writing of an index gives way: it is to be soon up to date, and whoever buys is to be sooner done.
const NICE: i32 = 10;
/// Documents of segments that count as of the same size.
const SMALL_SEGMENT: u32 = 5_000;

pub struct Collection {
    name: String,
    folder: PathBuf,
    fields: Fields,
    index: Index,
    reader: IndexReader,
    shown: RwLock<(Version, Arc<Snapshot>)>,
    /// `None`: this process does not write.
    writer: Mutex<Option<Writer>>,
}

struct Writer {
    fence: i64,
    index: IndexWriter,
}

impl Collection {
    /// Makes an empty one, unless there is one.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn create(folder: &Path) -> Result<(), SearchError> {
        fs::create_dir_all(folder)?;
        let directory = MmapDirectory::open(folder).map_err(tantivy::TantivyError::from)?;
        let settings = IndexSettings::default();
        Index::builder().schema(schema().0).settings(settings).open_or_create(directory)?;
        Ok(())
    }

    /// # Errors
    /// [`SearchError::Unknown`]: there is none. The folder cannot be read.
    pub fn open(name: &str, folder: &Path) -> Result<Self, SearchError> {
        if !folder.join(COMMIT).exists() {
            return Err(SearchError::Unknown(name.to_owned()));
        }
        let fields = schema().1;
        let index = Index::open_in_dir(folder)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let commit = Version::of(&folder.join(COMMIT));
        let snapshot = Arc::new(Snapshot::take(&index, &reader, fields, None)?);
        let (name, folder) = (name.to_owned(), folder.to_owned());
        Ok(Collection {
            name,
            folder,
            fields,
            index,
            reader,
            shown: RwLock::new((commit, snapshot)),
            writer: Mutex::default(),
        })
    }

    /// As it was committed last, as far as this process has seen.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shown.read().1.clone()
    }

    /// Whether it is still there.
    pub fn is_there(&self) -> bool {
        self.folder.join(COMMIT).exists()
    }

    /// Looks at what was committed since.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn refresh(&self) -> Result<(), SearchError> {
        let commit = Version::of(&self.folder.join(COMMIT));
        let (seen, before) = self.shown.read().clone();
        if seen == commit {
            return Ok(());
        }
        let snapshot = Arc::new(Snapshot::take(&self.index, &self.reader, self.fields, Some(&before))?);
        *self.shown.write() = (commit, snapshot);
        Ok(())
    }

    /// Lets go of what another process waits for.
    pub fn yield_to_higher(&self) {
        let Some(mut writer) = self.writer.try_lock() else { return }; // It writes, and looks by itself.
        if writer.as_ref().is_some_and(|writer| self.fence().is_ok_and(|fence| fence > writer.fence)) {
            *writer = None;
        }
    }

    /// Writes no more, nor anything that goes on in the background.
    pub fn close(&self) {
        if let Some(writer) = self.writer.lock().take()
            && let Err(error) = writer.index.wait_merging_threads()
        {
            warn!(collection = self.name, %error, "Collection {} was not closed in order: {error}", self.name);
        }
    }

    /// # Errors
    /// See [`Engine::open`](crate::Engine::open).
    pub fn claim(&self, fence: i64) -> Result<Option<Checkpoint>, SearchError> {
        let mut writer = self.writer.lock();
        let by = self.fence()?;
        if by > fence {
            return Err(SearchError::Fenced { collection: self.name.clone(), fence, by });
        }
        // Before the lock is asked for: whoever holds it sees this and lets go.
        if by < fence {
            replace(&self.folder.join(FENCE), &fence.to_string())?;
        }
        match &mut *writer {
            Some(writer) => writer.fence = fence,
            None => *writer = Some(Writer { fence, index: self.writer()? }),
        }
        self.refresh()?;
        Ok(self.snapshot().checkpoint.clone())
    }

    /// # Errors
    /// See [`Engine::write`](crate::Engine::write).
    pub fn write(&self, batch: &Batch) -> Result<(), SearchError> {
        let mut held = self.writer.lock();
        let by = self.fence()?;
        let fenced = || SearchError::Fenced { collection: self.name.clone(), fence: batch.fence, by };
        if by > batch.fence {
            *held = held.take().filter(|writer| writer.fence >= by);
            return Err(fenced());
        }
        let writer = held.as_mut().filter(|writer| writer.fence == batch.fence).ok_or_else(fenced)?;
        let written = giving_way(|| writer.commit(&self.fields, batch));
        if written.is_err() {
            // Nothing of a batch that failed may come with the next one.
            *held = None;
            *held = Some(Writer { fence: batch.fence, index: self.writer()? });
        }
        written?;
        drop(held);
        self.refresh()
    }

    /// The documents that have any of these terms, each once.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn read(&self, terms: impl Iterator<Item = Term>) -> Result<Vec<Document>, SearchError> {
        let snapshot = self.snapshot();
        let terms: Vec<_> = terms.collect();
        let mut documents = Vec::new();
        for segment in snapshot.searcher.segment_readers() {
            let store = segment.get_store_reader(8)?;
            for document in found(segment, &terms)? {
                documents.push(self.fields.document(&store.get::<TantivyDocument>(document)?)?);
            }
        }
        Ok(documents)
    }

    pub fn fields(&self) -> Fields {
        self.fields
    }

    /// Nobody has written yet: 0.
    fn fence(&self) -> Result<i64, SearchError> {
        match fs::read_to_string(self.folder.join(FENCE)) {
            Ok(text) => {
                text.trim().parse().map_err(|_| SearchError::Failed(format!("the fence of {} is no number", self.name)))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn writer(&self) -> Result<IndexWriter, SearchError> {
        // One thread: batches are small, and their order in a segment is then that of the batch.
        let writer =
            giving_way(|| self.index.writer_with_num_threads(1, WRITER_BYTES)).map_err(|error| match error {
                tantivy::TantivyError::LockFailure(..) => SearchError::Busy { collection: self.name.clone() },
                error => error.into(),
            })?;
        let mut merges = LogMergePolicy::default();
        merges.set_min_num_segments(SEGMENTS_MAX);
        merges.set_min_layer_size(SMALL_SEGMENT);
        merges.set_del_docs_ratio_before_merge(DELETED_RATIO_MAX);
        writer.set_merge_policy(Box::new(merges));
        Ok(writer)
    }
}

impl Writer {
    /// Documents and checkpoint, both or neither.
    fn commit(&mut self, fields: &Fields, batch: &Batch) -> Result<(), SearchError> {
        for product in batch.removed.iter().chain(batch.documents.iter().map(|document| &document.product)) {
            self.index.delete_term(fields.by_product(product));
        }
        for document in &batch.documents {
            self.index.add_document(fields.written(document))?;
        }
        let checkpoint = serde_json::to_string(&batch.checkpoint).expect("a number and a text have a JSON form");
        let mut commit = self.index.prepare_commit()?;
        commit.set_payload(&checkpoint);
        commit.commit()?;
        Ok(())
    }
}

/// Runs where it gives way to everything else on the machine, and so do the threads that it starts: they inherit it.
fn giving_way<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        let _ = rustix::process::nice(NICE);
        work()
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// Sorted, so that they are read in the order in which they are kept.
fn found(segment: &SegmentReader, terms: &[Term]) -> Result<Vec<u32>, SearchError> {
    let mut found = Vec::new();
    for term in terms {
        let index = segment.inverted_index(term.field())?;
        let Some(mut postings) = index.read_postings(term, IndexRecordOption::Basic)? else { continue };
        while postings.doc() != TERMINATED {
            if !segment.is_deleted(postings.doc()) {
                found.push(postings.doc());
            }
            postings.advance();
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

impl From<std::io::Error> for SearchError {
    fn from(error: std::io::Error) -> Self {
        SearchError::Failed(error.to_string())
    }
}
