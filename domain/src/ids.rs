//! Names of things: the business's own where it has them, UUIDs elsewhere.

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Why an id was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("must have 1 to 64 characters, has {length}")]
    Length { length: usize },
    #[error("must consist of letters, digits, '.', '_' and '-', has '{found}'")]
    Character { found: char },
    #[error("must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")]
    Uuid,
    #[error("must consist of a-z, 0-9 and '-', has '{found}'")]
    SlugCharacter { found: char },
    #[error("must not begin or end with '-'")]
    SlugEdge,
}

/// An id that the business gives: it appears in paths, so only characters that need no escaping there.
macro_rules! business_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[A-Za-z0-9._-]{1,64}$")))]
        #[serde(transparent)]
        pub struct $name(#[cfg_attr(feature = "schema", schemars(with = "String"))] CompactString);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.is_empty() || text.len() > 64 {
                    return Err(IdError::Length { length: text.chars().count() });
                }
                match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-')) {
                    Some(found) => Err(IdError::Character { found }),
                    None => Ok(Self(text.into())),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                CompactString::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// An id that we give: a UUID, version 7 where we make it, so that neighbours in time are neighbours on disk.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[cfg_attr(feature = "schema", schemars(extend("format" = "uuid", "pattern" = UUID_PATTERN)))]
        #[serde(transparent)]
        pub struct $name(#[cfg_attr(feature = "schema", schemars(with = "String"))] pub Uuid);

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                // Only the hyphenated form: two spellings of one id would be two streams.
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err(IdError::Uuid),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                CompactString::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

// Lower case: either is read, one is written.
#[cfg(feature = "schema")]
const UUID_PATTERN: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";

business_id! {
    /// A stock keeping unit: names a product and its stock.
    Sku
}
business_id! {
    /// A customer, under the shop's own number.
    CustomerId
}
business_id! {
    /// Whose personal data it is: a customer, or a guest for the time of one purchase.
    SubjectId
}
business_id! {
    /// A place where stock is kept.
    LocationId
}
business_id! {
    /// A way of shipping, such as `standard`.
    ShippingMethodId
}
business_id! {
    /// What a product is for the tax office, such as `standard` or `books`.
    TaxClass
}

business_id! {
    /// A category of products.
    CategoryId
}
business_id! {
    /// A tree of categories.
    CategoryTreeId
}
business_id! {
    /// In what the variants of a product differ, such as `size`.
    OptionName
}
business_id! {
    /// What is said of a product, such as `material`.
    AttributeName
}

impl CategoryTreeId {
    /// The one tree that there is.
    pub const MAIN: CategoryTreeId = CategoryTreeId(CompactString::const_new("main"));
}

impl TaxClass {
    /// Of what nobody has said otherwise.
    pub const STANDARD: TaxClass = TaxClass(CompactString::const_new("standard"));
}

impl Default for TaxClass {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// What names a page in its address, such as `enamel-mug`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("maxLength" = 64, "pattern" = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")))]
#[serde(transparent)]
pub struct Slug(#[cfg_attr(feature = "schema", schemars(with = "String"))] CompactString);

impl Slug {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Slug {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > 64 {
            return Err(IdError::Length { length: text.chars().count() });
        }
        if let Some(found) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(IdError::SlugCharacter { found });
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(IdError::SlugEdge);
        }
        Ok(Self(text.into()))
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        CompactString::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LocationId {
    /// Where stock is kept when nobody names a place, and where all of it was before there were several.
    pub const MAIN: LocationId = LocationId(CompactString::const_new("main"));

    pub fn is_main(&self) -> bool {
        *self == Self::MAIN
    }
}

impl Default for LocationId {
    fn default() -> Self {
        Self::MAIN
    }
}

uuid_id! {
    /// An order.
    OrderId
}
uuid_id! {
    /// A cart. The order that it becomes has the same UUID.
    CartId
}
uuid_id! {
    /// A payment: one order's money at one provider.
    PaymentId
}
uuid_id! {
    /// One request to a payment provider, and the key under which the provider does it once.
    AttemptId
}
uuid_id! {
    /// Goods of an order on their way out, together.
    ShipmentId
}
uuid_id! {
    /// Goods on their way back.
    ReturnId
}
uuid_id! {
    /// A cancellation that was booked by itself, without naming the order it takes back.
    CancellationId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sku_needs_no_escaping_in_a_path() {
        assert_eq!("85123A".parse::<Sku>().map(|sku| sku.to_string()), Ok("85123A".to_owned()));
        assert_eq!("".parse::<Sku>(), Err(IdError::Length { length: 0 }));
        assert_eq!("a/b".parse::<Sku>(), Err(IdError::Character { found: '/' }));
        assert_eq!("x".repeat(65).parse::<Sku>(), Err(IdError::Length { length: 65 }));
    }

    #[test]
    fn a_slug_is_lower_case() {
        assert_eq!("enamel-mug-2".parse::<Slug>().map(|slug| slug.to_string()), Ok("enamel-mug-2".to_owned()));
        assert_eq!("".parse::<Slug>(), Err(IdError::Length { length: 0 }));
        assert_eq!("Mug".parse::<Slug>(), Err(IdError::SlugCharacter { found: 'M' }));
        assert_eq!("mug-".parse::<Slug>(), Err(IdError::SlugEdge));
    }

    #[test]
    fn one_order_has_one_spelling() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(id.parse::<OrderId>().map(|id| id.to_string()), Ok(id.to_owned()));
        assert_eq!(id.to_uppercase().parse::<OrderId>().map(|id| id.to_string()), Ok(id.to_owned()));
        assert_eq!(id.replace('-', "").parse::<OrderId>(), Err(IdError::Uuid));
    }
}
