//! The latest events, shared by the workers of a process: the stream is read and its headers parsed once for all of them.

use super::delivery::Delivery;
use std::collections::VecDeque;
use std::sync::Arc;

const EVENTS_MAX: usize = 20_000;
const BYTES_MAX: usize = 16 << 20;

/// Events without a gap up to the last one seen. A worker that has fallen out of it reads the log.
#[derive(Debug)]
pub(crate) struct Window {
    events: VecDeque<Arc<Delivery>>,
    bytes: usize,
    last: i64,
}

impl Window {
    /// Nothing yet, and the next event is the one after `last`.
    pub fn after(last: i64) -> Self {
        Window { events: VecDeque::new(), bytes: 0, last }
    }

    /// Position of the last event seen.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Position before the first event kept.
    pub fn before_first(&self) -> i64 {
        self.last - self.events.len() as i64
    }

    /// Adds the next event; the oldest give way.
    pub fn push(&mut self, event: Arc<Delivery>) {
        assert_eq!(event.position, self.last + 1, "events come in the order of their positions");
        self.last = event.position;
        self.bytes += event.weight();
        self.events.push_back(event);
        while self.events.len() > EVENTS_MAX || (self.bytes > BYTES_MAX && self.events.len() > 1) {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= oldest.weight();
            }
        }
    }

    /// The events after position `after`, as many as the bounds allow, at least one if there is one. `None`: they are not
    /// kept any more.
    pub fn take(&self, after: i64, events_max: usize, bytes_max: usize) -> Option<Vec<Arc<Delivery>>> {
        let skip = usize::try_from(after - self.before_first()).ok()?;
        let mut bytes = 0;
        let fits = |event: &&Arc<Delivery>| {
            let is_first = bytes == 0;
            bytes += event.weight();
            is_first || bytes <= bytes_max
        };
        Some(self.events.iter().skip(skip).take(events_max).take_while(fits).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_event_schemas::RecordedEvent;

    fn event(position: i64, bytes: usize) -> Arc<Delivery> {
        Arc::new(Delivery::from(RecordedEvent {
            position,
            aggregate_type: "stock".into(),
            aggregate_id: "A".into(),
            sequence: 1,
            event_type: "Received".into(),
            event_version: "1.0".into(),
            payload: "x".repeat(bytes),
            metadata: "{}".into(),
            recorded_at: chrono::DateTime::UNIX_EPOCH,
        }))
    }

    fn positions(taken: Option<Vec<Arc<Delivery>>>) -> Option<Vec<i64>> {
        taken.map(|events| events.iter().map(|event| event.position).collect())
    }

    #[test]
    fn each_reader_goes_on_where_it_is() {
        let mut window = Window::after(6);
        (7..=9).for_each(|position| window.push(event(position, 10)));
        assert_eq!(positions(window.take(6, 10, 1 << 20)), Some(vec![7, 8, 9]));
        assert_eq!(positions(window.take(7, 1, 1 << 20)), Some(vec![8]));
        assert_eq!(positions(window.take(9, 10, 1 << 20)), Some(vec![]));
        assert_eq!(positions(window.take(5, 10, 1 << 20)), None);
    }

    #[test]
    fn an_event_larger_than_the_bound_is_taken_alone() {
        let mut window = Window::after(0);
        (1..=3).for_each(|position| window.push(event(position, 1_000)));
        assert_eq!(positions(window.take(0, 10, 1)), Some(vec![1]));
        assert_eq!(positions(window.take(0, 10, 2_700)), Some(vec![1, 2]));
    }

    #[test]
    fn the_oldest_give_way() {
        let mut window = Window::after(0);
        (1..=EVENTS_MAX as i64 + 5).for_each(|position| window.push(event(position, 1)));
        assert_eq!(window.before_first(), 5);
        assert!(window.take(4, 10, 1 << 20).is_none());
        window.push(event(EVENTS_MAX as i64 + 6, 2 * BYTES_MAX));
        assert_eq!(window.before_first(), EVENTS_MAX as i64 + 5, "one event is kept whatever its size");
    }
}
