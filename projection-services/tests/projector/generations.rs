//! Generations: a new release fills its own beside the one that queries see, and lanes are written side by side.

use crate::shop::{Shop, eventually};
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_projection_services::projections::orders::Orders;
use kontor_projection_services::runtime::store::{Store, StoreOptions};
use kontor_projection_services::runtime::{ApplyError, Event, PostgresProjection, PostgresStore, Projection};
use sqlx::{PgConnection, PgPool};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The orders of a later release, whose rows say so.
struct LaterOrders;

impl Projection for LaterOrders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn version(&self) -> i32 {
        7
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        Orders.aggregate_types()
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for LaterOrders {
    fn tables(&self) -> &'static str {
        // A column less, one more, and a table less: a view cannot just be replaced.
        concat!(
            include_str!("../../tables/orders.sql"),
            "alter table orders drop column cancel_reason cascade, add column release int not null default 7;
             create table later_orders (order_id uuid primary key);"
        )
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            for _ in events {
                sqlx::query("insert into later_orders values (gen_random_uuid())").execute(&mut *view).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

const STATES: &str =
    "select string_agg(generation || ' ' || version || ' ' || state, ', ' order by generation) from projections.generations
     where projection = 'orders'";

/// Step 1: the old release keeps generation 1. Step 2: the new one starts beside it, fills generation 2, and queries see that
/// as soon as it has all that the old one had. Step 3: the old release leaves the new generation alone.
#[tokio::test]
async fn a_new_version_is_filled_beside_the_old_one_and_then_shown() {
    let mut shop = Shop::open().await;
    let old = shop.projector().await;
    shop.trade(300).await;
    shop.until_caught_up().await;
    assert_eq!(shop.sql(STATES).await, "1 1 live");

    let new = shop.projector_of(vec![Arc::new(LaterOrders)]).await;
    eventually("queries see the new version", async || shop.sql(STATES).await == "1 1 retired, 2 7 live").await;
    let head = shop.head().await;
    assert!(shop.position("orders").await >= head, "it was not shown before it had all");
    let shown = "select count(*) > 0 from projections.later_orders";
    assert_eq!(shop.sql(shown).await, "t");
    assert_ne!(shop.sql("select count(*) from orders_1.orders").await, "0", "the old rows are kept");

    shop.trade(50).await;
    shop.until_at("orders", shop.head().await).await;
    eventually("the new release is ready", async || new.health.is_ready()).await;
    assert_eq!(new.of("kontor_projection_active", "orders"), 1.0);
    assert!(old.health.is_ready(), "{}", old.health.report());
    assert_eq!(old.of("kontor_projection_active", "orders"), 0.0);
    assert_eq!(shop.sql(STATES).await, "1 1 retired, 2 7 live");
    old.stop().await;
    new.stop().await;
}

#[tokio::test]
async fn a_large_batch_is_written_lane_by_lane() {
    let mut shop = Shop::open().await;
    shop.trade(3_000).await;
    let projector = shop.projector().await;
    shop.until_caught_up().await;
    assert_eq!(shop.sql("select count(*) from projections.lanes where projection = 'orders'").await, "8");
    let head = shop.head().await;
    assert_eq!(projector.of("kontor_projection_events_total", "orders"), head as f64);
    projector.stop().await;
}

/// Orders whose first large batch fails in the second of its transactions after another has committed.
struct Interrupted {
    database: PgPool,
    /// Transactions.
    begun: AtomicUsize,
    applied: AtomicUsize,
}

impl Projection for Interrupted {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        Orders.aggregate_types()
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for Interrupted {
    fn tables(&self) -> &'static str {
        Orders.tables()
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let is_second = self.begun.fetch_add(1, Ordering::SeqCst) == 1;
            if is_second {
                let one_is_written = "select count(*) > 0 from projections.lanes";
                while !sqlx::query_scalar::<_, bool>(one_is_written).fetch_one(&self.database).await? {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                return Err(ApplyError::Database(sqlx::Error::WorkerCrashed));
            }
            Orders.apply(view, events).await?;
            self.applied.fetch_add(events.len(), Ordering::SeqCst);
            Ok(())
        }
        .boxed()
    }
}

/// Step 1: one lane of a batch is written, another is not. Step 2: the batch is tried again, and the first lane passes over
/// what it has: each event is applied once.
#[tokio::test]
async fn lanes_that_are_ahead_wait_for_the_others() {
    let mut shop = Shop::open().await;
    shop.trade(4_000).await;
    let orders = Arc::new(Interrupted {
        database: shop.database.clone(),
        begun: AtomicUsize::new(0),
        applied: AtomicUsize::new(0),
    });
    let projector = shop.projector_of(vec![orders.clone()]).await;
    shop.until_at("orders", shop.head().await).await;
    assert_eq!(projector.of("kontor_projection_errors_total", "orders"), 1.0);
    let of_orders = "select count(*) from events where aggregate_type in ('order', 'cancellation')";
    assert_eq!(shop.sql(of_orders).await, orders.applied.load(Ordering::SeqCst).to_string());
    projector.stop().await;
    let projector = shop.projector().await;
    shop.until_caught_up().await;
    projector.stop().await;
}
