//! What a client got wrong is named.

use crate::api::Api;
use serde_json::json;

#[tokio::test]
async fn each_wrong_parameter_is_named() {
    let api = Api::start().await;
    for (path, problem, parameter) in [
        ("/v1/products?limit=0", "invalid-parameter", "limit"),
        ("/v1/products?limit=101", "invalid-parameter", "limit"),
        ("/v1/products?limit=-1", "invalid-parameter", "limit"),
        ("/v1/products?limit=many", "invalid-parameter", "limit"),
        ("/v1/products?limit=", "invalid-parameter", "limit"),
        ("/v1/products?limit=5&limit=6", "invalid-parameter", "limit"),
        ("/v1/products?cursor=%00", "invalid-parameter", "cursor"),
        ("/v1/products?cursor=e30", "invalid-parameter", "cursor"),
        ("/v1/products?page=2", "unknown-parameter", "page"),
        ("/v1/products?sort=size", "invalid-parameter", "sort"),
        ("/v1/products?sort=price", "invalid-parameter", "currency"),
        ("/v1/products?currency=pounds", "invalid-parameter", "currency"),
        ("/v1/products?price_min=100", "invalid-parameter", "currency"),
        ("/v1/products?currency=GBP&price_min=-1", "invalid-parameter", "price_min"),
        ("/v1/products?currency=GBP&price_max=1.50", "invalid-parameter", "price_max"),
        ("/v1/products?available=yes", "invalid-parameter", "available"),
        ("/v1/products?attribute=material", "invalid-parameter", "attribute"),
        (
            "/v1/products?attribute=a:1&attribute=a:1&attribute=a:1&attribute=a:1&attribute=a:1&attribute=a:1",
            "invalid-parameter",
            "attribute",
        ),
        ("/v1/products?status=new", "invalid-parameter", "status"),
        ("/v1/products?sort=name&cursor=eyJza3UiOiJ6In0", "invalid-parameter", "cursor"),
        ("/v1/products/85048?version=0", "invalid-parameter", "version"),
        ("/v1/products/85048?version=1&at=2026-01-01T00:00:00Z", "invalid-parameter", "version"),
        ("/v1/products/85048?at=noon", "invalid-parameter", "at"),
        ("/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057?version=1&as_of=june", "invalid-parameter", "version"),
        ("/v1/stock/85048/events?skus=A,%20", "invalid-parameter", "skus"),
        ("/v1/products/85048?fields=name", "unknown-parameter", "fields"),
        ("/v1/orders", "invalid-parameter", "customer_id"),
        ("/v1/orders?customer_id=", "invalid-parameter", "customer_id"),
        ("/v1/orders?customer=13085", "unknown-parameter", "customer"),
        ("/v1/orders?customer_id=13085&limit=1000", "invalid-parameter", "limit"),
        // A cursor of the list of products, and one with a time beyond all calendars.
        ("/v1/orders?customer_id=13085&cursor=eyJza3UiOiJ6In0", "invalid-parameter", "cursor"),
        (
            "/v1/orders?customer_id=1&cursor=eyJwbGFjZWRfYXQiOjkyMjMzNzIwMzY4NTQ3NzU4MDcsIm9yZGVyX2lkIjoiMDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwIn0",
            "invalid-parameter",
            "cursor",
        ),
        ("/v1/orders/489434", "invalid-parameter", "order_id"),
        ("/v1/reports/sales", "invalid-parameter", "by"),
        ("/v1/reports/sales?by=year", "invalid-parameter", "by"),
        ("/v1/reports/sales?by=month&from=2010", "unknown-parameter", "from"),
        ("/v1/positions?of=orders", "unknown-parameter", "of"),
    ] {
        let answer = api.get(path).await;
        assert_eq!((answer.status, answer.problem()), (400, problem), "{path}: {answer:?}");
        assert_eq!(answer.body["parameter"], parameter, "{path}");
        assert!(answer.body["detail"].as_str().expect("text").contains(parameter), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_wrong_header_is_named() {
    let api = Api::start().await;
    for value in ["", "soon", "-1", "1.5", "99999999999999999999"] {
        for path in ["/v1/products", "/v1/products/A", "/v1/orders?customer_id=1", "/v1/reports/sales?by=month"] {
            let answer = api.get_with(path, &[("Kontor-Min-Position", value)]).await;
            assert_eq!((answer.status, answer.problem()), (400, "invalid-header"), "{path} {value}: {answer:?}");
            assert_eq!(answer.body["header"], "Kontor-Min-Position");
        }
    }
}

#[tokio::test]
async fn a_path_or_method_that_is_not_there_is_a_problem() {
    let api = Api::start().await;
    let answer = api.get("/v2/products").await;
    assert_eq!((answer.status, answer.problem()), (404, "no-such-path"));
    assert_eq!(answer.body["detail"], json!("there is no /v2/products"));
    assert_eq!(api.post("/v1/products").await, 405);
}

/// Whoever adds a path describes it, too.
#[tokio::test]
async fn the_api_describes_itself() {
    let api = Api::start().await;
    let document = api.ok("/v1/openapi.json").await.body;
    let paths = document["paths"].as_object().expect("paths").keys();
    let is_live = |path: &str| path.ends_with("/events") || path.ends_with("/live"); // Never ends.
    for path in paths.filter(|path| !is_live(path)) {
        let path = path.replace("{sku}", "A").replace("{order_id}", "01890a5d-ac96-774b-bcce-b302099a8057");
        let answer = api.get(&path).await;
        assert!(answer.status == 200 || answer.problem() != "no-such-path", "{path}: {answer:?}");
    }
}
