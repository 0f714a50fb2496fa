//! Process managers: what follows from what has happened to an order.
//!
//! A process `apply`s the events of one order, of its payment and its timers, and then `react`s with what is to be done
//! and has not been heard to be done. It gathers facts and never counts, so an event that comes twice, or the older
//! after the newer, leads to the same reactions. Each has a command id that comes of the event it answers: it is the
//! same whenever it is asked for, so that the runtime does it once.
//!
//! The runtime repeats a reaction until it is done or refused. A refusal needs no answer: the event that is the reason
//! for it is in the log, and the process will hear of it.

pub mod checkout;
pub mod expiry;
pub mod fulfilment;
pub mod reservations;
pub mod returns;

pub use checkout::CheckoutProcess;
pub use expiry::ExpiryProcess;
pub use fulfilment::FulfilmentProcess;
pub use reservations::ReservationsProcess;
pub use returns::ReturnsProcess;

use crate::order::OrderEvent;
use crate::payment::{Operation, Outcome, PaymentEvent, Progress};
use crate::text::{PaymentMethod, Reason};
use crate::timer::{TimerEvent, TimerReason};
use crate::{AttemptId, Money, OrderId, PaymentId, Quantity, ReturnId, Sku};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// An event of the log that concerns the order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    Order(&'a OrderEvent),
    Payment(&'a PaymentEvent),
    Timer(&'a TimerEvent),
}

/// What is to be done, and the id of the command that does it: its idempotency key, and towards the payment provider
/// the key of the attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Instruction {
    pub command_id: Uuid,
    pub reaction: Reaction,
}

/// What a process wants done. What an order and its goods do together is one append.
#[derive(Debug, Clone, PartialEq)]
pub enum Reaction {
    /// Requests the authorisation, under the command's id.
    AuthorisePayment {
        payment_id: PaymentId,
        order_id: OrderId,
        amount: Money,
        method: PaymentMethod,
    },
    /// Asks the provider for what an attempt requests, or what became of one of which it has not said the last word.
    AskProvider {
        payment_id: PaymentId,
        attempt: AttemptId,
        /// To be done in the append that records the answer, if that is an authorisation of as much.
        confirms: Option<Confirmation>,
    },
    ConfirmOrder(Confirmation),
    /// Undoes placing and reserving, unless the order is paid meanwhile.
    CancelUnpaidOrder {
        order_id: OrderId,
        reason: Reason,
        goods: BTreeMap<Sku, Quantity>,
    },
    /// Undoes placing and reserving of an order that was paid.
    CancelOrder {
        order_id: OrderId,
        reason: Reason,
        goods: BTreeMap<Sku, Quantity>,
    },
    /// Undoes an authorisation.
    VoidPayment {
        payment_id: PaymentId,
    },
    CapturePayment {
        payment_id: PaymentId,
        amount: Money,
    },
    /// Tells the order what the payment has captured by now.
    BookCapture {
        order_id: OrderId,
        captured_total: Money,
    },
    /// Undoes shipping: the order books it and the goods return to stock.
    RestockGoods {
        order_id: OrderId,
        return_id: ReturnId,
        goods: BTreeMap<Sku, Quantity>,
    },
    /// Undoes a capture.
    RefundPayment {
        payment_id: PaymentId,
        return_id: ReturnId,
        amount: Money,
    },
    /// Tells the order that the payment has refunded a return.
    BookRefund {
        order_id: OrderId,
        return_id: ReturnId,
        attempt: AttemptId,
        amount: Money,
    },
    /// Undoes booking a refund: it has come back.
    BookRefundBounce {
        order_id: OrderId,
        return_id: ReturnId,
        attempt: AttemptId,
    },
    /// Sets a timer.
    WakeMe {
        order_id: OrderId,
        at: DateTime<Utc>,
        reason: TimerReason,
    },
    /// Says that the time of the order is over.
    FireTimer {
        order_id: OrderId,
        reason: TimerReason,
    },
    /// Says so of a reservation that was made directly, and undoes it if it is not confirmed and no order came of it.
    ExpireReservation {
        order_id: OrderId,
        sku: Sku,
    },
}

/// Books the authorisation, confirms the order and its reservations.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmation {
    pub order_id: OrderId,
    /// `None`: nothing is due.
    pub authorised: Option<(PaymentId, Money)>,
    pub goods: BTreeMap<Sku, Quantity>,
}

impl Confirmation {
    /// Whether the provider's answer is the authorisation of what is due.
    pub fn follows_from(&self, outcome: &Outcome) -> bool {
        matches!((outcome, self.authorised), (Outcome::Authorised { amount, .. }, Some((_, due))) if *amount == due)
    }
}

/// What an order that is not settled is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiting {
    /// For the provider's word on the authorisation.
    Authorisation,
    /// For the order to be confirmed.
    Confirmation,
    /// For the order to be cancelled.
    Cancellation,
    /// For the provider to let go of what it holds.
    Void,
    /// For goods to be shipped.
    Shipment,
    /// For money to be captured.
    Capture,
    /// For returned goods to arrive.
    ReturnedGoods,
    /// For returned goods to be on sale again.
    Restocking,
    /// For money to be refunded.
    Refund,
    /// For a person: the authorisation has expired, and part of the goods have left.
    ExpiredInPart,
    /// For a person: the provider did not capture what is owed.
    FailedCapture,
    /// For a person: the provider did not refund what is owed, or what it refunded has come back.
    FailedRefund,
}

