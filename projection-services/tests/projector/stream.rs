//! Whatever becomes of the stream, the rows are those of the log.

use crate::shop::{Shop, eventually};
use async_nats::HeaderMap;
use kontor_event_schemas::subject;
use kontor_projection_services::projections;
use std::time::{Duration, Instant};

#[tokio::test]
async fn events_of_the_stream_become_rows() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    projector.until_reading().await;
    let positions = shop.trade(300).await;
    shop.publish(positions.clone()).await;
    shop.until_caught_up().await;
    eventually("it is ready", async || projector.health.is_ready()).await;
    for projection in ["catalogue", "orders"] {
        assert_eq!(projector.of("kontor_projection_position", projection), positions.len() as f64);
        assert_eq!(projector.of("kontor_projection_events_total", projection), positions.len() as f64);
        assert_eq!(projector.of("kontor_projection_lag_events", projection), 0.0);
        assert_eq!(projector.of("kontor_projection_active", projection), 1.0);
    }
    projector.stop().await;
}

/// Otherwise the rows would be compared for less than they hold.
#[tokio::test]
async fn the_trade_has_all_that_can_become_of_an_order() {
    let mut shop = Shop::open().await;
    shop.trade(2_500).await;
    let kinds = "select distinct event_type from events where aggregate_type = 'order' order by 1";
    let expected = [
        "Authorised",
        "Cancelled",
        "Captured",
        "Confirmed",
        "Delivered",
        "Placed",
        "RefundBounced",
        "Refunded",
        "Restocked",
        "ReturnReceived",
        "ReturnRequested",
        "Shipped",
    ];
    assert_eq!(shop.sql(kinds).await.lines().collect::<Vec<_>>(), expected);
    // Some in one batch with their order, some in later ones.
    let projector = shop.projector().await;
    for _ in 0..10 {
        shop.trade(20).await;
        shop.until_caught_up().await;
    }
    projector.stop().await;
}

#[tokio::test]
async fn one_event_is_visible_at_once() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    projector.until_reading().await;
    shop.trade(50).await;
    shop.until_caught_up().await;
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let positions = shop.trade(1).await;
        let published = Instant::now();
        shop.publish(positions).await;
        shop.until_at("catalogue", shop.head().await).await;
        best = best.min(published.elapsed());
    }
    // No timer is on the way: the log would have been asked only after 200 ms.
    assert!(best < Duration::from_millis(100), "{best:?}");
    projector.stop().await;
}

#[tokio::test]
async fn what_was_never_published_comes_from_the_log() {
    let mut shop = Shop::open().await;
    shop.trade(100).await;
    let projector = shop.projector().await;
    shop.until_caught_up().await;
    shop.trade(100).await;
    shop.until_caught_up().await;
    assert_eq!(projector.metric("kontor_source_stream_events_total"), 0.0);
    projector.stop().await;
}

#[tokio::test]
async fn messages_lost_doubled_and_out_of_order_have_the_effect_of_the_log() {
    let mut shop = Shop::open().await;
    let mut settings = shop.settings();
    settings.projections.silence_ms = 20_000; // Holes are seen by the next message, not by the silence.
    let projector = shop.projector_with(projections::all(), &settings).await;
    projector.until_reading().await;
    let positions = shop.trade(300).await;
    let mut messages = Vec::new();
    for chunk in positions.chunks(7) {
        messages.extend(chunk.iter().rev().filter(|position| **position % 5 != 0)); // Backwards, and some are lost.
        messages.extend(chunk.iter().take(3)); // Some come again.
    }
    messages.extend(positions.last());
    shop.publish(messages).await;
    shop.until_caught_up().await;
    assert!(projector.metric("kontor_source_holes_total") > 0.0);
    assert!(projector.metric("kontor_source_repeated_events_total") > 0.0);
    for projection in ["catalogue", "orders"] {
        // Each event once, whatever the stream did.
        assert_eq!(projector.of("kontor_projection_events_total", projection), shop.head().await as f64);
    }
    projector.stop().await;
}

