//! What a projection sees of its generation in Redis while it folds events: what is there, and what it has set so far.

use super::writer::RedisWriter;
use crate::runtime::projection::ApplyError;
use crate::runtime::store::StoreError;
use redis::aio::ConnectionManager;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// Keys of one question: Redis answers others between two of them.
const KEYS_MAX: usize = 1_000;

/// One key's change; the last one of a key counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Set(Vec<u8>),
    Delete,
}

/// What is written at once.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub values: HashMap<String, Change>,
    /// Sets, members, and whether they are in.
    pub members: HashMap<(String, String), bool>,
}

/// A generation in Redis. Keys are those below its prefix.
pub struct View<'a> {
    writer: &'a RedisWriter,
    /// Position of the generation before the batch.
    from: i64,
    pub(super) changes: Changes,
}

impl<'a> View<'a> {
    pub(super) fn new(writer: &'a RedisWriter, from: i64) -> Self {
        View { writer, from, changes: Changes::default() }
    }

    /// The documents under these keys, as they are after what was set so far.
    pub async fn read<T: DeserializeOwned>(&self, keys: &[String]) -> Result<Vec<Option<T>>, ApplyError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_MAX) {
            let mut ask = redis::cmd("MGET");
            for key in keys {
                ask.arg(self.key(key));
            }
            let values: Vec<Option<Vec<u8>>> = ask.query_async(&mut self.connection()).await?;
            for (key, value) in keys.iter().zip(values) {
                let value = match self.changes.values.get(key) {
                    Some(Change::Set(value)) => Some(value.as_slice()),
                    Some(Change::Delete) => None,
                    None => value.as_deref(),
                };
                let document = value.map(serde_json::from_slice).transpose();
                found.push(
                    document.map_err(|error| ApplyError::Contradiction(format!("{key} is unreadable: {error}")))?,
                );
            }
        }
        Ok(found)
    }

    pub fn set(&mut self, key: String, value: Vec<u8>) {
        self.changes.values.insert(key, Change::Set(value));
    }

    pub fn delete(&mut self, key: String) {
        self.changes.values.insert(key, Change::Delete);
    }

    /// Sees to it that `member` is in the set, or is not. Its key begins with `set:`.
    pub fn put_in(&mut self, set: String, member: &str, is_in: bool) {
        self.changes.members.insert((set, member.to_owned()), is_in);
    }

    /// Who is in the set, after [`flush`](View::flush).
    pub async fn members(&self, set: &str) -> Result<Vec<String>, ApplyError> {
        let members = redis::cmd("SMEMBERS").arg(self.key(set)).query_async(&mut self.connection()).await?;
        Ok(members)
    }

    /// Writes what was set so far, and does not move the generation: after a crash it is set again. For an event that touches
    /// so much that Redis would not answer others meanwhile.
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        let changes = std::mem::take(&mut self.changes);
        self.writer.step(self.from, &[], None, changes).await
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.writer.prefix)
    }

    fn connection(&self) -> ConnectionManager {
        self.writer.connection.clone()
    }
}
