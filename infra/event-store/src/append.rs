//! What is appended, under which expected versions, and what comes of it.

use crate::key::Key;
use compact_str::CompactString;
use std::collections::HashSet;

/// One aggregate's events: its type and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub aggregate_type: &'static str,
    pub aggregate_id: CompactString,
}

/// Names one reading of a stream and all that was decided on top of it, appended or not.
///
/// A writer may decide on state that is still being appended. When such an append is refused, everything that was
/// decided on top of it is refused with it, even if the version should happen to fit: another writer may have put
/// another event in that place. Lineages are given out by [`Log::new_lineage`](crate::Log::new_lineage), in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lineage(pub(crate) u64);

/// An event to append. `payload` and `metadata` are JSON text.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
    pub metadata: String,
}

/// Events for one stream, which must be at `expected_version` (0: must not exist).
#[derive(Debug, Clone)]
pub struct StreamAppend {
    pub stream: StreamId,
    pub expected_version: i64,
    pub lineage: Lineage,
    pub events: Vec<NewEvent>,
}

/// One command's events for one or more streams: all of them are appended, or none.
///
/// Without events it only asks whether the streams are at these versions: a refusal or a command that changes nothing
/// rests on what was read, as an append does. It settles after everything submitted before it.
#[derive(Debug, Clone)]
pub struct Append {
    pub key: Key,
    /// At least one, each stream once. The first is the command's own, and has events if any has: its id and version are
    /// what the key leads to.
    pub streams: Vec<StreamAppend>,
}

/// The outcome of a command whose events are in the log, on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Position of the command's last event; for an append without events, of the log when it was answered.
    pub position: i64,
    /// Version of the command's first stream after it.
    pub version: i64,
    /// Whether an earlier command with the same key and the same request did it.
    pub replayed: bool,
}

/// Why an append was not done. Nothing of it is in the log, unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Read the stream again and decide again.
    #[error("{} {} is not at version {expected} any more", stream.aggregate_type, stream.aggregate_id)]
    Conflict { stream: StreamId, expected: i64 },
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("{waiting} appends are waiting already")]
    Busy { waiting: usize },
    /// The connection broke and could not be restored in time: ask again with the same key.
    #[error("the log cannot be reached; whether the command was appended is not known: {reason}")]
    Unknown { reason: String },
    #[error("the log refused the append: {reason}")]
    Refused { reason: String },
}

impl Append {
    /// Refuses what the lanes must not be given, or what the log could store but its readers could not use.
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        let refused = |reason: &str| Err(AppendError::Refused { reason: reason.into() });
        if self.streams.is_empty() {
            return refused("it names no stream");
        }
        let mut named = HashSet::new();
        if self.streams.len() > 1 && !self.streams.iter().all(|of_stream| named.insert(&of_stream.stream)) {
            return refused("it names a stream twice");
        }
        let mut events = self.streams.iter().flat_map(|of_stream| &of_stream.events);
        if events.any(|event| escapes_zero(&event.payload) || escapes_zero(&event.metadata)) {
            // Type json takes it, yet Postgres has no text with a zero byte: every read model would stumble over it.
            return refused("its JSON has text with \\u0000");
        }
        Ok(())
    }
}

/// Whether JSON text has the escape `\u0000`, which two backslashes before `u0000` are not.
fn escapes_zero(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        rest = &rest[at + 1..];
        if rest.starts_with("u0000") {
            return true;
        }
        rest = rest.strip_prefix('\\').unwrap_or(rest);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escaped_zero_is_told_from_an_escaped_backslash() {
        for json in [r#""\u0000""#, r#""a\\\u0000b""#, r#""\n\u0000""#] {
            assert!(escapes_zero(json), "{json}");
        }
        for json in [r#""""#, r#""u0000""#, r#""\\u0000""#, r#""\u0001\\""#] {
            assert!(!escapes_zero(json), "{json}");
        }
    }
}
