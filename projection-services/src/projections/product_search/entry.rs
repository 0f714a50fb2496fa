//! What is known of a product, and the document that follows from it.

use crate::projections::catalogue::ATTRIBUTE_CHARACTERS_MAX;
use kontor_domain::product::{Attributes, Medium, Options, ProductEvent};
use kontor_domain::stock::StockEvent;
use kontor_domain::text::{Description, Name};
use kontor_domain::{CategoryId, Quantity, Sku, Slug};
use kontor_redis::card::Prices;
use kontor_redis::{Card, Status};
use kontor_search::Document;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What events have said of a product, or of the stock of a SKU that is none's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// `None`: it is not registered, so nobody finds it.
    name: Option<Name>,
    description: Option<Description>,
    draft: bool,
    withdrawn: bool,
    slug: Option<Slug>,
    prices: Prices,
    /// The first one.
    medium: Option<Medium>,
    /// That it is in itself, not those above them.
    pub categories: BTreeSet<CategoryId>,
    attributes: Attributes,
    variants: BTreeMap<Sku, VariantEntry>,
    /// Under its own code.
    pub stock: StockEntry,
    /// Position of the event that put it on sale, or made the draft.
    listed: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct VariantEntry {
    options: Options,
    /// Its own.
    prices: Prices,
    stock: StockEntry,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StockEntry {
    available: Quantity,
    /// Units shipped and not returned.
    sold: u64,
    /// Of the last event that changed any of it.
    position: i64,
}

impl StockEntry {
    /// Folds an event in, unless it is in already: what is sold is added up. Returns whether that changes anything.
    pub fn fold(&mut self, event: &StockEvent, position: i64) -> bool {
        if position <= self.position {
            return false;
        }
        let before = *self;
        self.available = event.available_after();
        match event {
            StockEvent::Shipped { quantity, .. } => self.sold = self.sold.saturating_add(quantity.units()),
            StockEvent::Returned { quantity, .. } => self.sold = self.sold.saturating_sub(quantity.units()),
            StockEvent::Received { .. }
            | StockEvent::Adjusted { .. }
            | StockEvent::Transferred { .. }
            | StockEvent::Reserved { .. }
            | StockEvent::Filled { .. }
            | StockEvent::Confirmed { .. }
            | StockEvent::Released { .. }
            | StockEvent::BackOrdersLimited { .. } => {} // What is not shipped may yet be cancelled.
        }
        let is_changed = *self != before;
        if is_changed {
            self.position = position;
        }
        is_changed
    }
}

impl Entry {
    pub fn fold(&mut self, event: &ProductEvent, position: i64) {
        match event {
            ProductEvent::Registered { name, description, draft } => {
                (self.name, self.description) = (Some(name.clone()), description.clone());
                (self.draft, self.listed) = (*draft, position);
            }
            ProductEvent::Described { name, description } => {
                (self.name, self.description) = (Some(name.clone()), description.clone());
            }
            ProductEvent::Priced { price, .. } => {
                self.prices.insert(price.currency.to_string(), price.amount_minor);
            }
            ProductEvent::Published { .. } => (self.draft, self.listed) = (false, position),
            ProductEvent::Withdrawn { .. } => self.withdrawn = true,
            ProductEvent::VariantPriced { sku, price, .. } => {
                if let Some(variant) = self.variants.get_mut(sku) {
                    variant.prices.insert(price.currency.to_string(), price.amount_minor);
                }
            }
            ProductEvent::VariantPriceRemoved { sku, previous } => {
                if let Some(variant) = self.variants.get_mut(sku) {
                    variant.prices.remove(previous.currency.code());
                }
            }
            ProductEvent::SlugSet { slug, .. } => self.slug = Some(slug.clone()),
            ProductEvent::AttributesSet { attributes } => self.attributes = attributes.clone(),
            ProductEvent::MediaSet { media } => self.medium = media.first().cloned(),
            ProductEvent::TaxClassSet { .. } => {} // Nobody searches by it.
            // They are about other SKUs or the tree, too.
            ProductEvent::VariantAdded { .. }
            | ProductEvent::VariantRemoved { .. }
            | ProductEvent::Categorised { .. } => {}
        }
    }

    /// `stock`: what is known of it, unless the variant is there already.
    pub fn add_variant(&mut self, sku: Sku, options: Options, stock: StockEntry) {
        let stock = self.variants.get(&sku).map_or(stock, |there| there.stock);
        self.variants.insert(sku, VariantEntry { options, prices: Prices::new(), stock });
    }

    /// What is known of its stock. `None`: it was none.
    pub fn remove_variant(&mut self, sku: &Sku) -> Option<StockEntry> {
        Some(self.variants.remove(sku)?.stock)
    }

    /// Of one of its SKUs; `code` is the product's.
    pub fn stock_of(&mut self, code: &Sku, sku: &Sku) -> &mut StockEntry {
        if sku == code {
            return &mut self.stock;
        }
        self.variants.get_mut(sku).map_or(&mut self.stock, |variant| &mut variant.stock)
    }

    /// Its code, and its variants.
    pub fn skus<'a>(&'a self, code: &'a Sku) -> impl Iterator<Item = &'a Sku> {
        std::iter::once(code).chain(self.variants.keys())
    }

    /// The document of the product with this code, which is `before` as far as it does not follow from what is known here.
    pub fn document(&self, code: &Sku, before: Document) -> Document {
        let stock = || std::iter::once(&self.stock).chain(self.variants.values().map(|variant| &variant.stock));
        let available = self.available();
        Document {
            is_public: self.name.is_some() && !self.draft && !self.withdrawn,
            title: self.name.as_ref().map(Name::to_string).unwrap_or_default(),
            description: self.description.as_ref().map(Description::to_string),
            attributes: self.found_by(),
            skus: self.skus(code).map(Sku::to_string).collect(),
            prices: self.lowest_prices(),
            available,
            sold: stock().map(|stock| stock.sold as f64).sum(),
            listed: self.listed,
            card: self.card(code, available).unwrap_or_default(),
            source: serde_json::to_string(self).expect("names and numbers have a JSON form"),
            ..before
        }
    }

    /// Of all variants together, or where there are none, under its own code. At most 500 times 10^12.
    fn available(&self) -> i64 {
        let units = |stock: &StockEntry| stock.available.units() as i64;
        match self.variants.is_empty() {
            true => units(&self.stock),
            false => self.variants.values().map(|variant| units(&variant.stock)).sum(),
        }
    }

    /// In each currency that of the cheapest that can be bought.
    fn lowest_prices(&self) -> Prices {
        if self.variants.is_empty() {
            return self.prices.clone();
        }
        let mut lowest = Prices::new();
        for variant in self.variants.values() {
            let others = self.prices.iter().filter(|(currency, _)| !variant.prices.contains_key(*currency));
            for (currency, &price) in variant.prices.iter().chain(others) {
                lowest.entry(currency.clone()).and_modify(|lowest| *lowest = price.min(*lowest)).or_insert(price);
            }
        }
        lowest
    }

    /// Its attributes and the options of its variants, without prose; values sorted, each once.
    fn found_by(&self) -> BTreeMap<String, Vec<String>> {
        let attributes = self.attributes.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let options = self.variants.values().flat_map(|variant| &variant.options);
        let options = options.map(|(name, value)| (name.to_string(), value.to_string()));
        let mut found_by: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, value) in attributes.chain(options) {
            if value.chars().count() <= ATTRIBUTE_CHARACTERS_MAX {
                found_by.entry(name).or_default().insert(value);
            }
        }
        found_by.into_iter().map(|(name, values)| (name, values.into_iter().collect())).collect()
    }

    /// As a shop shows it. `None`: it is not registered.
    fn card(&self, code: &Sku, available: i64) -> Option<String> {
        let card = Card {
            sku: code.as_str(),
            product: code.as_str(),
            name: self.name.as_ref()?.as_str(),
            slug: self.slug.as_ref().map(Slug::as_str),
            status: Status::of(self.draft, self.withdrawn),
            options: None,
            prices: self.prices.clone(),
            medium: self.medium.as_ref(),
            categories: self.categories.iter().map(CategoryId::as_str).collect(),
            variant_count: self.variants.len(),
            available,
        };
        Some(serde_json::to_string(&card).expect("a card has a JSON form"))
    }
}
