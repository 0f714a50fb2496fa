//! Which events are known to be in the log, so that it need not be asked for what a batch builds on.

use crate::append::StreamId;
use crate::batch::Waiting;
use quick_cache::sync::Cache;

/// Streams that are remembered; the log is asked about the others. About 150 bytes each.
const STREAMS_MAX: usize = 50_000;

/// How far the streams have come that this process has appended to last. What is in the log stays there, unless the log has lost
/// commits: then it has another epoch, and nothing from before is known.
#[derive(Debug)]
pub(crate) struct Seen(Cache<StreamId, Version>);

#[derive(Debug, Clone, Copy)]
struct Version {
    epoch: i64,
    version: i64,
}

impl Seen {
    pub fn new() -> Self {
        Self(Cache::new(STREAMS_MAX))
    }

    /// These were committed in `epoch`.
    pub fn note(&self, epoch: i64, appends: &[Waiting]) {
        for of_stream in appends.iter().flat_map(|waiting| &waiting.append.streams) {
            if !of_stream.events.is_empty() {
                let version = of_stream.expected_version + of_stream.events.len() as i64;
                self.0.insert(of_stream.stream.clone(), Version { epoch, version });
            }
        }
    }

    /// Whether the log, if it still has this epoch, is known to have the event at `sequence`.
    pub fn has(&self, epoch: i64, stream: &StreamId, sequence: i64) -> bool {
        self.0.get(stream).is_some_and(|seen| seen.epoch == epoch && seen.version >= sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::append::{Append, NewEvent, StreamAppend};
    use crate::batch::Queue;
    use crate::key::Key;

    #[tokio::test]
    async fn what_was_committed_is_known_in_its_epoch() {
        let queue = Queue::new(10);
        let stream = StreamId { aggregate_type: "a", aggregate_id: "1".into() };
        let event = NewEvent {
            event_type: "E".into(),
            event_version: "1.0".into(),
            payload: "{}".into(),
            metadata: "{}".into(),
        };
        let of_stream = StreamAppend {
            stream: stream.clone(),
            expected_version: 2,
            lineage: queue.new_lineage(),
            events: vec![event.clone(), event],
        };
        let _pending = queue.submit(Append { key: Key::unique(), streams: vec![of_stream] }).expect("there is room");
        let (appends, _) = queue.take().await.expect("it is open").into_parts();

        let seen = Seen::new();
        assert!(!seen.has(1, &stream, 2));
        seen.note(1, &appends);
        assert!(seen.has(1, &stream, 2) && seen.has(1, &stream, 4));
        assert!(!seen.has(1, &stream, 5), "nobody has seen it");
        assert!(!seen.has(2, &stream, 4), "the log may have lost it");
    }
}
