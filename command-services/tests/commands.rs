//! Commands over HTTP: what each does, how it is refused, and that a retry changes nothing.

mod support;

use serde_json::{Value, json};
use support::{App, problem, send, spawn, spawn_app};

const ORDER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn shop_with_two_mugs() -> App {
    let app = spawn_app().await;
    app.done("/v1/products", "register", json!({"sku": "MUG", "name": "Mug"})).await;
    app.done("/v1/stock/MUG/receive", "receive", json!({"quantity": 2})).await;
    app
}

fn order(lines: Value) -> Value {
    json!({"order_id": ORDER, "country": "EIRE", "lines": lines})
}

fn line(sku: &str, quantity: u64) -> Value {
    json!({"sku": sku, "quantity": quantity, "unit_price": {"amount_minor": 250, "currency": "GBP"}})
}

#[actix_web::test]
async fn a_command_answers_with_version_and_position() {
    let app = spawn_app().await;
    let registered = app.post("/v1/products", "1", json!({"sku": "MUG", "name": "Mug"})).await;
    assert_eq!((registered.status, registered.etag.as_deref(), registered.position), (201, Some("\"1\""), Some(1)));
    assert_eq!(registered.body, json!({"id": "MUG", "version": 1, "position": 1, "replayed": false}));
    let price = json!({"price": {"amount_minor": 250, "currency": "GBP"}});
    let priced = app.post("/v1/products/MUG/price", "2", price.clone()).await;
    assert_eq!((priced.status, priced.etag.as_deref(), priced.position), (201, Some("\"2\""), Some(2)));
    let unchanged = app.post("/v1/products/MUG/price", "3", price).await;
    assert_eq!((unchanged.status, unchanged.etag.as_deref(), unchanged.position), (200, Some("\"2\""), Some(2)));
    app.done("/v1/products/MUG/describe", "4", json!({"name": "Cup", "description": "Holds tea"})).await;
    app.done("/v1/products/MUG/withdraw", "5", json!({"reason": "sold out for good"})).await;
    let kinds: Vec<_> = app.log().await.iter().map(|event| event.event_type.to_string()).collect();
    assert_eq!(kinds, ["Registered", "Priced", "Described", "Withdrawn"]);
}

#[actix_web::test]
async fn events_name_who_caused_them_and_within_which_trace() {
    let app = spawn_app().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = app.client.post(app.url("/v1/products")).header("Idempotency-Key", "1");
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    assert_eq!(send(request.json(&json!({"sku": "MUG", "name": "Mug"}))).await.status, 201);
    let metadata = app.log().await[0].metadata().expect("metadata");
    assert_eq!(metadata.actor, "test");
    assert_eq!(metadata.event_id.get_version_num(), 7);
    assert!(metadata.traceparent.contains(trace), "{}", metadata.traceparent);
}

#[actix_web::test]
async fn an_order_and_its_goods_are_booked_together_or_not_at_all() {
    let app = shop_with_two_mugs().await;
    app.done("/v1/stock/CUP/receive", "cups", json!({"quantity": 1})).await;
    let refused = app.post("/v1/orders", "too much", order(json!([line("CUP", 1), line("MUG", 3)]))).await;
    assert_eq!((refused.status, problem(&refused)), (409, "insufficient-stock"));
    assert_eq!(refused.media_type.as_deref(), Some("application/problem+json"));
    let numbers = (&refused.body["sku"], &refused.body["requested"], &refused.body["available"]);
    assert_eq!(numbers, (&json!("MUG"), &json!(3), &json!(2)));
    assert_eq!(app.log().await.len(), 3, "nothing of the refused order is in the log");

    // Demand is summed over the lines of a SKU.
    let placed = app.post("/v1/orders", "place", order(json!([line("MUG", 1), line("CUP", 1), line("MUG", 1)]))).await;
    assert_eq!((placed.status, placed.position), (201, Some(6)));
    let none_left = app.post("/v1/stock/MUG/reserve", "one more", json!({"order_id": ORDER, "quantity": 1})).await;
    assert_eq!((none_left.status, problem(&none_left)), (409, "reserved-differently"));

    let cancelled = app.post(&format!("/v1/orders/{ORDER}/cancel"), "cancel", json!({"reason": "no"})).await;
    assert_eq!((cancelled.status, cancelled.position), (201, Some(9)));
    let again = app.post(&format!("/v1/orders/{ORDER}/cancel"), "cancel again", json!({"reason": "no"})).await;
    assert_eq!((again.status, again.position), (200, Some(9)));
    let released: Vec<_> = app.log().await[6..].iter().map(|event| event.event_type.to_string()).collect();
    assert_eq!(released, ["Cancelled", "Released", "Released"]);
}

