//! Returns: what has come back is restocked and refunded.

use super::{Attempts, Event, Instruction, Reaction, Waiting};
use crate::order::{LinePart, OrderEvent, goods};
use crate::payment::{Operation, PaymentEvent, Progress};
use crate::{AttemptId, Money, OrderId, PaymentId, ReturnId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is known of one order's returns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReturnsProcess {
    order: Option<(OrderId, Option<PaymentId>)>,
    returns: BTreeMap<ReturnId, Return>,
    attempts: Attempts,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Return {
    received: Option<Received>,
    restocked: bool,
    /// The attempt to refund it that was heard of last; a person may make another when one has failed.
    refund: Option<AttemptId>,
    refunds: BTreeMap<AttemptId, Refund>,
    /// The order has booked a refund without saying whose: an event from before refunds could bounce.
    booked_unnamed: bool,
}

/// What is known of an attempt that has refunded the return.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Refund {
    /// What was refunded, and the event that says so.
    done: Option<(Uuid, Money)>,
    /// The event that says that it has come back.
    bounced: Option<Uuid>,
    /// Whether the order knows of either.
    booked: bool,
    bounce_booked: bool,
}

/// What has come back, and the event that says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Received {
    event_id: Uuid,
    parts: Vec<LinePart>,
    refund: Money,
}

impl ReturnsProcess {
    pub fn apply(&mut self, event_id: Uuid, event: Event<'_>) {
        match event {
            Event::Order(OrderEvent::Placed(placed)) => {
                let payment_id = placed.checkout.as_ref().map(|checkout| checkout.payment_id);
                self.order = Some((placed.order_id, payment_id));
            }
            Event::Order(OrderEvent::ReturnRequested { return_id, .. }) => drop(self.returned(*return_id)),
            Event::Order(OrderEvent::ReturnReceived { return_id, parts, refund, .. }) => {
                let received = Received { event_id, parts: parts.clone(), refund: *refund };
                self.returned(*return_id).received = Some(received);
            }
            Event::Order(OrderEvent::Restocked { return_id, .. }) => self.returned(*return_id).restocked = true,
            Event::Order(OrderEvent::Refunded { return_id, attempt, .. }) => match attempt {
                Some(attempt) => self.refund(*return_id, *attempt).booked = true,
                None => self.returned(*return_id).booked_unnamed = true,
            },
            Event::Order(OrderEvent::RefundBounced { return_id, attempt, .. }) => {
                self.refund(*return_id, *attempt).bounce_booked = true;
            }
            Event::Order(
                OrderEvent::Cancelled { .. }
                | OrderEvent::Authorised { .. }
                | OrderEvent::Confirmed { .. }
                | OrderEvent::Shipped { .. }
                | OrderEvent::Delivered { .. }
                | OrderEvent::Captured { .. },
            )
            | Event::Timer(_) => {}
            Event::Payment(payment) => {
                if matches!(payment.news(), (_, Operation::Refund, _)) {
                    self.attempts.hear(event_id, payment);
                }
                if let PaymentEvent::RefundRequested { return_id: Some(return_id), attempt, .. } = payment {
                    self.returned(*return_id).refund = Some(*attempt);
                }
                if let PaymentEvent::Refunded { return_id: Some(return_id), attempt, amount, .. } = payment {
                    self.refund(*return_id, *attempt).done = Some((event_id, *amount));
                }
                if let PaymentEvent::RefundBounced { return_id: Some(return_id), attempt, .. } = payment {
                    self.refund(*return_id, *attempt).bounced = Some(event_id);
                }
            }
        }
    }

    fn returned(&mut self, return_id: ReturnId) -> &mut Return {
        self.returns.entry(return_id).or_default()
    }

    fn refund(&mut self, return_id: ReturnId, attempt: AttemptId) -> &mut Refund {
        self.returned(return_id).refunds.entry(attempt).or_default()
    }

    /// Restocks and refunds what has come back, and tells the order what was refunded.
    pub fn react(&self) -> Vec<Instruction> {
        let Some((order_id, payment_id)) = self.order else { return Vec::new() };
        let mut instructions = Vec::new();
        for (&return_id, returned) in &self.returns {
            if let Some(Received { event_id, parts, refund }) = &returned.received {
                if !returned.restocked {
                    let goods = goods(parts);
                    instructions.push(Reaction::RestockGoods { order_id, return_id, goods }.to(*event_id));
                }
                if let Some(payment_id) = payment_id
                    && refund.amount_minor > 0
                    && returned.refund.is_none()
                    && returned.refunds.is_empty()
                {
                    let amount = *refund;
                    instructions.push(Reaction::RefundPayment { payment_id, return_id, amount }.to(*event_id));
                }
            }
            for (&attempt, refund) in &returned.refunds {
                let is_booked = returned.is_booked(refund);
                instructions.extend(match (refund.done, refund.bounced) {
                    (Some((done, amount)), None) if !is_booked => {
                        Some(Reaction::BookRefund { order_id, return_id, attempt, amount }.to(done))
                    }
                    (_, Some(bounced)) if is_booked && !refund.bounce_booked => {
                        Some(Reaction::BookRefundBounce { order_id, return_id, attempt }.to(bounced))
                    }
                    _ => None,
                });
            }
        }
        instructions.extend(payment_id.into_iter().flat_map(|payment_id| self.attempts.ask(payment_id, None)));
        instructions
    }

