//! What is said of a product, apart from its words: named values, each with a type.

use crate::AttributeName;
use crate::text::Text;
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A product's attributes by their names.
pub type Attributes = BTreeMap<AttributeName, AttributeValue>;

/// One value, with its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AttributeValue {
    Text(Text<1000>),
    Integer(i64),
    Decimal(Decimal),
    Flag(bool),
}

impl fmt::Display for AttributeValue {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttributeValue::Text(text) => f.write_str(text.as_str()),
            AttributeValue::Integer(number) => number.fmt(f),
            AttributeValue::Decimal(number) => number.fmt(f),
            AttributeValue::Flag(flag) => flag.fmt(f),
        }
    }
}

/// A decimal number as text, such as `-12.50`: up to 18 digits before and after the point, and no float in between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = r"^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$")))]
#[serde(transparent)]
pub struct Decimal(#[cfg_attr(feature = "schema", schemars(with = "String"))] CompactString);

/// Why a text is no decimal number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a decimal number such as 12.50, with up to 18 digits before and after the point, is '{0}'")]
pub struct DecimalError(pub String);

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
        let are_digits =
            |digits: &str| matches!(digits.len(), 1..=18) && digits.bytes().all(|digit| digit.is_ascii_digit());
        let has_no_leading_zero = whole == "0" || !whole.starts_with('0');
        match are_digits(whole) && has_no_leading_zero && fraction.is_none_or(are_digits) {
            true => Ok(Self(text.into())),
            false => Err(DecimalError(text.chars().take(64).collect())),
        }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CompactString::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_number_is_kept_as_it_is_written() {
        for text in ["0", "-0.50", "12.50", "999999999999999999.000000000000000001"] {
            assert_eq!(text.parse::<Decimal>().map(|number| number.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "-", ".5", "1.", "01", "1e3", "+1", "1,5", "1.2.3", "1000000000000000000"] {
            assert_eq!(text.parse::<Decimal>(), Err(DecimalError(text.to_owned())));
        }
    }

    #[test]
    fn a_value_says_its_type() {
        let values = r#"[{"text":"Enamel"},{"integer":-3},{"decimal":"12.50"},{"flag":true}]"#;
        let read: Vec<AttributeValue> = serde_json::from_str(values).expect("values of each type");
        assert_eq!(serde_json::to_string(&read).expect("they have a JSON form"), values);
        for value in [r#"{"integer":1.5}"#, r#"{"decimal":12.5}"#, r#"{"flag":"yes"}"#, r#"{"text":""}"#, "true"] {
            assert!(serde_json::from_str::<AttributeValue>(value).is_err(), "{value}");
        }
    }
}
