//! The contract as it is served: the document, the page that shows it, the catalogue of problems.

mod support;

use serde_json::Value;
use support::{client, problem, spawn_app};

#[actix_web::test]
async fn everybody_can_read_the_contract() {
    let app = spawn_app().await;
    let guest = client(None);
    for (path, media_type) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/page.css", "text/css; charset=utf-8"),
        ("/docs/page.js", "text/javascript; charset=utf-8"),
        ("/v1/openapi.json", "application/json"),
        ("/v1/problems", "application/json"),
        ("/v1/problems/insufficient-stock", "application/json"),
    ] {
        let response = guest.get(app.url(path)).send().await.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &media_type.parse().expect("ASCII"))
        );
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        let policy = response.headers()["content-security-policy"].to_str().expect("ASCII");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
    }
    let page = guest.get(app.url("/docs")).send().await.expect("an answer").text().await.expect("a page");
    assert!(page.contains("docs/page.js") && page.contains("docs/page.css"), "{page}");
}

#[actix_web::test]
async fn a_problem_leads_to_its_meaning() {
    let app = spawn_app().await;
    let refused = app.post("/v1/products/MUG/withdraw", "1", serde_json::json!({"reason": "sold out"})).await;
    let kind = app.get(&format!("/v1/problems/{}", problem(&refused))).await;
    for member in ["type", "title", "status"] {
        assert_eq!(kind.body[member], refused.body[member], "{member}");
    }
    assert!(kind.body["meaning"].is_string() && kind.body["members"].is_array(), "{kind:?}");
    let all = app.get("/v1/problems").await;
    assert!(all.body.as_array().is_some_and(|kinds| kinds.contains(&kind.body)), "{all:?}");
    let none = app.get("/v1/problems/no-such").await;
    assert_eq!((none.status, problem(&none)), (404, "unknown-problem"));
}

#[actix_web::test]
async fn a_problem_names_the_trace_that_our_logs_tell_of() {
    let app = spawn_app().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request =
        app.client.get(app.url("/v1/nowhere")).header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let problem: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(problem["trace_id"], trace);
}

#[actix_web::test]
async fn what_a_command_answers_stays_in_no_cache() {
    let app = spawn_app().await;
    let request = app.client.post(app.url("/v1/products")).header("Idempotency-Key", "1");
    let response = request.json(&serde_json::json!({"sku": "MUG", "name": "Mug"})).send().await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["cache-control"]),
        (201, &"no-store".parse().expect("ASCII"))
    );
}
