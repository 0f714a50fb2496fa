//! Fulfilment: what was shipped is captured, shipment by shipment or, where only one capture is possible, all at the end.

use super::{Attempts, CAPTURE_PAYMENT, Event, Instruction, Reaction, Waiting, command_id};
use crate::order::OrderEvent;
use crate::payment::{Operation, PaymentEvent, Progress};
use crate::timer::{TimerEvent, TimerReason};
use crate::{AttemptId, Money, OrderId, PaymentId, ShipmentId};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is known of one order's shipments and of the money for them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FulfilmentProcess {
    /// `None` for an order that is not paid through a payment.
    order: Option<(OrderId, PaymentId)>,
    confirmed: bool,
    cancelled: bool,
    complete: bool,
    expired: bool,
    shipments: BTreeMap<ShipmentId, Shipment>,
    /// The event that says what left last.
    last_shipment: Option<Uuid>,
    once: Option<Once>,
    timer: CaptureTimer,
    attempts: Attempts,
    /// The most that was captured in total, and the event that says so.
    captured: Option<(Uuid, Money)>,
    /// The most of that that the order knows.
    booked: Option<Money>,
}

/// What a shipment costs, and the event that says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Shipment {
    event_id: Uuid,
    charge: Money,
}

/// An authorisation that can be captured once only, and the event that says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Once {
    event_id: Uuid,
    amount: Money,
    expires_at: DateTime<Utc>,
}

/// The timer that an authorisation is captured by that can be captured once only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct CaptureTimer {
    is_set: bool,
    fired: bool,
}

/// How long before its end such an authorisation is captured: a provider that is away for a night does not lose it.
const CAPTURE_BEFORE_END: TimeDelta = TimeDelta::hours(24);

impl Once {
    fn capture_by(&self) -> DateTime<Utc> {
        self.expires_at - CAPTURE_BEFORE_END
    }
}

impl FulfilmentProcess {
    pub fn apply(&mut self, event_id: Uuid, event: Event<'_>) {
        match event {
            Event::Order(OrderEvent::Placed(placed)) => {
                self.order = placed.checkout.as_ref().map(|checkout| (placed.order_id, checkout.payment_id));
            }
            Event::Order(OrderEvent::Confirmed { .. }) => self.confirmed = true,
            Event::Order(OrderEvent::Cancelled { .. }) => self.cancelled = true,
            Event::Order(OrderEvent::Shipped { shipment_id, charge, complete, .. }) => {
                if self.shipments.insert(*shipment_id, Shipment { event_id, charge: *charge }).is_none() {
                    self.last_shipment = Some(event_id);
                }
                self.complete |= complete;
            }
            Event::Order(OrderEvent::Captured { captured_total, .. }) => {
                if minor(Some(*captured_total)) > minor(self.booked) {
                    self.booked = Some(*captured_total);
                }
            }
            Event::Order(
                OrderEvent::Authorised { .. }
                | OrderEvent::Delivered { .. }
                | OrderEvent::ReturnRequested { .. }
                | OrderEvent::ReturnReceived { .. }
                | OrderEvent::Restocked { .. }
                | OrderEvent::Refunded { .. }
                | OrderEvent::RefundBounced { .. },
            )
            | Event::Timer(
                TimerEvent::Set { reason: TimerReason::ReservationEnds, .. }
                | TimerEvent::Fired { reason: TimerReason::ReservationEnds, .. },
            ) => {}
            Event::Timer(TimerEvent::Set { reason: TimerReason::CaptureEnds, .. }) => self.timer.is_set = true,
            Event::Timer(TimerEvent::Fired { reason: TimerReason::CaptureEnds, .. }) => self.timer.fired = true,
            Event::Payment(payment) => {
                if matches!(payment.news(), (_, Operation::Capture, _)) {
                    self.attempts.hear(event_id, payment);
                }
                if let PaymentEvent::Captured { captured_total, .. } = payment
                    && minor(Some(*captured_total)) > minor(self.captured.map(|(_, total)| total))
                {
                    self.captured = Some((event_id, *captured_total));
                }
                if let PaymentEvent::Authorised { amount, expires_at, captures_once: true, .. } = payment {
                    self.once = Some(Once { event_id, amount: *amount, expires_at: *expires_at });
                }
                if let PaymentEvent::Expired { .. } = payment {
                    self.expired = true;
                }
            }
        }
    }

