//! `catalogue`: each product as customers see it, with its stock. One Postgres row a SKU; beside them the variants, and the
//! tree of categories.

mod categories;
mod listing;
pub mod past;
mod variants;

use crate::runtime::store::{Store, StoreOptions};
use crate::runtime::{ApplyError, Event, PostgresProjection, PostgresStore, Projection};
use categories::CategoryChanges;
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::category::CategoryTree;
use kontor_domain::product::{Attributes, Medium, Product, ProductEvent};
use kontor_domain::stock::{Stock, StockEvent};
use kontor_domain::text::{Description, Name, Reason};
use kontor_domain::{CategoryId, Money, Quantity, Sku, Slug, TaxClass};
use kontor_event_schemas::Fact;
pub use listing::ATTRIBUTE_CHARACTERS_MAX;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use variants::{Prices, VariantChanges, json};

pub struct Catalogue;

/// What a batch changes of one product. `None`: left as it is.
#[derive(Debug, Default, PartialEq)]
struct ProductChange<'a> {
    words: Option<(&'a Name, Option<&'a Description>)>,
    draft: Option<bool>,
    /// The one set last.
    price: Option<Money>,
    /// Those that were set; others are left as they are.
    prices: Prices,
    /// Why it was withdrawn.
    withdrawn: Option<&'a Reason>,
    slug: Option<&'a Slug>,
    tax_class: Option<&'a TaxClass>,
    categories: Option<BTreeSet<&'a CategoryId>>,
    attributes: Option<&'a Attributes>,
    media: Option<&'a [Medium]>,
    /// Position of the event that put it on sale, or made the draft.
    shown: Option<i64>,
    /// Of the last product event in the batch.
    position: i64,
}

/// What a batch changes of one SKU's stock. `None`: left as it is.
#[derive(Debug, Default, PartialEq)]
struct StockChange {
    on_hand: Option<Quantity>,
    available: Quantity,
    /// Of the last stock event in the batch.
    position: i64,
}

/// The rows that a batch writes, each once. Sorted, so that they are locked and written in the order of the index.
#[derive(Debug, Default, PartialEq)]
struct Changes<'a> {
    categories: CategoryChanges<'a>,
    products: BTreeMap<&'a Sku, ProductChange<'a>>,
    variants: VariantChanges<'a>,
    stock: BTreeMap<&'a Sku, StockChange>,
}

