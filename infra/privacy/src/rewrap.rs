//! Rotating the master key: every subject's key is wrapped anew. What was sealed with them stays as it is.

use crate::keyring::PrivacyError;
use crate::master_key::{MasterKey, UnwrapError};
use kontor_domain::SubjectId;
use sqlx::PgPool;

/// Keys that are wrapped anew in one transaction.
const STEP: i64 = 1_000;

/// Wraps with the first of the master keys every subject's key that another has wrapped; returns how many. `database` is
/// that of the role that owns it: no service may change a key. May be stopped and run again at any time, while others
/// seal, open and erase.
///
/// # Errors
/// [`PrivacyError::MasterKeyMissing`] when a key was wrapped with a master key that is not among them. What was done so far
/// stays done.
pub async fn rewrap(database: &PgPool, master: &MasterKey) -> Result<u64, PrivacyError> {
    let mut rewrapped = 0;
    loop {
        let rows: Vec<(String, Vec<u8>, i32)> = sqlx::query_as(
            "select subject, wrapped, master_key from privacy.subject_keys \
             where wrapped is not null and master_key <> $1 order by subject limit $2",
        )
        .bind(master.number())
        .bind(STEP)
        .fetch_all(database)
        .await?;
        if rows.is_empty() {
            return Ok(rewrapped);
        }
        let (mut subjects, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for (subject, wrapped, number) in rows {
            let id: SubjectId =
                subject.parse().map_err(|error| PrivacyError::Database(sqlx::Error::Decode(Box::new(error))))?;
            let key = master.unwrap(&id, &wrapped, number).map_err(|error| match error {
                UnwrapError::Missing => PrivacyError::MasterKeyMissing { subject: id.clone(), number },
                UnwrapError::Forged => PrivacyError::KeyForged { subject: id.clone() },
            })?;
            after.push(master.wrap(&id, &key).ok_or(PrivacyError::Random)?);
            before.push(wrapped);
            subjects.push(subject);
        }
        // Only where it still is what was read: whom somebody has erased meanwhile stays erased.
        let done = sqlx::query(
            "update privacy.subject_keys as k set wrapped = n.after, master_key = $1 \
             from unnest($2::text[], $3::bytea[], $4::bytea[]) as n (subject, before, after) \
             where k.subject = n.subject and k.wrapped = n.before",
        )
        .bind(master.number())
        .bind(subjects)
        .bind(before)
        .bind(after)
        .execute(database)
        .await?;
        rewrapped += done.rows_affected();
    }
}