#[actix_web::test]
async fn goods_over_the_counter_leave_at_once_and_come_back_by_a_cancellation() {
    let app = shop_with_two_mugs().await;
    let mut sale = order(json!([line("MUG", 2)]));
    sale["fulfilment"] = json!("ship");
    app.done("/v1/orders", "sale", sale).await;
    let late = app.post(&format!("/v1/orders/{ORDER}/cancel"), "late", json!({"reason": "no"})).await;
    assert_eq!((late.status, problem(&late)), (409, "already-shipped"));
    let back = json!({"country": "EIRE", "lines": [line("MUG", 1)], "cancelled_at": "2010-01-02T03:04:05Z"});
    app.done("/v1/cancellations", "back", back).await;
    app.done("/v1/stock/MUG/reserve", "next", json!({"order_id": ORDER, "quantity": 1})).await;
    app.done("/v1/stock/MUG/ship", "ship", json!({"order_id": ORDER})).await;
    let none = app.post("/v1/stock/MUG/release", "none", json!({"order_id": ORDER})).await;
    assert_eq!((none.status, problem(&none)), (409, "not-reserved"));
}

#[actix_web::test]
async fn a_retry_has_the_first_outcome() {
    let app = shop_with_two_mugs().await;
    // Without an id of the client's the first call chooses one, and the retry must get that one.
    let body = json!({"country": "EIRE", "lines": [line("MUG", 2)]});
    let first = app.post("/v1/orders", "order-1", body.clone()).await;
    let retry = app.post("/v1/orders", "order-1", body).await;
    assert_eq!((first.status, retry.status), (201, 200));
    assert_eq!(retry.body["replayed"], json!(true));
    for field in ["id", "version", "position"] {
        assert_eq!(first.body[field], retry.body[field], "{field}");
    }
    let known = app.get("/v1/commands/order-1").await;
    assert_eq!((known.status, &known.body["id"]), (200, &first.body["id"]));
    assert_eq!(problem(&app.get("/v1/commands/order-2").await), "unknown-key");

    // A delivery has no other mark than its key.
    app.done("/v1/stock/MUG/receive", "delivery", json!({"quantity": 5})).await;
    app.done("/v1/stock/MUG/receive", "delivery", json!({"quantity": 5})).await;
    let other = app.post("/v1/stock/MUG/receive", "delivery", json!({"quantity": 6})).await;
    assert_eq!((other.status, problem(&other)), (422, "idempotency-key-reused"));
    let received = app.log().await.iter().filter(|event| event.event_type == "Received").count();
    assert_eq!(received, 2);
}

#[actix_web::test]
async fn fifty_equal_requests_at_once_are_one() {
    let app = spawn_app().await;
    let requests = (0..50).map(|_| app.post("/v1/stock/MUG/receive", "delivery", json!({"quantity": 5})));
    let answers = futures::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| answer.position == Some(1)), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(app.log().await.len(), 1);
}

