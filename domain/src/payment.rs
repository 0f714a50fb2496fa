//! A payment: one order's money at one provider. Authorised, captured, voided, refunded.
//!
//! Every request to the provider is an attempt with a key of its own, recorded before the provider is called. So
//! whatever is lost on the way, the provider can be asked with that key what became of it, and nothing is charged
//! again. What it answers, at once or by notification, may come twice and in any order: `payment/record.rs` tells how
//! it is taken.

mod record;

use crate::text::{PaymentMethod, Text};
use crate::{AttemptId, Currency, Money, OrderId, ReturnId};
use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Authorise,
    Capture,
    Void,
    Refund,
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
struct Account {
    order_id: OrderId,
    provider: Provider,
    method: PaymentMethod,
    requested: Money,
    authorised: Money,
    captured: Money,
    refunded: Money,
    expired: bool,
}

/// One request to the provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    pub operation: Operation,
    pub amount: Money,
    pub return_id: Option<ReturnId>,
    pub progress: Progress,
}

/// How far an attempt has come. News only ever takes it forward: a later success corrects a failure, never the reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    Requested,
    /// Asked without an answer.
    Unknown,
    /// The provider will tell.
    Pending,
    /// Declined or failed.
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

    /// The provider; `None` before anything was requested.
    pub fn provider(&self) -> Option<&Provider> {
        self.account.as_ref().map(|account| &account.provider)
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

    fn account(&self) -> Result<&Account, PaymentError> {
        self.account.as_ref().ok_or(PaymentError::Unknown)
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
            AuthorisationRequested { order_id, attempt, provider, method, amount: requested, .. } => {
                let zero = Money::zero(requested.currency);
                let (authorised, captured, refunded, expired) = (zero, zero, zero, false);
                self.account =
                    Some(Account { order_id, provider, method, requested, authorised, captured, refunded, expired });
                self.begin(attempt, Operation::Authorise, requested, None);
            }
            CaptureRequested { attempt, amount, .. } => self.begin(attempt, Operation::Capture, amount, None),
            VoidRequested { attempt, .. } => {
                if let Some(Account { authorised, .. }) = self.account {
                    self.begin(attempt, Operation::Void, authorised, None);
                }
            }
            RefundRequested { attempt, return_id, amount, .. } => {
                self.begin(attempt, Operation::Refund, amount, return_id);
            }
            OutcomeUnknown { attempt, .. } => self.advance(attempt, Progress::Unknown, None),
            Pending { attempt, provider_event, .. } => self.advance(attempt, Progress::Pending, provider_event),
            Declined { attempt, provider_event, .. } | Failed { attempt, provider_event, .. } => {
                self.advance(attempt, Progress::Failed, provider_event);
            }
            Authorised { attempt, amount, provider_event, .. } => {
                self.advance(attempt, Progress::Done, provider_event);
                self.change(|account| account.authorised = amount);
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
            Expired { attempt, provider_event, .. } => {
                self.advance(attempt, Progress::Expired, provider_event);
                self.change(|account| account.expired = true);
            }
        }
    }
}

impl Payment {
    fn begin(&mut self, id: AttemptId, operation: Operation, amount: Money, return_id: Option<ReturnId>) {
        self.attempts.insert(id, Attempt { operation, amount, return_id, progress: Progress::Requested });
    }

