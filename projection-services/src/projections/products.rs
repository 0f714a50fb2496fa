//! `products`: each product as customers see it, with its stock. One Postgres row a SKU.

use crate::runtime::{ApplyError, Event, Projection};
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::product::{Product, ProductEvent};
use kontor_domain::stock::{Stock, StockEvent};
use kontor_domain::text::{Description, Name};
use kontor_domain::{Money, Quantity, Sku};
use kontor_event_schemas::Fact;
use sqlx::PgConnection;
use std::collections::BTreeMap;

pub struct Products;

/// What a batch changes of one product. `None`: left as it is.
#[derive(Debug, Default, PartialEq)]
struct ProductChange {
    words: Option<(Name, Option<Description>)>,
    price: Option<Money>,
    withdrawn: bool,
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
    products: BTreeMap<&'a Sku, ProductChange>,
    stock: BTreeMap<&'a Sku, StockChange>,
}

impl<'a> Changes<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut changes = Changes::default();
        for Event { position, fact } in events {
            match fact {
                Fact::Product(sku, event) => {
                    let change = changes.products.entry(sku).or_default();
                    change.fold(event);
                    change.position = *position;
                }
                Fact::Stock(sku, event) => {
                    let change = changes.stock.entry(sku).or_default();
                    change.fold(event);
                    change.position = *position;
                }
                Fact::Order(..) | Fact::Cancellation(..) => {} // Their goods are stock events of their own.
                Fact::Cart(..) | Fact::Payment(..) | Fact::Timer(..) => {} // They move no goods.
                Fact::Sku(..) | Fact::Slug(..) | Fact::Category(..) => {}
            }
        }
        changes
    }
}

impl ProductChange {
    fn fold(&mut self, event: &ProductEvent) {
        match event {
            ProductEvent::Registered { name, description, .. } | ProductEvent::Described { name, description } => {
                self.words = Some((name.clone(), description.clone()));
            }
            ProductEvent::Priced { price, .. } => self.price = Some(*price),
            ProductEvent::Withdrawn { .. } => self.withdrawn = true,
            ProductEvent::Published { .. }
            | ProductEvent::VariantAdded { .. }
            | ProductEvent::VariantRemoved { .. }
            | ProductEvent::VariantPriced { .. }
            | ProductEvent::SlugSet { .. }
            | ProductEvent::TaxClassSet { .. }
            | ProductEvent::AttributesSet { .. }
            | ProductEvent::MediaSet { .. }
            | ProductEvent::Categorised { .. } => {} // Not shown yet.
        }
    }
}

impl StockChange {
    fn fold(&mut self, event: &StockEvent) {
        match event {
            StockEvent::Received { on_hand_after, available_after, .. }
            | StockEvent::Adjusted { on_hand_after, available_after, .. }
            | StockEvent::Transferred { on_hand_after, available_after, .. }
            | StockEvent::Shipped { on_hand_after, available_after, .. }
            | StockEvent::Returned { on_hand_after, available_after, .. } => {
                self.on_hand = Some(*on_hand_after);
                self.available = *available_after;
            }
            StockEvent::Reserved { available_after, .. }
            | StockEvent::Filled { available_after, .. }
            | StockEvent::Confirmed { available_after, .. }
            | StockEvent::Released { available_after, .. }
            | StockEvent::BackOrdersLimited { available_after, .. } => {
                self.available = *available_after; // They stay in the building.
            }
        }
    }
}

impl Projection for Products {
    fn name(&self) -> &'static str {
        "products"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Product::TYPE, Stock::TYPE]
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let changes = Changes::of(events);
            if !changes.products.is_empty() {
                write_products(view, &changes.products).await?;
            }
            if !changes.stock.is_empty() {
                write_stock(view, &changes.stock).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

async fn write_products(view: &mut PgConnection, changes: &BTreeMap<&Sku, ProductChange>) -> sqlx::Result<()> {
    let skus: Vec<_> = changes.keys().map(|sku| sku.as_str()).collect();
    let changes = || changes.values();
    let words = || changes().map(|change| change.words.as_ref());
    let names: Vec<_> = words().map(|words| words.map(|(name, _)| name.as_str())).collect();
    let descriptions: Vec<_> =
        words().map(|words| words.and_then(|(_, text)| text.as_ref()).map(Description::as_str)).collect();
    let prices: Vec<_> = changes().map(|change| change.price.map(|price| price.amount_minor)).collect();
    let currencies: Vec<_> = changes().map(|change| change.price.as_ref().map(|price| price.currency.code())).collect();
    let withdrawn: Vec<_> = changes().map(|change| change.withdrawn).collect();
    let positions: Vec<_> = changes().map(|change| change.position).collect();
    sqlx::query(
        "insert into projections.products as p
             (sku, name, description, price_minor, currency, withdrawn, product_position)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bool[], $7::bigint[])
         on conflict (sku) do update set
             name = coalesce(excluded.name, p.name),
             description = case when excluded.name is null then p.description else excluded.description end,
             price_minor = coalesce(excluded.price_minor, p.price_minor),
             currency = coalesce(excluded.currency, p.currency),
             withdrawn = p.withdrawn or excluded.withdrawn,
             product_position = excluded.product_position
         where p.product_position < excluded.product_position",
    )
    .bind(skus)
    .bind(names)
    .bind(descriptions)
    .bind(prices)
    .bind(currencies)
    .bind(withdrawn)
    .bind(positions)
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
        "update projections.products as p
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
        "insert into projections.products (sku, on_hand, available, stock_position)
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
