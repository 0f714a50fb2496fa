//! `If-Match`: a command is for the version that its caller has seen, or not at all.

mod support;

use serde_json::{Value, json};
use support::{Answer, App, problem, send, spawn_app};

impl App {
    async fn price(&self, key: &str, pence: i64, version: &str) -> Answer {
        let body = json!({ "price": { "amount_minor": pence, "currency": "GBP" } });
        let request = self.client.post(self.url("/v1/products/MUG/price")).header("Idempotency-Key", key);
        send(request.header("If-Match", version).json(&body)).await
    }
}

async fn app_with_mug() -> App {
    let app = spawn_app().await;
    app.done("/v1/products", "mug", json!({ "sku": "MUG", "name": "Enamel mug" })).await;
    app
}

#[actix_web::test]
async fn a_command_for_a_version_that_has_passed_is_refused_with_both_versions() {
    let app = app_with_mug().await;
    let first = app.price("a", 100, "\"1\"").await;
    assert_eq!((first.status, first.etag.as_deref()), (201, Some("\"2\"")));
    let late = app.price("b", 200, "\"1\"").await;
    assert_eq!((late.status, problem(&late)), (412, "stale-version"));
    assert_eq!((&late.body["expected"], &late.body["actual"]), (&json!(1), &json!(2)));
    assert_eq!(app.log().await.len(), 2);
    assert_eq!(app.price("b", 200, "\"2\"").await.status, 201, "what was refused left no key");
}

#[actix_web::test]
async fn a_retry_has_its_first_outcome_although_its_version_has_passed() {
    let app = app_with_mug().await;
    let first = app.price("a", 100, "\"1\"").await;
    let again = app.price("a", 100, "\"1\"").await;
    assert_eq!((again.status, &again.body["replayed"]), (200, &Value::Bool(true)), "{again:?}");
    assert_eq!(again.position, first.position);
}

#[actix_web::test]
async fn any_version_that_exists_will_do_for_a_star() {
    let app = app_with_mug().await;
    assert_eq!(app.price("a", 100, "*").await.status, 201);
    let request = app.client.post(app.url("/v1/products/CUP/price")).header("Idempotency-Key", "b");
    let body = json!({ "price": { "amount_minor": 1, "currency": "GBP" } });
    let nothing = send(request.header("If-Match", "*").json(&body)).await;
    assert_eq!((nothing.status, &nothing.body["actual"]), (412, &json!(0)));
}

#[actix_web::test]
async fn of_two_who_saw_the_same_version_one_changes_it() {
    let app = app_with_mug().await;
    let prices: Vec<_> = (0..20_i64).map(|n| (format!("k{n}"), 100 + n)).collect();
    let answers = futures::future::join_all(prices.iter().map(|(key, pence)| app.price(key, *pence, "\"1\""))).await;
    let statuses = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((statuses(201), statuses(412)), (1, 19));
}

#[actix_web::test]
async fn what_is_no_version_is_named() {
    let app = app_with_mug().await;
    for version in ["1", "W/\"1\"", "\"1\", \"2\"", "\"-1\"", "\"one\"", ""] {
        let answer = app.price("a", 100, version).await;
        assert_eq!((answer.status, problem(&answer)), (400, "invalid-header"), "{version}");
        assert_eq!(answer.body["header"], "If-Match");
    }
}
