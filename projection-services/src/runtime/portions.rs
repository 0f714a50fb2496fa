//! The log in portions, each of about the same size, whatever the size of an event.

use super::delivery::Delivery;
use kontor_event_store::LogReader;
use kontor_event_store::log_reader::ReadError;

/// One read of the log is sized to take about this much memory.
const PORTION_BYTES: usize = 8 << 20;
/// Positions that are looked at together, however few of them are wanted.
const POSITIONS: std::ops::RangeInclusive<i64> = 50..=100_000;

/// Reads the log in portions of about [`PORTION_BYTES`].
pub(super) struct Portions {
    log: LogReader,
    /// Aggregate types whose events are wanted; `None`: all are.
    types: Option<&'static [&'static str]>,
    positions: i64,
    events_max: i64,
}

impl Portions {
    /// No portion has more than about `events_max`.
    pub fn of(log: LogReader, events_max: i64) -> Self {
        Portions { log, types: None, positions: 500, events_max }
    }

    /// Leaves out what is of no aggregate of these types, but for the last of each portion, which tells how far it goes.
    pub fn only(self, types: &'static [&'static str]) -> Self {
        Portions { types: Some(types), ..self }
    }

    pub fn log(&self) -> &LogReader {
        &self.log
    }

    /// Of up to `most` events after position `after`.
    pub async fn read(&mut self, after: i64, most: i64) -> Result<Vec<Delivery>, ReadError> {
        let most = most.min(self.positions);
        let events = match self.types {
            None => self.log.read(after, most).await?,
            Some(types) => self.log.read_of(types, after, most).await?,
        };
        let events: Vec<_> = events.into_iter().map(Delivery::from).collect();
        if let Some(last) = events.last() {
            let bytes: usize = events.iter().map(Delivery::weight).sum();
            let fitting = ((PORTION_BYTES / (bytes / events.len())) as i64).min(self.events_max);
            let positions = fitting * (last.position - after) / events.len() as i64;
            self.positions = positions.clamp(*POSITIONS.start(), *POSITIONS.end());
        }
        Ok(events)
    }
}