    /// Captures what was shipped and tells the order what was captured.
    pub fn react(&self) -> Vec<Instruction> {
        let Some((order_id, payment_id)) = self.order else { return Vec::new() };
        let mut instructions = match &self.once {
            Some(once) => self.capture_once(order_id, payment_id, once).into_iter().collect(),
            None => self.capture_each(payment_id),
        };
        let book = self.to_book();
        instructions
            .extend(book.map(|(cause, captured_total)| Reaction::BookCapture { order_id, captured_total }.to(cause)));
        instructions.extend(self.attempts.ask(payment_id, None));
        instructions
    }

    /// Each shipment as it leaves.
    fn capture_each(&self, payment_id: PaymentId) -> Vec<Instruction> {
        let capture = |Shipment { event_id, charge }: &Shipment| {
            Reaction::CapturePayment { payment_id, amount: *charge }.to(*event_id)
        };
        self.uncaptured().map(capture).collect()
    }

    /// All at once, when the last has left or the time is nearly over; until then, sees to it that the time is watched.
    fn capture_once(&self, order_id: OrderId, payment_id: PaymentId, once: &Once) -> Option<Instruction> {
        let Once { event_id, amount, .. } = *once;
        if !self.is_held(once) {
            return None;
        }
        if self.complete || self.timer.fired {
            return Some(Reaction::CapturePayment { payment_id, amount }.to(event_id));
        }
        let (at, reason) = (once.capture_by(), TimerReason::CaptureEnds);
        (!self.timer.is_set).then(|| Reaction::WakeMe { order_id, at, reason }.to(event_id))
    }

    /// Whether something has left, and nobody has asked for its money.
    fn is_held(&self, once: &Once) -> bool {
        let was_requested = self.attempts.of(Operation::Capture).next().is_some();
        !self.shipments.is_empty() && once.amount.amount_minor > 0 && !self.expired && !was_requested
    }

    /// When what is held is captured, though not all has left.
    pub fn wakes_at(&self) -> Option<DateTime<Utc>> {
        let once = self.once.as_ref().filter(|once| self.is_held(once))?;
        (!self.complete && !self.timer.fired).then(|| once.capture_by())
    }

    /// Says that it is time, once it is.
    pub fn due(&self, now: DateTime<Utc>) -> Option<Instruction> {
        self.wakes_at().filter(|at| *at <= now)?;
        let ((order_id, _), Once { event_id, .. }) = (self.order?, self.once.as_ref()?);
        Some(Reaction::FireTimer { order_id, reason: TimerReason::CaptureEnds }.to(*event_id))
    }

    /// What the order does not know of what was captured, and the event that says so. What was captured before it was owed is
    /// booked with the shipment that it is owed for.
    fn to_book(&self) -> Option<(Uuid, Money)> {
        let (captured_by, captured) = self.captured?;
        let owed = i64::try_from(self.charged()).ok().map(|minor| Money::new(minor, captured.currency))?;
        let (cause, total) = match minor(Some(captured)) > minor(Some(owed)) {
            true => (self.last_shipment?, owed),
            false => (captured_by, captured),
        };
        (minor(Some(total)) > minor(self.booked)).then_some((cause, total))
    }

    /// Shipments that cost something and whose capture was not requested.
    fn uncaptured(&self) -> impl Iterator<Item = &Shipment> {
        self.shipments.values().filter(|Shipment { event_id, charge }| {
            let attempt = AttemptId(command_id(*event_id, CAPTURE_PAYMENT));
            charge.amount_minor > 0 && !self.expired && !self.attempts.0.contains_key(&attempt)
        })
    }

