//! Lists of products: filters, sorts, and that a page costs what is on it.

use crate::api::{Api, RELIST, checkpoint};
use serde_json::{Value, json};
use std::time::Duration;

const SHOP: &str = r#"
    insert into projections.categories (category, name, slug, parent) values
        ('home', 'Home', 'home', null), ('cups', 'Cups', 'cups', 'home'), ('pots', 'Pots', 'pots', 'home');
    insert into projections.products (sku, name, categories, prices, price_minor, currency, available, variants, draft,
        withdrawn, shown_position, product_position) values
        ('A', 'Zebra cup', '{cups}', '{"GBP": 300}', 300, 'GBP', 0, 1, false, false, 10, 10),
        ('B', 'apple cup', '{cups,pots}', '{"GBP": 200, "EUR": 900}', 200, 'GBP', 5, 0, false, false, 30, 30),
        ('C', 'Mint pot', '{pots}', '{"EUR": 100}', 100, 'EUR', 0, 0, false, false, 20, 20),
        ('D', 'Mint pot', '{pots}', '{"GBP": 200}', 200, 'GBP', 2, 0, false, true, 5, 5),
        ('E', 'Draft', '{cups}', '{"GBP": 1}', 1, 'GBP', 2, 0, true, false, 40, 40);
    insert into projections.products (sku, available, stock_position) values ('A-1', 3, 31);
    insert into projections.variants (product, sku, options) values ('A', 'A-1', '{}');
    insert into projections.product_attributes values ('material:Clay', 'A'), ('material:Clay', 'B'), ('colour:red', 'B');"#;

fn skus(page: &Value) -> String {
    page["items"].as_array().expect("a page").iter().map(|item| item["sku"].as_str().expect("a SKU")).collect()
}

async fn shop() -> Api {
    let api = Api::start().await;
    api.write(&(checkpoint("catalogue", 50) + SHOP + RELIST)).await;
    api
}

#[tokio::test]
async fn products_are_filtered_and_sorted() {
    let api = shop().await;
    for (query, expected) in [
        ("", "ABCD"),
        ("sort=sku", "ABCD"),
        ("sort=name", "BCDA"),
        ("sort=newest", "BCAD"),
        ("sort=price&currency=GBP", "BDA"),
        ("sort=-price&currency=GBP", "ADB"),
        ("sort=price&currency=EUR", "CB"),
        ("currency=EUR", "BC"),
        ("currency=GBP&price_min=201", "A"),
        ("currency=GBP&price_max=200", "BD"),
        ("sort=price&currency=GBP&price_min=200&price_max=200", "BD"),
        ("available=true", "AB"),
        ("available=false", "ABCD"),
        ("attribute=material:Clay", "AB"),
        ("attribute=material:Clay&attribute=colour:red", "B"),
        ("attribute=material:Tin", ""),
        ("category=home", "ABCD"),
        ("category=cups", "AB"),
        ("category=home&sort=name", "BCDA"),
        ("category=home&sort=newest&available=true", "BA"),
        ("category=home&sort=-price&currency=GBP", "ADB"),
        ("category=pots&sort=price&currency=EUR&price_max=500", "C"),
    ] {
        let answer = api.get_as_guest(&format!("/v1/products?{query}")).await;
        assert_eq!((answer.status, skus(&answer.body)), (200, expected.to_owned()), "{query}: {answer:?}");
        // The same, row by row.
        let (mut one_by_one, mut path) = (String::new(), format!("/v1/products?{query}&limit=1"));
        loop {
            let page = api.get_as_guest(&path).await;
            one_by_one += &skus(&page.body);
            let Some(cursor) = page.body["next_cursor"].as_str() else { break };
            path = format!("/v1/products?{query}&limit=1&cursor={cursor}");
        }
        assert_eq!(one_by_one, expected, "{query}");
    }
    for (query, expected) in
        [("status=draft", "E"), ("status=withdrawn", "D"), ("status=published", "ABC"), ("", "ABCDE")]
    {
        assert_eq!(skus(&api.ok(&format!("/v1/products?{query}")).await.body), expected, "{query}");
    }
    let refused = api.get_as_guest("/v1/products?status=draft").await;
    assert_eq!((refused.status, &refused.body["permission"]), (401, &json!("edit-catalogue")));
}

