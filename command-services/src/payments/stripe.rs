//! Stripe, over its HTTP API: a PaymentIntent with manual capture for each payment.
//!
//! Only tokens ever come here; card numbers go from the customer to Stripe. An attempt's id is the `Idempotency-Key`, so
//! that Stripe does it once however often it is sent, and stands in the metadata of what it made, by which it is found
//! when Stripe has forgotten the key (after a day at the soonest).

mod api;
mod webhooks;

pub use webhooks::SIGNATURE;

use super::http_client;
use super::provider::{Forged, Notification, PaymentProvider, Request, failure_code};
use actix_web::http::header::HeaderMap;
use api::{Api, Intent, NoAnswer, Refund, Reply};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::BoxFuture;
use kontor_domain::payment::{CustomerAction, Operation, Outcome, Provider, ProviderReference};
use kontor_domain::{Currency, Money};
use kontor_settings::{Check, Rule, Secret};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tracing::warn;

pub const NAME: &str = "stripe";
/// For how long a request is sent again under its key. Stripe keeps keys for 24 hours.
const KEYS_KEPT: TimeDelta = TimeDelta::hours(23);
/// How long an authorisation holds where Stripe does not say.
const AUTHORISATION_TTL: TimeDelta = TimeDelta::days(7);

/// Stripe: section `stripe`, or `KONTOR_STRIPE__SECRET_KEY` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StripeSettings {
    /// The secret or restricted key (`sk_...`, `rk_...`) of the account. Stripe is not used without one.
    pub secret_key: Option<Secret>,
    /// The signing secret (`whsec_...`) of the webhook endpoint `/v1/payments/webhooks/stripe`, which must be sent the
    /// events `payment_intent.*` and `refund.*`. Must be set when `secret_key` is.
    pub webhook_secret: Option<Secret>,
    /// Where Stripe sends customers back to from a page of their bank, a URL. Without it only payment methods that need no
    /// such page are taken.
    pub return_url: Option<String>,
    /// Where the API is, without a slash at the end.
    pub api_url: String,
}

impl Default for StripeSettings {
    fn default() -> Self {
        Self { secret_key: None, webhook_secret: None, return_url: None, api_url: "https://api.stripe.com".into() }
    }
}

impl Check for StripeSettings {
    fn check(&self) -> Result<(), Rule> {
        if self.secret_key.is_some() && self.webhook_secret.is_none() {
            return Err(Rule::new("webhook_secret", "must be set when secret_key is"));
        }
        Ok(())
    }
}

/// The account at Stripe.
pub struct Stripe {
    name: Provider,
    api: Api,
    webhook_secret: Secret,
    return_url: Option<String>,
}

impl Stripe {
    /// `None` when the settings have no key.
    ///
    /// # Errors
    /// The HTTP client cannot be made.
    pub fn new(settings: &StripeSettings, timeout: Duration) -> anyhow::Result<Option<Self>> {
        let StripeSettings { secret_key, webhook_secret, return_url, api_url } = settings.clone();
        let (Some(secret_key), Some(webhook_secret)) = (secret_key, webhook_secret) else { return Ok(None) };
        let client = http_client(&api_url, timeout)?;
        let name = Provider::new(NAME).expect("a short word");
        Ok(Some(Self { name, api: Api { client, url: api_url, secret_key }, webhook_secret, return_url }))
    }

    async fn settle(&self, request: &Request) -> Outcome {
        if !is_same_unit(request.amount.currency) {
            return request.refused("currency_not_supported");
        }
        let outcome = match request.operation {
            Operation::Authorise => self.authorise(request).await,
            Operation::Capture => self.capture(request).await,
            Operation::Void => self.void(request).await,
            Operation::Refund => self.refund(request).await,
        };
        outcome.unwrap_or(Outcome::Unknown)
    }

    async fn authorise(&self, request: &Request) -> Result<Outcome, NoAnswer> {
        let attempt = request.attempt.to_string();
        if let Some(reference) = &request.reference {
            return Ok(authorised(&self.api.intent(reference).await?));
        }
        if Utc::now() - request.requested_at > KEYS_KEPT {
            // Under its key it would be another charge now.
            return Ok(match self.api.find_intent(&attempt).await? {
                Some(intent) => authorised(&intent),
                None => request.refused("never_received"),
            });
        }
        let (amount, currency) =
            (request.amount.amount_minor.to_string(), request.amount.currency.code().to_lowercase());
        let (order, payment) = (request.order_id.to_string(), request.payment_id.to_string());
        let mut form = vec![
            ("amount", &*amount),
            ("currency", &*currency),
            ("payment_method", request.method.as_str()),
            ("capture_method", "manual"),
            ("confirm", "true"),
            ("automatic_payment_methods[enabled]", "true"),
            ("payment_method_options[card][request_multicapture]", "if_available"),
            ("metadata[order]", &*order),
            ("metadata[payment]", &*payment),
            ("metadata[attempt]", &*attempt),
            ("expand[]", "latest_charge"),
        ];
        form.push(match &self.return_url {
            Some(url) => ("return_url", url),
            None => ("automatic_payment_methods[allow_redirects]", "never"),
        });
        match self.api.post::<Intent>("/v1/payment_intents", &form, &attempt).await {
            Ok(Reply::Done(intent)) => Ok(authorised(&intent)),
            Ok(Reply::Refused(error)) => Ok(request.refused(error.reason())),
            // What it answers under the key may be its own first failure, for ever.
            Err(NoAnswer) => self.api.find_intent(&attempt).await?.as_ref().map(authorised).ok_or(NoAnswer),
        }
    }

