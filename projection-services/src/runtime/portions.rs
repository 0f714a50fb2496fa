//! The log in portions, each of about the same size, whatever the size of an event.

use super::delivery::Delivery;
use kontor_event_store::LogReader;
use kontor_event_store::log_reader::ReadError;

/// One read of the log is sized to take about this much memory.
const PORTION_BYTES: usize = 8 << 20;

/// Reads the log in portions of about [`PORTION_BYTES`].
pub(super) struct Portions {
    log: LogReader,
    events: i64,
    events_max: i64,
}

impl Portions {
    /// No portion has more than `events_max`.
    pub fn of(log: LogReader, events_max: i64) -> Self {
        Portions { log, events: 500, events_max }
    }

    pub fn log(&self) -> &LogReader {
        &self.log
    }

    /// Up to `most` events after position `after`.
    pub async fn read(&mut self, after: i64, most: i64) -> Result<Vec<Delivery>, ReadError> {
        let events = self.log.read(after, most.min(self.events)).await?;
        let events: Vec<_> = events.into_iter().map(Delivery::from).collect();
        if !events.is_empty() {
            let bytes: usize = events.iter().map(Delivery::weight).sum();
            self.events = ((PORTION_BYTES / (bytes / events.len())) as i64).clamp(50, self.events_max);
        }
        Ok(events)
    }
}