    /// What the order is waiting for, once it is confirmed.
    pub fn waits_for(&self) -> Vec<Waiting> {
        if self.order.is_none() {
            return Vec::new();
        }
        let is_moving = !self.react().is_empty() || self.attempts.is_open(Operation::Capture);
        let is_owed = self.charged() > minor(self.captured.map(|(_, total)| total));
        let has_left = !self.shipments.is_empty();
        let has_failed = self.attempts.at(Operation::Capture, Progress::Failed).is_some();
        let waits = [
            (Waiting::Shipment, self.confirmed && !self.complete && !self.cancelled && !self.expired),
            (Waiting::Capture, is_moving),
            (Waiting::FailedCapture, is_owed && has_failed && !is_moving && !self.expired),
            (Waiting::ExpiredInPart, self.expired && has_left && (is_owed || !self.complete)),
        ];
        waits.into_iter().filter(|(_, is_so)| *is_so).map(|(waiting, _)| waiting).collect()
    }

    /// What all that has left costs, in minor units.
    fn charged(&self) -> i128 {
        self.shipments.values().map(|shipment| i128::from(shipment.charge.amount_minor)).sum()
    }
}

fn minor(amount: Option<Money>) -> i128 {
    amount.map_or(0, |amount| i128::from(amount.amount_minor))
}

#[cfg(test)]
mod tests {
    use super::super::samples::*;
    use super::*;
    use crate::order::Fulfilment;
    use crate::order::samples::{ORDER, PAYMENT, authorised, cancelled, confirmed, part, pence, placed, two_lines};

    /// Confirmed: events 1 to 6.
    fn after(story: impl IntoIterator<Item = Fact>) -> Heard {
        let paid = [requested(), held(345), authorised().into(), confirmed().into()];
        let placed = [placed(two_lines(), Fulfilment::Checkout).into(), timer_set()];
        heard(placed.into_iter().chain(paid).chain(story))
    }

    fn capture(amount: i64) -> Reaction {
        Reaction::CapturePayment { payment_id: PAYMENT, amount: pence(amount) }
    }

    fn book(total: i64) -> Reaction {
        Reaction::BookCapture { order_id: ORDER, captured_total: pence(total) }
    }

    /// The key under which the shipment that is event `n` is captured.
    fn key(n: usize) -> AttemptId {
        AttemptId(command_id(event_id(n), CAPTURE_PAYMENT))
    }

    fn first() -> Fact {
        shipped(1, vec![part(1, "A", 1)], 190, false)
    }

    fn second() -> Fact {
        shipped(2, vec![part(1, "A", 1), part(2, "B", 1)], 155, true)
    }

    #[test]
    fn what_was_shipped_is_captured_in_part() {
        after([]).then([]).waits_for([Waiting::Shipment]);
        after([first()]).then([(7, capture(190))]).waits_for([Waiting::Shipment, Waiting::Capture]);
        after([first(), capture_requested(key(7), 190)])
            .then([(8, ask(key(7)))])
            .waits_for([Waiting::Shipment, Waiting::Capture]);
    }

    #[test]
    fn the_order_is_told_what_was_captured() {
        let one = || [first(), capture_requested(key(7), 190), captured(key(7), 190, 190)];
        after(one()).then([(9, book(190))]).waits_for([Waiting::Shipment, Waiting::Capture]);
        after(one().into_iter().chain([capture_booked(190, 190)])).then([]).waits_for([Waiting::Shipment]);
        after(one().into_iter().chain([capture_booked(190, 190), second()]))
            .then([(11, capture(155))])
            .waits_for([Waiting::Capture]);
        let both = [second(), capture_requested(key(10), 155), captured(key(10), 155, 345)];
        after(one().into_iter().chain(both.clone())).then([(12, book(345))]).waits_for([Waiting::Capture]);
        after(one().into_iter().chain(both).chain([capture_booked(345, 345)])).then([]).waits_for([]);
    }

