//! The page that shows the document, and what browsers and caches are told.

use crate::api::{Api, order};

const ORDER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn everybody_can_read_the_document() {
    let api = Api::start().await;
    let document = api.get_as_guest("/v1/openapi.json").await;
    assert_eq!((document.status, &document.body["openapi"]), (200, &"3.1.0".into()));
    for path in ["/docs", "/docs/page.css", "/docs/page.js"] {
        let page = api.client.get(format!("{}{path}", api.base)).send().await.expect("an answer");
        assert_eq!(page.status(), 200, "{path}");
        let policy = page.headers()["content-security-policy"].to_str().expect("ASCII");
        assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn orders_stay_in_no_cache_and_no_answer_is_taken_for_a_page() {
    let api = Api::start().await;
    api.write(&order(ORDER, "13085", "2010-01-02T03:04:05Z", 1_000, 1)).await;
    let found = api.ok(&format!("/v1/orders/{ORDER}")).await;
    assert_eq!(found.header("cache-control"), Some("no-store"));
    let refused = api.get_as_guest(&format!("/v1/orders/{ORDER}")).await;
    assert_eq!(refused.status, 401);
    for answer in [found, refused, api.get("/v1/products").await, api.get("/v1/nowhere").await] {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; frame-ancestors 'none'"));
    }
}
