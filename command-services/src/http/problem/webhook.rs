//! What is sent to us as a payment provider's webhook and is none, and what the providers themselves lack.

use super::Problem;
use super::general::MALFORMED_JSON;
use super::kind::problems;
use crate::payments::provider::Forged;
use tracing::error;

problems! {
    /// A webhook is signed by its provider, in `header`.
    UNSIGNED_WEBHOOK = 400 "unsigned-webhook", "The webhook is not signed", [header];
    /// The signature was made with another secret, or for another body.
    FORGED_WEBHOOK = 400 "forged-webhook", "The webhook's signature is not its provider's", [];
    /// A webhook is taken for `tolerance_s` seconds; a provider signs what it sends again anew.
    STALE_WEBHOOK = 400 "stale-webhook", "The webhook was signed too long ago", [age_s, tolerance_s];
    /// No payment provider is called like this, or it is not set up.
    UNKNOWN_PROVIDER = 404 "unknown-provider", "There is no such payment provider", [];
    /// The database cannot be reached. Ask again after `Retry-After`.
    LEDGER_UNREADABLE = 503 "ledger-unreadable", "The simulator's ledger cannot be read", [];
}

impl From<Forged> for Problem {
    fn from(forged: Forged) -> Self {
        let detail = forged.to_string();
        match forged {
            Forged::NoSignature { header } => UNSIGNED_WEBHOOK.problem(detail).with("header", header),
            Forged::Mismatch => FORGED_WEBHOOK.problem(detail),
            Forged::TooOld { age_s, tolerance_s } => {
                STALE_WEBHOOK.problem(detail).with("age_s", age_s).with("tolerance_s", tolerance_s)
            }
            Forged::Unreadable => MALFORMED_JSON.problem(detail),
        }
    }
}

impl Problem {
    pub fn unknown_provider(name: &str) -> Self {
        UNKNOWN_PROVIDER.problem(format!("no payment provider is called \"{name}\""))
    }

    pub fn unreadable_ledger(reason: &sqlx::Error) -> Self {
        error!(%reason, "The payment simulator's ledger could not be read");
        LEDGER_UNREADABLE.problem("try again later").retry_after(1)
    }
}
