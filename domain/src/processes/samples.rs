//! Events as the processes hear them, and what they are expected to want. Event n of a story has the id n.

use super::{Confirmation, Event, Instruction, Processes, Reaction, Waiting};
use crate::order::samples::{ORDER, PAYMENT, noon, part, pence, reason};
use crate::order::{LinePart, OrderEvent};
use crate::payment::{FailureCode, Operation, PaymentEvent, Provider};
use crate::text::PaymentMethod;
use crate::timer::{TimerEvent, TimerReason};
use crate::{AttemptId, Money, Quantity, ReturnId, ShipmentId, Sku};
use std::collections::BTreeMap;
use uuid::Uuid;

pub const AUTHORISE: AttemptId = AttemptId(Uuid::from_u128(0xA1));
pub const VOID: AttemptId = AttemptId(Uuid::from_u128(0xA2));
pub const REFUND: AttemptId = AttemptId(Uuid::from_u128(0xA3));
pub const RETURN: ReturnId = ReturnId(Uuid::from_u128(0x2E));

/// An event with its owner, as a story or a log holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    Order(OrderEvent),
    Payment(PaymentEvent),
    Timer(TimerEvent),
}

impl Fact {
    pub fn as_event(&self) -> Event<'_> {
        match self {
            Fact::Order(event) => Event::Order(event),
            Fact::Payment(event) => Event::Payment(event),
            Fact::Timer(event) => Event::Timer(event),
        }
    }
}

impl From<OrderEvent> for Fact {
    fn from(event: OrderEvent) -> Self {
        Fact::Order(event)
    }
}

impl From<PaymentEvent> for Fact {
    fn from(event: PaymentEvent) -> Self {
        Fact::Payment(event)
    }
}

impl From<TimerEvent> for Fact {
    fn from(event: TimerEvent) -> Self {
        Fact::Timer(event)
    }
}

/// The id of event `n` of a story, which counts from 1.
pub fn event_id(n: usize) -> Uuid {
    Uuid::from_u128(n as u128)
}

pub struct Heard(Processes);

/// What is known after `story`, whatever is heard twice.
pub fn heard(story: impl IntoIterator<Item = Fact>) -> Heard {
    let mut processes = Processes::default();
    for (n, fact) in (1..).zip(story) {
        processes.apply(event_id(n), fact.as_event());
        let once = processes.clone();
        processes.apply(event_id(n), fact.as_event());
        assert_eq!(processes, once, "heard twice, event {n} changes something");
    }
    Heard(processes)
}

impl Heard {
    /// What is wanted now: each reaction with the number of the event that it answers.
    pub fn then<const N: usize>(self, expected: [(usize, Reaction); N]) -> Self {
        let expected: Vec<_> =
            expected.into_iter().map(|(cause, reaction): (usize, Reaction)| reaction.to(event_id(cause))).collect();
        let wanted: Vec<Instruction> = self.0.react();
        assert_eq!(wanted, expected);
        self
    }

    /// What is wanted so many minutes after noon, for the sake of the time.
    pub fn then_at<const N: usize>(self, minutes: i64, expected: [(usize, Reaction); N]) -> Self {
        let expected = expected.map(|(cause, reaction)| reaction.to(event_id(cause)));
        assert_eq!(self.0.due(noon() + chrono::TimeDelta::minutes(minutes)), expected);
        self
    }

    pub fn waits_for<const N: usize>(self, expected: [Waiting; N]) {
        assert_eq!(self.0.waits_for(), expected.into_iter().collect());
    }
}

pub fn goods_of_two_lines() -> BTreeMap<Sku, Quantity> {
    crate::order::goods(&[part(1, "A", 2), part(2, "B", 1)])
}

/// The provider is to be asked for, or about, this attempt.
pub fn ask(attempt: AttemptId) -> Reaction {
    Reaction::AskProvider { payment_id: PAYMENT, attempt, confirms: None }
}

/// The provider is to be asked for, or about, the authorisation, and the order to be confirmed with it.
pub fn ask_and_confirm() -> Reaction {
    Reaction::AskProvider { payment_id: PAYMENT, attempt: AUTHORISE, confirms: Some(confirmation()) }
}

pub fn confirmation() -> Confirmation {
    let authorised = Some((PAYMENT, pence(345)));
    Confirmation { order_id: ORDER, authorised, goods: goods_of_two_lines() }
}

pub fn requested() -> Fact {
    PaymentEvent::AuthorisationRequested {
        order_id: ORDER,
        attempt: AUTHORISE,
        provider: Provider::new("simulator").expect("a valid name"),
        method: PaymentMethod::new("tok_success").expect("a valid token"),
        amount: pence(345),
        requested_at: noon(),
    }
    .into()
}

pub fn held(amount: i64) -> Fact {
    PaymentEvent::Authorised {
        order_id: ORDER,
        attempt: AUTHORISE,
        amount: pence(amount),
        expires_at: noon(),
        captures_once: false,
        provider_reference: None,
        provider_event: None,
        at: noon(),
    }
    .into()
}

pub fn held_once(amount: i64) -> Fact {
    PaymentEvent::Authorised {
        order_id: ORDER,
        attempt: AUTHORISE,
        amount: pence(amount),
        expires_at: noon(),
        captures_once: true,
        provider_reference: None,
        provider_event: None,
        at: noon(),
    }
    .into()
}

/// When that is captured at the latest.
pub fn capture_by() -> chrono::DateTime<chrono::Utc> {
    noon() - chrono::TimeDelta::hours(24)
}

