//! One product as a search store holds it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that a product is found, filtered, counted and sorted by, and what is given back of it. It is written whole: whoever
/// changes a part of it reads it before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The code of the product, by which it is told from others: a document replaces the one of the same product.
    pub product: String,
    /// Whether customers may find it. What is not, such as a draft, is found by whoever asks for all.
    pub is_public: bool,
    /// Empty: there is nothing to be found by yet, as for stock of what has not been registered.
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Those that it is in and all above them, each once.
    #[serde(default)]
    pub categories: Vec<Category>,
    /// Values by the name of the attribute; long prose is left out by whoever writes it.
    #[serde(default)]
    pub attributes: BTreeMap<String, Vec<String>>,
    /// What it is sold under: its own code, and those of its variants.
    #[serde(default)]
    pub skus: Vec<String>,
    /// Minor units by ISO 4217 code: the lowest that any of its SKUs costs.
    #[serde(default)]
    pub prices: BTreeMap<String, i64>,
    /// Units that no order holds, of all its SKUs together.
    #[serde(default)]
    pub available: i64,
    /// Units sold, less what is long ago if the writer has them fade. What matches equally well is ranked by it.
    #[serde(default)]
    pub sold: f64,
    /// Position of the event that put it on sale: the higher, the newer.
    #[serde(default)]
    pub listed: i64,
    /// Position of the last event folded in.
    pub position: i64,
    /// What is given back with a hit, as it is. Nobody searches it.
    #[serde(default)]
    pub card: String,
    /// What the writer keeps for itself, to fold the next event into. Nobody else reads it.
    #[serde(default)]
    pub source: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Category {
    pub id: String,
    pub name: String,
}
