//! What was: any version of a product, an order and a stock item, and generations that are kept under a name.

use crate::api::{Answer, Api, eventually};
use crate::recorder::{Recorder, projector_settings};
use crate::trade::{ORDER, PAYMENT, Trade, example};
use kontor_event_store::LogReader;
use kontor_identity::Role;
use kontor_local::Role as DatabaseRole;
use kontor_projection_services::projections::catalogue::Catalogue;
use kontor_projection_services::runtime::rebuild::{AsOf, Outcome, rebuild};
use kontor_projection_services::runtime::store::StoreOptions;
use kontor_projection_services::runtime::{Kept, Means};
use kontor_projection_services::{Projector, projections};
use kontor_telemetry::{Health, Metrics};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn body(answer: Answer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn each_version_of_an_order_is_what_the_live_query_answered_then() {
    let api = Api::start().await;
    let mut trade = Trade::on(&api).await;
    let placed = trade.placed().await;
    let path = format!("/v1/orders/{ORDER}");
    let mut answers = Vec::new();
    trade.record(("order", ORDER), &placed, "13085").await;
    answers.push(body(api.get(&path).await));
    for event in [
        "authorised",
        "confirmed",
        "shipped",
        "captured",
        "delivered",
        "return-requested",
        "return-received",
        "refunded",
    ] {
        trade.record(("order", ORDER), &example(&format!("order.{event}")), "service:processes").await;
        answers.push(body(api.get(&path).await));
    }
    for (version, expected) in (1..).zip(&answers) {
        let answer = api.get(&format!("{path}?version={version}")).await;
        assert_eq!((&answer.body, answer.position()), (expected, version), "version {version}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let now = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    assert_eq!(Some(&api.ok(&format!("{path}?at={now}")).await.body), answers.last());
    let before = api.get(&format!("{path}?at=2011-01-01T00:00:00Z")).await;
    assert_eq!((before.status, before.problem(), before.position()), (404, "unknown-order", 0));
    let beyond = api.get(&format!("{path}?version=10")).await;
    assert_eq!((beyond.status, beyond.problem(), &beyond.body["latest"]), (404, "unknown-version", &json!(9)));
}

#[tokio::test]
async fn what_was_is_for_those_who_look_after_the_shop() {
    let api = Api::start().await;
    let mut trade = Trade::on(&api).await;
    let placed = trade.placed().await;
    trade.record(("order", ORDER), &placed, "13085").await;
    for path in [
        format!("/v1/orders/{ORDER}?version=1"),
        "/v1/products/MUG?at=2026-01-01T00:00:00Z".to_owned(),
        "/v1/products?as_of=june".to_owned(),
        "/v1/stock/MUG/history".to_owned(),
    ] {
        assert_eq!(api.get_as_guest(&path).await.status, 401, "{path}");
        let refused = api.get_as(Role::Customer, Some("13085"), &path).await;
        assert_eq!((refused.status, refused.problem()), (403, "forbidden"), "{path}");
        assert_ne!(api.get_as(Role::Analyst, None, &path).await.status, 403, "{path}");
    }
    let analyst = api.get_as(Role::Analyst, None, &format!("/v1/orders/{ORDER}?version=1")).await;
    assert_eq!((analyst.status, &analyst.body["contact"]), (200, &Value::Null), "an analyst sees nobody");
}

#[tokio::test]
async fn each_version_of_a_product_is_what_the_live_query_answered_at_its_end() {
    let api = Api::start().await;
    let mut trade = Trade::on(&api).await;
    let gbp = |amount: i64| json!({"amount_minor": amount, "currency": "GBP"});
    let mut answers: Vec<Value> = Vec::new();
    let mut version = 0;
    for (stream, event) in [
        (("product", "MUG"), json!({"Registered": {"name": "Mug", "description": "White."}})),
        (
            ("stock", "MUG"),
            json!({"Received": {"quantity": 7, "reference": null, "on_hand_after": 7, "available_after": 7}}),
        ),
        (("product", "MUG"), json!({"Priced": {"price": gbp(700), "previous": null}})),
        (
            ("category-tree", "main"),
            json!({"Created": {"category": "cups", "name": "Cups", "slug": "cups", "parent": null}}),
        ),
        (("product", "MUG"), json!({"Categorised": {"categories": ["cups"]}})),
        (("product", "MUG"), json!({"AttributesSet": {"attributes": {"material": {"text": "Enamel"}}}})),
        (("category-tree", "main"), json!({"Removed": {"category": "cups"}})),
        (("product", "MUG"), json!({"VariantAdded": {"sku": "MUG-S", "options": {"size": "S"}}})),
        (
            ("stock", "MUG-S"),
            json!({"Received": {"quantity": 3, "reference": null, "on_hand_after": 3, "available_after": 3}}),
        ),
        (("stock", "MUG-S"), json!({"Reserved": {"order_id": ORDER, "quantity": 2, "available_after": 1}})),
        (("product", "MUG"), json!({"VariantPriced": {"sku": "MUG-S", "price": gbp(650), "previous": null}})),
        (("product", "MUG"), json!({"Withdrawn": {"reason": "broken"}})),
    ] {
        trade.record(stream, &event, "ada").await;
        let live = body(api.get("/v1/products/MUG").await);
        if stream.0 == "product" {
            version += 1;
            answers.push(live);
        } else if let Some(last) = answers.last_mut() {
            *last = live;
        }
    }
    assert_eq!(answers.len(), version);
    for (version, expected) in (1..).zip(&answers) {
        assert_eq!(&body(api.get(&format!("/v1/products/MUG?version={version}")).await), expected, "version {version}");
    }
}

#[tokio::test]
async fn the_history_of_a_stock_item_is_answered_page_by_page_from_any_moment_on() {
    let api = Api::start().await;
    let mut trade = Trade::on(&api).await;
    let received =
        |n: i64| json!({"Received": {"quantity": 1, "reference": null, "on_hand_after": n, "available_after": n}});
    for n in 1..=3 {
        trade.record(("stock", "MUG"), &received(n), "ada").await;
    }
    for n in 0..3 {
        let reserved = json!({"Reserved": {"order_id": ORDER, "quantity": 1, "available_after": 2 - n}});
        trade.record(("stock", "MUG"), &reserved, "guest").await;
    }
    let levels = |answer: &Answer| -> Vec<(i64, i64, i64)> {
        let number = |item: &Value, name: &str| item[name].as_i64().expect("a number");
        let items = answer.body["items"].as_array().expect("a page");
        items.iter().map(|item| (number(item, "version"), number(item, "on_hand"), number(item, "available"))).collect()
    };
    let all = api.ok("/v1/stock/MUG/history").await;
    assert_eq!(levels(&all), [(6, 3, 0), (5, 3, 1), (4, 3, 2), (3, 3, 3), (2, 2, 2), (1, 1, 1)]);
    assert_eq!((&all.body["items"][0]["what"], &all.body["items"][0]["by"]), (&json!("reserved"), &json!("guest")));
    let (mut found, mut path) = (Vec::new(), "/v1/stock/MUG/history?version=5&limit=2".to_owned());
    loop {
        let page = api.ok(&path).await;
        found.extend(levels(&page));
        let Some(cursor) = page.body["next_cursor"].as_str() else { break };
        path = format!("/v1/stock/MUG/history?version=5&limit=2&cursor={cursor}");
    }
    assert_eq!(found, levels(&all)[1..]);
    let live = api.get_as_guest("/v1/products/MUG").await;
    assert_eq!(live.status, 404, "there is stock, and no product");
    for (path, problem) in
        [("/v1/stock/CUP/history", "unknown-stock"), ("/v1/stock/MUG/history?version=7", "unknown-version")]
    {
        assert_eq!(api.get(path).await.problem(), problem, "{path}");
    }
}

#[tokio::test]
async fn a_timeline_says_what_happened_to_an_order_and_nothing_of_the_people_in_it() {
    let api = Api::start().await;
    let mut trade = Trade::on(&api).await;
    let placed = trade.placed().await;
    trade.record(("order", ORDER), &placed, "13085").await;
    for (stream, event, actor) in [
        (("payment", PAYMENT), "payment.authorisation-requested", "service:processes"),
        (("payment", PAYMENT), "payment.declined", "payments"),
        (("order", ORDER), "order.cancelled", "ada"),
    ] {
        trade.record(stream, &example(event), actor).await;
    }
    let path = format!("/v1/orders/{ORDER}/timeline");
    let answer = api.get_as(Role::Customer, Some("13085"), &path).await;
    assert_eq!((answer.status, answer.position()), (200, 4), "{answer:?}");
    let entries: Vec<(&str, &str)> = answer.body["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| (entry["what"].as_str().expect("text"), entry["by"].as_str().expect("text")))
        .collect();
    let expected = [
        ("order.placed", "customer"),
        ("payment.authorisation-requested", "system"),
        ("payment.declined", "system"),
        ("order.cancelled", "staff"),
    ];
    assert_eq!(entries, expected);
    assert_eq!(answer.body["entries"][0]["at"], "2011-12-09T12:50:00Z");
    for personal in ["sealed", "ada", "13085"] {
        assert!(!answer.body.to_string().contains(personal), "{answer:?}");
    }
    let others = api.get_as(Role::Customer, Some("17850"), &path).await;
    assert_eq!((others.status, others.problem()), (404, "unknown-order"));
}

/// Step 1: there is a cup. Step 2: it is renamed, and a mug comes. Step 3: operations rebuild the catalogue as it was after step 1.
#[tokio::test]
async fn a_rebuild_until_some_position_is_asked_for_by_its_name() {
    let api = Api::start().await;
    let mut recorder = Recorder::on(&api).await;
    let settings = projector_settings(&api);
    let projector = Projector::start(&settings, projections::all(), &Metrics::new(), &Health::new()).await;
    let projector = projector.expect("it starts");
    recorder.append("product", "CUP", json!({"Registered": {"name": "Cup", "description": null}})).await;
    let then = recorder.head;
    recorder.append("product", "CUP", json!({"Described": {"name": "Big cup", "description": null}})).await;
    recorder.append("product", "MUG", json!({"Registered": {"name": "Mug", "description": null}})).await;
    let now = recorder.head;
    eventually("all is visible", async || api.ok("/v1/positions").await.body["catalogue"] == now).await;
    let unknown = api.get("/v1/products/MUG?as_of=june").await;
    assert_eq!((unknown.status, unknown.problem(), &unknown.body["known"]), (404, "unknown-generation", &json!([])));

    rebuild_catalogue(&api, &AsOf { position: then, name: "june".to_owned() }).await;
    api.write("select 1").await; // The replica has it.
    recorder.append("product", "MUG", json!({"Described": {"name": "Big mug", "description": null}})).await;
    let now = recorder.head;
    eventually("that is visible, too", async || api.ok("/v1/positions").await.body["catalogue"] == now).await;
    for _ in 0..8 {
        let kept = api.ok("/v1/products?as_of=june").await;
        assert_eq!((&kept.body["items"][0]["name"], kept.position()), (&json!("Cup"), then));
        assert_eq!(kept.body["items"].as_array().map(Vec::len), Some(1));
        let live = api.ok("/v1/products").await;
        assert_eq!((&live.body["items"][0]["name"], live.position()), (&json!("Big cup"), now));
        assert_eq!(live.body["items"][1]["name"], "Big mug");
    }
    assert_eq!(api.ok("/v1/products/CUP?as_of=june").await.body["name"], "Cup");
    assert_eq!(api.get("/v1/products/MUG?as_of=june").await.status, 404);
    let other = api.get("/v1/products?as_of=july").await;
    assert_eq!((other.status, &other.body["known"]), (404, &json!(["june"])));
    assert_eq!(api.get(&format!("/v1/orders/{ORDER}?as_of=june")).await.problem(), "unknown-generation");
    let both = api.get_with("/v1/products?as_of=june", &[("Kontor-Min-Position", "1")]).await;
    assert_eq!((both.status, both.problem()), (400, "invalid-header"));
    projector.stop().await;
}

/// As `kontor projections rebuild catalogue --until POSITION --name NAME`.
async fn rebuild_catalogue(api: &Api, as_of: &AsOf) {
    let postgres: PgConnectOptions = api.servers.postgres().url(DatabaseRole::Projector).parse().expect("a URL");
    let control = PgPool::connect_with(postgres.clone()).await.expect("it connects");
    let log = LogReader::new(control.clone(), Arc::default());
    let means = Means { control, log, writers_max: 1 };
    let stores = StoreOptions { postgres, redis: None, search: None, writers_max: 1 };
    let kept = Kept::new(Arc::new(Catalogue), &stores);
    let built = rebuild(&means, &kept, Some(as_of), &CancellationToken::new(), &|_| {}).await;
    assert!(matches!(built, Ok(Outcome::Named(_))), "{built:?}");
}
