//! Checkout: an order that was placed is authorised and confirmed, or it is cancelled and its payment voided.

use super::{Attempts, Confirmation, Event, Instruction, Reaction, Waiting};
use crate::order::{OrderEvent, Placed, demand};
use crate::payment::{Operation, PaymentEvent, Progress};
use crate::text::{PaymentMethod, Reason};
use crate::{Money, OrderId, PaymentId, Quantity, Sku};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What is known of one order's checkout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckoutProcess {
    /// `None` for an order that did not come from checkout.
    order: Option<Ordered>,
    attempts: Attempts,
    authorised: Option<Authorised>,
    confirmed: bool,
    shipped: bool,
    cancelled: bool,
}

/// What was placed, and the event that says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ordered {
    event_id: Uuid,
    order_id: OrderId,
    payment_id: PaymentId,
    method: PaymentMethod,
    due: Money,
    goods: BTreeMap<Sku, Quantity>,
}

/// What the provider holds, and the event that says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Authorised {
    event_id: Uuid,
    amount: Money,
}

impl Ordered {
    fn of(event_id: Uuid, placed: &Placed) -> Option<Self> {
        let checkout = placed.checkout.as_ref()?;
        Some(Self {
            event_id,
            order_id: placed.order_id,
            payment_id: checkout.payment_id,
            method: checkout.payment_method.clone(),
            due: placed.due(),
            goods: demand(&placed.lines).ok()?, // It was added up when the order was placed.
        })
    }

    /// Once all that is due is authorised.
    fn confirmation(&self) -> Confirmation {
        let authorised = (self.due.amount_minor > 0).then_some((self.payment_id, self.due));
        Confirmation { order_id: self.order_id, authorised, goods: self.goods.clone() }
    }
}

impl CheckoutProcess {
    pub fn apply(&mut self, event_id: Uuid, event: Event<'_>) {
        match event {
            Event::Order(OrderEvent::Placed(placed)) => self.order = Ordered::of(event_id, placed),
            Event::Order(OrderEvent::Confirmed { .. }) => self.confirmed = true,
            Event::Order(OrderEvent::Shipped { .. }) => self.shipped = true,
            Event::Order(OrderEvent::Cancelled { .. }) => self.cancelled = true,
            Event::Order(
                OrderEvent::Authorised { .. }
                | OrderEvent::Delivered { .. }
                | OrderEvent::Captured { .. }
                | OrderEvent::ReturnRequested { .. }
                | OrderEvent::ReturnReceived { .. }
                | OrderEvent::Restocked { .. }
                | OrderEvent::Refunded { .. }
                | OrderEvent::RefundBounced { .. },
            )
            | Event::Timer(_) => {}
            Event::Payment(payment) => {
                if matches!(payment.news(), (_, Operation::Authorise | Operation::Void, _)) {
                    self.attempts.hear(event_id, payment);
                }
                if let PaymentEvent::Authorised { amount, .. } = payment {
                    self.authorised = Some(Authorised { event_id, amount: *amount });
                }
            }
        }
    }

    /// The next step of the order, if it is ours to take, and questions about attempts that got no answer.
    pub fn react(&self) -> Vec<Instruction> {
        let Some(order) = &self.order else { return Vec::new() };
        let next = if self.cancelled { self.undo_payment(order) } else { self.go_on(order) };
        let confirms = (!self.cancelled && !self.confirmed).then(|| order.confirmation());
        next.into_iter().chain(self.attempts.ask(order.payment_id, confirms)).collect()
    }

    /// Authorised, though the order does not stand: perhaps it was cancelled before the provider had answered.
    fn undo_payment(&self, order: &Ordered) -> Option<Instruction> {
        let authorised = self.authorised.as_ref()?;
        let is_over = self.expired().is_some() || self.attempts.of(Operation::Void).next().is_some();
        (!is_over).then(|| Reaction::VoidPayment { payment_id: order.payment_id }.to(authorised.event_id))
    }

