//! `product-cards`: what a shop shows of each SKU, with prices and availability, in Redis as it is sent.
//!
//! Under `entry:` is what events have said of a SKU: as a product, as a variant, and of its stock. A card follows from the
//! entry of its product alone, so a product's entry has its variants with what is available of each.

use crate::runtime::store::{Store, StoreError, StoreOptions};
use crate::runtime::{ApplyError, Event, Projection, RedisProjection, RedisStore, View};
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::category::{CategoryEvent, CategoryTree};
use kontor_domain::product::{Medium, Options, Product, ProductEvent};
use kontor_domain::slug::{SlugClaim, SlugEvent};
use kontor_domain::stock::{Stock, StockEvent};
use kontor_domain::text::Name;
use kontor_domain::{CategoryId, Quantity, Sku, Slug};
use kontor_event_schemas::Fact;
use kontor_redis::card::Prices;
use kontor_redis::keys::{CARD, PRODUCT_CARDS, SLUG, STOCK};
use kontor_redis::{Availability, Card, Status};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub struct ProductCards;

/// Products that a category is taken from at once.
const PRODUCTS_AT_ONCE: usize = 500;

/// What is known of a SKU.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Entry {
    product: Option<ProductEntry>,
    /// The product that it is a variant of.
    variant_of: Option<Sku>,
    stock: Option<StockEntry>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct ProductEntry {
    /// `None`: it is not registered, so it has no card.
    name: Option<Name>,
    draft: bool,
    withdrawn: bool,
    slug: Option<Slug>,
    prices: Prices,
    /// The first one.
    medium: Option<Medium>,
    categories: BTreeSet<CategoryId>,
    variants: BTreeMap<Sku, VariantEntry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct VariantEntry {
    options: Options,
    /// Its own.
    prices: Prices,
    available: Quantity,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct StockEntry {
    available: Quantity,
    back_ordered: Quantity,
    back_orders_max: Quantity,
}

impl StockEntry {
    fn fold(&mut self, event: &StockEvent) {
        self.available = event.available_after();
        self.back_ordered = event.back_ordered_after().unwrap_or(self.back_ordered);
        if let StockEvent::BackOrdersLimited { up_to, .. } = event {
            self.back_orders_max = *up_to;
        }
    }

    fn availability<'a>(&self, sku: &'a Sku) -> Availability<'a> {
        let left = self.back_orders_max.checked_sub(self.back_ordered).unwrap_or_default();
        Availability { sku, available: self.available.units(), back_orders_left: left.units() }
    }
}

impl ProductEntry {
    /// `own`: what is available under the product's own code. `None`: it is not registered.
    fn card<'a>(&'a self, sku: &'a Sku, own: Quantity) -> Option<Card<'a>> {
        let of_variants = || self.variants.values().map(|variant| variant.available.units()).sum();
        let available = if self.variants.is_empty() { own.units() } else { of_variants() };
        Some(Card {
            sku: sku.as_str(),
            product: sku.as_str(),
            name: self.name.as_ref()?.as_str(),
            slug: self.slug.as_ref().map(Slug::as_str),
            status: Status::of(self.draft, self.withdrawn),
            options: None,
            prices: self.prices.clone(),
            medium: self.medium.as_ref(),
            categories: self.categories.iter().map(CategoryId::as_str).collect(),
            variant_count: self.variants.len(),
            available: available as i64, // At most 500 times 10^12.
        })
    }

    fn card_of_variant<'a>(&'a self, product: &'a Sku, sku: &'a Sku) -> Option<Card<'a>> {
        let variant = self.variants.get(sku)?;
        let mut prices = self.prices.clone();
        prices.extend(variant.prices.clone());
        let (sku, options) = (sku.as_str(), Some(&variant.options));
        let available = variant.available.units() as i64;
        Some(Card { sku, options, prices, available, ..self.card(product, Quantity::ZERO)? })
    }
}

/// What a part of a batch changes.
#[derive(Debug, Default)]
struct Changes {
    /// All that are touched, and the products of those that are variants.
    entries: BTreeMap<Sku, Entry>,
    /// Products of which all cards change.
    products: BTreeSet<Sku>,
    /// Other cards that change.
    cards: BTreeSet<Sku>,
    stock: BTreeSet<Sku>,
    /// Which product has an address now.
    slugs: BTreeMap<Slug, Option<Sku>>,
    /// Which products came into which categories, or left them.
    memberships: BTreeMap<(CategoryId, Sku), bool>,
}