#[tokio::test]
async fn a_page_has_a_tag_and_says_how_long_it_may_be_kept() {
    let api = shop().await;
    let page = api.get_as_guest("/v1/products?sort=name").await;
    assert_eq!(page.header("cache-control"), Some("public, max-age=5"));
    assert_eq!(page.header("vary"), Some("Authorization, Kontor-Min-Position"));
    let tag = page.header("etag").expect("a tag").to_owned();
    let known = async || api.get_with("/v1/products?sort=name", &[("If-None-Match", &tag)]).await.status;
    let answer = api.ok("/v1/products?sort=name").await;
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"), "an editor sees drafts");
    let tag = answer.header("etag").expect("a tag").to_owned();
    let known_to_editor = async || api.get_with("/v1/products?sort=name", &[("If-None-Match", &tag)]).await.status;
    assert_eq!((known().await, known_to_editor().await), (200, 304), "what each sees is another page");
    api.write("update projections.products set available = 4, stock_position = 51 where sku = 'B'").await;
    assert_eq!(known_to_editor().await, 200);
}

/// 100,000 products in 100 categories: how many rows Postgres touches says what a page costs, whatever the machine.
#[tokio::test]
async fn a_page_costs_what_is_on_it_wherever_it_is() {
    let api = Api::start_with(|settings| settings.replica.connections_max = 2).await;
    let many = "insert into projections.categories (category, name, slug, parent)
            select 'c' || n, 'C' || n, 'c' || n, case when n > 9 then 'c' || n % 10 end from generate_series(0, 99) n;
        insert into projections.products (sku, name, categories, prices, price_minor, currency, available, shown_position,
            product_position)
            select 'SKU-' || lpad(n::text, 6, '0'), 'No. ' || n * 7919 % 100000, array['c' || n % 100],
                jsonb_build_object('GBP', n * 31 % 50000), n * 31 % 50000, 'GBP', n % 10, n, n
            from generate_series(1, 100000) n;
        insert into projections.product_attributes
            select 'colour:' || n % 10, 'SKU-' || lpad(n::text, 6, '0') from generate_series(1, 100000) n;";
    api.write(&(checkpoint("catalogue", 100_000) + many + RELIST + "analyze;")).await;
    // A connection says what it has done when it is idle for a moment.
    let touched = async || -> i64 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let sum = "select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_all_tables
                   where schemaname = 'catalogue_1'";
        api.servers.replica().sql(sum).await.expect("it answers").parse().expect("a number")
    };
    for query in [
        "",
        "sort=name",
        "sort=newest",
        "sort=price&currency=GBP",
        "sort=-price&currency=GBP&price_max=20000",
        "sort=price&currency=GBP&price_min=20000",
        "sort=name&available=true",
        "sort=newest&attribute=colour:3",
        "category=c11&sort=price&currency=GBP",
        "category=c1&sort=name",
        // Far from the beginning.
        "cursor=eyJza3UiOiJTS1UtMDc1MDAwIn0",
        "sort=name&cursor=eyJuYW1lIjoibm8uIDc1MDAwIiwic2t1IjoiU0tVLTAwMDAwMSJ9",
        "sort=newest&cursor=eyJzaG93biI6MTAwMDAsInNrdSI6IlNLVS0wMTAwMDAifQ",
    ] {
        let path = format!("/v1/products?{query}");
        api.ok(&path).await; // The catalogue of Postgres is read once for each connection.
        let before = touched().await;
        let page = api.ok(&path).await;
        assert_eq!(page.body["items"].as_array().map(Vec::len), Some(20), "{query}");
        let rows = touched().await - before;
        assert!((20..1_000).contains(&rows), "{query}: {rows} rows were touched");
    }
}
