//! Goods that are set aside for a time, without an order: when it is over they are on sale again, whoever leads by then.

mod support;

use chrono::{TimeDelta, Utc};
use kontor_command_services::service::Role;
use kontor_local::Need;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{App, join, spawn};
use uuid::Uuid;

const ALL: &[Role] = &[Role::Commands, Role::Processes];
/// What is to happen by itself has happened by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// A shop with five mugs and five cups.
async fn shop() -> App {
    let app = spawn(&[Need::Postgres], ALL, |settings| settings.processes.checkpoint_every_ms = 100).await;
    for sku in ["MUG", "CUP"] {
        app.done(&format!("/v1/stock/{sku}/receive"), sku, json!({"quantity": 5})).await;
    }
    app
}

/// Sets two units aside, for so many milliseconds from now.
async fn reserve(app: &App, sku: &str, order_id: Uuid, for_ms: i64) {
    let expires_at = Utc::now() + TimeDelta::milliseconds(for_ms);
    let body = json!({"order_id": order_id, "quantity": 2, "expires_at": expires_at});
    app.done(&format!("/v1/stock/{sku}/reserve"), &Uuid::now_v7().to_string(), body).await;
}

/// Of each event of this kind, in the order of the log: the stream that it is of, and its payload.
async fn events(app: &App, kind: (&str, &str)) -> Vec<(String, Value)> {
    let of_kind = |(aggregate_type, event_type): (&str, &str)| (aggregate_type, event_type) == kind;
    let log = app.log().await.into_iter().filter(|event| of_kind((&event.aggregate_type, &event.event_type)));
    let payload = |payload: &str| serde_json::from_str::<Value>(payload).expect("JSON")[kind.1].clone();
    log.map(|event| (event.aggregate_id.to_string(), payload(&event.payload))).collect()
}

/// Waits until so many timers have fired.
async fn until_fired(app: &App, count: usize) {
    let patience = Instant::now() + PATIENCE;
    while events(app, ("timer", "Fired")).await.len() < count {
        assert!(Instant::now() < patience, "{:#?}", app.log().await);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Waits until the process managers have written down that they are to do something about so many orders.
async fn until_open(app: &App, count: usize) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let open = app.servers.postgres().sql("select count(*) from processes.orders").await.expect("a count");
        if open == count.to_string() {
            return;
        }
        assert!(Instant::now() < patience, "{open} are open, not {count}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// SKU and cause of all that went back on sale.
async fn released(app: &App) -> Vec<(String, Value)> {
    let released = events(app, ("stock", "Released")).await;
    released.into_iter().map(|(sku, event)| (sku, event["cause"].clone())).collect()
}

#[actix_web::test]
async fn goods_go_back_on_sale_by_themselves_when_their_time_is_over() {
    let app = shop().await;
    let order_id = Uuid::now_v7();
    reserve(&app, "MUG", order_id, 300).await;
    reserve(&app, "CUP", order_id, 600_000).await;
    until_fired(&app, 1).await;
    assert_eq!(released(&app).await, [("MUG".to_owned(), json!("expired"))]);
    // Reserved anew under the same order, they have a new time.
    reserve(&app, "MUG", order_id, 300).await;
    until_fired(&app, 2).await;
    assert_eq!(released(&app).await.len(), 2);
    let body = json!({"order_id": Uuid::now_v7(), "quantity": 5});
    assert_eq!(app.post("/v1/stock/MUG/reserve", "all", body).await.status, 201);
}

/// Step 1: goods are set aside for a second, and somebody has heard of it. Step 2: all stop, and the second passes.
/// Step 3: who starts then puts them back on sale, once.
#[actix_web::test]
async fn a_restart_loses_no_timer() {
    let app = shop().await;
    // 1
    reserve(&app, "MUG", Uuid::now_v7(), 1_000).await;
    until_open(&app, 1).await;
    // 2
    let servers = app.servers.clone();
    app.service.stop().await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    // 3
    let next = join(servers, ALL, |settings| settings.processes.checkpoint_every_ms = 100).await;
    until_fired(&next, 1).await;
    assert_eq!(released(&next).await, [("MUG".to_owned(), json!("expired"))]);
}

#[actix_web::test]
async fn what_was_settled_meanwhile_stays_as_it_is() {
    let app = shop().await;
    let [confirmed, released_before, ordered] = [(); 3].map(|()| Uuid::now_v7());
    reserve(&app, "CUP", ordered, 1_500).await;
    let lines = json!([{"sku": "CUP", "quantity": 2, "unit_price": {"amount_minor": 85, "currency": "GBP"}}]);
    app.done("/v1/orders", "order", json!({"order_id": ordered, "country": "GB", "lines": lines})).await;
    reserve(&app, "MUG", confirmed, 1_500).await;
    app.done("/v1/stock/MUG/confirm", "confirm", json!({"order_id": confirmed})).await;
    reserve(&app, "MUG", released_before, 1_500).await;
    app.done("/v1/stock/MUG/release", "release", json!({"order_id": released_before})).await;
    until_fired(&app, 2).await; // An order that stands needs no timer.
    until_open(&app, 0).await;
    assert_eq!(released(&app).await, [("MUG".to_owned(), json!("requested"))]);
}
