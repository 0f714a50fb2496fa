//! Stock over HTTP: locations, counts, reservations that expire, parts, returns, back-orders.

mod support;

use serde_json::{Value, json};
use support::{Answer, App, problem, spawn_app};
use uuid::Uuid;

const ORDER: Uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_000A);
const OTHER: Uuid = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_000B);

/// The stock of one SKU; each command under a key of its own.
struct Mugs(App);

impl Mugs {
    async fn new() -> Self {
        Self(spawn_app().await)
    }

    async fn post(&self, verb: &str, body: Value) -> Answer {
        self.0.post(&format!("/v1/stock/MUG/{verb}"), &Uuid::now_v7().to_string(), body).await
    }

    /// What must succeed.
    async fn done(&self, verb: &str, body: Value) {
        let answer = self.post(verb, body).await;
        assert_eq!(answer.status, 201, "{verb}: {answer:?}");
    }

    /// Status and problem of what must not.
    async fn refused(&self, verb: &str, body: Value) -> (u16, String) {
        let answer = self.post(verb, body).await;
        (answer.status, problem(&answer).to_owned())
    }

    /// Type and payload of the last event.
    async fn last_event(&self) -> (String, Value) {
        let log = self.0.log().await;
        let event = log.last().expect("an event");
        let payload: Value = serde_json::from_str(&event.payload).expect("JSON");
        (event.event_type.to_string(), payload[event.event_type.as_str()].clone())
    }
}

#[actix_web::test]
async fn stock_is_kept_at_several_locations() {
    let mugs = Mugs::new().await;
    mugs.done("receive", json!({ "quantity": 5 })).await;
    mugs.done("transfer", json!({ "quantity": 2, "from": "main", "to": "shop" })).await;
    mugs.done("adjust", json!({ "change": { "down": 1 }, "reason": "broken", "location": "shop" })).await;
    mugs.done("count", json!({ "counted": 4, "reason": "yearly count" })).await;
    let (kind, adjusted) = mugs.last_event().await;
    assert_eq!(kind, "Adjusted");
    assert_eq!((&adjusted["change"], &adjusted["on_hand_after"]), (&json!({ "up": 1 }), &json!(5)));
    let refused = mugs.refused("transfer", json!({ "quantity": 2, "from": "shop", "to": "main" })).await;
    assert_eq!(refused.0, 409, "{refused:?}");
}

#[actix_web::test]
async fn a_reservation_expires_unless_it_is_confirmed() {
    let mugs = Mugs::new().await;
    mugs.done("receive", json!({ "quantity": 5 })).await;
    let past = "2020-01-01T00:00:00Z";
    mugs.done("reserve", json!({ "order_id": ORDER, "quantity": 2, "expires_at": past })).await;
    mugs.done("reserve", json!({ "order_id": OTHER, "quantity": 2, "expires_at": past })).await;
    mugs.done("confirm", json!({ "order_id": OTHER })).await;
    mugs.done("expire", json!({ "order_id": ORDER })).await;
    let (kind, released) = mugs.last_event().await;
    assert_eq!((kind.as_str(), &released["cause"]), ("Released", &json!("expired")));
    assert_eq!(mugs.refused("expire", json!({ "order_id": OTHER })).await.0, 409);
    mugs.done("reserve", json!({ "order_id": ORDER, "quantity": 1, "expires_at": "2999-01-01T00:00:00Z" })).await;
    assert_eq!(mugs.refused("expire", json!({ "order_id": ORDER })).await.0, 409);
}

#[actix_web::test]
async fn an_order_is_shipped_in_parts_and_comes_back_in_parts() {
    let mugs = Mugs::new().await;
    mugs.done("receive", json!({ "quantity": 5 })).await;
    mugs.done("reserve", json!({ "order_id": ORDER, "quantity": 3 })).await;
    mugs.done("ship", json!({ "order_id": ORDER, "quantity": 1 })).await;
    mugs.done("ship", json!({ "order_id": ORDER })).await;
    mugs.done("return", json!({ "order_id": ORDER, "quantity": 2, "location": "returns" })).await;
    let (kind, returned) = mugs.last_event().await;
    assert_eq!((kind.as_str(), &returned["on_hand_after"]), ("Returned", &json!(4)));
    assert_eq!(mugs.refused("return", json!({ "order_id": ORDER, "quantity": 2 })).await.0, 409);
}

#[actix_web::test]
async fn an_order_waits_for_goods_where_that_is_allowed() {
    let mugs = Mugs::new().await;
    mugs.done("receive", json!({ "quantity": 1 })).await;
    let reserve = json!({ "order_id": ORDER, "quantity": 3 });
    assert_eq!(mugs.refused("reserve", reserve.clone()).await, (409, "insufficient-stock".to_owned()));
    mugs.done("back-orders", json!({ "up_to": 2 })).await;
    mugs.done("reserve", reserve).await;
    mugs.done("receive", json!({ "quantity": 5 })).await;
    let (kind, filled) = mugs.last_event().await;
    assert_eq!((kind.as_str(), &filled["quantity"], &filled["available_after"]), ("Filled", &json!(2), &json!(3)));
}

#[actix_web::test]
async fn what_breaks_a_rule_is_named() {
    let mugs = Mugs::new().await;
    for (verb, body, field) in [
        ("adjust", json!({ "change": { "sideways": 1 }, "reason": "x" }), "change"),
        ("count", json!({ "counted": -1, "reason": "x" }), "counted"),
        ("transfer", json!({ "quantity": 1, "from": "a/b", "to": "c" }), "from"),
        ("reserve", json!({ "order_id": ORDER, "quantity": 1, "expires_at": "soon" }), "expires_at"),
        ("confirm", json!({ "order_id": ORDER, "sku": "CUP" }), "sku"),
        ("back-orders", json!({ "up_to": 1, "why": "x" }), "why"),
    ] {
        let answer = mugs.post(verb, body).await;
        assert_eq!((answer.status, problem(&answer)), (422, "invalid-field"), "{verb}: {answer:?}");
        let named = answer.body["field"].as_str().unwrap_or_default();
        assert!(named.starts_with(field), "{verb} names {named}: {answer:?}");
    }
    assert_eq!(mugs.0.log().await.len(), 0);
}
