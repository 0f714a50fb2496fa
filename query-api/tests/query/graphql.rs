//! GraphQL: the same answers as REST, within bounds.

use crate::api::{Answer, Api, RELIST, checkpoint, order};
use kontor_identity::Role;
use serde_json::{Value, json};

const MINE: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const SHOP: &str = r#"
    insert into projections.categories (category, name, slug, parent) values
        ('home', 'Home', 'home', null), ('cups', 'Cups', 'cups', 'home');
    insert into projections.products (sku, name, categories, prices, price_minor, currency, available, variants, attributes,
        product_position)
    select 'SKU-' || n, 'Cup ' || n, '{cups}', '{"GBP": 300}', 300, 'GBP', n, 1, '{"colour": {"text": "red"}}', n
    from generate_series(1, 9) n;
    insert into projections.products (sku, name, draft, product_position) values ('IDEA', 'Idea', true, 10);
    insert into projections.products (sku, available, stock_position) values ('85048', 3, 31);
    insert into projections.variants (product, sku, options) values ('SKU-1', '85048', '{"size": "S"}');"#;

async fn shop() -> Api {
    let api = Api::start().await;
    let orders = order(MINE, "13085", "2011-01-01T00:00:00Z", 695, 7) + &checkpoint("orders", 60);
    api.write(&(checkpoint("catalogue", 50) + SHOP + RELIST + &orders)).await;
    api
}

async fn ask(api: &Api, token: Option<&str>, query: &str) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
    let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let guest = crate::api::client(None).get(format!("{}/v1/graphql?query={query}", api.base));
    let request = headers.iter().fold(guest, |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, body: serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON") }
}

fn customer(api: &Api, id: &str) -> String {
    api.servers.identity().token(id, Role::Customer, Some(id))
}

/// The type and the status of the first error.
fn error(answer: &Answer) -> (&str, &Value) {
    let extensions = &answer.body["errors"][0]["extensions"];
    let kind = extensions["type"].as_str().unwrap_or_else(|| panic!("{answer:?}"));
    (kind.strip_prefix("https://kontor.dev/problems/").expect("ours"), extensions)
}

