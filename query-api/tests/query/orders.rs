//! Orders.

use crate::api::{Api, checkpoint, order};
use serde_json::json;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn an_order_is_answered_as_it_was_placed() {
    let api = Api::start().await;
    api.write(&(checkpoint("orders", 30) + &order(ID, "13085", "2009-12-01T07:45:00Z", 695, 4))).await;
    let answer = api.ok(&format!("/v1/orders/{ID}")).await;
    let expected = json!({
        "order_id": ID, "reference": "489434", "customer_id": "13085", "country": "United Kingdom",
        "lines": [{"sku": "85048", "quantity": 1, "unit_price": {"amount_minor": 695, "currency": "GBP"}}],
        "order_lines": 1, "units": 1, "total": {"amount_minor": 695, "currency": "GBP"}, "fulfilment": "reserve",
        "status": "placed", "placed_at": "2009-12-01T07:45:00Z", "cancelled_at": null,
        // Not from checkout, and nothing has become of it.
        "number": null, "due": {"amount_minor": 695, "currency": "GBP"}, "breakdown": null, "payment_id": null,
        "captured": {"amount_minor": 0, "currency": "GBP"}, "refunded": {"amount_minor": 0, "currency": "GBP"},
        "cancel_reason": null, "shipments": [], "returns": [], "contact": null,
    });
    assert_eq!(answer.body, expected);
    assert_eq!((answer.position(), answer.header("etag")), (30, Some("W/\"4\"")));
    let known = api.get_with(&format!("/v1/orders/{ID}"), &[("If-None-Match", "W/\"4\"")]).await;
    assert_eq!((known.status, known.position()), (304, 30));

    let cancel = "update projections.orders
        set status = 'cancelled', cancelled_at = '2009-12-02T10:00:00.5Z', cancel_reason = 'too late', position = 31;";
    api.write(&(checkpoint("orders", 31) + cancel)).await;
    let answer = api.get_with(&format!("/v1/orders/{ID}"), &[("If-None-Match", "W/\"4\"")]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body["status"], "cancelled");
    assert_eq!(answer.body["cancelled_at"], "2009-12-02T10:00:00.500Z");
    assert_eq!(answer.body["cancel_reason"], "too late");
}

#[tokio::test]
async fn an_order_that_is_not_there_is_told_from_one_that_cannot_be() {
    let api = Api::start().await;
    let answer = api.get(&format!("/v1/orders/{ID}")).await;
    assert_eq!((answer.status, answer.problem(), answer.position()), (404, "unknown-order", 0));
    let answer = api.get("/v1/orders/489434").await;
    assert_eq!((answer.status, answer.problem()), (400, "invalid-parameter"));
    assert_eq!(answer.body["parameter"], "order_id");
}

#[tokio::test]
async fn a_customer_s_orders_are_listed_newest_first_page_by_page() {
    let api = Api::start().await;
    let mut statements = checkpoint("orders", 99);
    let id = |n: u32| format!("00000000-0000-0000-0000-{n:012}");
    for n in 0..25_u32 {
        // Five orders share each moment, so that pages end between equals.
        let placed_at = format!("2010-01-0{}T12:00:00.123456Z", n / 5 + 1);
        statements += &order(&id(n), "13085", &placed_at, i64::from(n), i64::from(n) + 1);
        statements += &order(&id(n + 100), "13086", &placed_at, 1, i64::from(n) + 50);
    }
    api.write(&statements).await;
    let (mut found, mut path) = (Vec::new(), "/v1/orders?customer_id=13085&limit=7".to_owned());
    loop {
        let answer = api.ok(&path).await;
        let items = answer.body["items"].as_array().expect("a page").clone();
        assert!(items.iter().all(|item| item["customer_id"] == "13085" && item.get("lines").is_none()), "{items:?}");
        found.extend(items.iter().map(|item| item["order_id"].as_str().expect("an id").to_owned()));
        let Some(cursor) = answer.body["next_cursor"].as_str() else { break };
        path = format!("/v1/orders?customer_id=13085&limit=7&cursor={cursor}");
    }
    let expected: Vec<_> = (0..25).rev().map(id).collect();
    assert_eq!(found, expected);
    assert_eq!(api.ok("/v1/orders?customer_id=nobody").await.body["items"], json!([]));
}
