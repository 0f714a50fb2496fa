//! What the staff does with payments over HTTP, and who sees them.

mod support;

use chrono::Utc;
use kontor_domain::payment::{PaymentCommand, Progress};
use kontor_domain::text::PaymentMethod;
use kontor_domain::{AttemptId, OrderId, PaymentId, ReturnId};
use kontor_identity::Role as Caller;
use serde_json::{Value, json};
use support::payments::{Process, new_attempt, pence};
use support::{Answer, App, client, problem, send, spawn_app};
use uuid::Uuid;

/// A shop in which one payment of 3.45 is authorised, and the process that settles payments.
struct Shop {
    app: App,
    process: Process,
    payment: PaymentId,
}

impl Shop {
    async fn with(token: &str) -> Self {
        let app = spawn_app().await;
        let process = Process::start(&app.servers).await;
        let (payment, attempt) = process.request(token).await;
        process.settle(payment, attempt).await;
        Self { app, process, payment }
    }

    async fn post(&self, verb: &str, body: Value) -> Answer {
        let path = format!("/v1/payments/{}/{verb}", self.payment);
        self.app.post(&path, &Uuid::now_v7().to_string(), body).await
    }

    /// Asks for what must be taken, and has the provider do it.
    async fn done(&self, verb: &str, body: Value) {
        assert_eq!(self.requested(verb, body).await, Progress::Done, "{verb}");
    }

    async fn requested(&self, verb: &str, mut body: Value) -> Progress {
        let attempt = new_attempt();
        body["attempt"] = json!(attempt);
        let answer = self.post(verb, body).await;
        assert_eq!(answer.status, 201, "{verb}: {answer:?}");
        self.process.settle(self.payment, attempt).await
    }

    async fn refused(&self, verb: &str, body: Value) -> (u16, String, Value) {
        let answer = self.post(verb, body).await;
        (answer.status, problem(&answer).to_owned(), answer.body)
    }

    async fn seen_by(&self, token: Option<&str>) -> Answer {
        send(client(token).get(self.app.url(&format!("/v1/payments/{}", self.payment)))).await
    }
}

fn amount(minor: i64) -> Value {
    json!({ "amount": pence(minor) })
}

#[actix_web::test]
async fn a_payment_is_captured_and_refunded_and_shows_it() {
    let shop = Shop::with("tok_success").await;
    shop.done("capture", amount(300)).await;
    shop.done("capture", amount(45)).await;
    shop.done("refund", amount(5)).await;
    let staff = shop.app.servers.identity().token("ada", Caller::Staff, None);
    let shown = shop.seen_by(Some(&staff)).await;
    assert_eq!((shown.status, shown.etag.as_deref()), (200, Some("\"8\"")), "{shown:?}");
    assert_eq!((&shown.body["id"], &shown.body["version"]), (&json!(shop.payment), &json!(8)));
    for (field, minor) in [("requested", 345), ("authorised", 345), ("captured", 345), ("refunded", 5)] {
        assert_eq!(shown.body[field], json!(pence(minor)), "{field}");
    }
    let attempts = shown.body["attempts"].as_array().expect("a list");
    let told = attempts.iter().map(|attempt| (attempt["operation"].as_str(), attempt["progress"].as_str()));
    let done = |operation| (Some(operation), Some("done"));
    assert_eq!(told.collect::<Vec<_>>(), ["authorise", "capture", "capture", "refund"].map(done));
    assert!(!shown.body.to_string().contains("tok_"), "{}", shown.body);
}

