//! Stripe's webhooks: news of intents and refunds that our attempts have made.

use super::api::{Intent, Refund};
use super::{authorised, refunded};
use crate::payments::provider::{Forged, Notification};
use crate::payments::signature;
use actix_web::http::header::HeaderMap;
use chrono::{DateTime, Utc};
use kontor_domain::payment::{Outcome, ProviderEventId};
use kontor_domain::{AttemptId, PaymentId};
use kontor_settings::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

pub const SIGNATURE: &str = "Stripe-Signature";

#[derive(Deserialize)]
struct Event<'a> {
    id: ProviderEventId,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    object: &'a RawValue,
}

/// An event of a kind that we do not know, of an object that is not ours, or that is the echo of what we asked for and were
/// answered, is `None`.
pub fn read(
    secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<Notification>, Forged> {
    signature::verify(secret, headers, SIGNATURE, body, now)?;
    let event: Event<'_> = serde_json::from_slice(body).map_err(|_| Forged::Unreadable)?;
    let object = event.data.object.get();
    let (metadata, outcome) = match event.kind {
        "payment_intent.amount_capturable_updated"
        | "payment_intent.processing"
        | "payment_intent.requires_action"
        | "payment_intent.payment_failed" => {
            let intent: Intent = serde_json::from_str(object).map_err(|_| Forged::Unreadable)?;
            let outcome = authorised(&intent);
            (intent.metadata, outcome)
        }
        "payment_intent.canceled" => {
            let intent: Intent = serde_json::from_str(object).map_err(|_| Forged::Unreadable)?;
            // Any other reason is ours, or that of somebody at Stripe's dashboard.
            match intent.cancellation_reason.as_deref() {
                Some("automatic" | "expired") => (intent.metadata, Outcome::Expired),
                _ => return Ok(None),
            }
        }
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            let refund: Refund = serde_json::from_str(object).map_err(|_| Forged::Unreadable)?;
            let outcome = refunded(&refund);
            (refund.metadata, outcome)
        }
        _ => return Ok(None),
    };
    Ok(ours(&metadata).map(|(payment_id, attempt)| Notification { event: event.id, payment_id, attempt, outcome }))
}

/// `None`: made by somebody else with the same account.
fn ours(metadata: &BTreeMap<String, String>) -> Option<(PaymentId, AttemptId)> {
    Some((metadata.get("payment")?.parse().ok()?, metadata.get("attempt")?.parse().ok()?))
}
