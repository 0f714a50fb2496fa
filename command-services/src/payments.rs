//! Payments at work: what payments have requested is asked of their provider, and what the provider says is recorded.
//!
//! Every request is an attempt that is on disk before the provider hears of it, and the attempt's id is the provider's
//! key. So whatever breaks between the two, the attempt is settled again and nothing is charged twice.

pub mod commands;
pub mod provider;
pub mod reconcile;
pub mod signature;
pub mod simulator;
pub mod stripe;

use crate::executor::{Context, Decision, Done, Effect, Executor, Expects, Failure, Stop, Unit};
use crate::refusal::Refusal;
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use kontor_domain::payment::{
    Operation, Outcome, Payment, PaymentCommand, PaymentError, Progress, Provider, ProviderEventId,
};
use kontor_domain::{AttemptId, PaymentId};
use kontor_event_store::Key;
use kontor_identity::Caller;
use kontor_settings::{Check, Rule, at_least};
use kontor_telemetry::TraceParent;
use provider::{Notification, PaymentProvider, Request};
use serde::{Deserialize, Serialize};
use simulator::Simulator;
use std::sync::Arc;
use std::time::Duration;
use stripe::Stripe;
use tokio::time::timeout;
use uuid::Uuid;

/// The actor of what providers say.
const ACTOR: &str = "payments";

/// Payments: section `payments`, or `KONTOR_PAYMENTS__PROVIDER` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaymentSettings {
    /// Who moves the money of new payments: `simulator` (nobody) or `stripe`. Those begun at the other are settled there.
    pub provider: ProviderChoice,
    /// How long to wait for a provider's answer, in milliseconds, before the outcome counts as unknown. At least 1.
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderChoice {
    #[default]
    Simulator,
    Stripe,
}

impl Default for PaymentSettings {
    fn default() -> Self {
        Self { provider: ProviderChoice::default(), timeout_ms: 10_000 }
    }
}

impl PaymentSettings {
    /// The one that new payments use.
    pub fn provider(&self) -> Provider {
        let name = match self.provider {
            ProviderChoice::Simulator => simulator::NAME,
            ProviderChoice::Stripe => stripe::NAME,
        };
        Provider::new(name).expect("a short word")
    }
}

impl Check for PaymentSettings {
    fn check(&self) -> Result<(), Rule> {
        at_least("timeout_ms", self.timeout_ms, 1)
    }
}

/// All providers, and the payments they move money for.
pub struct Payments {
    executor: Arc<Executor>,
    provider: Provider,
    timeout: Duration,
    simulator: Arc<Simulator>,
    stripe: Option<Stripe>,
}

impl Payments {
    /// `stripe` must be there when the settings choose it.
    pub fn new(
        executor: Arc<Executor>,
        settings: &PaymentSettings,
        simulator: Arc<Simulator>,
        stripe: Option<Stripe>,
    ) -> Self {
        let provider = settings.provider();
        Self { executor, provider, timeout: Duration::from_millis(settings.timeout_ms), simulator, stripe }
    }

    /// The one that new payments use.
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    pub fn simulator(&self) -> &Arc<Simulator> {
        &self.simulator
    }

    /// The provider that is called `name`, if it is set up.
    pub fn adapter(&self, name: &str) -> Option<&dyn PaymentProvider> {
        match name {
            simulator::NAME => Some(&*self.simulator),
            stripe::NAME => self.stripe.as_ref().map(|stripe| stripe as &dyn PaymentProvider),
            _ => None,
        }
    }

    /// The payment as the log has it, whatever this process remembers.
    pub async fn load(&self, payment_id: PaymentId) -> Result<Payment, Failure> {
        Ok(self.executor.log().load::<Payment>(&payment_id.to_string()).await?.aggregate)
    }

