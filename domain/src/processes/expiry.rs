//! Expiry: an order that is not paid in time gives its goods back.

use super::{Event, Instruction, Reaction};
use crate::order::{OrderEvent, Placed, demand};
use crate::text::Reason;
use crate::timer::{TimerEvent, TimerReason};
use crate::{OrderId, Quantity, Sku};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is known of the time that one order has.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExpiryProcess {
    /// `None` for an order that did not come from checkout.
    order: Option<Ordered>,
    is_set: bool,
    /// The event that says that the time is over.
    fired: Option<Uuid>,
    /// Paid or cancelled.
    settled: bool,
}

/// What was placed, and the event that says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ordered {
    event_id: Uuid,
    order_id: OrderId,
    pay_by: DateTime<Utc>,
    goods: BTreeMap<Sku, Quantity>,
}

impl Ordered {
    fn of(event_id: Uuid, placed: &Placed) -> Option<Self> {
        let pay_by = placed.checkout.as_ref()?.pay_by;
        let goods = demand(&placed.lines).ok()?; // It was added up when the order was placed.
        Some(Self { event_id, order_id: placed.order_id, pay_by, goods })
    }
}

impl ExpiryProcess {
    pub fn apply(&mut self, event_id: Uuid, event: Event<'_>) {
        match event {
            Event::Order(OrderEvent::Placed(placed)) => self.order = Ordered::of(event_id, placed),
            Event::Order(
                OrderEvent::Authorised { .. } | OrderEvent::Confirmed { .. } | OrderEvent::Cancelled { .. },
            ) => self.settled = true,
            Event::Order(
                OrderEvent::Shipped { .. }
                | OrderEvent::Delivered { .. }
                | OrderEvent::Captured { .. }
                | OrderEvent::ReturnRequested { .. }
                | OrderEvent::ReturnReceived { .. }
                | OrderEvent::Restocked { .. }
                | OrderEvent::Refunded { .. }
                | OrderEvent::RefundBounced { .. },
            )
            | Event::Payment(_) => {}
            Event::Timer(TimerEvent::Set { reason: TimerReason::ReservationEnds, sku: None, .. }) => self.is_set = true,
            Event::Timer(TimerEvent::Fired { reason: TimerReason::ReservationEnds, sku: None, .. }) => {
                self.fired = Some(event_id);
            }
            // Of goods that were set aside without the order.
            Event::Timer(TimerEvent::Set { sku: Some(_), .. } | TimerEvent::Fired { sku: Some(_), .. }) => {}
            Event::Timer(
                TimerEvent::Set { reason: TimerReason::CaptureEnds, .. }
                | TimerEvent::Fired { reason: TimerReason::CaptureEnds, .. },
            ) => {}
        }
    }

    /// When the time is over, as long as that matters.
    pub fn wakes_at(&self) -> Option<DateTime<Utc>> {
        let order = self.order.as_ref().filter(|_| !self.settled && self.fired.is_none())?;
        Some(order.pay_by)
    }

    /// Says that the time is over, once it is.
    pub fn due(&self, now: DateTime<Utc>) -> Option<Instruction> {
        self.wakes_at().filter(|at| *at <= now)?;
        let Ordered { event_id, order_id, .. } = self.order.as_ref()?;
        Some(Reaction::FireTimer { order_id: *order_id, reason: TimerReason::ReservationEnds }.to(*event_id))
    }

    /// Sets the timer, or cancels the order when it has fired.
    pub fn react(&self) -> Option<Instruction> {
        let Ordered { event_id, order_id, pay_by, goods } = self.order.as_ref().filter(|_| !self.settled)?;
        match self.fired {
            Some(fired) => {
                let reason = Reason::new("not paid in time").expect("a short text of our own");
                let goods = goods.clone();
                Some(Reaction::CancelUnpaidOrder { order_id: *order_id, reason, goods }.to(fired))
            }
            None if self.is_set => None,
            None => {
                let reason = TimerReason::ReservationEnds;
                Some(Reaction::WakeMe { order_id: *order_id, at: *pay_by, reason }.to(*event_id))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Waiting;
    use super::super::samples::*;
    use super::*;
    use crate::order::Fulfilment;
    use crate::order::samples::{ORDER, authorised, cancelled, confirmed, noon, placed, two_lines};
    use chrono::TimeDelta;

    fn after(story: impl IntoIterator<Item = Fact>) -> Heard {
        heard([placed(two_lines(), Fulfilment::Checkout).into(), requested()].into_iter().chain(story))
    }

    fn wake_me() -> Reaction {
        let at = noon() + TimeDelta::minutes(15);
        Reaction::WakeMe { order_id: ORDER, at, reason: TimerReason::ReservationEnds }
    }

    fn cancel_unpaid() -> Reaction {
        let reason = Reason::new("not paid in time").expect("a valid reason");
        Reaction::CancelUnpaidOrder { order_id: ORDER, reason, goods: goods_of_two_lines() }
    }

    #[test]
    fn a_timer_is_set_when_goods_are_held() {
        after([]).then([(2, ask_and_confirm()), (1, wake_me())]).waits_for([Waiting::Authorisation]);
        after([timer_set()]).then([(2, ask_and_confirm())]).waits_for([Waiting::Authorisation]);
    }

    #[test]
    fn the_timer_fires_when_the_time_is_over_as_long_as_that_matters() {
        let fire = || Reaction::FireTimer { order_id: ORDER, reason: TimerReason::ReservationEnds };
        after([timer_set()]).then_at(14, []).then_at(15, [(1, fire())]);
        after([timer_set(), timer_fired()]).then_at(15, []);
        after([timer_set(), held(345), authorised().into()]).then_at(15, []);
    }

    #[test]
    fn an_order_that_is_not_paid_in_time_is_cancelled() {
        after([timer_set(), timer_fired()])
            .then([(2, ask_and_confirm()), (4, cancel_unpaid())])
            .waits_for([Waiting::Authorisation]);
        after([timer_set(), timer_fired(), cancelled(305).into()])
            .then([(2, ask(AUTHORISE))])
            .waits_for([Waiting::Authorisation]);
    }

    #[test]
    fn an_order_that_is_paid_is_left_alone() {
        after([timer_set(), held(345), authorised().into(), confirmed().into(), timer_fired()])
            .then([])
            .waits_for([Waiting::Shipment]);
    }
}
