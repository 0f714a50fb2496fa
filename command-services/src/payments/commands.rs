//! What the staff asks of a payment. The provider is asked when the request is on disk.

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use chrono::Utc;
use kontor_domain::payment::{Payment, PaymentCommand};
use kontor_domain::{AttemptId, Money, PaymentId, ReturnId};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

/// Takes `amount` of what is authorised.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CapturePayment {
    payment_id: PaymentId,
    amount: Money,
    /// The key towards the provider; chosen for you if it is left out.
    #[serde(default = "new_attempt")]
    attempt: AttemptId,
}

/// Lets go of what is authorised.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VoidPayment {
    payment_id: PaymentId,
    /// The key towards the provider; chosen for you if it is left out.
    #[serde(default = "new_attempt")]
    attempt: AttemptId,
}

/// Gives `amount` of what was captured back, for a return or as
/// a goodwill.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundPayment {
    payment_id: PaymentId,
    amount: Money,
    return_id: Option<ReturnId>,
    /// The key towards the provider; chosen for you if it is left out.
    #[serde(default = "new_attempt")]
    attempt: AttemptId,
}

fn new_attempt() -> AttemptId {
    AttemptId(Uuid::now_v7())
}

impl Decision for CapturePayment {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { payment_id, amount, attempt } = *self;
        handle(unit, payment_id, PaymentCommand::RequestCapture { attempt, amount, requested_at: Utc::now() }).await
    }
}

impl Decision for VoidPayment {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { payment_id, attempt } = *self;
        handle(unit, payment_id, PaymentCommand::RequestVoid { attempt, requested_at: Utc::now() }).await
    }
}

impl Decision for RefundPayment {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { payment_id, amount, return_id, attempt } = *self;
        let refund = PaymentCommand::RequestRefund { attempt, return_id, amount, requested_at: Utc::now() };
        handle(unit, payment_id, refund).await
    }
}

/// The payment's part in a command.
pub async fn handle(unit: &mut Unit<'_>, payment_id: PaymentId, command: PaymentCommand) -> Result<(), Stop> {
    let handled = unit.handle::<Payment>(&payment_id.to_string(), command).await;
    handled.map_err(|refused| refused.or(Refusal::Payment))?;
    Ok(())
}
