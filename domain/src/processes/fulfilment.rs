//! Fulfilment: what was shipped is captured, shipment by shipment.

use super::{Attempts, CAPTURE_PAYMENT, Event, Instruction, Reaction, Waiting, command_id};
use crate::order::OrderEvent;
use crate::payment::{Operation, PaymentEvent, Progress};
use crate::{AttemptId, Money, OrderId, PaymentId, ShipmentId};
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

impl FulfilmentProcess {
    pub fn apply(&mut self, event_id: Uuid, event: Event<'_>) {
        match event {
            Event::Order(OrderEvent::Placed(placed)) => {
                self.order = placed.checkout.as_ref().map(|checkout| (placed.order_id, checkout.payment_id));
            }
            Event::Order(OrderEvent::Confirmed { .. }) => self.confirmed = true,
            Event::Order(OrderEvent::Cancelled { .. }) => self.cancelled = true,
            Event::Order(OrderEvent::Shipped { shipment_id, charge, complete, .. }) => {
                self.shipments.insert(*shipment_id, Shipment { event_id, charge: *charge });
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
            | Event::Timer(_) => {}
            Event::Payment(payment) => {
                if matches!(payment.news(), (_, Operation::Capture, _)) {
                    self.attempts.hear(event_id, payment);
                }
                if let PaymentEvent::Captured { captured_total, .. } = payment
                    && minor(Some(*captured_total)) > minor(self.captured.map(|(_, total)| total))
                {
                    self.captured = Some((event_id, *captured_total));
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
        let to_capture = self.uncaptured().map(|Shipment { event_id, charge }| {
            Reaction::CapturePayment { payment_id, amount: *charge }.to(*event_id)
        });
        let to_book = self.captured.filter(|(_, captured)| minor(Some(*captured)) > minor(self.booked));
        let book =
            to_book.map(|(event_id, captured_total)| Reaction::BookCapture { order_id, captured_total }.to(event_id));
        to_capture.chain(book).chain(self.attempts.ask(payment_id)).collect()
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

    #[test]
    fn an_order_that_is_cancelled_waits_for_no_shipment() {
        after([cancelled(305).into(), void_requested(), voided()]).then([]).waits_for([]);
    }

    #[test]
    fn what_was_sold_on_account_is_not_captured() {
        heard([placed(two_lines(), Fulfilment::Reserve).into(), first()]).then([]).waits_for([]);
    }
}