impl Reaction {
    /// Its name, which is part of its command's id and so never changes.
    pub fn name(&self) -> &'static str {
        match self {
            Reaction::AuthorisePayment { .. } => "authorise-payment",
            Reaction::AskProvider { .. } => "ask-provider",
            Reaction::ConfirmOrder(_) => "confirm-order",
            Reaction::CancelUnpaidOrder { .. } => "cancel-unpaid-order",
            Reaction::CancelOrder { .. } => "cancel-order",
            Reaction::VoidPayment { .. } => "void-payment",
            Reaction::CapturePayment { .. } => CAPTURE_PAYMENT,
            Reaction::BookCapture { .. } => "book-capture",
            Reaction::RestockGoods { .. } => "restock-goods",
            Reaction::RefundPayment { .. } => "refund-payment",
            Reaction::BookRefund { .. } => "book-refund",
            Reaction::BookRefundBounce { .. } => "book-refund-bounce",
            Reaction::WakeMe { .. } => "wake-me",
            Reaction::FireTimer { .. } => "fire-timer",
            Reaction::ExpireReservation { .. } => "expire-reservation",
        }
    }

    /// To be done once in answer to the event `cause`.
    fn to(self, cause: Uuid) -> Instruction {
        Instruction { command_id: command_id(cause, self.name()), reaction: self }
    }
}

const CAPTURE_PAYMENT: &str = "capture-payment";

/// The id of the command that answers event `cause` with the reaction of this name: always the same (UUID version 5).
pub fn command_id(cause: Uuid, reaction: &str) -> Uuid {
    Uuid::new_v5(&cause, reaction.as_bytes())
}

/// All that follows for one order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Processes {
    checkout: CheckoutProcess,
    expiry: ExpiryProcess,
    #[serde(default)]
    reservations: ReservationsProcess,
    fulfilment: FulfilmentProcess,
    returns: ReturnsProcess,
}

impl Processes {
    /// Takes note of an event.
    pub fn apply(&mut self, event_id: Uuid, event: Event<'_>) {
        self.checkout.apply(event_id, event);
        self.expiry.apply(event_id, event);
        self.reservations.apply(event_id, event);
        self.fulfilment.apply(event_id, event);
        self.returns.apply(event_id, event);
    }

    /// What is to be done now, as far as it has not been heard to be done.
    pub fn react(&self) -> Vec<Instruction> {
        let mut instructions = self.checkout.react();
        instructions.extend(self.expiry.react());
        instructions.extend(self.fulfilment.react());
        instructions.extend(self.returns.react());
        instructions
    }

    /// When something is [due](Self::due), if nothing happens until then.
    pub fn wakes_at(&self) -> Option<DateTime<Utc>> {
        let theirs = [self.expiry.wakes_at(), self.reservations.wakes_at(), self.fulfilment.wakes_at()];
        theirs.into_iter().flatten().min()
    }

    /// What is to be done because it is `now`.
    pub fn due(&self, now: DateTime<Utc>) -> Vec<Instruction> {
        let of_order = self.expiry.due(now).into_iter().chain(self.fulfilment.due(now));
        of_order.chain(self.reservations.due(now)).collect()
    }

    /// Whether nothing is to be done before another event is heard: nothing is wanted, asked for, or timed.
    pub fn is_idle(&self) -> bool {
        self.wakes_at().is_none() && self.react().is_empty()
    }

    /// What the order is waiting for; empty when it is settled.
    pub fn waits_for(&self) -> BTreeSet<Waiting> {
        let checkout = self.checkout.waits_for();
        checkout.into_iter().chain(self.fulfilment.waits_for()).chain(self.returns.waits_for()).collect()
    }
}

/// What a process has heard of the attempts it cares for. News only ever takes an attempt forward.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Attempts(BTreeMap<AttemptId, Heard>);

/// How far an attempt has come, and the event that said so.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Heard {
    operation: Operation,
    progress: Progress,
    event_id: Uuid,
}

impl Attempts {
    fn hear(&mut self, event_id: Uuid, event: &PaymentEvent) {
        let (attempt, operation, progress) = event.news();
        let news = Heard { operation, progress, event_id };
        let heard = self.0.entry(attempt).or_insert(news);
        if progress.supersedes(heard.progress, operation) {
            *heard = news;
        }
    }

    fn of(&self, operation: Operation) -> impl Iterator<Item = &Heard> {
        self.0.values().filter(move |heard| heard.operation == operation)
    }

    /// The event that took an attempt of this kind to `progress`, where it still is.
    fn at(&self, operation: Operation, progress: Progress) -> Option<Uuid> {
        self.of(operation).find(|heard| heard.progress == progress).map(|heard| heard.event_id)
    }

    /// Whether the provider may still do something of this kind.
    fn is_open(&self, operation: Operation) -> bool {
        self.of(operation).any(|heard| heard.progress.is_open())
    }

    /// Asks the provider for those that were requested, and about those of which it has not said the last word: what it was
    /// to tell by itself may be lost, too. `confirms`: what an authorisation allows.
    fn ask(&self, payment_id: PaymentId, confirms: Option<Confirmation>) -> impl Iterator<Item = Instruction> {
        let open = self.0.iter().filter(|(_, heard)| heard.progress.is_open());
        open.map(move |(&attempt, heard)| {
            let confirms = confirms.clone().filter(|_| heard.operation == Operation::Authorise);
            Reaction::AskProvider { payment_id, attempt, confirms }.to(heard.event_id)
        })
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod simulation;