impl Changes {
    /// With the entries that these events touch.
    async fn before(view: &View<'_>, events: &[Event]) -> Result<Self, ApplyError> {
        let mut touched = BTreeSet::new();
        for Event { fact, .. } in events {
            match fact {
                Fact::Product(sku, event) => {
                    touched.insert(sku);
                    if let ProductEvent::VariantAdded { sku, .. } | ProductEvent::VariantRemoved { sku } = event {
                        touched.insert(sku);
                    }
                }
                Fact::Stock(sku, _) => drop(touched.insert(sku)),
                _ => {} // None of them touches an entry.
            }
        }
        let mut changes = Changes::default();
        changes.load(view, touched.into_iter().cloned().collect()).await?;
        let products: BTreeSet<_> = changes.entries.values().filter_map(|entry| entry.variant_of.clone()).collect();
        changes.load(view, products.into_iter().filter(|sku| !changes.entries.contains_key(sku)).collect()).await?;
        Ok(changes)
    }

    async fn load(&mut self, view: &View<'_>, skus: Vec<Sku>) -> Result<(), ApplyError> {
        let keys: Vec<_> = skus.iter().map(entry_key).collect();
        let found = view.read::<Entry>(&keys).await?;
        self.entries.extend(skus.into_iter().zip(found.into_iter().map(Option::unwrap_or_default)));
        Ok(())
    }

    fn entry(&mut self, sku: &Sku) -> &mut Entry {
        if !self.entries.contains_key(sku) {
            self.entries.insert(sku.clone(), Entry::default());
        }
        self.entries.get_mut(sku).expect("it is there")
    }

    fn product(&mut self, sku: &Sku) -> &mut ProductEntry {
        self.entry(sku).product.get_or_insert_default()
    }

    fn fold(&mut self, fact: &Fact) {
        match fact {
            Fact::Product(sku, event) => self.fold_product(sku, event),
            Fact::Stock(sku, event) => self.fold_stock(sku, event),
            Fact::Slug(slug, SlugEvent::Claimed { product }) => {
                self.slugs.insert(slug.clone(), Some(product.clone()));
            }
            Fact::Slug(slug, SlugEvent::Released { .. }) => drop(self.slugs.insert(slug.clone(), None)),
            Fact::Category(..) => {} // One that is removed is taken from its products by itself.
            Fact::Sku(..) => {}      // The product's own events say it.
            Fact::Order(..) | Fact::Cancellation(..) => {} // Their goods are stock events of their own.
            Fact::Cart(..) | Fact::Payment(..) | Fact::Timer(..) => {} // They move no goods.
        }
    }

    fn fold_product(&mut self, sku: &Sku, event: &ProductEvent) {
        self.products.insert(sku.clone());
        match event {
            ProductEvent::Registered { name, draft, .. } => {
                let product = self.product(sku);
                (product.name, product.draft) = (Some(name.clone()), *draft);
            }
            ProductEvent::Described { name, .. } => {
                // Only what was registered: Redis may have lost what was said of it before.
                let product = self.product(sku);
                product.name = product.name.is_some().then(|| name.clone());
            }
            ProductEvent::Priced { price, .. } => {
                self.product(sku).prices.insert(price.currency.to_string(), price.amount_minor);
            }
            ProductEvent::Published { .. } => self.product(sku).draft = false,
            ProductEvent::Withdrawn { .. } => self.product(sku).withdrawn = true,
            ProductEvent::VariantAdded { sku: variant, options } => {
                let added = self.entry(variant);
                added.variant_of = Some(sku.clone());
                let available = added.stock.as_ref().map_or(Quantity::ZERO, |stock| stock.available);
                let (options, prices) = (options.clone(), Prices::new());
                self.product(sku).variants.insert(variant.clone(), VariantEntry { options, prices, available });
            }
            ProductEvent::VariantRemoved { sku: variant } => {
                self.product(sku).variants.remove(variant);
                self.entry(variant).variant_of.take_if(|product| product == sku);
                self.cards.insert(variant.clone());
            }
            ProductEvent::VariantPriced { sku: variant, price, .. } => {
                if let Some(variant) = self.product(sku).variants.get_mut(variant) {
                    variant.prices.insert(price.currency.to_string(), price.amount_minor);
                }
            }
            ProductEvent::VariantPriceRemoved { sku: variant, previous } => {
                if let Some(variant) = self.product(sku).variants.get_mut(variant) {
                    variant.prices.remove(previous.currency.code());
                }
            }
            ProductEvent::SlugSet { slug, .. } => self.product(sku).slug = Some(slug.clone()),
            ProductEvent::MediaSet { media } => self.product(sku).medium = media.first().cloned(),
            ProductEvent::Categorised { categories } => {
                let before = std::mem::replace(&mut self.product(sku).categories, categories.clone());
                let left = before.difference(categories).map(|category| (category, false));
                for (category, is_in) in left.chain(categories.iter().map(|category| (category, true))) {
                    self.memberships.insert((category.clone(), sku.clone()), is_in);
                }
            }
            ProductEvent::TaxClassSet { .. } | ProductEvent::AttributesSet { .. } => {} // Not on a card.
        }
    }

