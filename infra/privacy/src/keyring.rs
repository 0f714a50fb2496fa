//! The keys of all subjects: in Postgres, wrapped, and for a while in memory.

use crate::erase::{Erasure, erase};
use crate::master_key::{MasterKey, UnwrapError};
use crate::settings::PrivacySettings;
use crate::subject_key::{SubjectKey, Unreadable, random_key};
use kontor_domain::SubjectId;
use kontor_domain::personal::Personal;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use sqlx::PgPool;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why personal data was not sealed, opened or erased.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// Nothing more is sealed for whom has been erased.
    #[error("the personal data of {subject} has been erased")]
    Erased { subject: SubjectId },
    /// Something is said to be sealed for a subject that has never had a key.
    #[error("there is no key for the personal data of {subject}")]
    NoKey { subject: SubjectId },
    #[error("personal data of {subject} cannot be opened: {reason}")]
    Unreadable { subject: SubjectId, reason: Unreadable },
    #[error("the key of {subject} needs master key {number}, which is not in privacy.master_key_file")]
    MasterKeyMissing { subject: SubjectId, number: i32 },
    #[error("the stored key of {subject} was changed")]
    KeyForged { subject: SubjectId },
    #[error("the system has no random numbers for a key")]
    Random,
    #[error("the keys of personal data cannot be reached: {0}")]
    Database(#[from] sqlx::Error),
}

/// Seals and opens with the keys in `privacy.subject_keys`, as role `kontor_command`; `kontor_query` may open only.
///
/// A key is remembered for `keys_cached_s`, counted from when the database was asked. So long at most, a process goes on
/// opening what another has erased; what it seals meanwhile is as lost as the rest.
pub struct Keyring {
    database: PgPool,
    master: MasterKey,
    cache: Cache<SubjectId, Cached>,
    cached_for: Duration,
    /// How many erasures this process has done. What was read before one is not remembered after it.
    erasures: Mutex<u64>,
    /// Subjects that a key is to be made for, by whoever has the turn next.
    wanted: Mutex<HashSet<SubjectId>>,
    making: tokio::sync::Mutex<()>,
}

/// A subject's key as the table has it.
#[derive(Clone)]
enum Held {
    Key(Arc<SubjectKey>),
    Erased,
}

#[derive(Clone)]
struct Cached {
    held: Held,
    asked_at: Instant,
}

impl Keyring {
    pub fn new(database: PgPool, master: MasterKey, settings: &PrivacySettings) -> Self {
        Self {
            database,
            master,
            cache: Cache::new(settings.keys_cached_max),
            cached_for: Duration::from_secs(settings.keys_cached_s),
            erasures: Mutex::new(0),
            wanted: Mutex::default(),
            making: tokio::sync::Mutex::new(()),
        }
    }

    /// Seals `text` for `subject`, whose key is made if there is none. Equal texts of one subject are sealed alike.
    ///
    /// # Errors
    /// [`PrivacyError::Erased`] when the subject has been, and those of keys that cannot be had.
    pub async fn seal(&self, subject: &SubjectId, text: &str) -> Result<Personal, PrivacyError> {
        Ok(self.key(subject).await?.seal(subject, text))
    }

    /// The text that was sealed; `None` when its subject has been erased.
    ///
    /// # Errors
    /// [`PrivacyError::Unreadable`] when it was not sealed for this subject, or was changed since.
    pub async fn open(&self, personal: &Personal) -> Result<Option<String>, PrivacyError> {
        let held = self.find(&[&personal.subject]).await?.remove(&personal.subject);
        open_with(held.as_ref(), personal)
    }

