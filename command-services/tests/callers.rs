//! Who may give which command.

mod support;

use kontor_identity::Role as Caller;
use serde_json::{Value, json};
use support::{Answer, App, client, problem, send, spawn_app};

impl App {
    /// Posts a command as the caller that `token` names; `None`: a guest.
    async fn post_as(&self, token: Option<&str>, path: &str, key: &str, body: &Value) -> Answer {
        send(client(token).post(self.url(path)).header("Idempotency-Key", key).json(body)).await
    }

    fn token(&self, role: Caller, customer: Option<&str>) -> String {
        self.servers.identity().token(customer.unwrap_or(role.name()), role, customer)
    }
}

fn mug() -> Value {
    json!({ "sku": "MUG", "name": "Enamel mug" })
}

/// One mug for `customer`, out of a stock of ten.
async fn order_of(app: &App, customer: &str) -> String {
    app.done("/v1/products", "mug", mug()).await;
    app.done("/v1/stock/MUG/receive", "stock", json!({ "quantity": 10 })).await;
    let price = json!({ "amount_minor": 1250, "currency": "GBP" });
    let lines = json!([{ "sku": "MUG", "quantity": 1, "unit_price": price }]);
    let body = json!({ "country": "EIRE", "customer_id": customer, "lines": lines });
    let answer = app.post("/v1/orders", "order", body).await;
    answer.body["id"].as_str().expect("an order").to_owned()
}

#[actix_web::test]
async fn who_does_not_say_who_they_are_changes_nothing() {
    let app = spawn_app().await;
    let answer = app.post_as(None, "/v1/products", "a", &mug()).await;
    assert_eq!((answer.status, problem(&answer)), (401, "unauthenticated"));
    let answer = app.post_as(Some("no.token.ofours"), "/v1/products", "a", &mug()).await;
    assert_eq!((answer.status, problem(&answer)), (401, "unauthenticated"));
    let bulk = client(None).post(app.url("/v1/bulk")).header("Content-Type", "application/x-ndjson").body("");
    assert_eq!(send(bulk).await.status, 401);
    let outcome = send(client(None).get(app.url("/v1/commands/a"))).await;
    assert_eq!(outcome.status, 401);
    assert_eq!(app.log().await.len(), 0);
}

#[actix_web::test]
async fn each_role_may_do_its_own_work_only() {
    let app = spawn_app().await;
    let (analyst, warehouse) = (app.token(Caller::Analyst, None), app.token(Caller::Warehouse, None));
    let customer = app.token(Caller::Customer, Some("17850"));
    for token in [&analyst, &warehouse, &customer] {
        let answer = app.post_as(Some(token), "/v1/products", "a", &mug()).await;
        assert_eq!((answer.status, problem(&answer)), (403, "forbidden"));
        assert_eq!(answer.body["permission"], "edit-catalogue");
    }
    app.done("/v1/products", "mug", mug()).await;
    let received = app.post_as(Some(&warehouse), "/v1/stock/MUG/receive", "b", &json!({ "quantity": 1 })).await;
    assert_eq!(received.status, 201);
    let events = app.log().await;
    assert_eq!(events.last().expect("an event").metadata().expect("metadata").actor, "warehouse");
}

#[actix_web::test]
async fn each_line_of_a_bulk_needs_its_own_permission() {
    let app = spawn_app().await;
    let bulk = concat!(
        r#"{"key":"1","command":"register-product","sku":"MUG","name":"Enamel mug"}"#,
        "\n",
        r#"{"key":"2","command":"receive-stock","sku":"MUG","quantity":1}"#,
        "\n",
    );
    app.done("/v1/products", "mug", mug()).await;
    let request = client(Some(&app.token(Caller::Warehouse, None))).post(app.url("/v1/bulk"));
    let answer = request.header("Content-Type", "application/x-ndjson").body(bulk).send().await.expect("an answer");
    let text = answer.text().await.expect("the results");
    let statuses: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["status"].clone()).collect();
    assert_eq!(statuses, [403, 201]);
}

#[actix_web::test]
async fn a_customer_cancels_their_own_order_and_no_other() {
    let app = spawn_app().await;
    let order = order_of(&app, "17850").await;
    let (path, reason) = (format!("/v1/orders/{order}/cancel"), json!({ "reason": "changed my mind" }));
    let another = app.token(Caller::Customer, Some("13047"));
    let refused = app.post_as(Some(&another), &path, "a", &reason).await;
    assert_eq!((refused.status, problem(&refused)), (404, "unknown-order"));
    let owner = app.token(Caller::Customer, Some("17850"));
    assert_eq!(app.post_as(Some(&owner), &path, "a", &reason).await.status, 201);
}

#[actix_web::test]
async fn a_key_belongs_to_the_one_who_used_it() {
    let app = spawn_app().await;
    app.done("/v1/products", "mine", mug()).await;
    let admin = app.token(Caller::Admin, None);
    let answer = app.post_as(Some(&admin), "/v1/products", "mine", &json!({ "sku": "CUP", "name": "Cup" })).await;
    assert_eq!(answer.status, 201, "another caller's key is another key");
    let customer = app.token(Caller::Customer, Some("17850"));
    let outcome = send(client(Some(&customer)).get(app.url("/v1/commands/mine"))).await;
    assert_eq!((outcome.status, problem(&outcome)), (404, "unknown-key"));
}