    fn go_on(&self, order: &Ordered) -> Option<Instruction> {
        let Ordered { event_id: placed, order_id, payment_id, due, .. } = *order;
        let goods = || order.goods.clone();
        let cancel_unpaid = |why| Reaction::CancelUnpaidOrder { order_id, reason: reason(why), goods: goods() };
        if let Some(expired) = self.expired() {
            let reason = reason("the authorisation of the payment has expired");
            return (!self.shipped).then(|| Reaction::CancelOrder { order_id, reason, goods: goods() }.to(expired));
        }
        if self.confirmed {
            return None;
        }
        if due.amount_minor == 0 {
            return Some(Reaction::ConfirmOrder(order.confirmation()).to(placed));
        }
        if let Some(Authorised { event_id, amount }) = self.authorised {
            return Some(match amount == due {
                true => Reaction::ConfirmOrder(order.confirmation()).to(event_id),
                false => cancel_unpaid("the payment was authorised in part only").to(event_id),
            });
        }
        if let Some(declined) = self.attempts.at(Operation::Authorise, Progress::Failed) {
            return Some(cancel_unpaid("the payment was not authorised").to(declined));
        }
        let was_requested = self.attempts.of(Operation::Authorise).next().is_some();
        let method = order.method.clone();
        (!was_requested).then(|| Reaction::AuthorisePayment { payment_id, order_id, amount: due, method }.to(placed))
    }

    /// The event that says that the authorisation is over.
    fn expired(&self) -> Option<Uuid> {
        self.attempts.at(Operation::Authorise, Progress::Expired)
    }

    /// What the order is waiting for before it can be shipped or is settled.
    pub fn waits_for(&self) -> Option<Waiting> {
        self.order.as_ref()?;
        if self.attempts.is_open(Operation::Authorise) {
            return Some(Waiting::Authorisation); // Even if it is cancelled: what comes of it is to be voided.
        }
        let next = self.react().into_iter().next().map(|instruction| instruction.reaction);
        match next {
            Some(Reaction::AuthorisePayment { .. }) => Some(Waiting::Authorisation),
            Some(Reaction::ConfirmOrder(_)) => Some(Waiting::Confirmation),
            Some(Reaction::CancelUnpaidOrder { .. } | Reaction::CancelOrder { .. }) => Some(Waiting::Cancellation),
            Some(Reaction::VoidPayment { .. }) => Some(Waiting::Void),
            _ if self.attempts.is_open(Operation::Void) => Some(Waiting::Void),
            // A void that failed needs nobody: the provider lets go by itself when the authorisation expires.
            _ => None,
        }
    }
}

fn reason(text: &str) -> Reason {
    Reason::new(text).expect("a short text of our own")
}

#[cfg(test)]
mod tests {
    use super::super::samples::*;
    use super::*;
    use crate::order::Fulfilment;
    use crate::order::samples::{
        ORDER, PAYMENT, authorised, cancelled, checkout, confirmed, line, pence, placed, two_lines,
    };

    /// Placed, with its timer set: events 1 and 2.
    fn after(story: impl IntoIterator<Item = Fact>) -> Heard {
        heard([placed(two_lines(), Fulfilment::Checkout).into(), timer_set()].into_iter().chain(story))
    }

    fn authorise() -> Reaction {
        let method = PaymentMethod::new("tok_success").expect("a valid token");
        Reaction::AuthorisePayment { payment_id: PAYMENT, order_id: ORDER, amount: pence(345), method }
    }

    fn confirm() -> Reaction {
        Reaction::ConfirmOrder(confirmation())
    }

    fn cancel_unpaid(why: &str) -> Reaction {
        Reaction::CancelUnpaidOrder { order_id: ORDER, reason: reason(why), goods: goods_of_two_lines() }
    }

    fn void() -> Reaction {
        Reaction::VoidPayment { payment_id: PAYMENT }
    }

    #[test]
    fn an_order_that_is_placed_is_authorised() {
        after([]).then([(1, authorise())]).waits_for([Waiting::Authorisation]);
        after([requested()]).then([(3, ask_and_confirm())]).waits_for([Waiting::Authorisation]);
    }

    #[test]
    fn an_order_that_is_authorised_is_confirmed() {
        after([requested(), held(345)]).then([(4, confirm())]).waits_for([Waiting::Confirmation]);
        after([requested(), held(345), authorised().into(), confirmed().into()])
            .then([])
            .waits_for([Waiting::Shipment]);
    }

    #[test]
    fn an_order_that_costs_nothing_is_confirmed_at_once() {
        let free = vec![line("A", 2, 0), line("B", 1, 0)];
        let OrderEvent::Placed(mut order) = placed(free.clone(), Fulfilment::Checkout) else { unreachable!() };
        order.checkout = Some(Box::new(checkout(&free, 0)));
        let confirm = Reaction::ConfirmOrder(Confirmation { authorised: None, ..confirmation() });
        heard([OrderEvent::Placed(order).into(), timer_set()]).then([(1, confirm)]).waits_for([Waiting::Confirmation]);
    }

