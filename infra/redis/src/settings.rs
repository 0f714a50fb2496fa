//! What an operator can set, and the connections that follow from it.

use kontor_settings::{Check, Rule, SecretUrl, between};
use redis::Client;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Where Redis is: section `redis`, or `KONTOR_REDIS__URL` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSettings {
    /// Redis 7 or newer, such as `redis://user:password@host:6379/0`. Without it, Postgres answers what Redis would.
    pub url: Option<SecretUrl>,
    /// A query that Redis has not answered by then is answered by Postgres, in milliseconds. From 1 to 10,000.
    pub timeout_ms: u64,
}

impl Default for RedisSettings {
    fn default() -> Self {
        RedisSettings { url: None, timeout_ms: 250 }
    }
}

impl Check for RedisSettings {
    fn check(&self) -> Result<(), Rule> {
        // The driver's own complaint would come late, and not name the setting.
        if self.url.as_ref().is_some_and(|url| Client::open(url.expose()).is_err() || !is_plain(url)) {
            return Err(Rule::new("url", "must be such as redis://user:password@host:6379/0"));
        }
        between("timeout_ms", self.timeout_ms, 1, 10_000)
    }
}

fn is_plain(url: &SecretUrl) -> bool {
    url.expose().starts_with("redis://")
}

/// A Redis that is configured. It need not be there yet.
#[derive(Clone)]
pub struct Redis(Client);

impl Redis {
    /// `None`: none is configured. An error: the URL is none of Redis.
    pub fn of(settings: &RedisSettings) -> redis::RedisResult<Option<Redis>> {
        settings.url.as_ref().map(|url| Client::open(url.expose()).map(Redis)).transpose()
    }

    /// A connection that many can use at once, and that is made when it is first used, and again when it has broken. To be
    /// called on the runtime that uses it.
    pub fn connection(&self, timeout: Duration) -> redis::RedisResult<ConnectionManager> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(timeout.min(Duration::from_secs(1))))
            .set_response_timeout(Some(timeout))
            .set_number_of_retries(0); // Whoever uses it knows when to try again.
        ConnectionManager::new_lazy_with_config(self.0.clone(), config)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", self.0.get_connection_info().addr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_of_redis_is_refused() {
        let settings = |url: &str| RedisSettings { url: Some(url.parse().expect("a URL")), ..RedisSettings::default() };
        assert!(settings("redis://:secret@127.0.0.1:6379/1").check().is_ok());
        for url in ["http://127.0.0.1", "rediss://127.0.0.1", "redis://127.0.0.1/one"] {
            assert!(settings(url).check().is_err(), "{url}");
        }
    }
}