    /// As [`open`](Self::open) for each, in their order, with one question to the database at most.
    ///
    /// # Errors
    /// The first that one of them has.
    pub async fn open_all<'a>(
        &self,
        all: impl IntoIterator<Item = &'a Personal>,
    ) -> Result<Vec<Option<String>>, PrivacyError> {
        let all: Vec<&Personal> = all.into_iter().collect();
        let subjects: Vec<&SubjectId> = all.iter().map(|personal| &personal.subject).collect();
        let held = self.find(&subjects).await?;
        all.into_iter().map(|personal| open_with(held.get(&personal.subject), personal)).collect()
    }

    /// Destroys the subject's key. From then on this process opens nothing of theirs; others within `keys_cached_s`.
    ///
    /// # Errors
    /// The database's. The key may then be destroyed or not: do it again.
    pub async fn erase(&self, subject: &SubjectId) -> Result<Erasure, PrivacyError> {
        let erasure = erase(&self.database, subject).await;
        // Also when the answer was lost. Counted in the same moment, so that what was read before is not put back.
        let mut erasures = self.erasures.lock();
        *erasures += 1;
        self.cache.clear(); // The guests whom the subject was are erased, too, and only the table knows them.
        Ok(erasure?)
    }

    /// Notes that `guest` is `customer`: who erases the customer erases the guest. The customer gets a key if there is none,
    /// so that there is something to erase.
    ///
    /// # Errors
    /// [`PrivacyError::Erased`] when one of them has been, and those of keys that cannot be had.
    pub async fn give(&self, guest: &SubjectId, customer: &SubjectId) -> Result<(), PrivacyError> {
        self.key(guest).await?;
        self.key(customer).await?;
        let given: bool = sqlx::query_scalar("select privacy.give_guest($1, $2)")
            .bind(guest.as_str())
            .bind(customer.as_str())
            .fetch_one(&self.database)
            .await?;
        if given {
            return Ok(());
        }
        // Another process has erased one of them, of which this one remembers the key: it asks again which.
        for subject in [guest, customer] {
            self.cache.remove(subject);
            self.key(subject).await?;
        }
        Err(PrivacyError::NoKey { subject: guest.clone() })
    }

    /// The subject's key, which is made if there is none.
    async fn key(&self, subject: &SubjectId) -> Result<Arc<SubjectKey>, PrivacyError> {
        match self.find_or_make(subject).await? {
            Held::Key(key) => Ok(key),
            Held::Erased => Err(PrivacyError::Erased { subject: subject.clone() }),
        }
    }

    /// Those of the subjects that have, or had, a key.
    async fn find(&self, subjects: &[&SubjectId]) -> Result<HashMap<SubjectId, Held>, PrivacyError> {
        let mut found = HashMap::with_capacity(subjects.len());
        let mut unknown: Vec<&str> = Vec::new();
        for &subject in subjects {
            match self.cache.get(subject) {
                Some(Cached { held, asked_at }) if asked_at.elapsed() < self.cached_for => {
                    found.insert(subject.clone(), held);
                }
                _ => unknown.push(subject.as_str()),
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        unknown.sort_unstable();
        unknown.dedup();
        let asked_at = Instant::now();
        let erasures = *self.erasures.lock();
        let rows: Vec<(String, Option<Vec<u8>>, Option<i32>)> =
            sqlx::query_as("select subject, wrapped, master_key from privacy.subject_keys where subject = any($1)")
                .bind(&unknown)
                .fetch_all(&self.database)
                .await?;
        let mut read = Vec::with_capacity(rows.len());
        for (subject, wrapped, number) in rows {
            // Only subjects that were asked for come back, so each is one.
            let Ok(subject) = subject.parse::<SubjectId>() else { continue };
            let held = match (wrapped, number) {
                (Some(wrapped), Some(number)) => Held::Key(Arc::new(self.unwrap(&subject, &wrapped, number)?)),
                _ => Held::Erased,
            };
            read.push((subject, held));
        }
        let seen = self.erasures.lock();
        for (subject, held) in read {
            if *seen == erasures {
                self.cache.insert(subject.clone(), Cached { held: held.clone(), asked_at });
            }
            found.insert(subject, held);
        }
        Ok(found)
    }

    /// The subject's key, which is made if there is none. Those that are wanted while others are being made are made
    /// together: a shop full of guests wants a key for each.
    async fn find_or_make(&self, subject: &SubjectId) -> Result<Held, PrivacyError> {
        if let Some(Cached { held, asked_at }) = self.cache.get(subject)
            && asked_at.elapsed() < self.cached_for
        {
            return Ok(held);
        }
        self.wanted.lock().insert(subject.clone());
        let turn = self.making.lock().await;
        let wanted = std::mem::take(&mut *self.wanted.lock());
        let mut made = self.make(&wanted).await?;
        drop(turn);
        if let Some(held) = made.remove(subject) {
            return Ok(held);
        }
        // Made by somebody else: before, in another process, or by whoever had the turn before us.
        if let Some(held) = self.find(&[subject]).await?.remove(subject) {
            return Ok(held);
        }
        // Who was to make it could not.
        let mut made = self.make(&HashSet::from([subject.clone()])).await?;
        made.remove(subject).ok_or_else(|| PrivacyError::NoKey { subject: subject.clone() })
    }

    /// Makes keys, in one statement. Returns those that were made; the others had one.
    async fn make(&self, subjects: &HashSet<SubjectId>) -> Result<HashMap<SubjectId, Held>, PrivacyError> {
        if subjects.is_empty() {
            return Ok(HashMap::new());
        }
        let erasures = *self.erasures.lock();
        let asked_at = Instant::now();
        let mut keys = HashMap::with_capacity(subjects.len());
        let (mut names, mut wrapped) = (Vec::new(), Vec::new());
        for subject in subjects {
            let key = random_key().ok_or(PrivacyError::Random)?;
            names.push(subject.as_str());
            wrapped.push(self.master.wrap(subject, &key).ok_or(PrivacyError::Random)?);
            keys.insert(subject.as_str(), (subject, Held::Key(Arc::new(SubjectKey::new(&key)))));
        }
        let made: Vec<String> = sqlx::query_scalar(
            // Not waiting for the disk: whatever is sealed with a key is written after it, so neither is there without it.
            "insert into privacy.subject_keys (subject, wrapped, master_key) \
             select subject, wrapped, $3 from unnest($1::text[], $2::bytea[]) as k (subject, wrapped), \
                 (select set_config('synchronous_commit', 'off', true)) as unhurried \
             order by subject on conflict (subject) do nothing returning subject",
        )
        .bind(&names)
        .bind(&wrapped)
        .bind(self.master.number())
        .fetch_all(&self.database)
        .await?;
        let seen = self.erasures.lock();
        let mut held = HashMap::with_capacity(made.len());
        for (subject, key) in made.iter().filter_map(|name| keys.remove(name.as_str())) {
            if *seen == erasures {
                self.cache.insert(subject.clone(), Cached { held: key.clone(), asked_at });
            }
            held.insert(subject.clone(), key);
        }
        Ok(held)
    }

    fn unwrap(&self, subject: &SubjectId, wrapped: &[u8], number: i32) -> Result<SubjectKey, PrivacyError> {
        match self.master.unwrap(subject, wrapped, number) {
            Ok(key) => Ok(SubjectKey::new(&key)),
            Err(UnwrapError::Missing) => Err(PrivacyError::MasterKeyMissing { subject: subject.clone(), number }),
            Err(UnwrapError::Forged) => Err(PrivacyError::KeyForged { subject: subject.clone() }),
        }
    }
}

fn open_with(held: Option<&Held>, personal: &Personal) -> Result<Option<String>, PrivacyError> {
    let subject = || personal.subject.clone();
    match held {
        Some(Held::Key(key)) => {
            key.open(personal).map(Some).map_err(|reason| PrivacyError::Unreadable { subject: subject(), reason })
        }
        Some(Held::Erased) => Ok(None),
        None => Err(PrivacyError::NoKey { subject: subject() }),
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({:?}, {} cached)", self.master, self.cache.len())
    }
}