    #[test]
    fn an_order_whose_payment_is_declined_or_fails_is_cancelled() {
        for refusal in [declined(), failed(AUTHORISE, Operation::Authorise)] {
            after([requested(), refusal.clone()])
                .then([(4, cancel_unpaid("the payment was not authorised"))])
                .waits_for([Waiting::Cancellation]);
            after([requested(), refusal, cancelled(305).into()]).then([]).waits_for([]);
        }
    }

    #[test]
    fn an_order_whose_payment_holds_too_little_is_cancelled_and_the_payment_voided() {
        let short = "the payment was authorised in part only";
        after([requested(), held(344)]).then([(4, cancel_unpaid(short))]).waits_for([Waiting::Cancellation]);
        after([requested(), held(344), cancelled(305).into()]).then([(4, void())]).waits_for([Waiting::Void]);
    }

    #[test]
    fn a_payment_that_is_authorised_though_the_order_was_cancelled_is_voided() {
        after([requested(), cancelled(305).into()]).then([(3, ask(AUTHORISE))]).waits_for([Waiting::Authorisation]);
        after([requested(), cancelled(305).into(), held(345)]).then([(5, void())]).waits_for([Waiting::Void]);
        after([requested(), declined(), cancelled(305).into(), held(345)])
            .then([(6, void())])
            .waits_for([Waiting::Void]);
        after([requested(), held(345), cancelled(305).into()]).then([(4, void())]).waits_for([Waiting::Void]);
        after([requested(), held(345), authorised().into(), confirmed().into(), cancelled(305).into()])
            .then([(4, void())])
            .waits_for([Waiting::Void]);
        after([requested(), held(345), cancelled(305).into(), void_requested()])
            .then([(6, ask(VOID))])
            .waits_for([Waiting::Void]);
        after([requested(), held(345), cancelled(305).into(), void_requested(), voided()]).then([]).waits_for([]);
    }

    #[test]
    fn what_could_not_be_voided_expires() {
        let failed = failed(VOID, Operation::Void);
        after([requested(), held(345), cancelled(305).into(), void_requested(), failed]).then([]).waits_for([]);
        after([requested(), held(345), expired(), cancelled(305).into()]).then([]).waits_for([]);
    }

    #[test]
    fn an_order_whose_authorisation_expires_is_cancelled_unless_it_has_left() {
        let cancel = || {
            let reason = reason("the authorisation of the payment has expired");
            Reaction::CancelOrder { order_id: ORDER, reason, goods: goods_of_two_lines() }
        };
        let paid = || [requested(), held(345), authorised().into(), confirmed().into()];
        after(paid().into_iter().chain([expired()])).then([(7, cancel())]).waits_for([Waiting::Cancellation]);
        after([requested(), expired()]).then([(4, cancel())]).waits_for([Waiting::Cancellation]);
        let attempt = crate::AttemptId(super::super::command_id(event_id(7), "capture-payment"));
        let part = vec![crate::order::samples::part(1, "A", 1)];
        let left = [shipped(1, part, 190, false), capture_requested(attempt, 190), captured(attempt, 190, 190)];
        after(paid().into_iter().chain(left).chain([capture_booked(190, 190), expired()]))
            .then([])
            .waits_for([Waiting::ExpiredInPart]);
    }

    #[test]
    fn a_provider_that_gave_no_answer_is_asked_until_it_does() {
        let no_answer = unknown(AUTHORISE, Operation::Authorise);
        after([requested(), no_answer.clone()]).then([(4, ask_and_confirm())]).waits_for([Waiting::Authorisation]);
        after([requested(), no_answer, held(345)]).then([(5, confirm())]).waits_for([Waiting::Confirmation]);
        after([requested(), held(345), cancelled(305).into(), void_requested(), unknown(VOID, Operation::Void)])
            .then([(7, ask(VOID))])
            .waits_for([Waiting::Void]);
    }

    #[test]
    fn an_order_that_did_not_come_from_checkout_is_left_alone() {
        heard([placed(two_lines(), Fulfilment::Reserve).into()]).then([]).waits_for([]);
        heard([placed(two_lines(), Fulfilment::Ship).into()]).then([]).waits_for([]);
    }
}
