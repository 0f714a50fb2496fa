//! Pictures, films and documents of a product: where they are. Kontor keeps no files.

use crate::text::Text;
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;

/// One picture, film or document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Medium {
    pub kind: MediaKind,
    pub url: HttpsUrl,
    /// What it shows, for who cannot see it.
    pub alternative_text: Option<Text<500>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    Image,
    Video,
    Document,
}

/// An absolute https URL in the characters of RFC 3986, of at most 2,048 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("maxLength" = 2048, "pattern" = URL_PATTERN)))]
#[serde(transparent)]
pub struct HttpsUrl(#[cfg_attr(feature = "schema", schemars(with = "String"))] CompactString);

const URL_BYTES_MAX: usize = 2_048;
#[cfg(feature = "schema")]
const URL_PATTERN: &str = r"^https://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*)?$";

/// Why a text is no address of a medium.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("must have at most {URL_BYTES_MAX} bytes, has {length}")]
    Length { length: usize },
    #[error("must begin with https:// and a host")]
    NotHttps,
    #[error("must consist of characters that are allowed in a URL, has '{found}'")]
    Character { found: char },
}

impl HttpsUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HttpsUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::Length { length: text.len() });
        }
        let rest = text.strip_prefix("https://").ok_or(UrlError::NotHttps)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let is_port = |port: &str| matches!(port.len(), 1..=5) && port.bytes().all(|digit| digit.is_ascii_digit());
        let is_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        if !is_host || !port.is_none_or(is_port) {
            return Err(UrlError::NotHttps);
        }
        match path.chars().find(|&c| !c.is_ascii_alphanumeric() && !"._~:/?#[]@!$&'()*+,;=%-".contains(c)) {
            Some(found) => Err(UrlError::Character { found }),
            None => Ok(Self(text.into())),
        }
    }
}

impl<'de> Deserialize<'de> for HttpsUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CompactString::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_medium_is_reached_over_https_only() {
        for text in ["https://cdn.example", "https://cdn.example:8443/mug%20(1).jpg?w=640#top", "https://a?b"] {
            assert_eq!(text.parse::<HttpsUrl>().map(|url| url.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "http://cdn.example/a", "https://", "https:///a", "https://user@host/", "https://a:b/", "//a"]
        {
            assert_eq!(text.parse::<HttpsUrl>(), Err(UrlError::NotHttps), "{text}");
        }
        assert_eq!("https://a/b c".parse::<HttpsUrl>(), Err(UrlError::Character { found: ' ' }));
        assert_eq!("https://a/\"".parse::<HttpsUrl>(), Err(UrlError::Character { found: '"' }));
        let long = format!("https://a/{}", "x".repeat(URL_BYTES_MAX));
        assert_eq!(long.parse::<HttpsUrl>(), Err(UrlError::Length { length: long.len() }));
    }
}
