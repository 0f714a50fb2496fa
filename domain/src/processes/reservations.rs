//! Reservations: goods that somebody has set aside for a time, without an order, go back on sale when it is over.
//!
//! Whoever reserves sets the timer with it, so the timers tell all that there is to know. What became of the goods
//! meanwhile is the stock's to say: what is not held any more, or confirmed, stays as it is.

use super::{Event, Instruction, Reaction};
use crate::timer::TimerEvent;
use crate::{OrderId, Sku};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The timers that are set and have not fired.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReservationsProcess(BTreeMap<Sku, Timed>);

/// Until when goods are set aside, and the event that says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Timed {
    event_id: Uuid,
    order_id: OrderId,
    at: DateTime<Utc>,
}

impl ReservationsProcess {
    pub fn apply(&mut self, event_id: Uuid, event: Event<'_>) {
        match event {
            Event::Timer(TimerEvent::Set { order_id, at, sku: Some(sku), .. }) => {
                self.0.insert(sku.clone(), Timed { event_id, order_id: *order_id, at: *at });
            }
            Event::Timer(TimerEvent::Fired { sku: Some(sku), .. }) => {
                self.0.remove(sku);
            }
            Event::Timer(TimerEvent::Set { sku: None, .. } | TimerEvent::Fired { sku: None, .. })
            | Event::Order(_)
            | Event::Payment(_) => {}
        }
    }

    /// When the next time is over.
    pub fn wakes_at(&self) -> Option<DateTime<Utc>> {
        self.0.values().map(|timed| timed.at).min()
    }

    /// Puts back on sale what was set aside until `now` or earlier.
    pub fn due(&self, now: DateTime<Utc>) -> impl Iterator<Item = Instruction> {
        let over = self.0.iter().filter(move |(_, timed)| timed.at <= now);
        over.map(|(sku, Timed { event_id, order_id, .. })| {
            Reaction::ExpireReservation { order_id: *order_id, sku: sku.clone() }.to(*event_id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Processes;
    use super::super::samples::event_id;
    use super::*;
    use crate::order::samples::{ORDER, noon};
    use crate::timer::TimerReason;
    use chrono::TimeDelta;

    const REASON: TimerReason = TimerReason::ReservationEnds;

    fn at(minutes: i64) -> DateTime<Utc> {
        noon() + TimeDelta::minutes(minutes)
    }

    fn sku(sku: &str) -> Sku {
        sku.parse().expect("a valid SKU")
    }

    fn set(of: &str, minutes: i64) -> TimerEvent {
        TimerEvent::Set { order_id: ORDER, reason: REASON, at: at(minutes), sku: Some(sku(of)) }
    }

    fn fired(of: &str, minutes: i64) -> TimerEvent {
        TimerEvent::Fired { order_id: ORDER, reason: REASON, fired_at: at(minutes), sku: Some(sku(of)) }
    }

    /// What is known after `story`, whose event n has the id n.
    fn heard(story: impl IntoIterator<Item = TimerEvent>) -> Processes {
        let mut processes = Processes::default();
        for (n, event) in (1..).zip(story) {
            processes.apply(event_id(n), Event::Timer(&event));
        }
        processes
    }

    fn expire(of: &str, cause: usize) -> Instruction {
        Reaction::ExpireReservation { order_id: ORDER, sku: sku(of) }.to(event_id(cause))
    }

    #[test]
    fn goods_go_back_on_sale_when_their_time_is_over_and_not_before() {
        let both = heard([set("MUG", 15), set("CUP", 20)]);
        assert_eq!(both.wakes_at(), Some(at(15)));
        assert_eq!((both.react(), both.due(at(14))), (vec![], vec![]));
        assert_eq!(both.due(at(15)), [expire("MUG", 1)]);
        assert_eq!(both.due(at(20)), [expire("CUP", 2), expire("MUG", 1)]);
    }

    #[test]
    fn what_has_fired_is_over() {
        let one = heard([set("MUG", 15), set("CUP", 20), fired("MUG", 15)]);
        assert_eq!((one.wakes_at(), one.due(at(15))), (Some(at(20)), vec![]));
        assert!(heard([set("MUG", 15), fired("MUG", 15)]).is_idle());
    }

    #[test]
    fn goods_that_were_reserved_anew_have_their_new_time() {
        let anew = heard([set("MUG", 15), set("MUG", 30)]);
        assert_eq!((anew.wakes_at(), anew.due(at(15))), (Some(at(30)), vec![]));
        assert_eq!(anew.due(at(30)), [expire("MUG", 2)]);
    }
}
