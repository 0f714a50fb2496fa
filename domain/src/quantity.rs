//! Units of a product. Arithmetic is checked; there are no negative units.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A number of units, 0 to 1,000,000,000,000: small enough to be exact in any JSON reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("maximum" = Self::MAX.0)))]
#[serde(transparent)]
pub struct Quantity(u64);

impl Quantity {
    pub const ZERO: Quantity = Quantity(0);
    pub const MAX: Quantity = Quantity(1_000_000_000_000);

    /// `None` above [`Quantity::MAX`].
    pub fn new(units: u64) -> Option<Self> {
        (units <= Self::MAX.0).then_some(Self(units))
    }

    pub fn units(self) -> u64 {
        self.0
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `None` above [`Quantity::MAX`].
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Self::new(self.0 + other.0)
    }

    /// `None` below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = u64::deserialize(deserializer)?;
        Self::new(units)
            .ok_or_else(|| serde::de::Error::custom(format_args!("must be at most {} units, is {units}", Self::MAX)))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_never_negative_nor_beyond_the_largest() {
        assert_eq!(Quantity::ZERO.checked_sub(Quantity(1)), None);
        assert_eq!(Quantity::MAX.checked_add(Quantity(1)), None);
        assert!(serde_json::from_str::<Quantity>("-1").is_err());
        assert!(serde_json::from_str::<Quantity>("1.5").is_err());
        assert!(serde_json::from_str::<Quantity>("1000000000001").is_err());
    }
}