#[actix_web::test]
async fn each_refusal_tells_the_numbers_that_disagree() {
    let shop = Shop::with("tok_success").await;
    let (status, kind, body) = shop.refused("capture", amount(346)).await;
    assert_eq!((status, &*kind, &body["capturable"]), (409, "capture-too-large", &json!(pence(345))));
    let (status, kind, _) = shop.refused("refund", amount(1)).await;
    assert_eq!((status, &*kind), (409, "payment-refund-too-large"));
    for minor in [0, -1] {
        let (status, kind, _) = shop.refused("capture", amount(minor)).await;
        assert_eq!((status, &*kind), (422, "amount-not-positive"));
    }
    let euros = json!({ "amount": { "amount_minor": 1, "currency": "EUR" } });
    let (status, kind, body) = shop.refused("capture", euros).await;
    assert_eq!((status, &*kind, &body["expected"]), (422, "other-currency", &json!("GBP")));
    let attempt = new_attempt();
    let capture = |minor: i64| json!({ "amount": pence(minor), "attempt": attempt });
    assert_eq!(shop.post("capture", capture(100)).await.status, 201);
    let (status, kind, body) = shop.refused("capture", capture(101)).await;
    assert_eq!((status, &*kind, &body["amount"]), (409, "attempted-differently", &json!(pence(100))));
    let (status, kind, body) = shop.refused("void", json!({})).await;
    assert_eq!((status, &*kind, &body["captured"]), (409, "already-captured", &json!(pence(100))));
    shop.process.settle(shop.payment, attempt).await;
    let return_id = ReturnId(Uuid::now_v7());
    let refund = || json!({ "amount": pence(10), "return_id": return_id });
    shop.done("refund", refund()).await;
    let (status, kind, body) = shop.refused("refund", refund()).await;
    assert_eq!((status, &*kind, &body["return_id"]), (409, "return-refunded", &json!(return_id)));
}

#[actix_web::test]
async fn what_can_be_captured_once_is_captured_whole() {
    let shop = Shop::with("tok_captures_once").await;
    let (status, kind, body) = shop.refused("capture", amount(300)).await;
    assert_eq!((status, &*kind, &body["capturable"]), (409, "capture-in-part", &json!(pence(345))));
    shop.done("capture", amount(345)).await;
    shop.done("refund", amount(45)).await;
}

#[actix_web::test]
async fn what_is_not_held_is_neither_captured_nor_voided() {
    let declined = Shop::with("tok_decline").await;
    for (verb, body) in [("capture", amount(1)), ("void", json!({}))] {
        let (status, kind, _) = declined.refused(verb, body).await;
        assert_eq!((status, &*kind), (409, "payment-not-authorised"), "{verb}");
    }
    let voided = Shop::with("tok_success").await;
    voided.done("void", json!({})).await;
    let (status, kind, _) = voided.refused("capture", amount(1)).await;
    assert_eq!((status, &*kind), (409, "payment-voided"));
    assert_eq!(voided.post("void", json!({})).await.status, 200, "it is voided already");
    let strangers = voided.app.post(&format!("/v1/payments/{}/void", Uuid::now_v7()), "a", json!({})).await;
    assert_eq!((strangers.status, problem(&strangers)), (404, "unknown-payment"));
}

#[actix_web::test]
async fn an_authorisation_that_has_expired_is_not_captured() {
    let shop = Shop::with("tok_expires").await;
    let (account, attempt) = {
        let payment = shop.process.payments.load(shop.payment).await.expect("the log can be read");
        (payment.account().cloned().expect("requested"), payment.attempts().next().expect("one").0)
    };
    let expired = PaymentCommand::Record {
        attempt,
        outcome: kontor_domain::payment::Outcome::Expired,
        provider_event: None,
        at: Utc::now(),
    };
    assert_eq!(account.authorised, pence(345));
    shop.process.append(shop.payment, expired).await;
    let (status, kind, _) = shop.refused("capture", amount(1)).await;
    assert_eq!((status, &*kind), (409, "authorisation-expired"));
}

#[actix_web::test]
async fn what_breaks_a_rule_is_named() {
    let shop = Shop::with("tok_success").await;
    for (verb, body, field) in [
        ("capture", json!({}), "amount"),
        ("capture", json!({ "amount": 5 }), "amount"),
        ("capture", json!({ "amount": { "amount_minor": 1.5, "currency": "GBP" } }), "amount.amount_minor"),
        ("refund", json!({ "amount": pence(1), "return_id": "x" }), "return_id"),
        ("void", json!({ "amount": pence(1) }), "amount"),
        ("void", json!({ "payment_id": shop.payment }), "payment_id"),
    ] {
        let answer = shop.post(verb, body).await;
        assert_eq!((answer.status, problem(&answer)), (422, "invalid-field"), "{verb}: {answer:?}");
        assert_eq!(answer.body["field"], field, "{verb}: {answer:?}");
    }
    let bad_id = shop.app.get("/v1/payments/7").await;
    assert_eq!((bad_id.status, &bad_id.body["field"]), (422, &json!("payment_id")));
    let nobodys = shop.app.get(&format!("/v1/payments/{}", Uuid::now_v7())).await;
    assert_eq!((nobodys.status, problem(&nobodys)), (404, "unknown-payment"));
}

