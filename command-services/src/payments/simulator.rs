//! The built-in simulator of a payment provider: moves no money, and keeps a ledger of its own as one would.
//!
//! What becomes of a payment its test token says ([`tokens`]). Several processes share one ledger.

pub mod ledger;
pub mod tokens;
pub mod webhooks;

use super::provider::{Forged, Notification, PaymentProvider, Request};
use super::signature;
use crate::schema;
use actix_web::http::header::HeaderMap;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use kontor_domain::payment::{Outcome, Provider};
use kontor_settings::{Check, Rule, Secret, at_least};
use ledger::{Ledger, NoAnswer};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use webhooks::Webhook;

pub const NAME: &str = "simulator";
/// The header of a webhook's signature.
pub const SIGNATURE: &str = "Kontor-Simulator-Signature";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/simulator");

/// The payment simulator: section `simulator`, or `KONTOR_SIMULATOR__WEBHOOK_URL` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorSettings {
    /// Where webhooks are posted to; the process's own API when it is not set.
    pub webhook_url: Option<String>,
    /// What webhooks are signed with: the same for all processes that share the URL. Must be set when the URL is; a random
    /// one otherwise.
    pub webhook_secret: Option<Secret>,
    /// How long after the attempt the first webhook comes, in milliseconds.
    pub webhook_delay_ms: u32,
    /// How often an idle simulator looks for webhooks that are due, in milliseconds. At least 1.
    pub webhook_poll_interval_ms: u64,
    /// How long after a delivery without a 2xx the next one is tried, in milliseconds: twice as long each time, up to a
    /// minute. At least 1.
    pub webhook_retry_after_ms: u64,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            webhook_url: None,
            webhook_secret: None,
            webhook_delay_ms: 500,
            webhook_poll_interval_ms: 200,
            webhook_retry_after_ms: 1_000,
        }
    }
}

impl Check for SimulatorSettings {
    fn check(&self) -> Result<(), Rule> {
        if self.webhook_url.is_some() && self.webhook_secret.is_none() {
            return Err(Rule::new("webhook_secret", "must be set when webhook_url is"));
        }
        at_least("webhook_poll_interval_ms", self.webhook_poll_interval_ms, 1)?;
        at_least("webhook_retry_after_ms", self.webhook_retry_after_ms, 1)
    }
}

/// Brings the schema `simulator` up to date. `options` are those of a role that owns the database.
///
/// # Errors
/// The connection's, and those of a migration that fails or was edited after its release.
pub async fn migrate(options: PgConnectOptions) -> Result<(), MigrateError> {
    schema::migrate(options, "simulator", &MIGRATIONS).await
}

/// One process's simulator.
#[derive(Debug)]
pub struct Simulator {
    name: Provider,
    settings: SimulatorSettings,
    webhook_secret: Secret,
    ledger: Ledger,
    pool: PgPool,
}

impl Simulator {
    /// `pool` connects as role `kontor_command`.
    pub fn new(pool: PgPool, settings: SimulatorSettings) -> Self {
        let random = || Secret::new(hex::encode(rand::random::<[u8; 32]>()));
        Self {
            name: Provider::new(NAME).expect("a short word"),
            webhook_secret: settings.webhook_secret.clone().unwrap_or_else(random),
            ledger: Ledger::new(pool.clone(), i64::from(settings.webhook_delay_ms)),
            settings,
            pool,
        }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What the ledger says of the attempt, after it was entered if it was not yet.
    async fn enter(&self, request: &Request) -> Outcome {
        let script = tokens::script(request.method.as_str(), request.operation);
        match self.ledger.enter(request.clone(), script).await {
            Ok(Some(entry)) => entry.outcome(),
            Ok(None) => request.refused("authorised_by_another_attempt"),
            Err(NoAnswer) => Outcome::Unknown,
        }
    }
}

impl PaymentProvider for Simulator {
    fn name(&self) -> &Provider {
        &self.name
    }

    fn perform<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let outcome = self.enter(request).await;
            let script = tokens::script(request.method.as_str(), request.operation);
            if script.answer_lost { Outcome::Unknown } else { outcome }
        })
    }

    fn ask<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Outcome> {
        Box::pin(self.enter(request))
    }

    fn read_webhook(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Option<Notification>, Forged> {
        signature::verify(&self.webhook_secret, headers, SIGNATURE, body, now)?;
        Webhook::read(body).map(Some)
    }
}
