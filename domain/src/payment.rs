//! A payment: one order's money at one provider. Authorised, captured, voided, refunded.
//!
//! Every request to the provider is an attempt with a key of its own, recorded before the provider is called. So
//! whatever is lost on the way, the provider can be asked with that key what became of it, and nothing is charged
//! again. What it answers, at once or by notification, may come twice and in any order: `payment/record.rs` tells how
//! it is taken.

mod record;
#[cfg(test)]
mod tests;

use crate::text::{PaymentMethod, Text};
use crate::{AttemptId, Currency, Money, OrderId, ReturnId};
use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Not;

/// A payment provider, such as `stripe`.
pub type Provider = Text<32>;
/// The provider's own name for a payment.
pub type ProviderReference = Text<255>;
/// The provider's id of one of its notifications.
pub type ProviderEventId = Text<255>;
/// Why the provider did not do it, in its own code, such as `insufficient_funds`.
pub type FailureCode = Text<100>;
/// Where the customer must go to go on, a URL.
pub type CustomerAction = Text<2000>;

/// What has happened to one payment. Stored and published: a field may be added, none renamed or removed. Times are
/// business time, UTC. `provider_event`: the notification that brought it; `None` for an answer to our own question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PaymentEvent {
    /// The provider is about to be asked to hold `amount`. What comes of it is not known yet.
    AuthorisationRequested {
        order_id: OrderId,
        attempt: AttemptId,
        provider: Provider,
        method: PaymentMethod,
        amount: Money,
        requested_at: DateTime<Utc>,
    },
    /// The provider is about to be asked to move `amount` to us.
    CaptureRequested { order_id: OrderId, attempt: AttemptId, amount: Money, requested_at: DateTime<Utc> },
    /// The provider is about to be asked to let go of what it holds.
    VoidRequested { order_id: OrderId, attempt: AttemptId, requested_at: DateTime<Utc> },
    /// The provider is about to be asked to move `amount` back.
    RefundRequested {
        order_id: OrderId,
        attempt: AttemptId,
        /// `None`: a refund without goods coming back.
        return_id: Option<ReturnId>,
        amount: Money,
        requested_at: DateTime<Utc>,
    },
    /// The provider was asked and gave no answer. It is to be asked about the attempt, until it answers.
    OutcomeUnknown { order_id: OrderId, attempt: AttemptId, operation: Operation, at: DateTime<Utc> },
    /// The provider will tell later. `action`: what the customer must do first.
    Pending {
        order_id: OrderId,
        attempt: AttemptId,
        operation: Operation,
        action: Option<CustomerAction>,
        provider_reference: Option<ProviderReference>,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
    /// The provider holds `amount` for us until `expires_at`. No money has moved.
    Authorised {
        order_id: OrderId,
        attempt: AttemptId,
        amount: Money,
        expires_at: DateTime<Utc>,
        /// It can be captured once: the provider then lets go of the rest.
        #[serde(default, skip_serializing_if = "Not::not")]
        captures_once: bool,
        provider_reference: Option<ProviderReference>,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
    /// The provider does not hold the money, and says why.
    Declined {
        order_id: OrderId,
        attempt: AttemptId,
        code: FailureCode,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
    /// `amount` has moved to us. `captured_total` includes it.
    Captured {
        order_id: OrderId,
        attempt: AttemptId,
        amount: Money,
        captured_total: Money,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
    /// The provider has let go of `amount`, all that it held.
    Voided {
        order_id: OrderId,
        attempt: AttemptId,
        amount: Money,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
    /// `amount` has moved back to the customer. `refunded_total` includes it.
    Refunded {
        order_id: OrderId,
        attempt: AttemptId,
        return_id: Option<ReturnId>,
        amount: Money,
        refunded_total: Money,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
    /// `amount`, which had moved back to the customer, has come back to us: their bank would not have it, and they are still
    /// owed it. `refunded_total` is without it.
    RefundBounced {
        order_id: OrderId,
        attempt: AttemptId,
        return_id: Option<ReturnId>,
        amount: Money,
        refunded_total: Money,
        code: FailureCode,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
    /// The provider did not do it, for a reason of its own; a decline is [`PaymentEvent::Declined`].
    Failed {
        order_id: OrderId,
        attempt: AttemptId,
        operation: Operation,
        code: FailureCode,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
    /// The provider has let go of what was not captured, though not asked to.
    Expired { order_id: OrderId, attempt: AttemptId, provider_event: Option<ProviderEventId>, at: DateTime<Utc> },
}

/// What a provider is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Authorise,
    Capture,
    Void,
    Refund,
}

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Operation::Authorise => "authorise",
            Operation::Capture => "capture",
            Operation::Void => "void",
            Operation::Refund => "refund",
        }
    }
}

/// What a provider says became of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It gave no answer.
    Unknown,
    Pending {
        action: Option<CustomerAction>,
        provider_reference: Option<ProviderReference>,
    },
    Authorised {
        amount: Money,
        expires_at: DateTime<Utc>,
        captures_once: bool,
        provider_reference: Option<ProviderReference>,
    },
    Declined {
        code: FailureCode,
    },
    Captured,
    Voided,
    Refunded,
    Failed {
        code: FailureCode,
    },
    /// An authorisation has ended, unasked.
    Expired,
}

impl DomainEvent for PaymentEvent {
    fn event_type(&self) -> String {
        match self {
            PaymentEvent::AuthorisationRequested { .. } => "AuthorisationRequested",
            PaymentEvent::CaptureRequested { .. } => "CaptureRequested",
            PaymentEvent::VoidRequested { .. } => "VoidRequested",
            PaymentEvent::RefundRequested { .. } => "RefundRequested",
            PaymentEvent::OutcomeUnknown { .. } => "OutcomeUnknown",
            PaymentEvent::Pending { .. } => "Pending",
            PaymentEvent::Authorised { .. } => "Authorised",
            PaymentEvent::Declined { .. } => "Declined",
            PaymentEvent::Captured { .. } => "Captured",
            PaymentEvent::Voided { .. } => "Voided",
            PaymentEvent::Refunded { .. } => "Refunded",
            PaymentEvent::RefundBounced { .. } => "RefundBounced",
            PaymentEvent::Failed { .. } => "Failed",
            PaymentEvent::Expired { .. } => "Expired",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl PaymentEvent {
    /// Which attempt the event is of, what it was to do, and how far it has come.
    pub fn news(&self) -> (AttemptId, Operation, Progress) {
        use PaymentEvent::*;
        match *self {
            AuthorisationRequested { attempt, .. } => (attempt, Operation::Authorise, Progress::Requested),
            CaptureRequested { attempt, .. } => (attempt, Operation::Capture, Progress::Requested),
            VoidRequested { attempt, .. } => (attempt, Operation::Void, Progress::Requested),
            RefundRequested { attempt, .. } => (attempt, Operation::Refund, Progress::Requested),
            OutcomeUnknown { attempt, operation, .. } => (attempt, operation, Progress::Unknown),
            Pending { attempt, operation, .. } => (attempt, operation, Progress::Pending),
            Failed { attempt, operation, .. } => (attempt, operation, Progress::Failed),
            Declined { attempt, .. } => (attempt, Operation::Authorise, Progress::Failed),
            Authorised { attempt, .. } => (attempt, Operation::Authorise, Progress::Done),
            Captured { attempt, .. } => (attempt, Operation::Capture, Progress::Done),
            Voided { attempt, .. } => (attempt, Operation::Void, Progress::Done),
            Refunded { attempt, .. } => (attempt, Operation::Refund, Progress::Done),
            RefundBounced { attempt, .. } => (attempt, Operation::Refund, Progress::Failed),
            Expired { attempt, .. } => (attempt, Operation::Authorise, Progress::Expired),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum PaymentCommand {
    RequestAuthorisation {
        order_id: OrderId,
        attempt: AttemptId,
        provider: Provider,
        method: PaymentMethod,
        amount: Money,
        requested_at: DateTime<Utc>,
    },
    RequestCapture {
        attempt: AttemptId,
        amount: Money,
        requested_at: DateTime<Utc>,
    },
    RequestVoid {
        attempt: AttemptId,
        requested_at: DateTime<Utc>,
    },
    RequestRefund {
        attempt: AttemptId,
        return_id: Option<ReturnId>,
        amount: Money,
        requested_at: DateTime<Utc>,
    },
    /// Books what the provider says became of an attempt.
    Record {
        attempt: AttemptId,
        outcome: Outcome,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    },
}

/// Why a payment command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PaymentError {
    #[error("no payment has this id")]
    Unknown,
    #[error("an authorisation of {amount} for order {order_id} was requested under this id")]
    RequestedDifferently { order_id: OrderId, amount: Money },
    #[error("attempt {attempt} is to {operation:?} {amount}")]
    AttemptedDifferently { attempt: AttemptId, operation: Operation, amount: Money },
    #[error("the amount must be above 0, is {amount}")]
    AmountNotPositive { amount: Money },
    #[error("the payment is in {expected}, not in {found}")]
    Currency { expected: Currency, found: Currency },
    #[error("nothing is authorised")]
    NotAuthorised,
    #[error("the authorisation was, or is being, voided")]
    Voided,
    #[error("the authorisation has expired")]
    Expired,
    #[error("{requested} to be captured, {capturable} is authorised and not captured")]
    CaptureTooLarge { requested: Money, capturable: Money },
    #[error("{requested} to be captured of {capturable}, which can be captured once only: the rest would be lost")]
    CaptureInPart { requested: Money, capturable: Money },
    #[error("{captured} is, or is being, captured: it can be refunded, not voided")]
    AlreadyCaptured { captured: Money },
    #[error("{requested} to be refunded, {refundable} is captured and not refunded")]
    RefundTooLarge { requested: Money, refundable: Money },
    #[error("{amount} is, or is being, refunded for return {return_id}")]
    ReturnRefunded { return_id: ReturnId, amount: Money },
    #[error("the payment knows no attempt {attempt}")]
    UnknownAttempt { attempt: AttemptId },
    #[error("an attempt to {operation:?} cannot end like this")]
    OutcomeOfAnother { operation: Operation },
    #[error("{authorised} authorised, {requested} was requested")]
    AuthorisedTooMuch { requested: Money, authorised: Money },
}

/// One order's money at one provider. It has one authorisation: a customer whose card is declined pays with another
/// payment, so that no order can ever hold two authorisations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    account: Option<Account>,
    attempts: BTreeMap<AttemptId, Attempt>,
    provider_events: BTreeSet<ProviderEventId>,
}

/// What is where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub order_id: OrderId,
    pub provider: Provider,
    pub method: PaymentMethod,
    pub requested: Money,
    pub authorised: Money,
    pub captured: Money,
    pub refunded: Money,
    pub expired: bool,
    /// Whether what is authorised can be captured once only, and so only whole.
    #[serde(default)]
    pub captures_once: bool,
    /// By what the provider knows the authorisation, for all that follows on it.
    pub reference: Option<ProviderReference>,
}

/// One request to the provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub operation: Operation,
    pub amount: Money,
    pub return_id: Option<ReturnId>,
    pub requested_at: DateTime<Utc>,
    pub progress: Progress,
}

/// How far an attempt has come. News only ever takes it forward: see [`Progress::supersedes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    Requested,
    /// Asked without an answer.
    Unknown,
    /// The provider will tell.
    Pending,
    /// Declined or failed; of a refund, perhaps after it was done.
    Failed,
    Done,
    /// Done, and over: an authorisation that has expired.
    Expired,
}

impl Progress {
    /// Whether the provider may still do it.
    pub fn is_open(self) -> bool {
        self < Progress::Failed
    }

    /// Whether this is later news than `known` of an attempt to do `operation`, in whatever order both are heard. A success
    /// corrects a failure, never the reverse; but of a refund a failure is the last word: the customer's bank may send back
    /// what was done, and the provider does it again for another attempt only.
    pub fn supersedes(self, known: Self, operation: Operation) -> bool {
        match (operation, known, self) {
            (Operation::Refund, Progress::Done, Progress::Failed) => true,
            (Operation::Refund, Progress::Failed, Progress::Done) => false,
            _ => self > known,
        }
    }
}

impl Payment {
    /// One request to the provider; `None` when it was never recorded.
    pub fn attempt(&self, attempt: AttemptId) -> Option<&Attempt> {
        self.attempts.get(&attempt)
    }

    /// Requests of which the provider has not said yet what became of them: to be asked about, by their keys.
    pub fn open_attempts(&self) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        self.attempts.iter().filter(|(_, attempt)| attempt.progress.is_open()).map(|(id, attempt)| (*id, attempt))
    }

    /// All requests to the provider.
    pub fn attempts(&self) -> impl Iterator<Item = (AttemptId, &Attempt)> {
        self.attempts.iter().map(|(id, attempt)| (*id, attempt))
    }

    /// What is where.
    pub fn account(&self) -> Result<&Account, PaymentError> {
        self.account.as_ref().ok_or(PaymentError::Unknown)
    }

    fn decide(&self, command: PaymentCommand) -> Result<Option<PaymentEvent>, PaymentError> {
        use PaymentCommand::*;
        match command {
            RequestAuthorisation { order_id, attempt, provider, method, amount, requested_at } => {
                self.request_authorisation(order_id, attempt, provider, method, amount, requested_at)
            }
            RequestCapture { attempt, amount, requested_at } => self.request_capture(attempt, amount, requested_at),
            RequestVoid { attempt, requested_at } => self.request_void(attempt, requested_at),
            RequestRefund { attempt, return_id, amount, requested_at } => {
                self.request_refund(attempt, return_id, amount, requested_at)
            }
            Record { attempt, outcome, provider_event, at } => self.record(attempt, outcome, provider_event, at),
        }
    }

    /// Begins the payment. `None`: this very attempt was recorded, so the provider is to be asked about it.
    fn request_authorisation(
        &self,
        order_id: OrderId,
        attempt: AttemptId,
        provider: Provider,
        method: PaymentMethod,
        amount: Money,
        requested_at: DateTime<Utc>,
    ) -> Result<Option<PaymentEvent>, PaymentError> {
        if let Some(account) = &self.account {
            let same = self.attempts.contains_key(&attempt)
                && (account.order_id, account.requested) == (order_id, amount)
                && (&account.provider, &account.method) == (&provider, &method);
            let Account { order_id, requested: amount, .. } = *account;
            return if same { Ok(None) } else { Err(PaymentError::RequestedDifferently { order_id, amount }) };
        }
        if amount.amount_minor <= 0 {
            return Err(PaymentError::AmountNotPositive { amount });
        }
        Ok(Some(PaymentEvent::AuthorisationRequested { order_id, attempt, provider, method, amount, requested_at }))
    }

    /// Takes `amount` of what is held. `None`: this very attempt was recorded.
    fn request_capture(
        &self,
        attempt: AttemptId,
        amount: Money,
        requested_at: DateTime<Utc>,
    ) -> Result<Option<PaymentEvent>, PaymentError> {
        let account = self.account()?;
        if self.was_attempted(attempt, Operation::Capture, amount, None)? {
            return Ok(None);
        }
        account.takes(amount)?;
        self.holds_money(account)?;
        let capturable = subtract(account.authorised, self.moving(account.captured, Operation::Capture));
        if amount.amount_minor > capturable.amount_minor {
            return Err(PaymentError::CaptureTooLarge { requested: amount, capturable });
        }
        if account.captures_once && amount != capturable {
            return Err(PaymentError::CaptureInPart { requested: amount, capturable });
        }
        Ok(Some(PaymentEvent::CaptureRequested { order_id: account.order_id, attempt, amount, requested_at }))
    }

    /// Lets go of what is held, if nothing of it was captured. `None`: it is being, or was, let go.
    fn request_void(
        &self,
        attempt: AttemptId,
        requested_at: DateTime<Utc>,
    ) -> Result<Option<PaymentEvent>, PaymentError> {
        let account = self.account()?;
        if self.was_attempted(attempt, Operation::Void, account.authorised, None)? || self.is_voiding() {
            return Ok(None);
        }
        let captured = self.moving(account.captured, Operation::Capture);
        if captured.amount_minor > 0 {
            return Err(PaymentError::AlreadyCaptured { captured });
        }
        self.holds_money(account)?;
        Ok(Some(PaymentEvent::VoidRequested { order_id: account.order_id, attempt, requested_at }))
    }

    /// Gives `amount` of what was captured back. `None`: this very attempt was recorded.
    fn request_refund(
        &self,
        attempt: AttemptId,
        return_id: Option<ReturnId>,
        amount: Money,
        requested_at: DateTime<Utc>,
    ) -> Result<Option<PaymentEvent>, PaymentError> {
        let account = self.account()?;
        if self.was_attempted(attempt, Operation::Refund, amount, return_id)? {
            return Ok(None);
        }
        self.is_refunded_once(attempt, return_id)?;
        account.takes(amount)?;
        let refundable = subtract(account.captured, self.moving(account.refunded, Operation::Refund));
        if amount.amount_minor > refundable.amount_minor {
            return Err(PaymentError::RefundTooLarge { requested: amount, refundable });
        }
        Ok(Some(PaymentEvent::RefundRequested { order_id: account.order_id, attempt, return_id, amount, requested_at }))
    }

    /// Whether this very attempt was recorded. Refuses its key for another one.
    fn was_attempted(
        &self,
        id: AttemptId,
        operation: Operation,
        amount: Money,
        return_id: Option<ReturnId>,
    ) -> Result<bool, PaymentError> {
        let Some(attempt) = self.attempts.get(&id) else { return Ok(false) };
        if (attempt.operation, attempt.amount, attempt.return_id) == (operation, amount, return_id) {
            return Ok(true);
        }
        let Attempt { operation, amount, .. } = *attempt;
        Err(PaymentError::AttemptedDifferently { attempt: id, operation, amount })
    }

    /// Refuses a second refund of the same return, unless the first has failed.
    fn is_refunded_once(&self, id: AttemptId, return_id: Option<ReturnId>) -> Result<(), PaymentError> {
        let counts = |(other, attempt): &(&AttemptId, &Attempt)| {
            **other != id && attempt.return_id == return_id && attempt.progress != Progress::Failed
        };
        match return_id.and_then(|return_id| Some((return_id, self.attempts.iter().find(counts)?.1))) {
            Some((return_id, Attempt { amount, .. })) => {
                Err(PaymentError::ReturnRefunded { return_id, amount: *amount })
            }
            None => Ok(()),
        }
    }

    /// Refuses when the provider holds nothing that could be captured or voided.
    fn holds_money(&self, account: &Account) -> Result<(), PaymentError> {
        if account.authorised.amount_minor == 0 && !account.expired {
            return Err(PaymentError::NotAuthorised);
        }
        if self.is_voiding() {
            return Err(PaymentError::Voided);
        }
        if account.expired {
            return Err(PaymentError::Expired);
        }
        Ok(())
    }

    /// Whether the authorisation was, or is being, voided.
    fn is_voiding(&self) -> bool {
        self.attempts
            .values()
            .any(|attempt| attempt.operation == Operation::Void && attempt.progress != Progress::Failed)
    }

    /// What has moved, and what may be moving while the provider has not answered.
    fn moving(&self, moved: Money, operation: Operation) -> Money {
        let open = self.attempts.values().filter(|a| a.operation == operation && a.progress.is_open());
        open.fold(moved, |sum, attempt| add(sum, attempt.amount))
    }
}

impl Account {
    /// Refuses what is no amount of this payment.
    fn takes(&self, amount: Money) -> Result<(), PaymentError> {
        let (expected, found) = (self.requested.currency, amount.currency);
        if found != expected {
            return Err(PaymentError::Currency { expected, found });
        }
        if amount.amount_minor <= 0 {
            return Err(PaymentError::AmountNotPositive { amount });
        }
        Ok(())
    }
}

fn add(a: Money, b: Money) -> Money {
    a.checked_add(b).expect("captures and refunds are at most what was authorised, in one currency")
}

fn subtract(a: Money, b: Money) -> Money {
    a.checked_sub(b).expect("amounts of one payment are in one currency and not below 0")
}

impl Aggregate for Payment {
    const TYPE: &'static str = "payment";
    type Command = PaymentCommand;
    type Event = PaymentEvent;
    type Error = PaymentError;
    type Services = ();

    async fn handle(&mut self, command: PaymentCommand, _: &(), sink: &EventSink<Self>) -> Result<(), PaymentError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: PaymentEvent) {
        use PaymentEvent::*;
        match event {
            AuthorisationRequested { order_id, attempt, provider, method, amount: requested, requested_at } => {
                let zero = Money::zero(requested.currency);
                self.account = Some(Account {
                    order_id,
                    provider,
                    method,
                    requested,
                    authorised: zero,
                    captured: zero,
                    refunded: zero,
                    expired: false,
                    captures_once: false,
                    reference: None,
                });
                self.begin(attempt, Operation::Authorise, requested, None, requested_at);
            }
            CaptureRequested { attempt, amount, requested_at, .. } => {
                self.begin(attempt, Operation::Capture, amount, None, requested_at);
            }
            VoidRequested { attempt, requested_at, .. } => {
                if let Some(Account { authorised, .. }) = self.account {
                    self.begin(attempt, Operation::Void, authorised, None, requested_at);
                }
            }
            RefundRequested { attempt, return_id, amount, requested_at, .. } => {
                self.begin(attempt, Operation::Refund, amount, return_id, requested_at);
            }
            OutcomeUnknown { attempt, .. } => self.advance(attempt, Progress::Unknown, None),
            Pending { attempt, operation, provider_reference, provider_event, .. } => {
                self.advance(attempt, Progress::Pending, provider_event);
                if operation == Operation::Authorise {
                    self.refer(provider_reference);
                }
            }
            Declined { attempt, provider_event, .. } | Failed { attempt, provider_event, .. } => {
                self.advance(attempt, Progress::Failed, provider_event);
            }
            Authorised { attempt, amount, captures_once, provider_reference, provider_event, .. } => {
                self.advance(attempt, Progress::Done, provider_event);
                self.change(|account| (account.authorised, account.captures_once) = (amount, captures_once));
                self.refer(provider_reference);
            }
            Captured { attempt, captured_total, provider_event, .. } => {
                self.advance(attempt, Progress::Done, provider_event);
                self.change(|account| account.captured = captured_total);
            }
            Voided { attempt, provider_event, .. } => self.advance(attempt, Progress::Done, provider_event),
            Refunded { attempt, refunded_total, provider_event, .. } => {
                self.advance(attempt, Progress::Done, provider_event);
                self.change(|account| account.refunded = refunded_total);
            }
            RefundBounced { attempt, refunded_total, provider_event, .. } => {
                self.advance(attempt, Progress::Failed, provider_event);
                self.change(|account| account.refunded = refunded_total);
            }
            Expired { attempt, provider_event, .. } => {
                self.advance(attempt, Progress::Expired, provider_event);
                self.change(|account| account.expired = true);
            }
        }
    }
}

impl Payment {
    fn begin(
        &mut self,
        id: AttemptId,
        operation: Operation,
        amount: Money,
        return_id: Option<ReturnId>,
        requested_at: DateTime<Utc>,
    ) {
        let progress = Progress::Requested;
        self.attempts.insert(id, Attempt { operation, amount, return_id, requested_at, progress });
    }

    fn advance(&mut self, id: AttemptId, progress: Progress, provider_event: Option<ProviderEventId>) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.progress = progress;
        }
        self.provider_events.extend(provider_event);
    }

    /// Keeps the provider's name for the payment: news without one does not take it away.
    fn refer(&mut self, reference: Option<ProviderReference>) {
        if reference.is_some() {
            self.change(|account| account.reference = reference);
        }
    }

    fn change(&mut self, assign: impl FnOnce(&mut Account)) {
        if let Some(account) = &mut self.account {
            assign(account);
        }
    }
}
