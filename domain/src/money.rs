//! Money: whole minor units of one currency. No floats; arithmetic is checked.

use crate::Quantity;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// An ISO 4217 currency, such as GBP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[A-Z]{3}$")))]
pub struct Currency(#[cfg_attr(feature = "schema", schemars(with = "String"))] [u8; 3]);

impl Currency {
    pub const GBP: Currency = Currency(*b"GBP");

    /// `None` when ISO 4217 has no such code (three capital letters).
    pub fn from_code(code: &str) -> Option<Self> {
        iso_currency::Currency::from_code(code)?;
        code.as_bytes().try_into().ok().map(Self)
    }

    /// How many decimal digits its minor unit stands for (ISO 4217): 2 for GBP, 0 for JPY.
    pub fn digits(&self) -> u32 {
        iso_currency::Currency::from_code(self.code()).and_then(|currency| currency.exponent()).map_or(0, u32::from)
    }

    /// The three letters.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ISO 4217 codes, which are ASCII, are let in")
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = compact_str::CompactString::deserialize(deserializer)?;
        Self::from_code(&code)
            .ok_or_else(|| serde::de::Error::custom(format_args!("must be an ISO 4217 code such as GBP, is '{code}'")))
    }
}

/// An amount in minor units (pence, cents) of its currency; may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Money {
    pub amount_minor: i64,
    pub currency: Currency,
}

impl Money {
    pub fn new(amount_minor: i64, currency: Currency) -> Self {
        Self { amount_minor, currency }
    }

    pub fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// `None` when the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        Some(Self::new(self.amount_minor.checked_add(other.amount_minor)?, self.currency))
    }

    /// `None` when the currencies differ or the difference does not fit.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        Some(Self::new(self.amount_minor.checked_sub(other.amount_minor)?, self.currency))
    }

    /// `None` when the product does not fit.
    pub fn checked_mul(self, quantity: Quantity) -> Option<Self> {
        let units = i64::try_from(quantity.units()).ok()?;
        Some(Self::new(self.amount_minor.checked_mul(units)?, self.currency))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.currency.digits();
        let scale = 10_u64.pow(digits);
        let sign = if self.amount_minor < 0 { "-" } else { "" };
        let amount = self.amount_minor.unsigned_abs();
        write!(f, "{sign}{}", amount / scale)?;
        if digits > 0 {
            write!(f, ".{:0width$}", amount % scale, width = digits as usize)?;
        }
        write!(f, " {}", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_with_the_digits_of_their_currency() {
        let yen = Currency::from_code("JPY").expect("JPY is in ISO 4217");
        assert_eq!(Money::new(1_207, Currency::GBP).to_string(), "12.07 GBP");
        assert_eq!(Money::new(-5, Currency::GBP).to_string(), "-0.05 GBP");
        assert_eq!(Money::new(1_207, yen).to_string(), "1207 JPY");
    }

    #[test]
    fn currencies_do_not_mix_and_sums_do_not_wrap() {
        let euro = Currency::from_code("EUR").expect("EUR is in ISO 4217");
        assert_eq!(Money::zero(Currency::GBP).checked_add(Money::zero(euro)), None);
        assert_eq!(Money::new(i64::MAX, euro).checked_add(Money::new(1, euro)), None);
        assert_eq!(Money::zero(Currency::GBP).checked_sub(Money::zero(euro)), None);
        assert_eq!(Money::new(i64::MIN, euro).checked_sub(Money::new(1, euro)), None);
        assert_eq!(Money::new(i64::MAX, euro).checked_mul(Quantity::new(2).expect("2 is small")), None);
    }

    #[test]
    fn an_unknown_currency_is_refused() {
        let error = serde_json::from_str::<Money>(r#"{"amount_minor":1,"currency":"gbp"}"#).expect_err("lower case");
        assert!(error.to_string().contains("ISO 4217"), "{error}");
    }
}
