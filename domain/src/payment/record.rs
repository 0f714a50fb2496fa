//! What the provider says, in answers and notifications: perhaps twice, perhaps the older after the newer.
//!
//! Each kind of news has a rank, [`Progress`], and an attempt only ever advances. So the order in which news of an
//! attempt arrives does not matter, and no clock of the provider's is trusted.

use super::{
    Account, Attempt, Operation, Outcome, Payment, PaymentError, PaymentEvent, Progress, ProviderEventId, add, subtract,
};
use crate::AttemptId;
use chrono::{DateTime, Utc};

impl Outcome {
    fn progress(&self) -> Progress {
        match self {
            Outcome::Unknown => Progress::Unknown,
            Outcome::Pending { .. } => Progress::Pending,
            Outcome::Declined { .. } | Outcome::Failed { .. } => Progress::Failed,
            Outcome::Authorised { .. } | Outcome::Captured | Outcome::Voided | Outcome::Refunded => Progress::Done,
            Outcome::Expired => Progress::Expired,
        }
    }

    fn can_end(&self, operation: Operation) -> bool {
        match self {
            Outcome::Unknown | Outcome::Pending { .. } | Outcome::Failed { .. } => true,
            Outcome::Authorised { .. } | Outcome::Declined { .. } | Outcome::Expired => {
                operation == Operation::Authorise
            }
            Outcome::Captured => operation == Operation::Capture,
            Outcome::Voided => operation == Operation::Void,
            Outcome::Refunded => operation == Operation::Refund,
        }
    }
}

impl Payment {
    /// Books what became of an attempt. `None`: it was known, or is older than what is known.
    pub(super) fn record(
        &self,
        id: AttemptId,
        outcome: Outcome,
        provider_event: Option<ProviderEventId>,
        at: DateTime<Utc>,
    ) -> Result<Option<PaymentEvent>, PaymentError> {
        let account = self.account()?;
        if provider_event.as_ref().is_some_and(|event| self.provider_events.contains(event)) {
            return Ok(None);
        }
        let attempt = self.attempts.get(&id).ok_or(PaymentError::UnknownAttempt { attempt: id })?;
        let operation = attempt.operation;
        if !outcome.can_end(operation) {
            return Err(PaymentError::OutcomeOfAnother { operation });
        }
        if !outcome.progress().supersedes(attempt.progress, operation) {
            return Ok(None);
        }
        self.agrees(account, attempt, &outcome)?;
        Ok(Some(event(account, id, attempt, outcome, provider_event, at)))
    }

    /// Refuses news that cannot be true beside what is known: for a person to look into.
    fn agrees(&self, account: &Account, attempt: &Attempt, outcome: &Outcome) -> Result<(), PaymentError> {
        match outcome {
            Outcome::Authorised { amount, .. } => {
                account.takes(*amount)?;
                let (requested, authorised) = (account.requested, *amount);
                if authorised.amount_minor > requested.amount_minor {
                    return Err(PaymentError::AuthorisedTooMuch { requested, authorised });
                }
            }
            // It failed before, and what it left was taken or let go meanwhile.
            Outcome::Captured if !attempt.progress.is_open() => {
                if self.is_voiding() {
                    return Err(PaymentError::Voided);
                }
                let capturable = subtract(account.authorised, self.moving(account.captured, Operation::Capture));
                let requested = attempt.amount;
                if requested.amount_minor > capturable.amount_minor {
                    return Err(PaymentError::CaptureTooLarge { requested, capturable });
                }
            }
            Outcome::Voided => {
                let captured = self.moving(account.captured, Operation::Capture);
                if captured.amount_minor > 0 {
                    return Err(PaymentError::AlreadyCaptured { captured });
                }
            }
            Outcome::Captured
            | Outcome::Refunded
            | Outcome::Unknown
            | Outcome::Pending { .. }
            | Outcome::Declined { .. }
            | Outcome::Failed { .. }
            | Outcome::Expired => {}
        }
        Ok(())
    }
}

fn event(
    account: &Account,
    id: AttemptId,
    attempt: &Attempt,
    outcome: Outcome,
    provider_event: Option<ProviderEventId>,
    at: DateTime<Utc>,
) -> PaymentEvent {
    let Account { order_id, authorised, captured, refunded, .. } = *account;
    let Attempt { operation, amount, return_id, progress, .. } = *attempt;
    let attempt = id;
    match outcome {
        Outcome::Unknown => PaymentEvent::OutcomeUnknown { order_id, attempt, operation, at },
        Outcome::Pending { action, provider_reference } => {
            PaymentEvent::Pending { order_id, attempt, operation, action, provider_reference, provider_event, at }
        }
        Outcome::Authorised { amount, expires_at, captures_once, provider_reference } => PaymentEvent::Authorised {
            order_id,
            attempt,
            amount,
            expires_at,
            captures_once,
            provider_reference,
            provider_event,
            at,
        },
        Outcome::Declined { code } => PaymentEvent::Declined { order_id, attempt, code, provider_event, at },
        Outcome::Failed { code } if progress == Progress::Done => {
            let refunded_total = subtract(refunded, amount);
            PaymentEvent::RefundBounced {
                order_id,
                attempt,
                return_id,
                amount,
                refunded_total,
                code,
                provider_event,
                at,
            }
        }
        Outcome::Failed { code } => PaymentEvent::Failed { order_id, attempt, operation, code, provider_event, at },
        Outcome::Captured => {
            let captured_total = add(captured, amount);
            PaymentEvent::Captured { order_id, attempt, amount, captured_total, provider_event, at }
        }
        Outcome::Voided => PaymentEvent::Voided { order_id, attempt, amount: authorised, provider_event, at },
        Outcome::Refunded => {
            let refunded_total = add(refunded, amount);
            PaymentEvent::Refunded { order_id, attempt, return_id, amount, refunded_total, provider_event, at }
        }
        Outcome::Expired => PaymentEvent::Expired { order_id, attempt, provider_event, at },
    }
}
