//! A batch as the arguments of the SQL function append_batch.

use crate::append::StreamId;
use crate::batch::Waiting;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Postgres, Type};
use std::collections::HashMap;
use uuid::Uuid;

/// Each field is one array, of which the same places belong together.
#[derive(Default)]
pub(crate) struct Arrays<'a> {
    /// Events that must be in the log.
    pub present: Places<'a>,
    /// Events that must not, and are not added.
    pub absent: Places<'a>,

    pub keys: Vec<Uuid>,
    pub fingerprints: Vec<i64>,
    pub first_events: Vec<i64>,
    pub last_events: Vec<i64>,
    pub key_versions: Vec<i64>,

    pub events: Places<'a>,
    pub event_types: Vec<&'a str>,
    pub event_versions: Vec<&'a str>,
    pub payloads: Vec<&'a str>,
    pub metadata: Vec<&'a str>,
}

/// Places of events in streams.
#[derive(Default)]
pub(crate) struct Places<'a> {
    pub types: Vec<&'a str>,
    pub ids: Vec<&'a str>,
    pub sequences: Vec<i64>,
}

impl<'a> Places<'a> {
    fn push(&mut self, stream: &'a StreamId, sequence: i64) {
        self.types.push(stream.aggregate_type);
        self.ids.push(&stream.aggregate_id);
        self.sequences.push(sequence);
    }

    fn len(&self) -> i64 {
        self.sequences.len() as i64
    }
}

impl<'a> Arrays<'a> {
    /// `None` if an append does not follow on the one before it to the same stream. The log is not asked for events that
    /// `are_there`.
    pub fn of(appends: &'a [Waiting], are_there: impl Fn(&StreamId, i64) -> bool) -> Option<Self> {
        let mut arrays = Self::default();
        // Only the first append to a stream meets the version in the log; the others must follow on it within the batch.
        let mut reached = HashMap::new();
        for Waiting { append, .. } in appends {
            let events_before = arrays.events.len();
            for of_stream in &append.streams {
                let expected = of_stream.expected_version;
                let before = reached.insert(&of_stream.stream, expected + of_stream.events.len() as i64);
                if before.is_some_and(|version| version != expected) {
                    return None;
                }
                if before.is_none() && expected > 0 && !are_there(&of_stream.stream, expected) {
                    arrays.present.push(&of_stream.stream, expected);
                }
                // Events that are added show by the primary key that they were not there.
                if before.is_none() && of_stream.events.is_empty() {
                    arrays.absent.push(&of_stream.stream, expected + 1);
                }
                for (sequence, event) in (expected + 1..).zip(&of_stream.events) {
                    arrays.events.push(&of_stream.stream, sequence);
                    arrays.event_types.push(&event.event_type);
                    arrays.event_versions.push(&event.event_version);
                    arrays.payloads.push(&event.payload);
                    arrays.metadata.push(&event.metadata);
                }
            }
            if arrays.events.len() > events_before {
                let first = &append.streams[0];
                arrays.keys.push(append.key.key);
                arrays.fingerprints.push(append.key.fingerprint);
                arrays.first_events.push(events_before + 1);
                arrays.last_events.push(arrays.events.len());
                arrays.key_versions.push(first.expected_version + first.events.len() as i64);
            }
        }
        Some(arrays)
    }
}

/// Texts as `json[]`: what is no JSON is refused when the arguments are read. sqlx itself would send `jsonb[]`, and only of
/// values that it writes as JSON anew.
pub(crate) struct JsonArray<'a>(pub &'a [&'a str]);

/// Postgres's own numbers of its types `json` and `json[]`.
const JSON: u32 = 114;
const JSON_ARRAY: u32 = 199;

impl Type<Postgres> for JsonArray<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(JSON_ARRAY))
    }
}

impl Encode<'_, Postgres> for JsonArray<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let (dimensions, has_nulls, lower_bound) = (1_i32, 0_i32, 1_i32);
        buffer.extend_from_slice(&dimensions.to_be_bytes());
        buffer.extend_from_slice(&has_nulls.to_be_bytes());
        buffer.extend_from_slice(&JSON.to_be_bytes());
        buffer.extend_from_slice(&i32::try_from(self.0.len())?.to_be_bytes());
        buffer.extend_from_slice(&lower_bound.to_be_bytes());
        for text in self.0 {
            buffer.extend_from_slice(&i32::try_from(text.len())?.to_be_bytes());
            buffer.extend_from_slice(text.as_bytes());
        }
        Ok(IsNull::No)
    }
}
