//! `analytics`: sums of trade in buckets of business time, by country, product and category.
//!
//! - [`sums`]: what is counted, and the tables that it is counted in.
//! - [`trade`]: what each event counts, with what it does not say again: [`orders`], [`carts`], [`customers`].
//! - [`catalogue`]: which categories a SKU is in.

mod carts;
mod catalogue;
mod customers;
mod orders;
mod sums;
mod trade;

pub use sums::{Count, Cube, Resolution};

use crate::runtime::store::{Store, StoreOptions};
use crate::runtime::{ApplyError, Event, PostgresProjection, PostgresStore, Projection};
use catalogue::CatalogueChanges;
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::cancellation::Cancellation;
use kontor_domain::cart::Cart;
use kontor_domain::category::CategoryTree;
use kontor_domain::order::Order;
use kontor_domain::product::Product;
use kontor_domain::stock::Stock;
use kontor_event_schemas::Fact;
use sqlx::PgConnection;
use std::sync::Arc;
use std::time::Duration;
use trade::TradeChanges;

pub struct Analytics;

impl Projection for Analytics {
    fn name(&self) -> &'static str {
        "analytics"
    }

    fn version(&self) -> i32 {
        2 // Since days of SKUs are summed up from their hours.
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Order::TYPE, Cancellation::TYPE, Cart::TYPE, Product::TYPE, CategoryTree::TYPE, Stock::TYPE]
    }

    fn spanning(&self) -> &'static [&'static str] {
        // All lanes add to the same rows, and which category an order counts in depends on what its products were in before.
        self.aggregate_types()
    }

    fn gathers(&self) -> Duration {
        Duration::from_millis(500) // Sums of many events are one row.
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for Analytics {
    fn tables(&self) -> &'static str {
        include_str!("../../tables/analytics.sql")
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let facts: Vec<&Fact> = events.iter().map(|event| &event.fact).filter(|fact| counts(fact)).collect();
            let mut trade = TradeChanges::default();
            // The catalogue is written before the trade that follows is read with it. It seldom changes between orders.
            for stretch in facts.chunk_by(|one, next| is_of_catalogue(one) == is_of_catalogue(next)) {
                match is_of_catalogue(stretch[0]) {
                    true => CatalogueChanges::of(stretch).write(view).await?,
                    false => trade.fold(view, stretch).await?,
                }
            }
            trade.write(view).await
        }
        .boxed()
    }
}

/// Whether it changes any row.
fn counts(fact: &Fact) -> bool {
    match fact {
        Fact::Order(_, event) => trade::counts_order(event),
        Fact::Cart(_, event) => trade::counts_cart(event),
        Fact::Stock(_, event) => event.on_hand_after().is_some(),
        Fact::Product(_, event) => catalogue::moves_product(event),
        Fact::Category(_, event) => catalogue::moves_category(event),
        Fact::Cancellation(..) => true,
        Fact::Sku(..) | Fact::Slug(..) | Fact::Payment(..) | Fact::Timer(..) => false, // What comes of them is an order's event.
    }
}

fn is_of_catalogue(fact: &Fact) -> bool {
    matches!(fact, Fact::Product(..) | Fact::Category(..))
}
