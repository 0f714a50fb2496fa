//! A projection that cannot go on says so, and the others go on.

use crate::shop::{Shop, eventually};
use kontor_projection_services::projections;

/// The two ways in which a log can turn out to be another one than the read model was made from.
#[tokio::test]
async fn a_read_model_of_a_log_that_lost_commits_is_not_continued() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    let head = *shop.trade(40).await.last().expect("there was trade");
    shop.until_caught_up().await;
    projector.stop().await;

    shop.sql("update projections.generations set event_id = gen_random_uuid() where projection = 'catalogue'").await;
    shop.sql("update projections.generations set position = position + 5 where projection = 'orders'").await;
    let projector = shop.projector().await;
    projector.until_failing("catalogue", &format!("stopped: event {head} of the log (epoch 1) is not")).await;
    let applied = head + 5;
    let beyond = format!("stopped: events up to {applied} were applied, but the log ends before");
    projector.until_failing("orders", &beyond).await;
    assert!(projector.health.report().contains("rebuild"), "{}", projector.health.report());
    shop.trade(40).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(shop.position("catalogue").await, head);
    projector.stop().await;
}

/// Step 1: a table is locked, so nothing can be written, and nothing fails either. Step 2: the silence is told. Step 3: the lock
/// is gone, and so is the alarm.
#[tokio::test]
async fn a_projection_that_is_silent_although_there_are_events_raises_an_alarm() {
    let mut shop = Shop::open().await;
    let mut settings = shop.settings();
    settings.projections.silent_after_s = 1;
    let projector = shop.projector_with(projections::all(), &settings).await;
    shop.trade(40).await;
    shop.until_caught_up().await;
    let mut lock = shop.database.begin().await.expect("it begins");
    sqlx::query("lock table orders_1.orders").execute(&mut *lock).await.expect("it is locked");
    shop.trade(40).await;
    projector.until_failing("orders", "has not moved for ").await;
    projector.until_reported(" s although there are events").await;
    assert_eq!(projector.of("kontor_projection_silent", "orders"), 1.0);
    lock.rollback().await.expect("it ends");
    shop.until_caught_up().await;
    eventually("it is ready again", async || projector.health.is_ready()).await;
    eventually("the alarm ends", async || projector.of("kontor_projection_silent", "orders") == 0.0).await;
    projector.stop().await;
}

/// Step 1: rows cannot be written. Step 2: the projection says so and tries again. Step 3: they can, and it catches up.
#[tokio::test]
async fn a_passing_error_is_retried_until_it_has_passed() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(40).await;
    shop.until_caught_up().await;
    shop.sql("revoke insert, update on orders_1.orders, orders_1.cancellations from kontor_projector").await;
    shop.trade(40).await;
    projector.until_failing("orders", "error returned from database: permission denied").await;
    shop.until_at("catalogue", shop.head().await).await;
    shop.sql("grant insert, update on orders_1.orders, orders_1.cancellations to kontor_projector").await;
    shop.until_caught_up().await;
    eventually("it is ready again", async || projector.health.is_ready()).await;
    projector.stop().await;
}

/// The log changes its epoch without having lost anything: projections make sure of it, and go on.
#[tokio::test]
async fn a_new_epoch_of_the_same_log_is_followed() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    projector.until_reading().await;
    let positions = shop.trade(40).await;
    shop.publish(positions).await;
    shop.until_caught_up().await;
    shop.sql("update log_head set epoch = epoch + 1").await;
    let positions = shop.trade_in_new_epoch(40).await;
    shop.publish(positions).await;
    shop.until_caught_up().await;
    let epochs: Vec<i64> = sqlx::query_scalar("select log_epoch from projections.generations")
        .fetch_all(&shop.database)
        .await
        .expect("the checkpoints can be read");
    assert_eq!(epochs, vec![2; projections::names().len()], "of each projection");
    assert!(projector.health.is_ready(), "{}", projector.health.report());
    projector.stop().await;
}

/// Everything may start at once, in any order.
#[tokio::test]
async fn a_projector_waits_for_its_servers() {
    let mut shop = Shop::open().await;
    shop.trade(40).await;
    shop.delete_stream().await;
    shop.servers.nats().stop().await.expect("it ends");
    shop.servers.postgres().stop().await.expect("it ends");
    let projector = shop.projector().await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!projector.health.is_ready());
    shop.servers.postgres().restart().await.expect("it starts");
    shop.until_caught_up().await;
    projector.until_reported("nats: not ok").await;
    shop.servers.nats().restart().await.expect("it starts");
    shop.create_stream().await;
    eventually("it is ready", async || projector.health.is_ready()).await;
    projector.stop().await;
}
