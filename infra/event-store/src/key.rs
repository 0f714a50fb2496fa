//! Idempotency keys: the same key and the same request have the first outcome again.

use sha2::{Digest, Sha256};
use sqlx::{PgExecutor, PgPool};
use std::collections::HashMap;
use uuid::Uuid;

/// A command's idempotency key with the fingerprint of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub(crate) key: Uuid,
    pub(crate) fingerprint: i64,
}

/// What a key was used for.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct KeyOutcome {
    /// Type and id of the command's own aggregate.
    pub aggregate_type: String,
    pub aggregate_id: String,
    /// Position of the command's last event.
    pub position: i64,
    /// Version of the command's own aggregate after it.
    pub version: i64,
    fingerprint: i64,
    key: Uuid,
}

/// A key's row, as far as a retry within a batch needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub position: i64,
    pub version: i64,
    pub fingerprint: i64,
}

impl Key {
    /// The key of a client's `text` within its `scope` (principal and route), used for `request`. The log keeps 128 bits
    /// of SHA-256 of the key and 64 of the request.
    pub fn new(scope: &str, text: &str, request: &[u8]) -> Self {
        let mut key = Sha256::new();
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        key.update((scope.len() as u64).to_le_bytes());
        key.update(scope);
        key.update(text);
        let key = key.finalize();
        let request = Sha256::digest(request);
        Self {
            key: Uuid::from_slice(&key[..16]).expect("SHA-256 has more than 16 bytes"),
            fingerprint: i64::from_le_bytes(request[..8].try_into().expect("SHA-256 has more than 8 bytes")),
        }
    }

    /// A key nobody else has, for a command that is never retried.
    pub fn unique() -> Self {
        Self { key: Uuid::now_v7(), fingerprint: 0 }
    }

    /// Whether `outcome` is that of the same request.
    pub fn led_to(&self, outcome: &KeyOutcome) -> bool {
        self.is_of(outcome.fingerprint)
    }

    pub(crate) fn is_of(&self, fingerprint: i64) -> bool {
        self.fingerprint == fingerprint
    }
}

/// The outcomes kept under `keys`, in their order. `None`: nothing was appended with the key, or it was pruned.
pub(crate) async fn look_up(log: &PgPool, keys: &[Key]) -> sqlx::Result<Vec<Option<KeyOutcome>>> {
    let uuids: Vec<_> = keys.iter().map(|key| key.key).collect();
    let outcomes: Vec<KeyOutcome> = sqlx::query_as(
        "select k.key, k.fingerprint, k.position, k.version, e.aggregate_type, e.aggregate_id
         from command_outcomes k join events e on e.position = k.first_position where k.key = any($1)",
    )
    .bind(&uuids)
    .fetch_all(log)
    .await?;
    let mut by_key: HashMap<_, _> = outcomes.into_iter().map(|outcome| (outcome.key, outcome)).collect();
    Ok(uuids.iter().map(|key| by_key.remove(key)).collect())
}

/// The rows of `keys`, as far as there are any.
pub(crate) async fn kept<'c>(log: impl PgExecutor<'c>, keys: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Kept>> {
    let rows: Vec<(Uuid, i64, i64, i64)> =
        sqlx::query_as("select key, position, version, fingerprint from command_outcomes where key = any($1)")
            .bind(keys)
            .fetch_all(log)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(key, position, version, fingerprint)| (key, Kept { position, version, fingerprint }))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_key_and_request_all_count() {
        let key = Key::new("client", "1", b"request");
        assert_eq!(key, Key::new("client", "1", b"request"));
        assert_ne!(key.key, Key::new("clien", "t1", b"request").key);
        assert_eq!(key.key, Key::new("client", "1", b"another").key);
        assert_ne!(key.fingerprint, Key::new("client", "1", b"another").fingerprint);
    }
}