#[tokio::test]
async fn a_shop_front_asks_for_what_it_shows() {
    let api = shop().await;
    let answer = ask(
        &api,
        None,
        "{ products(filter: {category: \"home\", currency: \"GBP\"}, sort: NAME, first: 2) {
               items { sku name price { amountMinor } attributes { name value } variants { sku options { value } available } }
               nextCursor }
           product(sku: \"SKU-1\") { available }
           missing: product(sku: \"IDEA\") { sku }
           categories { name categories { slug } }
           availability(skus: [\"SKU-2\", \"NOTHING\"]) { sku available } }",
    )
    .await;
    assert_eq!((answer.status, answer.position(), answer.body.get("errors")), (200, 50, None), "{answer:?}");
    let data = &answer.body["data"];
    assert_eq!(
        data["products"]["items"][0],
        json!({"sku": "SKU-1", "name": "Cup 1", "price": {"amountMinor": 300},
            "attributes": [{"name": "colour", "value": "red"}],
            "variants": [{"sku": "85048", "options": [{"value": "S"}], "available": 3}]})
    );
    assert_eq!((&data["product"]["available"], &data["missing"]), (&json!(3), &Value::Null), "guests see no drafts");
    assert_eq!(data["categories"], json!([{"name": "Home", "categories": [{"slug": "cups"}]}]));
    assert_eq!(data["availability"], json!([{"sku": "SKU-2", "available": 2}, {"sku": "NOTHING", "available": 0}]));
    // A cursor of the one is a cursor of the other.
    let cursor = data["products"]["nextCursor"].as_str().expect("there is more");
    let rest =
        api.get_as_guest(&format!("/v1/products?category=home&currency=GBP&sort=name&limit=2&cursor={cursor}")).await;
    assert_eq!(rest.body["items"][0]["sku"], "SKU-3");
}

#[tokio::test]
async fn customers_see_their_orders_and_what_is_in_them() {
    let api = shop().await;
    let query = format!(
        "{{ myOrders {{ items {{ orderId status total {{ amountMinor }} }} }}
            order(orderId: \"{MINE}\") {{ status lines {{ sku quantity product {{ sku name }} }} }} }}"
    );
    let answer = ask(&api, Some(&customer(&api, "13085")), &query).await;
    assert_eq!((answer.position(), answer.header("cache-control")), (50, Some("no-store")), "{answer:?}");
    let expected = json!({
        "myOrders": {"items": [{"orderId": MINE, "status": "placed", "total": {"amountMinor": 695}}]},
        "order": {"status": "placed", "lines": [
            {"sku": "85048", "quantity": 1, "product": {"sku": "SKU-1", "name": "Cup 1"}},
        ]},
    });
    assert_eq!(answer.body["data"], expected);
    let order = format!("{{ order(orderId: \"{MINE}\") {{ status }} }}");
    assert_eq!(error(&ask(&api, Some(&customer(&api, "17850")), &order).await).0, "unknown-order");
    assert_eq!(error(&ask(&api, None, &order).await).0, "unauthenticated");
}

#[tokio::test]
async fn what_is_too_deep_or_too_costly_is_refused_before_it_is_run() {
    let api = shop().await;
    let deep = "{ name ".to_owned() + &"categories { name ".repeat(16) + &"}".repeat(16) + "}";
    let answer = ask(&api, None, &format!("{{ categories {deep} }}")).await;
    assert_eq!((error(&answer).0, &error(&answer).1["most"]), ("query-too-deep", &json!(16)));
    let costly = "items { name variants { sku prices { amountMinor currency } options { name value } } } nextCursor";
    let answer = ask(&api, None, &format!("{{ products(first: 100) {{ {costly} }} }}")).await;
    assert_eq!((error(&answer).0, &error(&answer).1["most"]), ("query-too-costly", &json!(3_000)));
    let many: String = (0..40).map(|n| format!("a{n}: products(first: 100) {{ items {{ sku }} }} ")).collect();
    assert_eq!(error(&ask(&api, None, &format!("{{ {many} }}")).await).0, "query-too-costly");
    for query in ["{ nothing }", "{ products", "mutation { buy }"] {
        assert_eq!(error(&ask(&api, None, query).await).0, "invalid-query", "{query}");
    }
    for (query, parameter) in [
        ("{ products(first: 0) { nextCursor } }", "limit"),
        ("{ product { sku } }", "sku"),
        ("{ products(sort: PRICE) { nextCursor } }", "currency"),
    ] {
        let answer = ask(&api, None, query).await;
        assert_eq!(
            (error(&answer).0, &error(&answer).1["parameter"]),
            ("invalid-parameter", &json!(parameter)),
            "{query}"
        );
    }
    let introspection = "{ __schema { types { name fields { name type { name ofType { name } } } } } }";
    assert!(ask(&api, None, introspection).await.body["data"]["__schema"]["types"].is_array());
}

/// The number of statements does not grow with the number of rows.
#[tokio::test]
async fn many_rows_are_asked_for_together() {
    let api = Api::start_with(|settings| (settings.http.workers, settings.replica.connections_max) = (1, 2)).await;
    api.write(&(checkpoint("catalogue", 50) + SHOP + RELIST)).await;
    let scans = async || -> i64 {
        // A connection tells what it has counted when a second has passed, and it is used again.
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        for _ in 0..4 {
            api.get("/v1/positions").await;
        }
        let sum = "select coalesce(idx_scan, 0) + coalesce(seq_scan, 0) from pg_stat_all_tables
                   where schemaname = 'projections' and relname = 'generations'";
        api.servers.replica().sql(sum).await.expect("it answers").parse().expect("a number")
    };
    let statements = async |first: usize| {
        let before = scans().await;
        ask(&api, None, &format!("{{ products(first: {first}) {{ items {{ variants {{ sku }} taxClass }} }} }}")).await;
        scans().await - before
    };
    statements(9).await;
    let (few, many) = (statements(1).await, statements(9).await);
    // Readiness is looked at each second meanwhile, by connections of its own.
    assert!(many <= few + 3, "{few} statements for one row, {many} for nine");
}

#[tokio::test]
async fn a_query_is_sent_in_a_body_and_waits_for_a_position() {
    let api = Api::start_with(|settings| settings.query.wait_max_ms = 150).await;
    api.write(&(checkpoint("catalogue", 50) + SHOP + RELIST)).await;
    let post = async |body: Value, min: &str| {
        let request = api.client.post(format!("{}/v1/graphql", api.base)).header("Kontor-Min-Position", min);
        let answer = request.body(body.to_string()).send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON") }
    };
    let query = "query One($sku: String!) { product(sku: $sku) { name } } query Other { categories { name } }";
    let body = json!({"query": query, "variables": {"sku": "SKU-2"}, "operationName": "One"});
    let answer = post(body.clone(), "50").await;
    assert_eq!(answer.body["data"]["product"]["name"], "Cup 2", "{answer:?}");
    let late = post(body, "51").await;
    assert_eq!((error(&late).0, &error(&late).1["reached"]), ("position-not-reached", &json!(50)));
    for wrong in [json!({"query": 1}), json!({"qwery": "{ x }"}), json!({"query": "x".repeat(70_000)})] {
        let answer = post(wrong, "0").await;
        assert_eq!((answer.status, answer.problem()), (400, "invalid-body"));
    }
    let definition = api.client.get(format!("{}/v1/graphql/schema", api.base)).send().await.expect("an answer");
    assert!(definition.text().await.expect("text").contains("type Product {"));
}
