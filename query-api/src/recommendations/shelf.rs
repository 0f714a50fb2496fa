//! What is recommended, and the cards that it is shown with.

use crate::cache::Kind;
use crate::consistency::MinPosition;
use crate::problem::Problem;
use crate::product_cards::{ProductCard, Sources};
use chrono::{DateTime, Utc};
use kontor_domain::Sku;
use kontor_projection_services::models::ModelVersion;
use kontor_recommend::{History, Product};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use utoipa::ToSchema;

/// Products that may be wanted, the best first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recommendations<'a> {
    /// The position of the log up to which cards and history are true.
    position: i64,
    /// What it was ranked by; `null`: nothing was learnt yet.
    model: Option<ModelInfo>,
    /// Whether something was missing that it takes: the model, or the vector store. It will be back.
    degraded: bool,
    items: Vec<Item<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct ModelInfo {
    version: i64,
    /// Business time up to which it has learnt.
    trained_at: DateTime<Utc>,
}

/// A product that may be wanted. Only products on sale that can be had are recommended.
#[derive(Debug, Serialize, ToSchema)]
pub struct Item<'a> {
    #[schema(value_type = ProductCard)]
    product: &'a RawValue,
    reason: Reason,
    /// SKUs of products that it follows from.
    because: &'a [String],
    /// Falls along the list; to be compared within it only.
    score: f32,
    /// Of what was bought before.
    #[serde(skip_serializing_if = "Option::is_none")]
    bought: Option<Bought>,
}

/// Why it is recommended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    Similar,
    BoughtTogether,
    ForYou,
    BoughtBefore,
    Trending,
}

/// How it was bought before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bought {
    /// In how many orders.
    times: usize,
    /// Business time.
    last_at: DateTime<Utc>,
}

impl Bought {
    /// `None`: it was never bought, or all of it was taken back.
    pub fn of(sku: &Sku, history: &History) -> Option<Self> {
        let kept = history.bought().iter().filter(|bought| bought.sku == *sku && bought.units > 0);
        let times = kept.clone().count();
        Some(Bought { times, last_at: kept.map(|bought| bought.at).max()? })
    }
}

/// A product before it is looked up whether it may be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    pub sku: String,
    pub score: f32,
    pub reason: Reason,
    pub because: Vec<String>,
    pub bought: Option<Bought>,
}

/// Suggestions, the best first.
#[derive(Debug)]
pub struct Shelf {
    model: Option<ModelInfo>,
    pub degraded: bool,
    items: Vec<Suggestion>,
}

/// Of a card, what it is chosen by.
#[derive(Debug, Deserialize)]
pub struct Shown<'a> {
    #[serde(borrow)]
    product: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    prices: Vec<ShownPrice<'a>>,
    categories: Vec<String>,
    available: i64,
}

#[derive(Debug, Deserialize)]
struct ShownPrice<'a> {
    #[serde(borrow)]
    currency: Cow<'a, str>,
}

impl<'a> Shown<'a> {
    /// `None`: it is no card of this release.
    pub fn of(card: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(card).ok()
    }

    /// The product that it is, or is a variant of.
    pub fn product(self) -> Option<Product> {
        Some(Product { sku: self.product.parse().ok()?, name: self.name.into_owned(), categories: self.categories })
    }

    fn can_be_had(&self, currency: Option<&str>) -> bool {
        let is_priced = |code: &str| self.prices.iter().any(|price| price.currency == code);
        self.available > 0 && currency.is_none_or(is_priced)
    }
}

impl Shelf {
    pub fn of(version: &ModelVersion, items: Vec<Suggestion>) -> Self {
        let ModelVersion { version, trained_at, .. } = *version;
        Shelf { model: Some(ModelInfo { version, trained_at }), degraded: false, items }
    }

    /// The same, found without the vector store.
    pub fn without_vectors(self) -> Self {
        Shelf { degraded: true, ..self }
    }

    /// Nothing was learnt yet.
    pub fn without_model() -> Self {
        Shelf { model: None, degraded: true, items: Vec::new() }
    }

    /// The answer, with the position at which all of it is true: suggestions whose products may be shown, and had, now. `reached`:
    /// where else something was read.
    pub async fn dress(
        self,
        limit: usize,
        currency: Option<&str>,
        sources: &Sources<'_>,
        min: MinPosition,
        reached: Option<i64>,
    ) -> Result<(i64, Vec<u8>), Problem> {
        let names: Vec<&str> = self.items.iter().map(|item| item.sku.as_str()).collect();
        let (position, cards) = sources.find(Kind::Card, &names, min).await?;
        let position = reached.map_or(position, |reached| reached.min(position));
        let cards: Vec<_> =
            cards.into_iter().map(|card| card.filter(|card| card.is_public()).map(|card| card.json())).collect();
        let shown = self.items.iter().zip(&cards).filter_map(|(item, card)| {
            let card = card.as_ref()?;
            let product: &RawValue = serde_json::from_slice(card).ok()?;
            let Suggestion { score, reason, because, bought, .. } = item;
            let can_be_had = Shown::of(card)?.can_be_had(currency);
            can_be_had.then_some(Item { product, reason: *reason, because, score: *score, bought: *bought })
        });
        let items = shown.take(limit).collect();
        let answer = Recommendations { position, model: self.model, degraded: self.degraded, items };
        Ok((position, serde_json::to_vec(&answer).expect("names and numbers have a JSON form")))
    }
}