    /// Captures in part where the card allows several captures. Where it does not, Stripe lets go of the rest with the first,
    /// so nothing less than all is asked for: but for a payment from before that was known of it.
    async fn capture(&self, request: &Request) -> Result<Outcome, NoAnswer> {
        let Some(reference) = &request.reference else { return Ok(request.refused("no_reference")) };
        let intent = self.api.intent(reference).await?;
        let attempt = request.attempt.to_string();
        if intent.metadata.contains_key(&attempt) {
            return Ok(Outcome::Captured);
        }
        let amount = request.amount.amount_minor;
        let is_partial = amount < intent.amount_capturable;
        if is_partial && !intent.allows_several_captures() {
            warn!(payment_id = %request.payment_id, amount, "Only one capture is possible: Stripe lets go of the rest");
        }
        let (amount, mark) = (amount.to_string(), format!("metadata[{attempt}]"));
        let mut form = vec![("amount_to_capture", &*amount), (&*mark, "captured")];
        if is_partial && intent.allows_several_captures() {
            form.push(("final_capture", "false"));
        }
        let path = format!("/v1/payment_intents/{reference}/capture");
        Ok(match self.api.post::<Intent>(&path, &form, &attempt).await? {
            Reply::Done(_) => Outcome::Captured,
            Reply::Refused(error) => request.refused(error.reason()),
        })
    }

    async fn void(&self, request: &Request) -> Result<Outcome, NoAnswer> {
        let Some(reference) = &request.reference else { return Ok(request.refused("no_reference")) };
        let path = format!("/v1/payment_intents/{reference}/cancel");
        Ok(match self.api.post::<Intent>(&path, &[], &request.attempt.to_string()).await? {
            Reply::Done(_) => Outcome::Voided,
            Reply::Refused(error) if error.is_canceled_already() => Outcome::Voided,
            Reply::Refused(error) => request.refused(error.reason()),
        })
    }

    async fn refund(&self, request: &Request) -> Result<Outcome, NoAnswer> {
        let Some(reference) = &request.reference else { return Ok(request.refused("no_reference")) };
        let attempt = request.attempt.to_string();
        if let Some(refund) = self.api.find_refund(reference, &attempt).await? {
            return Ok(refunded(&refund));
        }
        let (amount, payment) = (request.amount.amount_minor.to_string(), request.payment_id.to_string());
        let form = [
            ("payment_intent", reference.as_str()),
            ("amount", &*amount),
            ("metadata[payment]", &*payment),
            ("metadata[attempt]", &*attempt),
        ];
        Ok(match self.api.post::<Refund>("/v1/refunds", &form, &attempt).await? {
            Reply::Done(refund) => refunded(&refund),
            Reply::Refused(error) => request.refused(error.reason()),
        })
    }
}

impl PaymentProvider for Stripe {
    fn name(&self) -> &Provider {
        &self.name
    }

    fn perform<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Outcome> {
        Box::pin(self.settle(request))
    }

    /// The same: each operation looks first whether it was done, where the key alone does not tell.
    fn ask<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Outcome> {
        Box::pin(self.settle(request))
    }

    fn read_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<Notification>, Forged> {
        webhooks::read(&self.webhook_secret, headers, body, now)
    }
}

/// What an intent says of its authorisation. A webhook does not say whether several captures are allowed: then it counts as one.
fn authorised(intent: &Intent) -> Outcome {
    let provider_reference = ProviderReference::new(&intent.id).ok();
    match intent.status.as_str() {
        "requires_capture" | "succeeded" => Outcome::Authorised {
            amount: Money::new(intent.amount, intent.currency),
            expires_at: intent.capture_before().unwrap_or(intent.created() + AUTHORISATION_TTL),
            captures_once: !intent.allows_several_captures(),
            provider_reference,
        },
        "requires_action" | "processing" => {
            let action = intent.redirect_url().and_then(|url| CustomerAction::new(url).ok());
            Outcome::Pending { action, provider_reference }
        }
        "canceled" => Outcome::Declined { code: failure_code("canceled") },
        _ => Outcome::Declined { code: failure_code(intent.last_error()) },
    }
}

fn refunded(refund: &Refund) -> Outcome {
    match refund.status.as_str() {
        "succeeded" => Outcome::Refunded,
        "failed" => Outcome::Failed { code: failure_code(refund.failure_reason.as_deref().unwrap_or_default()) },
        "canceled" => Outcome::Failed { code: failure_code("canceled") },
        _ => Outcome::Pending { action: None, provider_reference: ProviderReference::new(&refund.id).ok() },
    }
}

/// Whether Stripe means the same by a minor unit of the currency as ISO 4217 does: not for ISK and UGX, of which it counts
/// hundredths, MGA, of which it counts none, and those of three digits, which it rounds. Its documentation: "Zero-decimal
/// currencies" and "Special cases".
fn is_same_unit(currency: Currency) -> bool {
    const WITHOUT_DECIMALS: [&str; 15] =
        ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
    let digits = if WITHOUT_DECIMALS.contains(&currency.code()) { 0 } else { 2 };
    currency.digits() == digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_that_stripe_counts_otherwise_are_not_taken() {
        let is_taken = |code| is_same_unit(Currency::from_code(code).expect("it is in ISO 4217"));
        for code in ["GBP", "EUR", "USD", "JPY", "KRW", "HUF", "TWD", "XOF"] {
            assert!(is_taken(code), "{code}");
        }
        for code in ["ISK", "UGX", "MGA", "KWD", "BHD", "TND"] {
            assert!(!is_taken(code), "{code}");
        }
    }
}
