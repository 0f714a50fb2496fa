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
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct KeyOutcome {
    /// Position of the command's last event.
    pub position: i64,
    /// Version of the command's first stream after it.
    pub version: i64,
    pub(crate) fingerprint: i64,
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
    pub fn is_of(&self, outcome: &KeyOutcome) -> bool {
        self.fingerprint == outcome.fingerprint
    }
}

/// The outcome kept under `key`; `None`: no command with it was appended, or it was pruned.
pub async fn look_up(log: &PgPool, key: &Key) -> sqlx::Result<Option<KeyOutcome>> {
    sqlx::query_as("select position, version, fingerprint from idempotency_keys where key = $1")
        .bind(key.key)
        .fetch_optional(log)
        .await
}

/// The outcomes kept under `keys`, in their order.
pub async fn look_up_all(log: &PgPool, keys: &[Key]) -> sqlx::Result<Vec<Option<KeyOutcome>>> {
    let uuids: Vec<_> = keys.iter().map(|key| key.key).collect();
    let known = look_up_keys(log, &uuids).await?;
    Ok(uuids.iter().map(|key| known.get(key).copied()).collect())
}

pub(crate) async fn look_up_keys<'c>(
    log: impl PgExecutor<'c>,
    keys: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, KeyOutcome>> {
    let rows: Vec<(Uuid, i64, i64, i64)> =
        sqlx::query_as("select key, position, version, fingerprint from idempotency_keys where key = any($1)")
            .bind(keys)
            .fetch_all(log)
            .await?;
    Ok(rows
        .into_iter()
        .map(|(key, position, version, fingerprint)| (key, KeyOutcome { position, version, fingerprint }))
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
