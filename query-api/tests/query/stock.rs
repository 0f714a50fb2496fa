//! Stock by SKU and location.

use crate::api::{Api, checkpoint};
use kontor_identity::Role as Caller;
use serde_json::json;

const MUG: &str = r#"insert into projections.stock (sku, on_hand, available, back_ordered, back_orders_max, locations, position)
    values ('MUG', 12, 9, 2, 5, '{"berlin": {"on_hand": 4, "available": 4}, "main": {"on_hand": 8, "available": 5}}', 17);"#;

#[tokio::test]
async fn those_who_move_goods_see_where_they_are() {
    let api = Api::start().await;
    api.write(&(checkpoint("stock", 21) + MUG)).await;
    let all = json!({
        "sku": "MUG", "available": 9, "back_orders_left": 3, "on_hand": 12, "reserved": 3, "back_ordered": 2,
        "back_orders_max": 5, "locations": [
            {"location": "berlin", "on_hand": 4, "reserved": 0, "available": 4},
            {"location": "main", "on_hand": 8, "reserved": 3, "available": 5},
        ],
    });
    for role in [Caller::Warehouse, Caller::Staff, Caller::Admin] {
        let answer = api.get_as(role, None, "/v1/stock/MUG").await;
        assert_eq!((answer.status, &answer.body, answer.position()), (200, &all, 21), "{role}");
        assert_eq!((answer.header("etag"), answer.header("cache-control")), (Some("W/\"17\""), Some("no-store")));
    }
    let known = api.get_with("/v1/stock/MUG", &[("If-None-Match", "W/\"17\"")]).await;
    assert_eq!(known.status, 304);
}

#[tokio::test]
async fn everybody_sees_what_is_available() {
    let api = Api::start().await;
    api.write(&(checkpoint("stock", 21) + MUG)).await;
    let available = json!({"sku": "MUG", "available": 9, "back_orders_left": 3});
    for answer in [
        api.get_as_guest("/v1/stock/MUG").await,
        api.get_as(Caller::Customer, Some("17"), "/v1/stock/MUG").await,
        api.get_as(Caller::Analyst, None, "/v1/stock/MUG").await,
    ] {
        assert_eq!((answer.status, &answer.body, answer.position()), (200, &available, 21));
    }
}

#[tokio::test]
async fn stock_that_never_was_is_unknown() {
    let api = Api::start().await;
    api.write(&checkpoint("stock", 21)).await;
    for answer in [api.get("/v1/stock/MUG").await, api.get_as_guest("/v1/stock/MUG").await] {
        assert_eq!((answer.status, answer.problem(), answer.position()), (404, "unknown-stock", 21));
    }
    let answer = api.get("/v1/stock/a%20mug").await;
    assert_eq!((answer.status, &answer.body["parameter"]), (400, &json!("sku")));
}
