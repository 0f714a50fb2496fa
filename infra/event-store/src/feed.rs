//! What this process has appended, told to one listener of the same process as soon as it is on disk: without a question to
//! Postgres, and without the wait for its answer.
//!
//! It is not the log: what other processes append is not in it, nor what the listener was too slow for, and the batches of
//! two lanes may change places. Positions have no gaps, so the listener sees what is missing, and reads it.

use crate::append::{NewEvent, StreamId};
use crate::batch::Waiting;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// Batches that wait for the listener; more are left out.
const BATCHES_MAX: usize = 256;

/// One batch, on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// Position before the first event.
    pub before: i64,
    /// At positions `before` + 1, `before` + 2 ...
    pub events: Vec<CommittedEvent>,
}

/// An event that this process has appended.
#[derive(Debug, Clone, PartialEq)]
pub struct CommittedEvent {
    pub stream: StreamId,
    pub sequence: i64,
    pub event: NewEvent,
}

/// Where the lanes tell what they have appended, if somebody listens.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<Option<mpsc::Sender<Committed>>>);

impl Feed {
    /// The listener from now on; a former one hears no more.
    pub fn listen(&self) -> mpsc::Receiver<Committed> {
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        *self.0.lock() = Some(sender);
        receiver
    }

    /// Takes the events out of appends that are on disk, and tells them.
    pub fn tell(&self, before: i64, appends: &mut [Waiting]) {
        let Some(sender) = self.0.lock().clone() else { return };
        let Ok(place) = sender.try_reserve() else { return }; // The listener reads the log instead, or has gone.
        let mut events = Vec::with_capacity(appends.len());
        for of_stream in appends.iter_mut().flat_map(|waiting| &mut waiting.append.streams) {
            let sequences = of_stream.expected_version + 1..;
            for (sequence, event) in sequences.zip(std::mem::take(&mut of_stream.events)) {
                events.push(CommittedEvent { stream: of_stream.stream.clone(), sequence, event });
            }
        }
        if !events.is_empty() {
            place.send(Committed { before, events });
        }
    }
}