    fn fold_stock(&mut self, sku: &Sku, event: &StockEvent) {
        let entry = self.entry(sku);
        entry.stock.get_or_insert_default().fold(event);
        let product = entry.variant_of.clone();
        if let Some(product) = product
            && let Some(variant) = self.product(&product).variants.get_mut(sku)
        {
            variant.available = event.available_after();
            self.cards.insert(product);
        }
        self.cards.insert(sku.clone());
        self.stock.insert(sku.clone());
    }

    fn write(self, view: &mut View<'_>) {
        for sku in &self.products {
            for variant in self.entries[sku].product.iter().flat_map(|product| product.variants.keys()) {
                let card = self.entries[sku].product.as_ref().and_then(|p| p.card_of_variant(sku, variant));
                write_card(view, variant, card);
            }
        }
        for sku in self.products.union(&self.cards) {
            let entry = &self.entries[sku];
            let own = entry.stock.as_ref().map_or(Quantity::ZERO, |stock| stock.available);
            let card = match &entry.variant_of {
                Some(product) => {
                    self.entries[product].product.as_ref().and_then(|owner| owner.card_of_variant(product, sku))
                }
                None => entry.product.as_ref().and_then(|product| product.card(sku, own)),
            };
            write_card(view, sku, card);
        }
        for sku in &self.stock {
            if let Some(stock) = &self.entries[sku].stock {
                view.set(format!("{STOCK}{sku}"), json(&stock.availability(sku)));
            }
        }
        for (sku, entry) in &self.entries {
            view.set(entry_key(sku), json(entry));
        }
        for (slug, product) in &self.slugs {
            match product {
                Some(product) => view.set(format!("{SLUG}{slug}"), product.as_str().into()),
                None => view.delete(format!("{SLUG}{slug}")),
            }
        }
        for ((category, sku), is_in) in &self.memberships {
            view.put_in(members_key(category), sku.as_str(), *is_in);
        }
    }
}

fn write_card(view: &mut View<'_>, sku: &Sku, card: Option<Card<'_>>) {
    let key = format!("{CARD}{sku}");
    match card {
        Some(card) => view.set(key, card.kept().as_bytes().into()),
        None => view.delete(key),
    }
}

fn entry_key(sku: &Sku) -> String {
    format!("entry:{sku}")
}

/// The products in a category.
fn members_key(category: &CategoryId) -> String {
    format!("set:category:{category}")
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("names and numbers have a JSON form")
}

async fn fold(view: &mut View<'_>, events: &[Event]) -> Result<(), StoreError> {
    if !events.is_empty() {
        let mut changes = Changes::before(view, events).await?;
        events.iter().for_each(|event| changes.fold(&event.fact));
        changes.write(view);
    }
    Ok(())
}

/// Takes a category that is no more from the products in it.
async fn remove_category(view: &mut View<'_>, category: &CategoryId) -> Result<(), StoreError> {
    view.flush().await?; // So that those who have just come are among its members.
    let members = view.members(&members_key(category)).await?;
    for members in members.chunks(PRODUCTS_AT_ONCE) {
        let mut changes = Changes::default();
        changes.load(view, members.iter().filter_map(|sku| sku.parse().ok()).collect()).await?;
        for (sku, entry) in &mut changes.entries {
            if entry.product.as_mut().is_some_and(|product| product.categories.remove(category)) {
                changes.products.insert(sku.clone());
            }
            changes.memberships.insert((category.clone(), sku.clone()), false);
        }
        changes.write(view);
        view.flush().await?;
    }
    Ok(())
}

