//! What an operator can set.

use kontor_settings::{Check, Rule, Secret, SecretUrl, between};
use serde::{Deserialize, Serialize};

/// Where vectors are: section `vectors`, or `KONTOR_VECTORS__URL` and so on; `KONTOR_VECTORS_URL` is `vectors.url`, too.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorsSettings {
    /// The gRPC address of Qdrant, such as `http://host:6334`. Without it vectors are rows in Postgres, and searched in the
    /// process.
    pub url: Option<SecretUrl>,
    /// Sent to Qdrant with each request.
    pub api_key: Option<Secret>,
    /// A query that Qdrant has not answered by then is answered without it, in milliseconds. From 1 to 10,000.
    pub timeout_ms: u64,
}

impl Default for VectorsSettings {
    fn default() -> Self {
        VectorsSettings { url: None, api_key: None, timeout_ms: 250 }
    }
}

impl Check for VectorsSettings {
    fn check(&self) -> Result<(), Rule> {
        let is_http = |url: &SecretUrl| ["http://", "https://"].iter().any(|scheme| url.expose().starts_with(scheme));
        if self.url.as_ref().is_some_and(|url| !is_http(url)) {
            return Err(Rule::new("url", "must be such as http://host:6334"));
        }
        between("timeout_ms", self.timeout_ms, 1, 10_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_none_of_qdrant_is_refused() {
        let settings =
            |url: &str| VectorsSettings { url: Some(url.parse().expect("a URL")), ..VectorsSettings::default() };
        for url in ["http://127.0.0.1:6334", "https://vectors.example.com:6334"] {
            assert!(settings(url).check().is_ok(), "{url}");
        }
        for url in ["redis://127.0.0.1", "grpc://127.0.0.1:6334"] {
            assert!(settings(url).check().is_err(), "{url}");
        }
    }
}
