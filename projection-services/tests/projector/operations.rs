//! Operators pause a projection, let it go on, and drop what is not needed any more.

use crate::shop::{Shop, eventually};
use kontor_projection_services::projections::orders::Orders;
use kontor_projection_services::runtime::operations::{OperationError, pause, remove};
use kontor_projection_services::runtime::rebuild::rebuild;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_projection_that_is_paused_stays_where_it_is() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(50).await;
    shop.until_caught_up().await;
    let (means, kept) = (shop.means(), shop.kept(Arc::new(Orders)));
    let at = pause(&means, &kept, true).await.expect("it is live").position;
    shop.trade(50).await;
    shop.until_at("catalogue", shop.head().await).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await; // The watcher has looked.
    assert_eq!(shop.position("orders").await, at);
    assert_eq!(projector.of("kontor_projection_active", "orders"), 0.0);
    assert!(projector.health.is_ready(), "it is as it was told to be: {}", projector.health.report());
    pause(&means, &kept, false).await.expect("it is live");
    shop.until_caught_up().await;
    projector.stop().await;
}

#[tokio::test]
async fn what_queries_see_is_not_dropped() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(50).await;
    shop.until_caught_up().await;
    let (means, kept) = (shop.means(), shop.kept(Arc::new(Orders)));
    rebuild(&means, &kept, None, &CancellationToken::new(), &|_| {}).await.expect("it is built");
    let before = shop.live("orders").await;
    let refused = remove(&means, &kept, &before).await.expect_err("queries see it");
    assert!(matches!(refused, OperationError::IsLive { .. }), "{refused}");
    let retired = kontor_projection_services::runtime::generation::find(&shop.database, "orders", 1).await;
    let retired = retired.expect("it answers").expect("it is there");
    eventually("its worker has left it", async || remove(&means, &kept, &retired).await.is_ok()).await;
    assert_eq!(shop.sql("select count(*) from pg_namespace where nspname = 'orders_1'").await, "0");
    shop.until_caught_up().await;
    projector.stop().await;
}