/// An order of customer 17850 over 3.45, and a payment for it that is authorised.
async fn order_and_payment(app: &App, process: &Process) -> PaymentId {
    app.done("/v1/stock/MUG/receive", "stock", json!({ "quantity": 1 })).await;
    let lines = json!([{ "sku": "MUG", "quantity": 1, "unit_price": pence(345) }]);
    let order =
        app.post("/v1/orders", "order", json!({ "country": "EIRE", "customer_id": "17850", "lines": lines })).await;
    let order_id: OrderId = order.body["id"].as_str().expect("an id").parse().expect("a UUID");
    let (payment, attempt) = (PaymentId(Uuid::now_v7()), AttemptId(Uuid::now_v7()));
    let request = PaymentCommand::RequestAuthorisation {
        order_id,
        attempt,
        provider: process.payments.provider().clone(),
        method: PaymentMethod::new("tok_success").expect("a token"),
        amount: pence(345),
        requested_at: Utc::now(),
    };
    process.append(payment, request).await;
    process.settle(payment, attempt).await;
    payment
}

#[actix_web::test]
async fn customers_see_the_payments_of_their_own_orders_and_move_none() {
    let app = spawn_app().await;
    let process = Process::start(&app.servers).await;
    let payment = order_and_payment(&app, &process).await;
    let shop = Shop { app, process, payment };
    let token = |role, customer| shop.app.servers.identity().token("somebody", role, customer);
    assert_eq!(shop.seen_by(Some(&token(Caller::Customer, Some("17850")))).await.status, 200);
    let others = shop.seen_by(Some(&token(Caller::Customer, Some("13047")))).await;
    assert_eq!((others.status, problem(&others)), (404, "unknown-payment"));
    assert_eq!(shop.seen_by(Some(&token(Caller::Warehouse, None))).await.status, 403);
    assert_eq!(shop.seen_by(None).await.status, 401);
    for role in [Caller::Warehouse, Caller::Analyst] {
        for path in ["/v1/payments/simulator/ledger".to_owned()] {
            assert_eq!(send(client(Some(&token(role, None))).get(shop.app.url(&path))).await.status, 403);
        }
    }
    let customer = client(Some(&token(Caller::Customer, Some("17850"))));
    let capture =
        customer.post(shop.app.url(&format!("/v1/payments/{payment}/capture"))).header("Idempotency-Key", "a");
    let refused = send(capture.json(&amount(1))).await;
    assert_eq!((refused.status, &refused.body["permission"]), (403, &json!("move-payments")));
}

#[actix_web::test]
async fn the_ledger_is_exported_line_by_line() {
    let shop = Shop::with("tok_success").await;
    shop.done("capture", amount(45)).await;
    let request = || shop.app.client.get(shop.app.url("/v1/payments/simulator/ledger"));
    let ndjson = request().send().await.expect("an answer");
    assert_eq!(ndjson.headers()["content-type"], "application/x-ndjson");
    let ndjson = ndjson.text().await.expect("a body");
    let lines: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<_> = lines.iter().map(|line| (&line["operation"], &line["state"], &line["amount"])).collect();
    let (done, all, part) = (json!("done"), json!(pence(345)), json!(pence(45)));
    assert_eq!(told, [(&json!("authorise"), &done, &all), (&json!("capture"), &done, &part)]);
    let csv = request().header("Accept", "text/csv").send().await.expect("an answer").text().await.expect("a body");
    let lines: Vec<_> = csv.lines().collect();
    let header = "number,attempt,payment_id,order_id,operation,method,amount_minor,currency,state,code,asked_at";
    assert_eq!((lines.len(), lines[0]), (3, header));
    assert!(lines[2].contains(",capture,tok_success,45,GBP,done,,"), "{}", lines[2]);
}
