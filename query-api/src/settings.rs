//! What an operator can set for the query API.

use kontor_identity::IdentitySettings;
use kontor_privacy::PrivacySettings;
use kontor_redis::RedisSettings;
use kontor_search::SearchSettings;
use kontor_settings::{Check, Rule, SecretUrl, at_least, between, section};
use kontor_telemetry::{OpsSettings, TelemetrySettings};
use kontor_vectors::VectorsSettings;
use serde::{Deserialize, Serialize};

/// The settings of `kontor-query`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySettings {
    pub replica: ReplicaSettings,
    pub redis: RedisSettings,
    pub vectors: VectorsSettings,
    pub search: SearchSettings,
    pub query: AnswerSettings,
    pub live: LiveSettings,
    pub nats: NatsSettings,
    pub identity: IdentitySettings,
    pub privacy: PrivacySettings,
    pub http: HttpSettings,
    pub ops: OpsSettings,
    pub telemetry: TelemetrySettings,
}

/// The database that is read: section `replica`, or `KONTOR_REPLICA__URL` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaSettings {
    /// A replica (or, in a small installation, the primary), for role `kontor_query`. Needed to serve.
    pub url: Option<SecretUrl>,
    /// Connections of each of `http.workers`, and of what they share. From 2 to 100; more than 8 are slower on a small machine.
    pub connections_max: u32,
    /// A query that takes longer is given up, in milliseconds. At least 10.
    pub statement_timeout_ms: u64,
    /// A replica that is further behind its primary is reported as not ready, in seconds. At least 1.
    pub lag_max_s: u64,
}

impl Default for ReplicaSettings {
    fn default() -> Self {
        ReplicaSettings { url: None, connections_max: 4, statement_timeout_ms: 5_000, lag_max_s: 30 }
    }
}

/// How queries are answered: section `query`, or `KONTOR_QUERY__WAIT_MAX_MS` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerSettings {
    /// How long a query waits for the position that its client asks for, in milliseconds. At most 60,000.
    pub wait_max_ms: u64,
    /// How often the replica is asked for its positions while somebody waits, in milliseconds. From 1 to 1,000.
    pub poll_interval_ms: u64,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        AnswerSettings { wait_max_ms: 2_000, poll_interval_ms: 2 }
    }
}

/// Live updates: section `live`, or `KONTOR_LIVE__CONNECTIONS_MAX` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveSettings {
    /// Clients that are told of changes at the same time; more are answered 503. At most 100,000.
    pub connections_max: usize,
    /// How often a client is told that it is still connected, in seconds. From 1 to 600.
    pub heartbeat_s: u64,
    /// After this long a client has to come back, with a token that still holds, in seconds. At least 1.
    pub lasts_max_s: u64,
    /// How often the replica is looked at, without news from NATS, while anybody is told, in milliseconds. From 10 to 60,000.
    pub poll_interval_ms: u64,
}

impl Default for LiveSettings {
    fn default() -> Self {
        LiveSettings { connections_max: 1_000, heartbeat_s: 15, lasts_max_s: 900, poll_interval_ms: 500 }
    }
}

/// Where events are published: section `nats`, or `KONTOR_NATS__URL`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// NATS, which says when there is something to tell. Without it live updates wait for the next look at the replica.
    pub url: Option<SecretUrl>,
}

/// The API's listener: section `http`, or `KONTOR_HTTP__BIND` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Address and port, such as `127.0.0.1:8081`. Port 0 takes a free one.
    pub bind: String,
    /// Threads that answer requests. From 1 to 64.
    pub workers: usize,
    /// How long requests may take to end when the service stops, in seconds. From 1 to 600.
    pub shutdown_timeout_s: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        HttpSettings { bind: "127.0.0.1:8080".to_owned(), workers: 2, shutdown_timeout_s: 30 }
    }
}

impl Check for QuerySettings {
    fn check(&self) -> Result<(), Rule> {
        section("replica", &self.replica)?;
        section("redis", &self.redis)?;
        section("vectors", &self.vectors)?;
        section("search", &self.search)?;
        section("query", &self.query)?;
        section("live", &self.live)?;
        section("identity", &self.identity)?;
        section("privacy", &self.privacy)?;
        section("http", &self.http)?;
        section("ops", &self.ops)?;
        section("telemetry", &self.telemetry)
    }
}

impl Check for ReplicaSettings {
    fn check(&self) -> Result<(), Rule> {
        if self.url.as_ref().is_some_and(|url| !is_postgres(url)) {
            return Err(Rule::new("url", "must begin with postgres://"));
        }
        between("connections_max", self.connections_max, 2, 100)?;
        at_least("statement_timeout_ms", self.statement_timeout_ms, 10)?;
        at_least("lag_max_s", self.lag_max_s, 1)
    }
}

/// The driver would take any scheme for its own, and wait for a server that never answers.
fn is_postgres(url: &SecretUrl) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme))
}

impl Check for AnswerSettings {
    fn check(&self) -> Result<(), Rule> {
        between("wait_max_ms", self.wait_max_ms, 0, 60_000)?;
        between("poll_interval_ms", self.poll_interval_ms, 1, 1_000)
    }
}

impl Check for LiveSettings {
    fn check(&self) -> Result<(), Rule> {
        between("connections_max", self.connections_max, 0, 100_000)?;
        between("heartbeat_s", self.heartbeat_s, 1, 600)?;
        at_least("lasts_max_s", self.lasts_max_s, 1)?;
        between("poll_interval_ms", self.poll_interval_ms, 10, 60_000)
    }
}

impl Check for HttpSettings {
    fn check(&self) -> Result<(), Rule> {
        between("workers", self.workers, 1, 64)?;
        between("shutdown_timeout_s", self.shutdown_timeout_s, 1, 600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_tiers_know_its_sections() {
        let declared = serde_json::to_value(QuerySettings::default()).expect("settings have a JSON form");
        for section in declared.as_object().expect("sections").keys() {
            assert!(kontor_settings::KNOWN_SECTIONS.contains(&section.as_str()), "{section} is in no list");
        }
    }
}