impl Projection for ProductCards {
    fn name(&self) -> &'static str {
        PRODUCT_CARDS
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Product::TYPE, Stock::TYPE, SlugClaim::TYPE, CategoryTree::TYPE]
    }

    fn spanning(&self) -> &'static [&'static str] {
        self.aggregate_types() // A variant's stock is on its product's card. And Redis does one thing at a time.
    }

    fn lacks(&self, options: &StoreOptions) -> Option<&'static str> {
        options.redis.is_none().then_some("redis.url (KONTOR_REDIS__URL)")
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        RedisStore::of(self, options)
    }
}

impl RedisProjection for ProductCards {
    fn apply<'a>(&'a self, view: &'a mut View<'_>, events: &'a [Event]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let mut rest = events;
            loop {
                let removal = rest.iter().enumerate().find_map(|(n, event)| match &event.fact {
                    Fact::Category(_, CategoryEvent::Removed { category }) => Some((n, category)),
                    _ => None,
                });
                let Some((n, category)) = removal else { return fold(view, rest).await };
                fold(view, &rest[..n]).await?;
                remove_category(view, category).await?;
                rest = &rest[n + 1..];
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::{Currency, Money};

    fn sku(text: &str) -> Sku {
        text.parse().expect("a valid SKU")
    }

    fn units(units: u64) -> Quantity {
        Quantity::new(units).expect("a valid quantity")
    }

    fn registered(draft: bool) -> ProductEvent {
        ProductEvent::Registered { name: Name::new("Mug").expect("a valid name"), description: None, draft }
    }

    fn priced(amount_minor: i64) -> ProductEvent {
        ProductEvent::Priced { price: Money::new(amount_minor, Currency::GBP), previous: None }
    }

    fn received(available: u64) -> StockEvent {
        let units = units(available);
        let (on_hand_after, available_after, location) = (units, units, Default::default());
        StockEvent::Received { quantity: units, reference: None, on_hand_after, available_after, location }
    }

    fn folded(facts: impl IntoIterator<Item = Fact>) -> Changes {
        let mut changes = Changes::default();
        facts.into_iter().for_each(|fact| changes.fold(&fact));
        changes
    }

    fn added(variant: &str, size: &str) -> ProductEvent {
        let size = kontor_domain::text::Text::new(size).expect("a valid value");
        let options = Options::from([("size".parse().expect("a valid name"), size)]);
        ProductEvent::VariantAdded { sku: sku(variant), options }
    }

    #[test]
    fn a_variant_costs_what_its_product_does_unless_it_has_a_price_of_its_own() {
        let mug = |event| Fact::Product(sku("MUG"), event);
        let own =
            ProductEvent::VariantPriced { sku: sku("MUG-L"), price: Money::new(900, Currency::GBP), previous: None };
        let changes = folded([
            mug(registered(false)),
            mug(added("MUG-S", "S")),
            mug(added("MUG-L", "L")),
            mug(own),
            mug(priced(700)),
        ]);
        let product = changes.entries[&sku("MUG")].product.as_ref().expect("it is a product");
        let price = |variant| product.card_of_variant(&sku("MUG"), &sku(variant)).expect("a card").prices["GBP"];
        assert_eq!((price("MUG-S"), price("MUG-L")), (700, 900));
    }

    #[test]
    fn what_is_available_of_a_product_is_what_is_of_its_variants() {
        let mug = |event| Fact::Product(sku("MUG"), event);
        let changes = folded([
            Fact::Stock(sku("MUG"), received(50)),
            Fact::Stock(sku("MUG-S"), received(3)),
            mug(registered(false)),
            mug(added("MUG-S", "S")),
            mug(added("MUG-L", "L")),
            Fact::Stock(sku("MUG-L"), received(4)),
        ]);
        let (sku, product) = (sku("MUG"), changes.entries[&sku("MUG")].product.as_ref());
        let card = product.and_then(|product| product.card(&sku, units(50))).expect("it is registered");
        assert_eq!((card.available, card.variant_count), (7, 2));
    }

    #[test]
    fn what_was_never_registered_has_no_card() {
        let described = ProductEvent::Described { name: Name::new("Mug").expect("a valid name"), description: None };
        for fact in [Fact::Product(sku("MUG"), described), Fact::Product(sku("MUG"), priced(700))] {
            let changes = folded([fact]);
            let product = changes.entries[&sku("MUG")].product.as_ref().expect("there is something of it");
            assert_eq!(product.card(&sku("MUG"), Quantity::ZERO), None);
        }
    }
}
