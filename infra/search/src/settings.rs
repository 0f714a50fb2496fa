//! What an operator can set, and the store that follows from it.

use crate::embedded::Embedded;
use crate::engine::{Engine, SearchError};
use crate::typesense::Typesense;
use kontor_settings::{Check, Rule, Secret, SecretUrl, between};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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

impl SearchSettings {
    /// The store that is configured. It need not be there yet, if it is a Typesense. `None`: none is configured.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn engine(&self) -> Result<Option<Arc<dyn Engine>>, SearchError> {
        let timeout = Duration::from_millis(self.timeout_ms);
        Ok(match (&self.url, &self.folder) {
            (Some(url), _) => Some(Arc::new(Typesense::of(url.expose(), self.api_key.expose(), timeout)?)),
            (None, Some(folder)) => Some(Arc::new(Embedded::open(folder)?)),
            (None, None) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_needs_a_key_and_must_be_one_of_http() {
        let settings = |url: &str, key: &str| SearchSettings {
            url: Some(url.parse().expect("a URL")),
            api_key: Secret::new(key),
            ..SearchSettings::default()
        };
        assert!(settings("http://127.0.0.1:8108", "key").check().is_ok());
        for (url, key) in [("http://127.0.0.1:8108", ""), ("redis://127.0.0.1", "key")] {
            assert!(settings(url, key).check().is_err(), "{url}");
        }
        assert!(SearchSettings { timeout_ms: 0, ..SearchSettings::default() }.check().is_err());
    }

    #[test]
    fn a_url_comes_before_a_folder_and_without_both_there_is_no_store() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let none = SearchSettings::default();
        let embedded = SearchSettings { folder: Some(folder.path().into()), ..none.clone() };
        let url = Some("http://127.0.0.1:8108".parse().expect("a URL"));
        let typesense = SearchSettings { url, api_key: Secret::new("key"), ..embedded.clone() };
        let kind = |settings: &SearchSettings| settings.engine().expect("a store").map(|engine| engine.kind());
        assert_eq!([&none, &embedded, &typesense].map(kind), [None, Some("tantivy"), Some("typesense")]);
    }
}
