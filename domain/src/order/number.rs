//! The order number for people: short, not to be misread, and checked before anything is looked up.

use crate::OrderId;
use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// What an order is called on the telephone and in the post, such as `AZF9-R9XZ-8KZK`.
///
/// Eleven digits and a check digit of Crockford's base 32 (<https://www.crockford.com/base32.html>): no I, L, O or U,
/// which are taken for 1, 0 or V. The digits are the first 55 bits of a hash of the order's id, so they tell nobody how
/// many orders there are; among a million orders, the odds that any two share a number are 1 in 70,000. The check digit
/// makes the number a Reed-Solomon code word over GF(32): one wrong digit and any two digits swapped are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}$")))]
pub struct OrderNumber(#[cfg_attr(feature = "schema", schemars(with = "String"))] u64);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DIGITS: usize = 12;
/// Names, within UUID version 5, what order numbers are hashes of.
const NAMESPACE: Uuid = Uuid::from_u128(0x3f0d_7b0e_6c1a_4b52_9a7e_0d51_c8a4_e2f6);

/// Why an order number was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderNumberError {
    #[error("must have {DIGITS} digits, has {length}")]
    Length { length: usize },
    #[error("must consist of digits and letters without I, L, O and U, has '{found}'")]
    Character { found: char },
    #[error("is mistyped: its digits do not agree with each other")]
    CheckDigit,
}

impl OrderNumber {
    /// The number of the order with this id: always the same.
    pub fn of(order_id: OrderId) -> Self {
        let hash = Uuid::new_v5(&NAMESPACE, order_id.0.as_bytes()).as_u128();
        // The first 48 bits, then 7 more from behind the version of the UUID.
        let digits = (hash >> 80) << 7 | (hash >> 69) & 0x7f;
        Self(digits as u64)
    }

    /// The eleven digits and the check digit, each 0 to 31.
    fn digits(self) -> [u8; DIGITS] {
        let mut digits = [0; DIGITS];
        for (place, digit) in digits[..DIGITS - 1].iter_mut().rev().enumerate() {
            *digit = (self.0 >> (5 * place) & 31) as u8;
        }
        digits[DIGITS - 1] = times_alpha(remainder(&digits[..DIGITS - 1]));
        digits
    }
}

/// The digits as a polynomial over GF(32), at alpha. 0 for a whole number with its check digit.
fn remainder(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |sum, digit| times_alpha(sum) ^ digit)
}

/// Multiplies by the generator of GF(32) = GF(2)[x] / (x^5 + x^2 + 1).
fn times_alpha(element: u8) -> u8 {
    let doubled = element << 1;
    if doubled & 0b10_0000 == 0 { doubled } else { doubled ^ 0b10_0101 }
}

/// The value of a digit as people write it.
fn digit(found: char) -> Result<u8, OrderNumberError> {
    let meant = match found.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let value = ALPHABET.iter().position(|&digit| char::from(digit) == meant);
    value.map(|value| value as u8).ok_or(OrderNumberError::Character { found })
}

impl FromStr for OrderNumber {
    type Err = OrderNumberError;

    /// Reads it in either case, with or without blanks and hyphens, and O, I and L as what they were taken for.
    fn from_str(text: &str) -> Result<Self, OrderNumberError> {
        let written = || text.chars().filter(|c| !matches!(c, ' ' | '-'));
        let length = written().count();
        if length != DIGITS {
            return Err(OrderNumberError::Length { length });
        }
        let mut digits = [0; DIGITS];
        for (place, found) in digits.iter_mut().zip(written()) {
            *place = digit(found)?;
        }
        if remainder(&digits) != 0 {
            return Err(OrderNumberError::CheckDigit);
        }
        Ok(Self(digits[..DIGITS - 1].iter().fold(0, |number, digit| number << 5 | u64::from(*digit))))
    }
}

impl fmt::Display for OrderNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, digit) in self.digits().into_iter().enumerate() {
            if matches!(place, 4 | 8) {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(ALPHABET[usize::from(digit)]))?;
        }
        Ok(())
    }
}

impl Serialize for OrderNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OrderNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CompactString::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> OrderNumber {
        OrderNumber::of("01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an order id"))
    }

    /// Golden: numbers have been printed and mailed, so an order keeps the one it has.
    #[test]
    fn an_order_keeps_its_number() {
        assert_eq!(number().to_string(), "AZF9-R9XZ-8KZK");
    }

    #[test]
    fn people_may_write_it_their_way() {
        let written = number().to_string();
        assert_eq!(written.parse(), Ok(number()));
        assert_eq!(written.to_lowercase().replace('-', " ").parse(), Ok(number()));
        assert_eq!(written.replace('-', "").replace('0', "o").replace('1', "l").parse(), Ok(number()));
    }

    #[test]
    fn a_number_that_cannot_be_is_refused_with_the_reason() {
        assert_eq!("7K3M".parse::<OrderNumber>(), Err(OrderNumberError::Length { length: 4 }));
        assert_eq!("7K3M-Q9TX-2B4U".parse::<OrderNumber>(), Err(OrderNumberError::Character { found: 'U' }));
    }

    proptest! {
        #[test]
        fn each_order_has_a_number_that_reads_back(id in any::<u128>()) {
            let number = OrderNumber::of(OrderId(Uuid::from_u128(id)));
            prop_assert_eq!(number.to_string().parse(), Ok(number));
        }

        #[test]
        fn every_wrong_digit_and_every_swap_is_noticed(id in any::<u128>()) {
            let digits = OrderNumber::of(OrderId(Uuid::from_u128(id))).digits();
            let read = |digits: [u8; DIGITS]| {
                let text: String = digits.iter().map(|digit| char::from(ALPHABET[usize::from(*digit)])).collect();
                text.parse::<OrderNumber>()
            };
            for place in 0..DIGITS {
                for wrong in (0..32).filter(|wrong| *wrong != digits[place]) {
                    let mut mistyped = digits;
                    mistyped[place] = wrong;
                    prop_assert_eq!(read(mistyped), Err(OrderNumberError::CheckDigit));
                }
                for other in (0..place).filter(|other| digits[*other] != digits[place]) {
                    let mut mistyped = digits;
                    mistyped.swap(place, other);
                    prop_assert_eq!(read(mistyped), Err(OrderNumberError::CheckDigit));
                }
            }
        }
    }
}
