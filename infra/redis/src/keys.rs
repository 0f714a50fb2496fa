//! Names of keys. Redis is one server or its failover: keys of a generation are not all in one slot of a cluster.

/// Of all our keys.
pub const PREFIX: &str = "kontor:";

/// The projection of product cards.
pub const PRODUCT_CARDS: &str = "product-cards";

/// Under the prefix of a generation: the [`Card`](crate::Card) of a SKU.
pub const CARD: &str = "card:";
/// Under it: the [`Availability`](crate::Availability) of a SKU.
pub const STOCK: &str = "stock:";
/// Under it: the code of the product whose page has this address.
pub const SLUG: &str = "slug:";
/// Under it: how far the generation is, and who writes it.
pub const CHECKPOINT: &str = "checkpoint";

/// Begins every key of a generation such as `product_cards_3`: `kontor:product_cards_3:`.
pub fn prefix(generation: impl std::fmt::Display) -> String {
    format!("{PREFIX}{generation}:")
}

/// The key whose value is the prefix of the generation that queries see. While it is not there, they ask Postgres.
pub fn live(projection: &str) -> String {
    format!("{PREFIX}live:{projection}")
}

/// Begins the keys of answers from Postgres that stand in for what Redis lacks.
pub fn meanwhile(projection: &str) -> String {
    format!("{PREFIX}meanwhile:{projection}:")
}
