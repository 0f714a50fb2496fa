//! Products.

use crate::api::{Api, RELIST, checkpoint};
use kontor_projection_services::projections;
use serde_json::{Map, Value, json};

const MUG: &str = "insert into projections.products (sku, name, description, price_minor, currency, on_hand, available,
        product_position, stock_position)
    values ('85048', 'MUG', 'A white mug', 695, 'GBP', 12, 9, 3, 17);";

#[tokio::test]
async fn a_product_is_answered_with_its_stock_and_its_position() {
    let api = Api::start().await;
    api.write(&(checkpoint("catalogue", 21) + MUG)).await;
    let answer = api.ok("/v1/products/85048").await;
    let mug = json!({
        "sku": "85048", "name": "MUG", "description": "A white mug", "price": {"amount_minor": 695, "currency": "GBP"},
        "withdrawn": false, "on_hand": 12, "available": 9, "status": "published", "slug": null, "prices": [],
        "categories": [], "variant_count": 0, "tax_class": "standard", "attributes": {}, "media": [], "variants": [],
    });
    assert_eq!(answer.body, mug);
    assert_eq!(answer.position(), 21);
    assert_eq!(answer.header("etag"), Some("W/\"17\""), "the later of its two streams");
}

#[tokio::test]
async fn a_product_that_is_known_already_is_not_sent_again() {
    let api = Api::start().await;
    api.write(&(checkpoint("catalogue", 21) + MUG)).await;
    for known in ["W/\"17\"", "\"17\"", "W/\"3\", W/\"17\"", "*"] {
        let answer = api.get_with("/v1/products/85048", &[("If-None-Match", known)]).await;
        assert_eq!((answer.status, answer.position()), (304, 21), "{known}: {answer:?}");
        assert_eq!(answer.header("etag"), Some("W/\"17\""));
    }
    for other in ["W/\"16\"", "nonsense"] {
        assert_eq!(api.get_with("/v1/products/85048", &[("If-None-Match", other)]).await.status, 200, "{other}");
    }
    api.write(&format!(
        "{} update projections.products set on_hand = 11, stock_position = 22",
        checkpoint("catalogue", 22)
    ))
    .await;
    let answer = api.get_with("/v1/products/85048", &[("If-None-Match", "W/\"17\"")]).await;
    assert_eq!((answer.status, &answer.body["on_hand"]), (200, &json!(11)));
}

#[tokio::test]
async fn what_is_not_registered_is_no_product_even_if_it_has_stock() {
    let api = Api::start().await;
    let stock = "insert into projections.products (sku, on_hand, available, stock_position) values ('GHOST', 1, 1, 5);";
    api.write(&(checkpoint("catalogue", 21) + MUG + stock + RELIST)).await;
    for sku in ["GHOST", "NOTHING"] {
        let answer = api.get(&format!("/v1/products/{sku}")).await;
        assert_eq!((answer.status, answer.problem(), answer.position()), (404, "unknown-product", 21));
        assert_eq!(answer.body["id"], sku);
    }
    let list = api.ok("/v1/products").await;
    assert_eq!(list.body["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn products_are_listed_page_by_page() {
    let api = Api::start().await;
    let insert = "insert into projections.products (sku, name, product_position)
        select 'SKU-' || lpad(n::text, 3, '0'), 'MUG no. ' || n, n from generate_series(1, 45) n;";
    api.write(&(checkpoint("catalogue", 45) + insert + RELIST)).await;
    let (mut skus, mut path, mut pages) = (Vec::new(), "/v1/products?limit=20".to_owned(), Vec::new());
    loop {
        let answer = api.ok(&path).await;
        assert_eq!((answer.position(), &answer.body["position"]), (45, &json!(45)));
        let items = answer.body["items"].as_array().expect("a page").clone();
        pages.push(items.len());
        skus.extend(items.iter().map(|item| item["sku"].as_str().expect("a SKU").to_owned()));
        // A product that comes in the meantime, before this page, moves no other.
        let late = "insert into projections.products (sku, name) values ('AAA-' || gen_random_uuid(), 'LATE');";
        api.write(&(late.to_owned() + RELIST)).await;
        let Some(cursor) = answer.body["next_cursor"].as_str() else { break };
        path = format!("/v1/products?limit=20&cursor={cursor}");
    }
    let expected: Vec<_> = (1..=45).map(|n| format!("SKU-{n:03}")).collect();
    assert_eq!((skus, pages), (expected, vec![20, 20, 5]));
    assert_eq!(api.ok("/v1/products?cursor=eyJza3UiOiJ6In0").await.body["items"], json!([]));
}

#[tokio::test]
async fn an_empty_read_model_is_at_position_0() {
    let api = Api::start().await;
    let answer = api.ok("/v1/products").await;
    assert_eq!(answer.body, json!({"position": 0, "items": [], "next_cursor": null}));
    assert_eq!(api.get("/v1/products/85048").await.position(), 0);
    let answer = api.ok("/v1/positions").await;
    let nowhere: Map<_, _> = projections::names().iter().map(|&name| (name.to_owned(), json!(0))).collect();
    assert_eq!((answer.body.clone(), answer.position()), (Value::Object(nowhere), 0));
}
