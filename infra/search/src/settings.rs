//! What an operator can set, and the store that follows from it.

use kontor_settings::{Check, Rule, Secret, SecretUrl, between};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where products are searched: section `search`, or `KONTOR_SEARCH__FOLDER` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchSettings {
    /// A Typesense of version 30 or newer, such as `http://host:8108`; also `KONTOR_SEARCH_URL`. Without it, an index in `folder`
    /// is searched.
    pub url: Option<SecretUrl>,
    /// What the Typesense knows us by. It must be allowed to manage collections, aliases and synonyms.
    pub api_key: Secret,
    /// Where the index is when there is no `url`: the projector writes it, the query API reads it, on one machine. `None`: there
    /// is none, so products are not searched.
    pub folder: Option<PathBuf>,
    /// A search that is not answered by then has failed, in milliseconds. From 1 to 60,000.
    pub timeout_ms: u64,
}

impl Default for SearchSettings {
    fn default() -> Self {
        SearchSettings { url: None, api_key: Secret::default(), folder: None, timeout_ms: 1_000 }
    }
}

impl Check for SearchSettings {
    fn check(&self) -> Result<(), Rule> {
        let is_http = |url: &SecretUrl| url.expose().starts_with("http://") || url.expose().starts_with("https://");
        if self.url.as_ref().is_some_and(|url| !is_http(url)) {
            return Err(Rule::new("url", "must be such as http://host:8108"));
        }
        if self.url.is_some() && self.api_key.expose().is_empty() {
            return Err(Rule::new("api_key", "must be set when url is"));
        }
        between("timeout_ms", self.timeout_ms, 1, 60_000)
    }
}