impl<'a> Changes<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut changes = Changes::default();
        for Event { position, fact } in events {
            match fact {
                Fact::Product(sku, event) => {
                    let change = changes.products.entry(sku).or_default();
                    change.position = *position;
                    change.fold(sku, event, &mut changes.variants);
                }
                Fact::Stock(sku, event) => {
                    let change = changes.stock.entry(sku).or_default();
                    change.fold(event);
                    change.position = *position;
                }
                Fact::Order(..) | Fact::Cancellation(..) => {} // Their goods are stock events of their own.
                Fact::Cart(..) | Fact::Payment(..) | Fact::Timer(..) => {} // They move no goods.
                Fact::Category(_, event) => {
                    if let Some(gone) = changes.categories.fold(event, *position) {
                        for categories in changes.products.values_mut().filter_map(|change| change.categories.as_mut())
                        {
                            categories.remove(gone);
                        }
                    }
                }
                Fact::Sku(..) | Fact::Slug(..) => {} // The product's own events say it.
            }
        }
        changes
    }

    fn products_that(&self, do_so: impl Fn(&ProductChange<'a>) -> bool) -> Vec<&'a str> {
        self.products.iter().filter(|(_, change)| do_so(change)).map(|(sku, _)| sku.as_str()).collect()
    }
}

impl<'a> ProductChange<'a> {
    /// Whether it may be in other lists than before.
    fn moves(&self) -> bool {
        self.categories.is_some()
    }

    /// Whether it may be listed under another name or age, or elsewhere.
    fn relists(&self) -> bool {
        self.words.is_some() || self.shown.is_some() || self.moves()
    }

    /// Whether it may be listed at another price, or elsewhere.
    fn reprices(&self) -> bool {
        !self.prices.is_empty() || self.moves()
    }

    /// `position` is that of the event already.
    fn fold(&mut self, sku: &'a Sku, event: &'a ProductEvent, variants: &mut VariantChanges<'a>) {
        match event {
            ProductEvent::Registered { name, description, draft } => {
                self.words = Some((name, description.as_ref()));
                self.draft = Some(*draft);
                self.shown = Some(self.position);
            }
            ProductEvent::Described { name, description } => self.words = Some((name, description.as_ref())),
            ProductEvent::Priced { price, .. } => {
                self.price = Some(*price);
                self.prices.insert(price.currency.to_string(), price.amount_minor);
            }
            ProductEvent::Published { .. } => {
                self.draft = Some(false);
                self.shown = Some(self.position);
            }
            ProductEvent::Withdrawn { reason } => self.withdrawn = Some(reason),
            ProductEvent::VariantAdded { sku: variant, options } => variants.add(sku, variant, options),
            ProductEvent::VariantRemoved { sku: variant } => variants.remove(sku, variant),
            ProductEvent::VariantPriced { sku: variant, price, .. } => variants.price(sku, variant, *price),
            ProductEvent::VariantPriceRemoved { sku: variant, previous } => {
                variants.remove_price(sku, variant, previous.currency);
            }
            ProductEvent::SlugSet { slug, .. } => self.slug = Some(slug),
            ProductEvent::TaxClassSet { tax_class, .. } => self.tax_class = Some(tax_class),
            ProductEvent::AttributesSet { attributes } => self.attributes = Some(attributes),
            ProductEvent::MediaSet { media } => self.media = Some(media),
            ProductEvent::Categorised { categories } => self.categories = Some(categories.iter().collect()),
        }
    }
}

impl StockChange {
    fn fold(&mut self, event: &StockEvent) {
        self.on_hand = event.on_hand_after().or(self.on_hand);
        self.available = event.available_after();
    }
}

impl Projection for Catalogue {
    fn name(&self) -> &'static str {
        "catalogue"
    }

    fn version(&self) -> i32 {
        2 // Since products are listed by name, price and age.
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Product::TYPE, Stock::TYPE, CategoryTree::TYPE]
    }

    fn spanning(&self) -> &'static [&'static str] {
        &[CategoryTree::TYPE] // A category that is removed is taken from the products in it.
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for Catalogue {
    fn tables(&self) -> &'static str {
        include_str!("../../tables/catalogue.sql")
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let changes = Changes::of(events);
            changes.categories.write(view).await?;
            if !changes.products.is_empty() {
                write_products(view, &changes.products).await?;
                listing::unlist(view, &changes.products_that(ProductChange::moves)).await?;
                listing::list(view, &changes.products_that(ProductChange::relists)).await?;
                listing::list_prices(view, &changes.products_that(ProductChange::reprices)).await?;
                let described = changes.products.iter().filter_map(|(sku, change)| Some((*sku, change.attributes?)));
                listing::write_attributes(view, &described.collect::<Vec<_>>()).await?;
            }
            changes.variants.write(view).await?;
            if !changes.stock.is_empty() {
                write_stock(view, &changes.stock).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

async fn write_products(view: &mut PgConnection, changes: &BTreeMap<&Sku, ProductChange<'_>>) -> sqlx::Result<()> {
    let skus: Vec<_> = changes.keys().map(|sku| sku.as_str()).collect();
    let changes = || changes.values();
    let words = || changes().map(|change| change.words);
    let names: Vec<_> = words().map(|words| words.map(|(name, _)| name.as_str())).collect();
    let descriptions: Vec<_> = words().map(|words| words.and_then(|(_, text)| text).map(Description::as_str)).collect();
    let amounts: Vec<_> = changes().map(|change| change.price.map(|price| price.amount_minor)).collect();
    let currencies: Vec<_> = changes().map(|change| change.price.as_ref().map(|price| price.currency.code())).collect();
    let withdrawn: Vec<_> = changes().map(|change| change.withdrawn.is_some()).collect();
    let reasons: Vec<_> = changes().map(|change| change.withdrawn.map(Reason::as_str)).collect();
    let positions: Vec<_> = changes().map(|change| change.position).collect();
    let drafts: Vec<_> = changes().map(|change| change.draft).collect();
    let slugs: Vec<_> = changes().map(|change| change.slug.map(Slug::as_str)).collect();
    let tax_classes: Vec<_> = changes().map(|change| change.tax_class.map(TaxClass::as_str)).collect();
    let prices: Vec<_> = changes().map(|change| json(&change.prices)).collect();
    let categories: Vec<_> = changes().map(|change| change.categories.as_ref().map(json)).collect();
    let attributes: Vec<_> = changes().map(|change| change.attributes.map(json)).collect();
    let media: Vec<_> = changes().map(|change| change.media.map(|media| json(&media))).collect();
    let shown: Vec<_> = changes().map(|change| change.shown).collect();
    // What is null is left as it is, so what is new needs its default: nulls would not be let in.
    sqlx::query(
        "with c as (
             select sku, name, description, price_minor, currency, withdrawn, position, draft, slug, tax_class,
                 prices::jsonb, attributes::json, media::json, withdrawal_reason,
                 case when categories is not null then array(select json_array_elements_text(categories::json)) end
                     as categories, shown
             from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bool[], $7::bigint[],
                     $8::bool[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[],
                     $15::text[], $16::bigint[])
                 as c (sku, name, description, price_minor, currency, withdrawn, position, draft, slug, tax_class,
                     prices, categories, attributes, media, withdrawal_reason, shown)
         ), updated as (
             update products as p set
                 name = coalesce(c.name, p.name),
                 description = case when c.name is null then p.description else c.description end,
                 price_minor = coalesce(c.price_minor, p.price_minor),
                 currency = coalesce(c.currency, p.currency),
                 withdrawn = p.withdrawn or c.withdrawn,
                 withdrawal_reason = coalesce(c.withdrawal_reason, p.withdrawal_reason),
                 draft = coalesce(c.draft, p.draft),
                 slug = coalesce(c.slug, p.slug),
                 tax_class = coalesce(c.tax_class, p.tax_class),
                 prices = p.prices || c.prices,
                 categories = coalesce(c.categories, p.categories),
                 attributes = coalesce(c.attributes, p.attributes),
                 media = coalesce(c.media, p.media),
                 shown_position = coalesce(c.shown, p.shown_position),
                 product_position = c.position
             from c where p.sku = c.sku and p.product_position < c.position
         )
         insert into products (sku, name, description, price_minor, currency, withdrawn, product_position,
             draft, slug, tax_class, prices, categories, attributes, media, withdrawal_reason,
             shown_position)
         select sku, name, description, price_minor, currency, withdrawn, position, coalesce(draft, false), slug,
             coalesce(tax_class, 'standard'), prices, coalesce(categories, '{}'), coalesce(attributes, '{}'),
             coalesce(media, '[]'), withdrawal_reason, coalesce(shown, 0)
         from c
         on conflict (sku) do nothing",
    )
    .bind(skus)
    .bind(names)
    .bind(descriptions)
    .bind(amounts)
    .bind(currencies)
    .bind(withdrawn)
    .bind(positions)
    .bind(drafts)
    .bind(slugs)
    .bind(tax_classes)
    .bind(prices)
    .bind(categories)
    .bind(attributes)
    .bind(media)
    .bind(reasons)
    .bind(shown)
    .execute(view)
    .await?;
    Ok(())
}

async fn write_stock(view: &mut PgConnection, changes: &BTreeMap<&Sku, StockChange>) -> sqlx::Result<()> {
    let skus: Vec<_> = changes.keys().map(|sku| sku.as_str()).collect();
    let on_hand: Vec<_> = changes.values().map(|change| change.on_hand.map(units)).collect();
    let available: Vec<_> = changes.values().map(|change| units(change.available)).collect();
    let positions: Vec<_> = changes.values().map(|change| change.position).collect();
    let updated = sqlx::query(
        "update products as p
         set on_hand = coalesce(c.on_hand, p.on_hand), available = c.available, stock_position = c.position
         from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) as c (sku, on_hand, available, position)
         where p.sku = c.sku and p.stock_position < c.position",
    )
    .bind(&skus)
    .bind(&on_hand)
    .bind(&available)
    .bind(&positions)
    .execute(&mut *view)
    .await?;
    if updated.rows_affected() == skus.len() as u64 {
        return Ok(());
    }
    // Stock of what has no row yet; its first event says what is on hand.
    sqlx::query(
        "insert into products (sku, on_hand, available, stock_position)
         select sku, coalesce(on_hand, 0), available, position
         from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) as c (sku, on_hand, available, position)
         on conflict (sku) do nothing",
    )
    .bind(&skus)
    .bind(&on_hand)
    .bind(&available)
    .bind(&positions)
    .execute(&mut *view)
    .await?;
    Ok(())
}

fn units(quantity: Quantity) -> i64 {
    i64::try_from(quantity.units()).expect("the largest quantity fits")
}
