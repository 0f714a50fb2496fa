//! Personal data, and what may be known without it.
//!
//! Names, streets, e-mail addresses and telephone numbers are sealed before they reach the rules: encrypted with a key of
//! their subject's own. Erasing a subject is destroying that key; events and read models need not be touched.

use crate::SubjectId;
use crate::text::Text;
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// Something about a person that only the holder of the subject's key can read. The same words of the same subject are
/// sealed into the same text, so that a retry can be told from a change.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Personal {
    pub subject: SubjectId,
    /// base64 (RFC 4648, URL-safe, without padding) of a format version, the nonce and the AES-256-GCM ciphertext.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub sealed: CompactString,
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Personal({})", self.subject)
    }
}

/// Where goods or an invoice go. Tax and shipping depend on the country, so it is not sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Address {
    pub country: CountryCode,
    /// An [`Addressee`] as JSON.
    pub addressee: Personal,
}

/// Who lives where: what an address keeps sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Addressee {
    pub name: Text<200>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company: Option<Text<200>>,
    /// Street and number, or what stands for them.
    pub street: Text<200>,
    /// Flat, floor, care of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub street_2: Option<Text<200>>,
    pub town: Text<100>,
    /// `None` where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postcode: Option<Text<20>>,
    /// State, province or county.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Text<100>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<Text<40>>,
}

/// An e-mail address, as far as can be told without sending to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("format" = "email", "maxLength" = EmailAddress::LENGTH_MAX)))]
#[serde(transparent)]
pub struct EmailAddress(#[cfg_attr(feature = "schema", schemars(with = "String"))] CompactString);

impl EmailAddress {
    /// The most that SMTP can carry (RFC 5321, section 4.5.3.1.3).
    pub const LENGTH_MAX: usize = 254;

    /// Something, one `@`, and a domain; no blanks and nothing that would end a header or an envelope.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if text.len() > Self::LENGTH_MAX {
            return Err("must have at most 254 bytes");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | ',' | ';')) {
            return Err("must not contain blanks, control characters, '<', '>', ',' or ';'");
        }
        match text.split_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() && !domain.contains('@') => {
                Ok(Self(text.into()))
            }
            _ => Err("must be an e-mail address such as ada@example.com"),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for EmailAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&CompactString::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// An ISO 3166-1 alpha-2 country code, such as GB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[A-Z]{2}$")))]
pub struct CountryCode(#[cfg_attr(feature = "schema", schemars(with = "String"))] [u8; 2]);

impl CountryCode {
    /// `None` for what is not two capital letters. Whether anything goes there is for shipping and tax rules to say.
    pub fn from_code(code: &str) -> Option<Self> {
        let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("two letters")
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for CountryCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for CountryCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = CompactString::deserialize(deserializer)?;
        Self::from_code(&code).ok_or_else(|| {
            serde::de::Error::custom(format_args!("must be an ISO 3166-1 alpha-2 code such as GB, is '{code}'"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_has_one_at_sign_and_nothing_that_ends_a_header() {
        assert!(EmailAddress::new("ada@example.com").is_ok());
        for wrong in ["", "ada", "@example.com", "ada@", "a@b@c", "ada@example.com\r\nBcc: x@y", "a b@c", "<a@b>"] {
            assert!(EmailAddress::new(wrong).is_err(), "{wrong:?}");
        }
        assert!(EmailAddress::new(&format!("{}@example.com", "a".repeat(250))).is_err());
    }
}
