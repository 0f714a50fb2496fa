use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};
use url::Url;

/// What is shown in place of a secret.
pub(crate) const MASK: &str = "***";
/// The name by which the loader recognises a value that it must not repeat in an error.
pub(crate) const SECRET_TYPE: &str = "kontor_settings::Secret";

/// A text that no log line, error or dump of the settings shows.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Self {
        Secret(secret.into())
    }

    /// The secret itself. Only for handing it to whom it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secret(deserializer, |text| Ok(Secret(text)))
    }
}

/// A URL that may hold a password, such as `postgres://kontor_command:...@db/kontor`. Shown with the password, and any
/// parameter that is named like one, as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl {
    exposed: String,
    shown: String,
}

/// The text is no URL with a scheme and a host. Does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a URL such as scheme://user:password@host:port/name")]
pub struct InvalidUrl;

impl SecretUrl {
    /// The URL with its password. Only for connecting.
    pub fn expose(&self) -> &str {
        &self.exposed
    }
}

impl FromStr for SecretUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let url = Url::parse(text).map_err(|_| InvalidUrl)?;
        if !url.has_host() {
            return Err(InvalidUrl);
        }
        Ok(SecretUrl { exposed: text.to_owned(), shown: masked(url) })
    }
}

fn masked(mut url: Url) -> String {
    if url.password().is_some() {
        url.set_password(Some(MASK)).expect("a URL with a password can have another");
    }
    if url.query().is_some() {
        let parameters: Vec<String> = url
            .query_pairs()
            .map(|(name, value)| format!("{name}={}", if is_secret(&name) { MASK } else { &value }))
            .collect();
        url.set_query(Some(&parameters.join("&")));
    }
    url.into()
}

fn is_secret(parameter: &str) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    ["password", "secret", "token", "key"].iter().any(|word| parameter.contains(word))
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secret(deserializer, |text| text.parse())
    }
}

/// Reads a text under the name that tells the loader to keep it to itself.
fn secret<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: fn(String) -> Result<T, InvalidUrl>,
) -> Result<T, D::Error> {
    struct Secretive<T>(fn(String) -> Result<T, InvalidUrl>);
    impl<'de, T> Visitor<'de> for Secretive<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text")
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
            (self.0)(String::deserialize(deserializer)?).map_err(D::Error::custom)
        }
    }
    deserializer.deserialize_newtype_struct(SECRET_TYPE, Secretive(parse))
}
