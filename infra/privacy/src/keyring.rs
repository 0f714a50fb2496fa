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
use std::collections::HashMap;
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
        }
    }

    /// Seals `text` for `subject`, whose key is made if there is none. Equal texts of one subject are sealed alike.
    ///
    /// # Errors
    /// [`PrivacyError::Erased`] when the subject has been, and those of keys that cannot be had.
    pub async fn seal(&self, subject: &SubjectId, text: &str) -> Result<Personal, PrivacyError> {
        let held = match self.find(&[subject]).await?.remove(subject) {
            Some(held) => held,
            None => self.make(subject).await?,
        };
        match held {
            Held::Key(key) => Ok(key.seal(subject, text)),
            Held::Erased => Err(PrivacyError::Erased { subject: subject.clone() }),
        }
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
        self.cache.remove(subject);
        Ok(erasure?)
    }

    /// Notes that `guest` is `customer`: who erases the customer erases the guest. The customer gets a key if there is none,
    /// so that there is something to erase.
    ///
    /// # Errors
    /// [`PrivacyError::Erased`] when one of them has been, and those of keys that cannot be had.
    pub async fn give(&self, guest: &SubjectId, customer: &SubjectId) -> Result<(), PrivacyError> {
        for subject in [guest, customer] {
            let held = match self.find(&[subject]).await?.remove(subject) {
                Some(held) => held,
                None => self.make(subject).await?,
            };
            if let Held::Erased = held {
                return Err(PrivacyError::Erased { subject: subject.clone() });
            }
        }
        let given: bool = sqlx::query_scalar("select privacy.give_guest($1, $2)")
            .bind(guest.as_str())
            .bind(customer.as_str())
            .fetch_one(&self.database)
            .await?;
        if given { Ok(()) } else { Err(PrivacyError::Erased { subject: guest.clone() }) } // Since we looked.
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

    /// Makes the subject a key, unless another process has meanwhile: then that one is theirs.
    async fn make(&self, subject: &SubjectId) -> Result<Held, PrivacyError> {
        let key = random_key().ok_or(PrivacyError::Random)?;
        let wrapped = self.master.wrap(subject, &key).ok_or(PrivacyError::Random)?;
        sqlx::query(
            "insert into privacy.subject_keys (subject, wrapped, master_key) values ($1, $2, $3) \
             on conflict (subject) do nothing",
        )
        .bind(subject.as_str())
        .bind(wrapped)
        .bind(self.master.number())
        .execute(&self.database)
        .await?;
        // Read back in any case: what counts is what the table has.
        let held = self.find(&[subject]).await?.remove(subject);
        held.ok_or_else(|| PrivacyError::NoKey { subject: subject.clone() })
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