    /// Asks the provider to do what an attempt requests, or what became of it. The answer is to be [recorded](Answer::record).
    /// `None`: the attempt's end is known, or there is nothing new.
    ///
    /// # Errors
    /// [`Failure::Refused`] when there is no such attempt; others are to be tried again.
    pub async fn ask(&self, payment_id: PaymentId, attempt: AttemptId) -> Result<Option<Answer>, Failure> {
        let (mut payment, _) = self.executor.peek::<Payment>(&payment_id.to_string()).await?;
        if payment.attempt(attempt).is_none() {
            payment = self.load(payment_id).await?; // Another process may have requested it.
        }
        let request = Request::of(payment_id, &payment, attempt).map_err(refused)?;
        let progress = payment.attempt(attempt).map_or(Progress::Requested, |attempt| attempt.progress);
        if !progress.is_open() {
            return Ok(None);
        }
        let name = &payment.account().map_err(refused)?.provider;
        let provider = self
            .adapter(name.as_str())
            .ok_or_else(|| Failure::Unknown { reason: format!("the payment's provider, {name}, is not set up") })?;
        let answer = match progress {
            Progress::Requested => provider.perform(&request),
            _ => provider.ask(&request),
        };
        let outcome = timeout(self.timeout, answer).await.unwrap_or(Outcome::Unknown);
        if outcome == Outcome::Unknown && progress != Progress::Requested {
            return Ok(None); // That is known already.
        }
        Ok(Some(Answer { payment_id, attempt, outcome, provider_event: None, at: Utc::now() }))
    }

    /// Records what a provider has told of its own accord; a notification that comes again changes nothing.
    pub async fn hear(&self, provider: &Provider, notification: Notification) -> Result<Done, Failure> {
        let Notification { event, payment_id, attempt, outcome } = notification;
        let key = Key::new(ACTOR, &format!("{provider} {event}"), b"");
        let told = Answer { payment_id, attempt, outcome, provider_event: Some(event), at: Utc::now() };
        let context = Context {
            key,
            correlation_id: Uuid::now_v7(),
            causation_id: Uuid::now_v7(),
            caller: Caller::internal(ACTOR),
            expects: Expects::Anything,
            trace: TraceParent::new_root(false),
        };
        self.executor.execute(context, told).await
    }
}

/// What asks `url` for something and waits for the answer no longer than `timeout`.
///
/// # Errors
/// The machine has no certificates to trust, and the URL is one of HTTPS.
pub fn http_client(url: &str, timeout: Duration) -> anyhow::Result<reqwest::Client> {
    // The only provider that is compiled in; somebody else may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none());
    if url.starts_with("http://") {
        builder = builder.tls_certs_only([]); // So that an image without certificates will do.
    }
    builder.build().context("the HTTP client cannot be made")
}

fn refused(error: PaymentError) -> Failure {
    Failure::Refused(Refusal::Payment(error))
}

/// Tells the outcomes of one attempt apart.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Unknown => "unknown",
        Outcome::Pending { .. } => "pending",
        Outcome::Authorised { .. } => Operation::Authorise.name(),
        Outcome::Captured => Operation::Capture.name(),
        Outcome::Voided => Operation::Void.name(),
        Outcome::Refunded => Operation::Refund.name(),
        Outcome::Declined { .. } | Outcome::Failed { .. } => "failed",
        Outcome::Expired => "expired",
    }
}

/// What a provider says became of an attempt.
#[derive(Debug, Clone)]
pub struct Answer {
    payment_id: PaymentId,
    attempt: AttemptId,
    outcome: Outcome,
    /// The notification that told of it, if it came unasked.
    provider_event: Option<ProviderEventId>,
    at: DateTime<Utc>,
}

impl Answer {
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The key of the command that records it: it says all that the answer does, but for the time.
    pub fn key(&self) -> Key {
        Key::new(ACTOR, &format!("{} {}", self.attempt, word(&self.outcome)), b"")
    }

    /// Books it with the payment.
    pub async fn record(&self, unit: &mut Unit<'_>) -> Result<Effect, Stop> {
        let record = PaymentCommand::Record {
            attempt: self.attempt,
            outcome: self.outcome.clone(),
            provider_event: self.provider_event.clone(),
            at: self.at,
        };
        let recorded = unit.handle::<Payment>(&self.payment_id.to_string(), record).await;
        recorded.map_err(|refused| refused.or(Refusal::Payment))
    }
}

impl Decision for Answer {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        self.record(unit).await.map(drop)
    }
}