#[actix_web::test]
async fn what_is_wrong_with_a_request_is_named() {
    let app = shop_with_two_mugs().await;
    let refused = async |path: &str, body: &str, status: u16, name: &str, field: &str| {
        let request = app.client.post(app.url(path)).header("Idempotency-Key", "any");
        let answer = send(request.header("Content-Type", "application/json").body(body.to_owned())).await;
        assert_eq!((answer.status, problem(&answer)), (status, name), "{path} {body}: {answer:?}");
        if !field.is_empty() {
            assert_eq!(answer.body["field"], json!(field), "{path} {body}: {answer:?}");
        }
    };
    refused("/v1/products", "{", 400, "malformed-json", "").await;
    refused("/v1/products", "[]", 400, "malformed-json", "").await;
    refused("/v1/products", r#"{"sku":"A","name":"B","colour":"red"}"#, 422, "invalid-field", "colour").await;
    refused("/v1/products", r#"{"sku":"A B","name":"B"}"#, 422, "invalid-field", "sku").await;
    refused("/v1/products", r#"{"sku":"A","name":""}"#, 422, "invalid-field", "name").await;
    refused("/v1/products", r#"{"sku":"A","name":"\u0000"}"#, 422, "invalid-field", "name").await;
    refused("/v1/products/A%2FB/withdraw", r#"{"reason":"x"}"#, 422, "invalid-field", "sku").await;
    refused("/v1/products/A/withdraw", r#"{"reason":"x","sku":"A"}"#, 422, "invalid-field", "sku").await;
    refused("/v1/stock/MUG/receive", r#"{"quantity":-1}"#, 422, "invalid-field", "quantity").await;
    refused("/v1/stock/MUG/receive", r#"{"quantity":1.5}"#, 422, "invalid-field", "quantity").await;
    refused("/v1/stock/MUG/receive", r#"{"quantity":1e30}"#, 422, "invalid-field", "quantity").await;
    refused("/v1/stock/MUG/receive", r#"{"quantity":99999999999999999999}"#, 422, "invalid-field", "quantity").await;
    refused("/v1/stock/MUG/receive", r#"{"quantity":0}"#, 422, "nothing-to-move", "").await;
    refused("/v1/products/NONE/price", r#"{"price":{"amount_minor":1,"currency":"GBP"}}"#, 404, "unknown-product", "")
        .await;
    let price = r#"{"price":{"amount_minor":1,"currency":"gbp"}}"#;
    refused("/v1/products/MUG/price", price, 422, "invalid-field", "price.currency").await;
    refused("/v1/orders", &order(json!([])).to_string(), 422, "invalid-lines", "lines").await;
    let lines = json!([line("MUG", 1), line("MUG", 0)]);
    refused("/v1/orders", &order(lines).to_string(), 422, "invalid-lines", "lines[1].quantity").await;
    refused("/v1/nowhere", "{}", 404, "no-such-path", "").await;
    refused("/v1/products/MUG/nowhere", "{}", 404, "no-such-path", "").await;
    refused("/v1/productsandmore", "{}", 404, "no-such-path", "").await;
    assert_eq!(app.log().await.len(), 2, "nothing of all that was stored");
}

#[actix_web::test]
async fn key_media_type_method_and_size_are_checked_at_the_door() {
    let app = spawn(&[kontor_local::Need::Postgres], &[kontor_command_services::service::Role::Commands], |settings| {
        settings.http.body_bytes_max = 1_024;
    })
    .await;
    let url = app.url("/v1/products");
    let body = json!({"sku": "MUG", "name": "Mug"});
    let no_key = send(app.client.post(&url).json(&body)).await;
    assert_eq!((no_key.status, problem(&no_key)), (400, "invalid-header"));
    let no_json = send(app.client.post(&url).header("Idempotency-Key", "1").body("sku=MUG")).await;
    assert_eq!((no_json.status, problem(&no_json)), (415, "media-type"));
    assert_eq!(app.get("/v1/products").await.status, 405);
    let large = app.post("/v1/products", "1", json!({"sku": "MUG", "name": "x".repeat(2_000)})).await;
    assert_eq!((large.status, problem(&large), &large.body["limit_bytes"]), (413, "body-too-large", &json!(1_024)));
    // Quoted, as the IETF draft writes it, or not: one key.
    let quoted = send(app.client.post(&url).header("Idempotency-Key", "\"k\"").json(&body)).await;
    let unquoted = send(app.client.post(&url).header("Idempotency-Key", "k").json(&body)).await;
    assert_eq!((quoted.status, unquoted.status, &unquoted.body["replayed"]), (201, 200, &json!(true)));
}

#[actix_web::test]
async fn a_bulk_answers_each_line_in_order() {
    let app = shop_with_two_mugs().await;
    let lines = [
        json!({"key": "b1", "command": "receive-stock", "sku": "MUG", "quantity": 3}).to_string(),
        String::new(),
        json!({"key": "b2", "command": "reserve-stock", "sku": "MUG", "order_id": ORDER, "quantity": 9}).to_string(),
        "{not json".to_owned(),
        json!({"key": "b3", "command": "fly", "sku": "MUG"}).to_string(),
        json!({"command": "receive-stock", "sku": "MUG", "quantity": 3}).to_string(),
        json!({"key": "b1", "command": "receive-stock", "sku": "MUG", "quantity": 4}).to_string(),
        json!({"key": "b4", "command": "reserve-stock", "sku": "MUG", "order_id": ORDER, "quantity": 5}).to_string(),
        json!({"key": "b5", "command": "place-order", "country": "EIRE", "lines": [{"sku": "MUG"}]}).to_string(),
    ]
    .join("\n");
    let results = app.bulk(&lines).await;
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            let name = result["problem"]["type"].as_str().and_then(|kind| kind.rsplit('/').next()).unwrap_or("");
            (result["line"].as_u64().unwrap_or(0), result["status"].as_u64().unwrap_or(0), name)
        })
        .collect();
    let expected = [
        (1, 201, ""),
        (3, 409, "insufficient-stock"),
        (4, 400, "malformed-json"),
        (5, 422, "unknown-command"),
        (6, 422, "invalid-field"),
        (7, 422, "idempotency-key-reused"),
        (8, 201, ""),
        (9, 422, "invalid-field"),
    ];
    assert_eq!(told, expected, "{results:#?}");
    assert_eq!(
        results[0],
        json!({"line": 1, "key": "b1", "status": 201, "id": "MUG", "version": 2, "position": 3, "replayed": false})
    );
}

#[actix_web::test]
async fn a_bulk_sent_again_changes_nothing() {
    let app = spawn_app().await;
    let lines: Vec<_> = (0..1_000)
        .map(|n| {
            let sku = format!("S{}", n % 7);
            json!({"key": format!("k{n}"), "command": "receive-stock", "sku": sku, "quantity": 1}).to_string()
        })
        .collect();
    let first = app.bulk(&lines.join("\n")).await;
    assert!(first.iter().all(|result| result["status"] == 201), "{:?}", first.iter().find(|r| r["status"] != 201));
    // Cut off half-way and sent again by a client that cannot know how far it came.
    let again = app.bulk(&lines.join("\n")).await;
    assert!(again.iter().all(|result| result["status"] == 200 && result["replayed"] == true));
    for (first, again) in first.iter().zip(&again) {
        assert_eq!((&first["position"], &first["version"]), (&again["position"], &again["version"]));
    }
    assert_eq!(app.log().await.len(), 1_000);
}

#[actix_web::test]
async fn too_many_waiting_commands_are_sent_away_for_a_while() {
    // Room for one waiting append, and a log that is held up.
    let app = spawn(&[kontor_local::Need::Postgres], &[kontor_command_services::service::Role::Commands], |settings| {
        settings.log.waiting_max = 1;
    })
    .await;
    let held = app.servers.postgres().superuser_url();
    let mut held: sqlx::PgConnection = sqlx::Connection::connect(&held).await.expect("the database is there");
    sqlx::query("begin").execute(&mut held).await.expect("begun");
    sqlx::query("select * from log_head for update").execute(&mut held).await.expect("the gate is held");
    let commands = (0..20).map(|n| {
        let (app, path) = (&app, format!("/v1/stock/S{n}/receive"));
        async move { app.post(&path, &format!("k{n}"), json!({"quantity": 1})).await }
    });
    let release = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        sqlx::query("rollback").execute(&mut held).await.expect("released");
    };
    let (answers, ()) = futures::future::join(futures::future::join_all(commands), release).await;
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!busy.is_empty(), "somebody was sent away");
    for answer in &busy {
        assert_eq!((problem(answer), answer.retry_after.as_deref()), ("busy", Some("1")));
    }
    let done = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(done + busy.len(), 20);
    assert_eq!(app.log().await.len(), done, "who was sent away left nothing");
}