    fn advance(&mut self, id: AttemptId, progress: Progress, provider_event: Option<ProviderEventId>) {
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.progress = progress;
        }
        self.provider_events.extend(provider_event);
    }

    fn change(&mut self, assign: impl FnOnce(&mut Account)) {
        if let Some(account) = &mut self.account {
            assign(account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{given, handle};
    use proptest::prelude::*;
    use uuid::Uuid;

    const ORDER: OrderId = OrderId(Uuid::from_u128(0xA));
    const AUTHORISE: AttemptId = AttemptId(Uuid::from_u128(1));
    const CAPTURE: AttemptId = AttemptId(Uuid::from_u128(2));
    const OTHER: AttemptId = AttemptId(Uuid::from_u128(3));
    const VOID: AttemptId = AttemptId(Uuid::from_u128(4));
    const REFUND: AttemptId = AttemptId(Uuid::from_u128(5));

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_259_668_800, 0).expect("a time in 2009")
    }

    fn pence(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::GBP)
    }

    fn code() -> FailureCode {
        FailureCode::new("insufficient_funds").expect("a valid code")
    }

    fn authorise(attempt: AttemptId, amount: Money) -> PaymentCommand {
        PaymentCommand::RequestAuthorisation {
            order_id: ORDER,
            attempt,
            provider: Provider::new("simulator").expect("a valid name"),
            method: PaymentMethod::new("tok_success").expect("a valid token"),
            amount,
            requested_at: noon(),
        }
    }

    fn capture(attempt: AttemptId, amount: i64) -> PaymentCommand {
        PaymentCommand::RequestCapture { attempt, amount: pence(amount), requested_at: noon() }
    }

    fn void(attempt: AttemptId) -> PaymentCommand {
        PaymentCommand::RequestVoid { attempt, requested_at: noon() }
    }

    fn refund(attempt: AttemptId, amount: i64) -> PaymentCommand {
        PaymentCommand::RequestRefund { attempt, return_id: None, amount: pence(amount), requested_at: noon() }
    }

    fn record(attempt: AttemptId, outcome: Outcome) -> PaymentCommand {
        PaymentCommand::Record { attempt, outcome, provider_event: None, at: noon() }
    }

    fn notify(event: &str, attempt: AttemptId, outcome: Outcome) -> PaymentCommand {
        PaymentCommand::Record { attempt, outcome, provider_event: ProviderEventId::new(event).ok(), at: noon() }
    }

    fn authorised_outcome(amount: i64) -> Outcome {
        Outcome::Authorised { amount: pence(amount), expires_at: noon(), provider_reference: None }
    }

    fn pending() -> Outcome {
        Outcome::Pending { action: None, provider_reference: None }
    }

    /// What `commands` lead to, none of which may be refused.
    fn after(commands: impl IntoIterator<Item = PaymentCommand>) -> Vec<PaymentEvent> {
        let mut payment = Payment::default();
        let handled = commands.into_iter().map(|command| handle(&mut payment, command).expect("not refused"));
        handled.flatten().collect()
    }

    /// 345 pence authorised, then `commands`.
    fn authorised_and(commands: impl IntoIterator<Item = PaymentCommand>) -> Vec<PaymentEvent> {
        after(
            [authorise(AUTHORISE, pence(345)), record(AUTHORISE, authorised_outcome(345))].into_iter().chain(commands),
        )
    }

    fn captured_and(commands: impl IntoIterator<Item = PaymentCommand>) -> Vec<PaymentEvent> {
        authorised_and([capture(CAPTURE, 345), record(CAPTURE, Outcome::Captured)].into_iter().chain(commands))
    }

    #[test]
    fn an_attempt_is_recorded_before_the_provider_is_asked() {
        let requested = || PaymentEvent::AuthorisationRequested {
            order_id: ORDER,
            attempt: AUTHORISE,
            provider: Provider::new("simulator").expect("a valid name"),
            method: PaymentMethod::new("tok_success").expect("a valid token"),
            amount: pence(345),
            requested_at: noon(),
        };
        given::<Payment>([]).when(authorise(AUTHORISE, pence(345))).then(requested());
        given::<Payment>([requested()]).when(authorise(AUTHORISE, pence(345))).then_nothing();
        for another in [authorise(AUTHORISE, pence(344)), authorise(OTHER, pence(345))] {
            let refused = PaymentError::RequestedDifferently { order_id: ORDER, amount: pence(345) };
            given::<Payment>([requested()]).when(another).then_refused(refused);
        }
        given::<Payment>([])
            .when(authorise(AUTHORISE, pence(0)))
            .then_refused(PaymentError::AmountNotPositive { amount: pence(0) });
        given::<Payment>([]).when(record(AUTHORISE, pending())).then_refused(PaymentError::Unknown);
    }

    #[test]
    fn an_authorisation_is_recorded_once() {
        let requested = || after([authorise(AUTHORISE, pence(345))]);
        let authorised = |provider_event| PaymentEvent::Authorised {
            order_id: ORDER,
            attempt: AUTHORISE,
            amount: pence(345),
            expires_at: noon(),
            provider_reference: None,
            provider_event,
            at: noon(),
        };
        given::<Payment>(requested()).when(record(AUTHORISE, authorised_outcome(345))).then(authorised(None));
        given::<Payment>(requested())
            .when(notify("evt_1", AUTHORISE, authorised_outcome(345)))
            .then(authorised(ProviderEventId::new("evt_1").ok()));
        given::<Payment>(authorised_and([])).when(record(AUTHORISE, authorised_outcome(345))).then_nothing();
        given::<Payment>(authorised_and([])).when(notify("evt_1", AUTHORISE, pending())).then_nothing();
        given::<Payment>(requested())
            .when(record(AUTHORISE, authorised_outcome(346)))
            .then_refused(PaymentError::AuthorisedTooMuch { requested: pence(345), authorised: pence(346) });
        let euro = Currency::from_code("EUR").expect("EUR is in ISO 4217");
        let in_euro =
            Outcome::Authorised { amount: Money::new(345, euro), expires_at: noon(), provider_reference: None };
        given::<Payment>(requested())
            .when(record(AUTHORISE, in_euro))
            .then_refused(PaymentError::Currency { expected: Currency::GBP, found: euro });
        given::<Payment>(requested())
            .when(record(AUTHORISE, Outcome::Captured))
            .then_refused(PaymentError::OutcomeOfAnother { operation: Operation::Authorise });
        given::<Payment>(requested())
            .when(record(OTHER, pending()))
            .then_refused(PaymentError::UnknownAttempt { attempt: OTHER });
    }

    #[test]
    fn a_late_success_corrects_a_decline_and_never_the_reverse() {
        let declined = || record(AUTHORISE, Outcome::Declined { code: code() });
        let events = after([authorise(AUTHORISE, pence(345)), declined(), record(AUTHORISE, authorised_outcome(345))]);
        assert!(matches!(events.last(), Some(PaymentEvent::Authorised { .. })));
        given::<Payment>(authorised_and([])).when(declined()).then_nothing();
    }

    #[test]
    fn an_unknown_outcome_is_found_by_asking_never_by_charging_again() {
        let unknown = || after([authorise(AUTHORISE, pence(345)), record(AUTHORISE, Outcome::Unknown)]);
        given::<Payment>(unknown()).when(record(AUTHORISE, Outcome::Unknown)).then_nothing();
        given::<Payment>(unknown()).when(authorise(AUTHORISE, pence(345))).then_nothing();
        given::<Payment>(unknown())
            .when(authorise(OTHER, pence(345)))
            .then_refused(PaymentError::RequestedDifferently { order_id: ORDER, amount: pence(345) });
        let payment: Payment = crate::scenario::state(unknown());
        assert_eq!(payment.open_attempts().map(|(id, _)| id).collect::<Vec<_>>(), [AUTHORISE]);
        given::<Payment>(unknown()).when(record(AUTHORISE, Outcome::Declined { code: code() })).then(
            PaymentEvent::Declined {
                order_id: ORDER,
                attempt: AUTHORISE,
                code: code(),
                provider_event: None,
                at: noon(),
            },
        );
    }

    #[test]
    fn no_more_is_captured_than_is_authorised_even_while_the_provider_has_not_answered() {
        let first = || [capture(CAPTURE, 190)];
        given::<Payment>(authorised_and([])).when(capture(CAPTURE, 345)).then(PaymentEvent::CaptureRequested {
            order_id: ORDER,
            attempt: CAPTURE,
            amount: pence(345),
            requested_at: noon(),
        });
        given::<Payment>(authorised_and(first())).when(capture(CAPTURE, 190)).then_nothing();
        given::<Payment>(authorised_and(first())).when(capture(CAPTURE, 155)).then_refused(
            PaymentError::AttemptedDifferently { attempt: CAPTURE, operation: Operation::Capture, amount: pence(190) },
        );
        given::<Payment>(authorised_and(first()))
            .when(capture(OTHER, 156))
            .then_refused(PaymentError::CaptureTooLarge { requested: pence(156), capturable: pence(155) });
        given::<Payment>(after([authorise(AUTHORISE, pence(345))]))
            .when(capture(CAPTURE, 1))
            .then_refused(PaymentError::NotAuthorised);
        given::<Payment>(authorised_and([]))
            .when(capture(CAPTURE, 0))
            .then_refused(PaymentError::AmountNotPositive { amount: pence(0) });
        given::<Payment>(authorised_and([void(VOID)])).when(capture(CAPTURE, 1)).then_refused(PaymentError::Voided);
        given::<Payment>(authorised_and([record(AUTHORISE, Outcome::Expired)]))
            .when(capture(CAPTURE, 1))
            .then_refused(PaymentError::Expired);
    }

    #[test]
    fn captures_add_up_and_each_counts_once() {
        let captured = |attempt, amount, total| PaymentEvent::Captured {
            order_id: ORDER,
            attempt,
            amount: pence(amount),
            captured_total: pence(total),
            provider_event: None,
            at: noon(),
        };
        let first = || [capture(CAPTURE, 190), record(CAPTURE, Outcome::Captured)];
        given::<Payment>(authorised_and([capture(CAPTURE, 190)]))
            .when(record(CAPTURE, Outcome::Captured))
            .then(captured(CAPTURE, 190, 190));
        given::<Payment>(authorised_and(first())).when(record(CAPTURE, Outcome::Captured)).then_nothing();
        given::<Payment>(authorised_and(first().into_iter().chain([capture(OTHER, 155)])))
            .when(record(OTHER, Outcome::Captured))
            .then(captured(OTHER, 155, 345));
    }

    #[test]
    fn a_capture_that_was_replaced_when_it_failed_cannot_count_beside_its_replacement() {
        given::<Payment>(authorised_and([
            capture(CAPTURE, 345),
            record(CAPTURE, Outcome::Failed { code: code() }),
            capture(OTHER, 345),
        ]))
        .when(record(CAPTURE, Outcome::Captured))
        .then_refused(PaymentError::CaptureTooLarge { requested: pence(345), capturable: pence(0) });
        given::<Payment>(authorised_and([
            capture(CAPTURE, 345),
            record(CAPTURE, Outcome::Failed { code: code() }),
            void(VOID),
        ]))
        .when(record(CAPTURE, Outcome::Captured))
        .then_refused(PaymentError::Voided);
    }

    #[test]
    fn only_what_is_not_captured_is_voided_and_once() {
        given::<Payment>(authorised_and([])).when(void(VOID)).then(PaymentEvent::VoidRequested {
            order_id: ORDER,
            attempt: VOID,
            requested_at: noon(),
        });
        given::<Payment>(authorised_and([void(VOID)])).when(void(VOID)).then_nothing();
        given::<Payment>(authorised_and([void(VOID)])).when(void(OTHER)).then_nothing();
        given::<Payment>(authorised_and([void(VOID)])).when(record(VOID, Outcome::Voided)).then(PaymentEvent::Voided {
            order_id: ORDER,
            attempt: VOID,
            amount: pence(345),
            provider_event: None,
            at: noon(),
        });
        for progress in [vec![], vec![record(CAPTURE, Outcome::Captured)]] {
            given::<Payment>(authorised_and([capture(CAPTURE, 1)].into_iter().chain(progress)))
                .when(void(VOID))
                .then_refused(PaymentError::AlreadyCaptured { captured: pence(1) });
        }
        given::<Payment>(after([authorise(AUTHORISE, pence(345))]))
            .when(void(VOID))
            .then_refused(PaymentError::NotAuthorised);
        given::<Payment>(authorised_and([record(AUTHORISE, Outcome::Expired)]))
            .when(void(VOID))
            .then_refused(PaymentError::Expired);
        let failed = || [void(VOID), record(VOID, Outcome::Failed { code: code() })];
        given::<Payment>(authorised_and(failed().into_iter().chain([capture(CAPTURE, 1)])))
            .when(record(VOID, Outcome::Voided))
            .then_refused(PaymentError::AlreadyCaptured { captured: pence(1) });
    }

    #[test]
    fn no_more_is_refunded_than_was_captured() {
        let refunded = || [refund(REFUND, 300), record(REFUND, Outcome::Refunded)];
        given::<Payment>(captured_and([])).when(refund(REFUND, 300)).then(PaymentEvent::RefundRequested {
            order_id: ORDER,
            attempt: REFUND,
            return_id: None,
            amount: pence(300),
            requested_at: noon(),
        });
        given::<Payment>(captured_and([refund(REFUND, 300)])).when(refund(REFUND, 300)).then_nothing();
        given::<Payment>(captured_and([refund(REFUND, 300)])).when(record(REFUND, Outcome::Refunded)).then(
            PaymentEvent::Refunded {
                order_id: ORDER,
                attempt: REFUND,
                return_id: None,
                amount: pence(300),
                refunded_total: pence(300),
                provider_event: None,
                at: noon(),
            },
        );
        given::<Payment>(captured_and(refunded())).when(record(REFUND, Outcome::Refunded)).then_nothing();
        for so_far in [vec![refund(REFUND, 300)], refunded().to_vec()] {
            given::<Payment>(captured_and(so_far))
                .when(refund(OTHER, 46))
                .then_refused(PaymentError::RefundTooLarge { requested: pence(46), refundable: pence(45) });
        }
        given::<Payment>(authorised_and([]))
            .when(refund(REFUND, 1))
            .then_refused(PaymentError::RefundTooLarge { requested: pence(1), refundable: pence(0) });
        let failed = [refund(REFUND, 300), record(REFUND, Outcome::Failed { code: code() }), refund(OTHER, 300)];
        given::<Payment>(captured_and(failed))
            .when(record(REFUND, Outcome::Refunded))
            .then_refused(PaymentError::RefundTooLarge { requested: pence(300), refundable: pence(45) });
    }

    #[test]
    fn a_return_is_refunded_once() {
        let return_id = ReturnId(Uuid::from_u128(0x2E));
        let refund = |attempt, amount| PaymentCommand::RequestRefund {
            attempt,
            return_id: Some(return_id),
            amount: pence(amount),
            requested_at: noon(),
        };
        let failed = || [refund(REFUND, 100), record(REFUND, Outcome::Failed { code: code() })];
        given::<Payment>(captured_and([refund(REFUND, 100)])).when(refund(REFUND, 100)).then_nothing();
        given::<Payment>(captured_and([refund(REFUND, 100)]))
            .when(refund(OTHER, 100))
            .then_refused(PaymentError::ReturnRefunded { return_id, amount: pence(100) });
        given::<Payment>(captured_and(failed())).when(refund(OTHER, 100)).then(PaymentEvent::RefundRequested {
            order_id: ORDER,
            attempt: OTHER,
            return_id: Some(return_id),
            amount: pence(100),
            requested_at: noon(),
        });
        given::<Payment>(captured_and(failed().into_iter().chain([refund(OTHER, 100)])))
            .when(record(REFUND, Outcome::Refunded))
            .then_refused(PaymentError::ReturnRefunded { return_id, amount: pence(100) });
    }

    #[test]
    fn the_same_notification_twice_changes_nothing() {
        let twice = after([authorise(AUTHORISE, pence(345)), notify("evt_1", AUTHORISE, pending())]);
        given::<Payment>(twice).when(notify("evt_1", AUTHORISE, authorised_outcome(345))).then_nothing();
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            1 => Just(Outcome::Unknown),
            1 => Just(pending()),
            4 => prop_oneof![Just(345), 0_i64..400].prop_map(authorised_outcome),
            1 => Just(Outcome::Declined { code: code() }),
            4 => Just(Outcome::Captured),
            1 => Just(Outcome::Voided),
            4 => Just(Outcome::Refunded),
            2 => Just(Outcome::Failed { code: code() }),
            1 => Just(Outcome::Expired),
        ]
    }

    fn any_command() -> impl Strategy<Value = PaymentCommand> {
        let attempt = || (1_u128..9).prop_map(|id| AttemptId(Uuid::from_u128(id)));
        prop_oneof![
            2 => (1_u128..3).prop_map(|id| authorise(AttemptId(Uuid::from_u128(id)), pence(345))),
            4 => (attempt(), -1_i64..400).prop_map(|(attempt, amount)| capture(attempt, amount)),
            1 => attempt().prop_map(void),
            4 => (attempt(), -1_i64..400).prop_map(|(attempt, amount)| refund(attempt, amount)),
            12 => (attempt(), any_outcome(), prop::option::of(0_u8..20)).prop_map(|(attempt, outcome, event)| {
                PaymentCommand::Record {
                    attempt,
                    outcome,
                    provider_event: event.and_then(|event| ProviderEventId::new(&format!("evt_{event}")).ok()),
                    at: noon(),
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_retry_changes_nothing_and_the_money_adds_up(
            commands in prop::collection::vec(any_command(), 0..80),
        ) {
            let mut payment = Payment::default();
            let mut events = Vec::new();
            for command in [authorise(AUTHORISE, pence(345))].into_iter().chain(commands) {
                let before = payment.clone();
                match handle(&mut payment, command.clone()) {
                    Ok(decided) => {
                        events.extend(decided);
                        prop_assert_eq!(handle(&mut payment, command), Ok(vec![]));
                    }
                    Err(_) => prop_assert_eq!(&payment, &before),
                }
                let Some(Account { requested, authorised, captured, refunded, .. }) = payment.account else { continue };
                prop_assert!(captured.amount_minor <= authorised.amount_minor);
                prop_assert!(authorised.amount_minor <= requested.amount_minor);
                prop_assert!(0 <= refunded.amount_minor && refunded.amount_minor <= captured.amount_minor);
            }
            let mut captures = BTreeMap::new();
            for event in &events {
                if let PaymentEvent::Captured { attempt, amount, .. } = event {
                    prop_assert!(captures.insert(*attempt, amount.amount_minor).is_none(), "captured twice");
                }
            }
            let captured: i64 = captures.values().sum();
            let account = payment.account.expect("the first command began it");
            prop_assert_eq!(captured, account.captured.amount_minor);
            let voided = events.iter().any(|event| matches!(event, PaymentEvent::Voided { .. }));
            prop_assert!(!voided || captured == 0);
        }

        #[test]
        fn news_of_an_authorisation_may_come_in_any_order(
            news in Just(vec![
                Outcome::Unknown,
                pending(),
                Outcome::Declined { code: code() },
                authorised_outcome(345),
                Outcome::Unknown,
                pending(),
                authorised_outcome(345),
            ]).prop_shuffle(),
        ) {
            let mut payment: Payment = crate::scenario::state(after([authorise(AUTHORISE, pence(345))]));
            for outcome in news {
                handle(&mut payment, record(AUTHORISE, outcome)).expect("none of it is refused");
            }
            prop_assert_eq!(payment.attempt(AUTHORISE).map(|attempt| attempt.progress), Some(Progress::Done));
            prop_assert_eq!(payment.account.map(|account| account.authorised), Some(pence(345)));
        }
    }
}