pub fn capture_timer_set() -> Fact {
    TimerEvent::Set { order_id: ORDER, reason: TimerReason::CaptureEnds, at: capture_by(), sku: None }.into()
}

pub fn capture_timer_fired() -> Fact {
    TimerEvent::Fired { order_id: ORDER, reason: TimerReason::CaptureEnds, fired_at: capture_by(), sku: None }.into()
}

pub fn declined() -> Fact {
    let code = FailureCode::new("insufficient_funds").expect("a valid code");
    PaymentEvent::Declined { order_id: ORDER, attempt: AUTHORISE, code, provider_event: None, at: noon() }.into()
}

pub fn expired() -> Fact {
    PaymentEvent::Expired { order_id: ORDER, attempt: AUTHORISE, provider_event: None, at: noon() }.into()
}

pub fn failed(attempt: AttemptId, operation: Operation) -> Fact {
    let code = FailureCode::new("provider_error").expect("a valid code");
    PaymentEvent::Failed { order_id: ORDER, attempt, operation, code, provider_event: None, at: noon() }.into()
}

pub fn unknown(attempt: AttemptId, operation: Operation) -> Fact {
    PaymentEvent::OutcomeUnknown { order_id: ORDER, attempt, operation, at: noon() }.into()
}

pub fn void_requested() -> Fact {
    PaymentEvent::VoidRequested { order_id: ORDER, attempt: VOID, requested_at: noon() }.into()
}

pub fn voided() -> Fact {
    let amount = pence(345);
    PaymentEvent::Voided { order_id: ORDER, attempt: VOID, amount, provider_event: None, at: noon() }.into()
}

pub fn capture_requested(attempt: AttemptId, amount: i64) -> Fact {
    PaymentEvent::CaptureRequested { order_id: ORDER, attempt, amount: pence(amount), requested_at: noon() }.into()
}

pub fn captured(attempt: AttemptId, amount: i64, total: i64) -> Fact {
    PaymentEvent::Captured {
        order_id: ORDER,
        attempt,
        amount: pence(amount),
        captured_total: pence(total),
        provider_event: None,
        at: noon(),
    }
    .into()
}

pub fn capture_booked(amount: i64, total: i64) -> Fact {
    OrderEvent::Captured {
        order_id: ORDER,
        payment_id: crate::order::samples::PAYMENT,
        amount: pence(amount),
        captured_total: pence(total),
        captured_at: noon(),
    }
    .into()
}

pub fn shipped(shipment: u128, parts: Vec<LinePart>, charge: i64, complete: bool) -> Fact {
    OrderEvent::Shipped {
        order_id: ORDER,
        shipment_id: ShipmentId(Uuid::from_u128(shipment)),
        parts,
        charge: pence(charge),
        tracking: None,
        complete,
        shipped_at: noon(),
    }
    .into()
}

pub fn return_requested() -> Fact {
    OrderEvent::ReturnRequested {
        order_id: ORDER,
        return_id: RETURN,
        parts: vec![part(1, "A", 2)],
        worth: pence(300),
        reason: reason(),
        requested_at: noon(),
    }
    .into()
}

pub fn return_received(refund: i64) -> Fact {
    let parts = vec![part(1, "A", 2)];
    let refund = pence(refund);
    OrderEvent::ReturnReceived { order_id: ORDER, return_id: RETURN, parts, refund, received_at: noon() }.into()
}

pub fn restocked() -> Fact {
    let parts = vec![part(1, "A", 2)];
    OrderEvent::Restocked { order_id: ORDER, return_id: RETURN, parts, restocked_at: noon() }.into()
}

pub fn refund_requested() -> Fact {
    PaymentEvent::RefundRequested {
        order_id: ORDER,
        attempt: REFUND,
        return_id: Some(RETURN),
        amount: pence(300),
        requested_at: noon(),
    }
    .into()
}

pub fn refunded() -> Fact {
    PaymentEvent::Refunded {
        order_id: ORDER,
        attempt: REFUND,
        return_id: Some(RETURN),
        amount: pence(300),
        refunded_total: pence(300),
        provider_event: None,
        at: noon(),
    }
    .into()
}

pub fn refund_booked() -> Fact {
    let (amount, refunded_total): (Money, Money) = (pence(300), pence(300));
    let attempt = Some(REFUND);
    OrderEvent::Refunded { order_id: ORDER, return_id: RETURN, amount, refunded_total, attempt, refunded_at: noon() }
        .into()
}

pub fn refund_bounced() -> Fact {
    PaymentEvent::RefundBounced {
        order_id: ORDER,
        attempt: REFUND,
        return_id: Some(RETURN),
        amount: pence(300),
        refunded_total: pence(0),
        code: crate::payment::FailureCode::new("bank_returned").expect("a valid code"),
        provider_event: None,
        at: noon(),
    }
    .into()
}

pub fn bounce_booked() -> Fact {
    OrderEvent::RefundBounced {
        order_id: ORDER,
        return_id: RETURN,
        attempt: REFUND,
        amount: pence(300),
        refunded_total: pence(0),
        bounced_at: noon(),
    }
    .into()
}

pub fn timer_set() -> Fact {
    let at = noon() + chrono::TimeDelta::minutes(15);
    TimerEvent::Set { order_id: ORDER, reason: TimerReason::ReservationEnds, at, sku: None }.into()
}

pub fn timer_fired() -> Fact {
    let fired_at = noon() + chrono::TimeDelta::minutes(15);
    TimerEvent::Fired { order_id: ORDER, reason: TimerReason::ReservationEnds, fired_at, sku: None }.into()
}