    /// What the order's returns are waiting for.
    pub fn waits_for(&self) -> Vec<Waiting> {
        self.returns.values().flat_map(|returned| self.return_waits_for(returned)).collect()
    }

    fn return_waits_for(&self, returned: &Return) -> Option<Waiting> {
        let Some(Received { refund, .. }) = &returned.received else { return Some(Waiting::ReturnedGoods) };
        if !returned.restocked {
            return Some(Waiting::Restocking);
        }
        let stands = |refund: &&Refund| refund.done.is_some() && refund.bounced.is_none();
        let standing = returned.refunds.values().find(stands);
        let is_refunded = refund.amount_minor == 0 || standing.is_some_and(|refund| returned.is_booked(refund));
        let attempt = returned.refund.and_then(|attempt| self.attempts.0.get(&attempt));
        match attempt.map(|heard| heard.progress) {
            _ if is_refunded => None,
            Some(Progress::Failed) if standing.is_none() => Some(Waiting::FailedRefund),
            _ => Some(Waiting::Refund),
        }
    }
}

impl Return {
    /// Whether the order knows of a refund. One that it did not name is the only one, until it has come back.
    fn is_booked(&self, refund: &Refund) -> bool {
        let unnamed = self.booked_unnamed && !self.refunds.values().any(|other| other.bounce_booked);
        refund.booked || unnamed
    }
}

#[cfg(test)]
mod tests {
    use super::super::command_id;
    use super::super::samples::*;
    use super::*;
    use crate::order::Fulfilment;
    use crate::order::samples::{ORDER, PAYMENT, authorised, confirmed, part, pence, placed, two_lines};

    /// Shipped and captured: events 1 to 10.
    fn after(story: impl IntoIterator<Item = Fact>) -> Heard {
        let key = AttemptId(command_id(event_id(7), "capture-payment"));
        let paid = [
            placed(two_lines(), Fulfilment::Checkout).into(),
            timer_set(),
            requested(),
            held(345),
            authorised().into(),
            confirmed().into(),
            shipped(1, vec![part(1, "A", 2), part(2, "B", 1)], 345, true),
            capture_requested(key, 345),
            captured(key, 345, 345),
            capture_booked(345, 345),
        ];
        heard(paid.into_iter().chain(story))
    }

    fn restock() -> Reaction {
        Reaction::RestockGoods { order_id: ORDER, return_id: RETURN, goods: goods(&[part(1, "A", 2)]) }
    }

    fn refund() -> Reaction {
        Reaction::RefundPayment { payment_id: PAYMENT, return_id: RETURN, amount: pence(300) }
    }

    fn book() -> Reaction {
        Reaction::BookRefund { order_id: ORDER, return_id: RETURN, attempt: REFUND, amount: pence(300) }
    }

    #[test]
    fn goods_that_have_come_back_are_restocked_and_refunded() {
        after([return_requested()]).then([]).waits_for([Waiting::ReturnedGoods]);
        after([return_requested(), return_received(300)])
            .then([(12, restock()), (12, refund())])
            .waits_for([Waiting::Restocking]);
        after([return_requested(), return_received(300), restocked()])
            .then([(12, refund())])
            .waits_for([Waiting::Refund]);
        after([return_requested(), return_received(300), restocked(), refund_requested()])
            .then([(14, ask(REFUND))])
            .waits_for([Waiting::Refund]);
    }

    #[test]
    fn the_order_is_told_what_was_refunded() {
        let back = || [return_requested(), return_received(300), restocked(), refund_requested(), refunded()];
        after(back()).then([(15, book())]).waits_for([Waiting::Refund]);
        after(back().into_iter().chain([refund_booked()])).then([]).waits_for([]);
    }

    #[test]
    fn a_refund_that_has_come_back_is_told_and_waits_for_a_person() {
        let back = || [return_requested(), return_received(300), restocked(), refund_requested(), refunded()];
        let and = |more: Vec<Fact>| after(back().into_iter().chain(more));
        let bounce = Reaction::BookRefundBounce { order_id: ORDER, return_id: RETURN, attempt: REFUND };
        and(vec![refund_booked(), refund_bounced()]).then([(17, bounce)]).waits_for([Waiting::FailedRefund]);
        and(vec![refund_bounced()]).then([]).waits_for([Waiting::FailedRefund]);
        and(vec![refund_booked(), refund_bounced(), bounce_booked()]).then([]).waits_for([Waiting::FailedRefund]);
    }

    #[test]
    fn a_return_without_a_refund_is_restocked_only() {
        after([return_requested(), return_received(0)]).then([(12, restock())]).waits_for([Waiting::Restocking]);
        after([return_requested(), return_received(0), restocked()]).then([]).waits_for([]);
        let on_account = [placed(two_lines(), Fulfilment::Ship).into(), return_requested(), return_received(0)];
        heard(on_account).then([(3, restock())]).waits_for([Waiting::Restocking]);
    }

    #[test]
    fn a_refund_without_an_answer_is_asked_about_and_one_that_failed_waits_for_a_person() {
        let back = || [return_requested(), return_received(300), restocked(), refund_requested()];
        after(back().into_iter().chain([unknown(REFUND, Operation::Refund)]))
            .then([(15, ask(REFUND))])
            .waits_for([Waiting::Refund]);
        after(back().into_iter().chain([failed(REFUND, Operation::Refund)]))
            .then([])
            .waits_for([Waiting::FailedRefund]);
    }
}
