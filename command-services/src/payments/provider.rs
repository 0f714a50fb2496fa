//! The port to payment providers: what the shop asks of one, in the words of the domain.

use actix_web::http::header::HeaderMap;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use kontor_domain::payment::{
    Account, FailureCode, Operation, Outcome, Payment, PaymentError, Provider, ProviderEventId, ProviderReference,
};
use kontor_domain::text::PaymentMethod;
use kontor_domain::{AttemptId, Money, OrderId, PaymentId};

/// Somebody who moves money for us. Each attempt is done at most once, however often it is asked for: its id is the key.
pub trait PaymentProvider: Send + Sync {
    /// As payments name it.
    fn name(&self) -> &Provider;

    /// Asks it to do what the attempt is for. [`Outcome::Unknown`] when it gives no answer.
    fn perform<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Outcome>;

    /// Asks it what became of an attempt that it was asked for before. What never reached it is done now, under the same
    /// key and so at most once.
    fn ask<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Outcome>;

    /// Reads one of its notifications. `None`: it is about nothing that concerns us.
    ///
    /// # Errors
    /// [`Forged`], when its signature is not the provider's, or it is too old.
    fn read_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<Notification>, Forged>;
}

/// One attempt, with all that a provider must know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub attempt: AttemptId,
    pub operation: Operation,
    pub amount: Money,
    pub method: PaymentMethod,
    /// What it calls the payment; `None` until it has said so.
    pub reference: Option<ProviderReference>,
    pub requested_at: DateTime<Utc>,
}

impl Request {
    /// # Errors
    /// [`PaymentError::Unknown`] and [`PaymentError::UnknownAttempt`].
    pub fn of(payment_id: PaymentId, payment: &Payment, id: AttemptId) -> Result<Self, PaymentError> {
        let Account { order_id, method, reference, .. } = payment.account()?;
        let attempt = payment.attempt(id).ok_or(PaymentError::UnknownAttempt { attempt: id })?;
        Ok(Self {
            payment_id,
            order_id: *order_id,
            attempt: id,
            operation: attempt.operation,
            amount: attempt.amount,
            method: method.clone(),
            reference: reference.clone(),
            requested_at: attempt.requested_at,
        })
    }

    /// The provider will not do it, for a reason of this `code`.
    pub fn refused(&self, code: &str) -> Outcome {
        let code = failure_code(code);
        match self.operation {
            Operation::Authorise => Outcome::Declined { code },
            Operation::Capture | Operation::Void | Operation::Refund => Outcome::Failed { code },
        }
    }
}

/// A provider's code as we keep it: what is no text of ours becomes `unspecified`.
pub fn failure_code(code: &str) -> FailureCode {
    FailureCode::new(code).unwrap_or_else(|_| FailureCode::new("unspecified").expect("a short word"))
}

/// What a provider has told us of its own accord.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub event: ProviderEventId,
    pub payment_id: PaymentId,
    pub attempt: AttemptId,
    pub outcome: Outcome,
}

/// Why a webhook was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    #[error("the header {header} is missing or is no signature")]
    NoSignature { header: &'static str },
    #[error("the signature is not that of this body with our secret")]
    Mismatch,
    #[error("it was signed {age_s} s ago; at most {tolerance_s} s are tolerated")]
    TooOld { age_s: i64, tolerance_s: i64 },
    #[error("the body is none of the provider's")]
    Unreadable,
}
