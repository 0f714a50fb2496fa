//! Products, categories and stock, in the words of GraphQL.

use super::loaders::Loaders;
use crate::categories::Category;
use crate::products::{Price, Product};
use async_graphql::{Context, Enum, InputObject, Object, Result, SimpleObject};
use kontor_domain::product::AttributeValue;
use kontor_search::Order;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An amount in minor units (pence, cents) of an ISO 4217 currency.
#[derive(SimpleObject)]
#[graphql(name = "Money")]
pub struct Money {
    amount_minor: i64,
    currency: String,
}

impl From<&Price> for Money {
    fn from(price: &Price) -> Self {
        Money { amount_minor: price.amount_minor, currency: price.currency.clone() }
    }
}

fn each(prices: &[Price]) -> Vec<Money> {
    prices.iter().map(Money::from).collect()
}

pub struct ProductNode(pub Arc<Product>);

/// A product as customers see it.
#[Object(name = "Product")]
impl ProductNode {
    async fn sku(&self) -> &str {
        &self.0.sku
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn description(&self) -> Option<&str> {
        self.0.description.as_deref()
    }

    /// `draft`, `published` or `withdrawn`.
    async fn status(&self) -> &str {
        self.0.status
    }

    /// The address of its page.
    async fn slug(&self) -> Option<&str> {
        self.0.slug.as_deref()
    }

    /// Of one unit, in this currency; without one: as it was set last.
    async fn price(&self, currency: Option<String>) -> Option<Money> {
        match currency {
            None => self.0.price.as_ref().map(Money::from),
            Some(currency) => self.0.prices.iter().find(|price| price.currency == currency).map(Money::from),
        }
    }

    /// Of one unit, in each currency.
    async fn prices(&self) -> Vec<Money> {
        each(&self.0.prices)
    }

    /// That it is in itself, not those above them.
    async fn categories(&self) -> &[String] {
        &self.0.categories
    }

    /// 0: its own SKU is what is sold.
    async fn variant_count(&self) -> i64 {
        self.0.variant_count
    }

    /// Units that no order holds, under its own SKU.
    async fn available(&self) -> i64 {
        self.0.available
    }

    async fn tax_class(&self, context: &Context<'_>) -> Result<String> {
        Ok(context.data::<Loaders>()?.detail(&self.0.sku).await?.tax_class.clone())
    }

    #[graphql(complexity = "5 * child_complexity + 1")]
    async fn attributes(&self, context: &Context<'_>) -> Result<Vec<Attribute>> {
        let detail = context.data::<Loaders>()?.detail(&self.0.sku).await?;
        let attributes: BTreeMap<String, AttributeValue> = parsed(&detail.attributes)?;
        Ok(attributes.into_iter().map(|(name, value)| Attribute { name, value: value.to_string() }).collect())
    }

    #[graphql(complexity = "5 * child_complexity + 1")]
    async fn media(&self, context: &Context<'_>) -> Result<Vec<Medium>> {
        parsed(&context.data::<Loaders>()?.detail(&self.0.sku).await?.media)
    }

    #[graphql(complexity = "10 * child_complexity + 1")]
    async fn variants(&self, context: &Context<'_>) -> Result<Vec<Variant>> {
        let variants: Vec<VariantDocument> = parsed(&context.data::<Loaders>()?.detail(&self.0.sku).await?.variants)?;
        Ok(variants.into_iter().map(Variant::from).collect())
    }
}

/// Documents of the read model are as they were written; one that is not is our fault.
pub(super) fn parsed<T: DeserializeOwned>(document: &RawValue) -> Result<T> {
    serde_json::from_str(document.get()).map_err(|reason| super::error(sqlx::Error::Decode(reason.into()).into()))
}

/// What is said of a product.
#[derive(SimpleObject)]
pub struct Attribute {
    name: String,
    value: String,
}

/// A picture, film or document.
#[derive(SimpleObject, Deserialize)]
pub struct Medium {
    /// `image`, `video` or `document`.
    kind: String,
    url: String,
    alternative_text: Option<String>,
}

/// One variant of a product.
#[derive(SimpleObject)]
pub struct Variant {
    sku: String,
    options: Vec<Attribute>,
    /// Its own; in other currencies it costs what the product does.
    prices: Vec<Money>,
    available: i64,
}

#[derive(Deserialize)]
struct VariantDocument {
    sku: String,
    options: BTreeMap<String, String>,
    prices: Vec<Price>,
    available: i64,
}

impl From<VariantDocument> for Variant {
    fn from(VariantDocument { sku, options, prices, available }: VariantDocument) -> Self {
        let options = options.into_iter().map(|(name, value)| Attribute { name, value }).collect();
        Variant { sku, options, prices: each(&prices), available }
    }
}

/// A page of products.
#[derive(SimpleObject)]
pub struct ProductPage {
    pub items: Vec<ProductNode>,
    /// The `after` of the next page; null: this is the last. It is the `next_cursor` of REST.
    pub next_cursor: Option<String>,
}

/// Which products are wanted.
#[derive(InputObject, Default)]
pub struct ProductFilter {
    /// Those in this category or in one below it.
    pub category: Option<String>,
    /// Those with a price in it, an ISO 4217 code.
    pub currency: Option<String>,
    /// In minor units of `currency`, as is `priceMax`.
    pub price_min: Option<i64>,
    pub price_max: Option<i64>,
    /// Those that can be had now, or a variant of which can.
    #[graphql(default)]
    pub available: bool,
    /// Those with all of these, each as `name:value`.
    #[graphql(default)]
    pub attributes: Vec<String>,
}

/// By what products are sorted.
#[derive(Enum, Copy, Clone, Default, PartialEq, Eq)]
pub enum ProductSort {
    #[default]
    Sku,
    Name,
    /// In the `currency` of the filter.
    Price,
    PriceDescending,
    Newest,
}

/// A page of what was found.
#[derive(SimpleObject)]
pub struct SearchPage {
    pub items: Vec<ProductNode>,
    /// How many there are, on all pages.
    pub total: usize,
    /// Whether the search index is away and the words of names were looked for as they are.
    pub degraded: bool,
    /// The `after` of the next page; null: this is the last. It is the `next_cursor` of REST.
    pub next_cursor: Option<String>,
}

/// By what is found is sorted.
#[derive(Enum, Copy, Clone, Default, PartialEq, Eq)]
pub enum SearchSort {
    #[default]
    Relevance,
    BestSelling,
    /// In the `currency` of the filter.
    Price,
    PriceDescending,
    Newest,
}

impl From<SearchSort> for Order {
    fn from(sort: SearchSort) -> Self {
        match sort {
            SearchSort::Relevance => Order::Relevance,
            SearchSort::BestSelling => Order::BestSelling,
            SearchSort::Price => Order::Price,
            SearchSort::PriceDescending => Order::PriceDescending,
            SearchSort::Newest => Order::Newest,
        }
    }
}

pub struct CategoryNode(pub Category);

/// A category with those below it.
#[Object(name = "Category")]
impl CategoryNode {
    async fn category(&self) -> &str {
        &self.0.category
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn slug(&self) -> &str {
        &self.0.slug
    }

    /// Right below it, by name.
    async fn categories(&self) -> Vec<CategoryNode> {
        self.0.categories.iter().cloned().map(CategoryNode).collect()
    }
}

/// How much there is of a SKU.
#[derive(SimpleObject)]
pub struct Availability {
    pub sku: String,
    /// Units that no order holds.
    pub available: i64,
}