    #[test]
    fn a_capture_without_an_answer_is_asked_about_and_one_that_failed_waits_for_a_person() {
        let all = || shipped(1, vec![part(1, "A", 2), part(2, "B", 1)], 345, true);
        let request = || capture_requested(key(7), 345);
        after([all(), request(), unknown(key(7), Operation::Capture)])
            .then([(9, ask(key(7)))])
            .waits_for([Waiting::Capture]);
        after([all(), request(), failed(key(7), Operation::Capture)]).then([]).waits_for([Waiting::FailedCapture]);
        let again = AttemptId(Uuid::from_u128(0xA9));
        after([
            all(),
            request(),
            failed(key(7), Operation::Capture),
            capture_requested(again, 345),
            captured(again, 345, 345),
            capture_booked(345, 345),
        ])
        .then([])
        .waits_for([]);
    }

    /// What can be captured once only, confirmed: events 1 to 6.
    fn once_and(story: impl IntoIterator<Item = Fact>) -> Heard {
        let paid = [requested(), held_once(345), authorised().into(), confirmed().into()];
        let placed = [placed(two_lines(), Fulfilment::Checkout).into(), timer_set()];
        heard(placed.into_iter().chain(paid).chain(story))
    }

    #[test]
    fn what_can_be_captured_once_waits_until_all_has_left() {
        let wake = Reaction::WakeMe { order_id: ORDER, at: capture_by(), reason: TimerReason::CaptureEnds };
        once_and([]).then([]).waits_for([Waiting::Shipment]);
        once_and([first()]).then([(4, wake)]).waits_for([Waiting::Shipment, Waiting::Capture]);
        let fire = Reaction::FireTimer { order_id: ORDER, reason: TimerReason::CaptureEnds };
        let waiting = once_and([first(), capture_timer_set()]).then([]);
        waiting.then_at(-24 * 60 - 1, []).then_at(-24 * 60, [(4, fire)]).waits_for([Waiting::Shipment]);
        let all = || [first(), capture_timer_set(), second()];
        once_and(all()).then([(4, capture(345))]).waits_for([Waiting::Capture]);
        let key = AttemptId(command_id(event_id(4), CAPTURE_PAYMENT));
        let captured = || all().into_iter().chain([capture_requested(key, 345), captured(key, 345, 345)]);
        once_and(captured()).then([(11, book(345))]).waits_for([Waiting::Capture]);
        once_and(captured().chain([capture_booked(345, 345)])).then([]).waits_for([]);
    }

    #[test]
    fn what_can_be_captured_once_is_captured_whole_before_it_is_let_go() {
        let fired = || [first(), capture_timer_set(), capture_timer_fired()];
        once_and(fired()).then([(4, capture(345))]).waits_for([Waiting::Shipment, Waiting::Capture]);
        let key = AttemptId(command_id(event_id(4), CAPTURE_PAYMENT));
        let captured = || fired().into_iter().chain([capture_requested(key, 345), captured(key, 345, 345)]);
        // The order is told of as much as it owes.
        once_and(captured()).then([(7, book(190))]).waits_for([Waiting::Shipment, Waiting::Capture]);
        let booked = || captured().chain([capture_booked(190, 190)]);
        once_and(booked()).then([]).waits_for([Waiting::Shipment]);
        once_and(booked().chain([second()])).then([(11, book(345))]).waits_for([Waiting::Capture]);
    }

    #[test]
    fn an_order_that_is_cancelled_waits_for_no_shipment() {
        after([cancelled(305).into(), void_requested(), voided()]).then([]).waits_for([]);
    }

    #[test]
    fn what_was_sold_on_account_is_not_captured() {
        heard([placed(two_lines(), Fulfilment::Reserve).into(), first()]).then([]).waits_for([]);
    }
}
