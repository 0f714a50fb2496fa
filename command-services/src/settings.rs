//! What `kontor-command` can be told, in its file or as `KONTOR_SECTION__FIELD`.

use crate::executor::ExecutorSettings;
use crate::http::routes::HttpSettings;
use crate::notifications::MailSettings;
use crate::payments::simulator::SimulatorSettings;
use crate::payments::stripe::StripeSettings;
use crate::payments::{PaymentSettings, ProviderChoice};
use crate::processes::ProcessesSettings;
use crate::relay::RelaySettings;
use crate::shop::ShopSettings;
use kontor_event_store::LogSettings;
use kontor_identity::IdentitySettings;
use kontor_privacy::PrivacySettings;
use kontor_settings::{Check, Rule, SecretUrl, at_least, section};
use kontor_telemetry::{OpsSettings, TelemetrySettings};
use serde::{Deserialize, Serialize};

/// All sections of the command tier.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub log: LogSection,
    pub executor: ExecutorSettings,
    pub relay: RelaySettings,
    pub processes: ProcessesSettings,
    pub shop: ShopSettings,
    pub nats: NatsSettings,
    pub mail: MailSettings,
    pub identity: IdentitySettings,
    pub privacy: PrivacySettings,
    pub payments: PaymentSettings,
    pub simulator: SimulatorSettings,
    pub stripe: StripeSettings,
    pub http: HttpSettings,
    pub ops: OpsSettings,
    pub telemetry: TelemetrySettings,
}

/// The log: section `log`, or `KONTOR_LOG__URL` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// The primary, as role `kontor_command`.
    pub url: SecretUrl,
    /// The primary, as the role that owns the database. Only `migrate` needs it.
    pub migrator_url: Option<SecretUrl>,
    /// Connections that append. At least 1; two let one batch commit while the next arrives.
    pub lanes: usize,
    /// Connections that read streams and keys. At least 1.
    pub readers_max: u32,
    /// Appends that may wait; more are answered with 503. At least 1.
    pub waiting_max: usize,
    /// For how long an append is tried again while the log cannot be reached, in milliseconds. At least 1.
    pub give_up_after_ms: u64,
    /// For how long idempotency keys are kept, in hours. At least 1.
    pub keep_keys_h: u64,
}

impl Default for LogSection {
    fn default() -> Self {
        let LogSettings { lanes, readers_max, waiting_max, give_up_after_ms } = LogSettings::default();
        Self {
            url: "postgres://kontor_command@127.0.0.1:5432/kontor".parse().expect("a URL"),
            migrator_url: None,
            lanes,
            readers_max,
            waiting_max,
            give_up_after_ms,
            keep_keys_h: 7 * 24,
        }
    }
}

impl LogSection {
    pub fn log_settings(&self) -> LogSettings {
        let Self { lanes, readers_max, waiting_max, give_up_after_ms, .. } = *self;
        LogSettings { lanes, readers_max, waiting_max, give_up_after_ms }
    }
}

impl Check for LogSection {
    fn check(&self) -> Result<(), Rule> {
        at_least("lanes", self.lanes, 1)?;
        at_least("readers_max", self.readers_max, 1)?;
        at_least("waiting_max", self.waiting_max, 1)?;
        at_least("give_up_after_ms", self.give_up_after_ms, 1)?;
        at_least("keep_keys_h", self.keep_keys_h, 1)
    }
}

/// NATS with JetStream: section `nats`, or `KONTOR_NATS__URL`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    pub url: String,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self { url: "nats://127.0.0.1:4222".into() }
    }
}

impl Check for Settings {
    fn check(&self) -> Result<(), Rule> {
        section("log", &self.log)?;
        section("executor", &self.executor)?;
        section("relay", &self.relay)?;
        section("processes", &self.processes)?;
        section("shop", &self.shop)?;
        section("mail", &self.mail)?;
        section("identity", &self.identity)?;
        section("privacy", &self.privacy)?;
        section("payments", &self.payments)?;
        section("simulator", &self.simulator)?;
        section("stripe", &self.stripe)?;
        if self.payments.provider == ProviderChoice::Stripe && self.stripe.secret_key.is_none() {
            return Err(Rule::new("stripe.secret_key", "must be set when payments.provider is stripe"));
        }
        section("http", &self.http)?;
        section("ops", &self.ops)?;
        section("telemetry", &self.telemetry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_tiers_know_its_sections() {
        let declared = serde_json::to_value(Settings::default()).expect("settings have a JSON form");
        for section in declared.as_object().expect("sections").keys() {
            assert!(kontor_settings::KNOWN_SECTIONS.contains(&section.as_str()), "{section} is in no list");
        }
    }
}
