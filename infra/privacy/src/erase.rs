//! Erasing: the key is destroyed, and with it all that was sealed with it, wherever that is kept.

use chrono::{DateTime, Utc};
use kontor_domain::SubjectId;
use sqlx::PgExecutor;

/// What became of a request to erase a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// The key that was made at `created_at` is destroyed.
    Destroyed { created_at: DateTime<Utc>, erased_at: DateTime<Utc> },
    /// It had been before, at `erased_at`; nothing has changed.
    Already { created_at: DateTime<Utc>, erased_at: DateTime<Utc> },
    /// Nothing was ever sealed for such a subject.
    NoSuchSubject,
}

/// Destroys the key of `subject`, as role `kontor_command`. Needs no master key. Processes that hold the key go on with it
/// for `privacy.keys_cached_s` at most; where there is a [`Keyring`](crate::Keyring), let that one do it.
///
/// # Errors
/// The database's.
pub async fn erase(database: impl PgExecutor<'_>, subject: &SubjectId) -> Result<Erasure, sqlx::Error> {
    let found: Option<(DateTime<Utc>, DateTime<Utc>, bool)> =
        sqlx::query_as("select created_at, erased_at, destroyed from privacy.erase_subject($1)")
            .bind(subject.as_str())
            .fetch_optional(database)
            .await?;
    Ok(match found {
        Some((created_at, erased_at, true)) => Erasure::Destroyed { created_at, erased_at },
        Some((created_at, erased_at, false)) => Erasure::Already { created_at, erased_at },
        None => Erasure::NoSuchSubject,
    })
}
