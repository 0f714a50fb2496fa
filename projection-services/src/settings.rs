//! What an operator can set for a projector.

use kontor_redis::RedisSettings;
use kontor_search::SearchSettings;
use kontor_settings::{Check, Rule, SecretUrl, at_least, between, section};
use kontor_telemetry::{OpsSettings, TelemetrySettings};
use kontor_vectors::VectorsSettings;
use serde::{Deserialize, Serialize};

/// The settings of `kontor-projector`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProjectorSettings {
    pub projections: ProjectionsSettings,
    pub recommendations: RecommendationsSettings,
    pub vectors: VectorsSettings,
    pub nats: NatsSettings,
    pub redis: RedisSettings,
    pub search: SearchSettings,
    pub log: MigrationSettings,
    pub ops: OpsSettings,
    pub telemetry: TelemetrySettings,
}

/// How projections are kept: section `projections`, or `KONTOR_PROJECTIONS__URL` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectionsSettings {
    /// The primary, where the read models and the log are, for role `kontor_projector`. Needed to serve.
    pub url: Option<SecretUrl>,
    /// The most events of one transaction. From 1 to 100,000.
    pub batch_events_max: usize,
    /// The most bytes of event payload of one transaction; one event is taken whatever its size. At least 1.
    pub batch_bytes_max: usize,
    /// After this long without news from the stream the log itself is asked, in milliseconds. From 10 to 60,000.
    pub silence_ms: u64,
    /// Transactions at the same time of one generation that has much to catch up with. From 1 to 8.
    pub writers_max: usize,
    /// How long a worker that says nothing keeps its projection to itself, in milliseconds: then one that stands by takes
    /// over. At least 500.
    pub lease_ms: u64,
    /// A projection that has applied nothing for this long although there are events makes its process not ready, in seconds.
    /// At least 1.
    pub silent_after_s: u64,
}

impl Default for ProjectionsSettings {
    fn default() -> Self {
        ProjectionsSettings {
            url: None,
            batch_events_max: 5_000,
            batch_bytes_max: 8 << 20,
            silence_ms: 200,
            writers_max: 4,
            lease_ms: 5_000,
            silent_after_s: 30,
        }
    }
}

/// How recommendations are learnt: section `recommendations`, or `KONTOR_RECOMMENDATIONS__TRAIN_EVERY_S` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecommendationsSettings {
    /// A new model is learnt so often, if there is news, in seconds. 0: only when an operator says so.
    pub train_every_s: u64,
    /// How often it is looked whether there is news, and whether the vector store has what it should, in milliseconds. From 10
    /// to 600,000.
    pub look_interval_ms: u64,
}

impl Default for RecommendationsSettings {
    fn default() -> Self {
        RecommendationsSettings { train_every_s: 900, look_interval_ms: 5_000 }
    }
}

/// Where events are published: section `nats`, or `KONTOR_NATS__URL`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// NATS with JetStream.
    pub url: SecretUrl,
}

impl Default for NatsSettings {
    fn default() -> Self {
        NatsSettings { url: "nats://127.0.0.1:4222".parse().expect("a URL with a host") }
    }
}

/// What `migrate` needs of section `log`, whose other settings are the command tier's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MigrationSettings {
    /// The primary, for role `kontor_migrator`. Needed to migrate, and by nothing else.
    // Left out while it is unset: a section without fields by default leaves its names to their owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migrator_url: Option<SecretUrl>,
}

impl Check for ProjectorSettings {
    fn check(&self) -> Result<(), Rule> {
        section("projections", &self.projections)?;
        section("recommendations", &self.recommendations)?;
        section("vectors", &self.vectors)?;
        section("redis", &self.redis)?;
        section("search", &self.search)?;
        section("ops", &self.ops)?;
        section("telemetry", &self.telemetry)
    }
}

impl Check for ProjectionsSettings {
    fn check(&self) -> Result<(), Rule> {
        // The driver would take any scheme for its own, and wait for a server that never answers.
        let is_postgres =
            |url: &SecretUrl| ["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme));
        if self.url.as_ref().is_some_and(|url| !is_postgres(url)) {
            return Err(Rule::new("url", "must begin with postgres://"));
        }
        between("batch_events_max", self.batch_events_max, 1, 100_000)?;
        at_least("batch_bytes_max", self.batch_bytes_max, 1)?;
        between("silence_ms", self.silence_ms, 10, 60_000)?;
        between("writers_max", self.writers_max, 1, 8)?;
        at_least("lease_ms", self.lease_ms, 500)?;
        at_least("silent_after_s", self.silent_after_s, 1)
    }
}

impl Check for RecommendationsSettings {
    fn check(&self) -> Result<(), Rule> {
        between("look_interval_ms", self.look_interval_ms, 10, 600_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_tiers_know_its_sections() {
        let declared = serde_json::to_value(ProjectorSettings::default()).expect("settings have a JSON form");
        for section in declared.as_object().expect("sections").keys() {
            assert!(kontor_settings::KNOWN_SECTIONS.contains(&section.as_str()), "{section} is in no list");
        }
    }
}