#[tokio::test]
async fn a_message_that_is_no_event_is_passed_over() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    projector.until_reading().await;
    let positions = shop.trade(20).await;
    let (first, rest) = positions.split_at(positions.len() / 2);
    shop.publish(first.to_vec()).await;
    let mut headers = HeaderMap::new();
    headers.insert(subject::POSITION, "soon");
    let sent = shop.jetstream.publish_with_headers("kontor.v1.stock.shipped", headers, "{}".into()).await;
    sent.expect("it is sent").await.expect("it is acknowledged");
    shop.publish(rest.to_vec()).await;
    shop.until_caught_up().await;
    assert_eq!(projector.metric("kontor_source_malformed_messages_total"), 1.0);
    projector.stop().await;
}

/// Trades and publishes until an event has come from the stream.
async fn until_the_stream_is_followed(shop: &mut Shop, projector: &crate::shop::Running) {
    let before = projector.metric("kontor_source_stream_events_total");
    let begun = Instant::now();
    while projector.metric("kontor_source_stream_events_total") == before {
        assert!(begun.elapsed() < crate::shop::PATIENCE, "no event comes from the stream");
        let positions = shop.trade(1).await;
        shop.publish(positions).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Step 1: NATS goes away, and trade goes on. Step 2: it comes back, and events come from the stream again.
#[tokio::test]
async fn nats_that_is_away_delays_events_and_does_not_stop_them() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    projector.until_reading().await;

    shop.servers.nats().kill().await.expect("it runs");
    shop.trade(100).await;
    shop.until_caught_up().await;

    shop.servers.nats().restart().await.expect("it starts");
    let head = shop.head().await;
    shop.publish(1..=head).await;
    until_the_stream_is_followed(&mut shop, &projector).await;
    shop.until_caught_up().await;
    projector.stop().await;
}

/// Step 1: the stream is deleted. Step 2: it is made anew and filled from the log, as the relay does. Step 3: events come
/// from it, although its messages have other numbers now.
#[tokio::test]
async fn a_stream_that_was_deleted_and_made_anew_is_followed() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    projector.until_reading().await;
    let positions = shop.trade(50).await;
    shop.publish(positions.iter().flat_map(|position| [*position; 3])).await; // Numbers far above the positions.
    shop.until_caught_up().await;

    shop.delete_stream().await;
    shop.trade(50).await;
    shop.until_caught_up().await;

    shop.create_stream().await;
    let head = shop.head().await;
    shop.publish(1..=head).await;
    until_the_stream_is_followed(&mut shop, &projector).await;
    shop.until_caught_up().await;
    projector.stop().await;
}

/// A projector that starts beside a stream with a long past does not read it again.
#[tokio::test]
async fn the_past_of_the_stream_is_left_alone() {
    let mut shop = Shop::open().await;
    let positions = shop.trade(100).await;
    shop.publish(positions).await;
    let projector = shop.projector().await;
    shop.until_caught_up().await;
    projector.until_reading().await;
    until_the_stream_is_followed(&mut shop, &projector).await;
    shop.until_caught_up().await;
    assert!(projector.metric("kontor_source_repeated_events_total") < 20.0);
    projector.stop().await;
}

/// What a failover has undone may still be on the stream: messages of an earlier epoch are read from the log.
#[tokio::test]
async fn a_message_of_another_epoch_is_not_believed() {
    let mut shop = Shop::open().await;
    shop.trade(20).await;
    shop.sql("update log_head set epoch = epoch + 1").await;
    let projector = shop.projector().await;
    shop.until_caught_up().await;
    projector.until_reading().await;
    let before = projector.metric("kontor_source_stream_events_total");
    let positions = shop.trade_in_new_epoch(20).await;
    shop.publish_in_epoch(positions, 1).await;
    shop.until_caught_up().await;
    assert_eq!(projector.metric("kontor_source_stream_events_total"), before);
    projector.stop().await;
}
