//! Text from outside, checked once at the door: bounded, without control characters, without blanks around it.

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// 1 to `MAX` characters, no control characters, no blank at either end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline, extend("minLength" = 1, "maxLength" = MAX, "pattern" = PATTERN)))]
#[serde(transparent)]
pub struct Text<const MAX: usize>(#[cfg_attr(feature = "schema", schemars(with = "String"))] CompactString);

/// For JSON Schema: the characters that `char::is_control` and, at both ends, `str::trim` know. Without `\s` and
/// `\p`, of which every language means something else.
#[cfg(feature = "schema")]
const PATTERN: &str = concat!(
    r"^[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]",
    r"([^\u0000-\u001f\u007f-\u009f]*",
    r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000])?$",
);

/// A product's name for people.
pub type Name = Text<200>;
/// Longer text about a product.
pub type Description = Text<10_000>;
/// Why something was done, in the words of who did it.
pub type Reason = Text<500>;
/// The business's own number or note for a document: an invoice number, a delivery note.
pub type Reference = Text<64>;
/// A country in the shop's own words.
pub type Country = Text<64>;

/// A payment provider's token for a card or an account, worthless without the shop's key. Never a card number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
#[serde(transparent)]
pub struct PaymentMethod(Text<255>);

/// Why a text was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("must have 1 to {max} characters, has {length}")]
    Length { max: usize, length: usize },
    #[error("must not contain control characters")]
    Control,
    #[error("must not begin or end with a blank")]
    Blank,
    /// Does not repeat it: it must not be stored, and an error may be.
    #[error("must be a token of the payment provider, and looks like a card number")]
    CardNumber,
}

impl PaymentMethod {
    /// Checks that `text` is no card number, whatever its digits are set apart with.
    pub fn new(text: &str) -> Result<Self, TextError> {
        if is_card_number(text) { Err(TextError::CardNumber) } else { Text::new(text).map(Self) }
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// 12 to 19 digits of which the last fits the others (ISO/IEC 7812-1, annex B: the Luhn algorithm).
fn is_card_number(text: &str) -> bool {
    let digits: Option<Vec<u32>> =
        text.chars().filter(|c| !matches!(c, ' ' | '-' | '.')).map(|c| c.to_digit(10)).collect();
    digits.is_some_and(|digits| {
        let sum: u32 = digits
            .iter()
            .rev()
            .zip([1, 2].into_iter().cycle())
            .map(|(digit, weight)| digit * weight)
            .map(|product| product / 10 + product % 10)
            .sum();
        (12..=19).contains(&digits.len()) && sum.is_multiple_of(10)
    })
}

impl fmt::Display for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for PaymentMethod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

impl<const MAX: usize> Text<MAX> {
    /// Checks `text` against the rule of the type.
    pub fn new(text: &str) -> Result<Self, TextError> {
        let length = text.chars().count();
        if length == 0 || length > MAX {
            return Err(TextError::Length { max: MAX, length });
        }
        if text.chars().any(char::is_control) {
            return Err(TextError::Control);
        }
        if text.trim() != text {
            return Err(TextError::Blank);
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_refused_with_the_rule_it_breaks() {
        assert_eq!(Text::<3>::new(""), Err(TextError::Length { max: 3, length: 0 }));
        assert_eq!(Text::<3>::new("four"), Err(TextError::Length { max: 3, length: 4 }));
        assert_eq!(Text::<3>::new("a\nb"), Err(TextError::Control));
        assert_eq!(Text::<3>::new("ab "), Err(TextError::Blank));
    }

    #[test]
    fn a_payment_method_is_no_card_number() {
        for number in ["4242424242424242", "4242 4242 4242 4242", "3782-822463-10005", "630490017740292441"] {
            assert_eq!(PaymentMethod::new(number), Err(TextError::CardNumber), "{number}");
        }
        for token in ["pm_4242424242424242", "tok_success", "4242424242424241", "42424242"] {
            assert_eq!(PaymentMethod::new(token).map(|method| method.to_string()), Ok(token.to_owned()));
        }
        let error = serde_json::from_str::<PaymentMethod>("\"4242424242424242\"").expect_err("a card number");
        assert!(!error.to_string().contains("4242"), "{error}");
    }

    #[test]
    fn length_counts_characters_not_bytes() {
        assert_eq!(Text::<3>::new("äöü").map(|text| text.to_string()), Ok("äöü".to_owned()));
    }

    #[test]
    fn text_from_json_is_checked_too() {
        let error = serde_json::from_str::<Text<3>>("\"four\"").expect_err("four characters are too many");
        assert!(error.to_string().starts_with("must have 1 to 3 characters, has 4"), "{error}");
    }
}
