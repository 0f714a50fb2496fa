//! Personal data, and what may be known without it.
//!
//! Names, streets, e-mail addresses and telephone numbers are sealed before they reach the rules: encrypted with a key of
//! their subject's own. Erasing a subject is destroying that key; events and read models need not be touched.

use crate::SubjectId;
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
    /// Name, street, town, postcode and telephone.
    pub addressee: Personal,
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
