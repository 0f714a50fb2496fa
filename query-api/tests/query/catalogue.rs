//! Products in full, by slug and by category; the tree of categories.

use crate::api::{Api, RELIST, checkpoint};
use serde_json::{Value, json};

const SHIRT: &str = r#"
    insert into projections.products (sku, name, slug, prices, price_minor, currency, tax_class, categories, attributes,
        media, variants, product_position)
    values ('SHIRT', 'T-shirt', 't-shirt', '{"GBP": 1500, "EUR": 1800}', 1800, 'EUR', 'reduced', '{shirts}',
        '{"material": {"text": "Cotton"}}', '[{"kind": "image", "url": "https://cdn.example/s.jpg", "alternative_text": null}]',
        2, 7);
    insert into projections.variants (sku, product, options, prices)
    values ('SHIRT-S', 'SHIRT', '{"size": "S"}', '{}'), ('SHIRT-L', 'SHIRT', '{"size": "L"}', '{"GBP": 1600}');
    insert into projections.products (sku, on_hand, available, stock_position)
    values ('SHIRT-L', 5, 4, 9), ('SHIRT-S', 3, 3, 8);
    update projections.products set on_hand = 70, available = 70 where sku = 'SHIRT';"#;
const DRAFT: &str = "insert into projections.products (sku, name, slug, draft, product_position) values ('DRAFT', 'Idea', 'idea', true, 8);";
const TREE: &str = "insert into projections.categories (category, name, slug, parent) values
    ('clothes', 'Clothes', 'clothes', null), ('shirts', 'Shirts', 'shirts', 'clothes'), ('hats', 'Hats', 'hats', 'clothes'),
    ('home', 'At home', 'home', null);";

fn skus(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("a page").iter().map(|item| item["sku"].as_str().expect("a SKU")).collect()
}

#[tokio::test]
async fn a_product_is_answered_in_full_by_sku_and_by_slug() {
    let api = Api::start().await;
    api.write(&(checkpoint("catalogue", 21) + SHIRT)).await;
    let answer = api.ok("/v1/products/SHIRT").await;
    let gbp = |amount_minor: i64| json!({"amount_minor": amount_minor, "currency": "GBP"});
    let eur = json!({"amount_minor": 1800, "currency": "EUR"});
    let shirt = json!({
        "sku": "SHIRT", "name": "T-shirt", "description": null, "status": "published", "withdrawn": false,
        "slug": "t-shirt", "price": eur, "prices": [eur, gbp(1500)], "categories": ["shirts"], "variant_count": 2,
        "on_hand": 8, "available": 7, "tax_class": "reduced", "attributes": {"material": {"text": "Cotton"}},
        "media": [{"kind": "image", "url": "https://cdn.example/s.jpg", "alternative_text": null}],
        "variants": [
            {"sku": "SHIRT-L", "options": {"size": "L"}, "prices": [gbp(1600)], "on_hand": 5, "available": 4},
            {"sku": "SHIRT-S", "options": {"size": "S"}, "prices": [], "on_hand": 3, "available": 3},
        ],
    });
    assert_eq!((&answer.body, answer.position()), (&shirt, 21));
    assert_eq!(answer.header("etag"), Some("W/\"9\""), "the stock of a variant is the last that has changed");
    assert_eq!(api.ok("/v1/products/by-slug/t-shirt").await.body, shirt);
    assert_eq!(api.ok("/v1/catalogue").await.body["items"], json!([shirt]));
    let answer = api.get("/v1/products/by-slug/hat").await;
    assert_eq!((answer.status, answer.problem(), &answer.body["id"]), (404, "unknown-product", &json!("hat")));
    assert_eq!(api.get("/v1/products/SHIRT-L").await.status, 404, "a variant is shown with its product");
    api.write(RELIST).await;
    let list = api.ok("/v1/products").await;
    let item = &list.body["items"][0];
    assert_eq!((&item["variant_count"], item.get("variants")), (&json!(2), None), "a list shows no variants");
}

#[tokio::test]
async fn the_stock_of_a_product_is_that_of_its_variants() {
    let api = Api::start().await;
    let others = "insert into projections.products (sku, name, on_hand, available, product_position)
            values ('CUP', 'Cup', 6, 5, 8);
        insert into projections.products (sku, name, on_hand, available, variants, product_position)
            values ('HAT', 'Hat', 6, 5, 1, 8);
        update projections.products set categories = '{shirts}' where sku in ('CUP', 'HAT');
        insert into projections.variants (sku, product, options) values ('HAT-L', 'HAT', '{\"size\": \"L\"}');";
    api.write(&(checkpoint("catalogue", 21) + SHIRT + TREE + others + RELIST)).await;
    for path in ["/v1/products", "/v1/products?category=clothes", "/v1/catalogue"] {
        let body = api.ok(path).await.body;
        let told = |item: &Value| (item["sku"].clone(), item["on_hand"].clone(), item["available"].clone());
        let expected = [("CUP", 6, 5), ("HAT", 0, 0), ("SHIRT", 8, 7)];
        let expected = expected.map(|(sku, on_hand, available)| (json!(sku), json!(on_hand), json!(available)));
        let shown: Vec<_> = body["items"].as_array().expect("a page").iter().map(told).collect();
        assert_eq!(shown, expected, "{path}: what is under the code of a product with variants is not sold");
    }
}

#[tokio::test]
async fn drafts_are_for_those_who_edit_the_catalogue() {
    let api = Api::start().await;
    let in_category = "update projections.products set categories = '{hats}' where sku = 'DRAFT';";
    api.write(&(checkpoint("catalogue", 21) + SHIRT + DRAFT + TREE + in_category + RELIST)).await;
    for path in ["/v1/products/DRAFT", "/v1/products/by-slug/idea"] {
        assert_eq!(api.ok(path).await.body["status"], "draft");
        assert_eq!(api.get_as_guest(path).await.status, 404, "{path}");
    }
    for path in ["/v1/products", "/v1/products?category=clothes"] {
        assert_eq!(skus(&api.ok(path).await.body), ["DRAFT", "SHIRT"]);
        assert_eq!(skus(&api.get_as_guest(path).await.body), ["SHIRT"]);
    }
    assert_eq!(skus(&api.ok("/v1/catalogue?limit=1").await.body), ["DRAFT"]);
    assert_eq!(api.get_as_guest("/v1/catalogue").await.status, 401);
}

#[tokio::test]
async fn why_a_product_was_withdrawn_is_for_those_who_edit_the_catalogue() {
    let api = Api::start().await;
    let withdrawn = "insert into projections.products (sku, name, withdrawn, withdrawal_reason, product_position)
        values ('OLD', 'Old', true, 'the supplier is bankrupt', 9);";
    api.write(&(checkpoint("catalogue", 21) + withdrawn)).await;
    let shown = api.ok("/v1/products/OLD").await.body;
    assert_eq!(
        (&shown["status"], &shown["withdrawal_reason"]),
        (&json!("withdrawn"), &json!("the supplier is bankrupt"))
    );
    assert_eq!(api.ok("/v1/catalogue").await.body["items"], json!([shown]));
    let shown = api.get_as_guest("/v1/products/OLD").await.body;
    assert_eq!((&shown["status"], shown.get("withdrawal_reason")), (&json!("withdrawn"), None));
}

#[tokio::test]
async fn products_of_a_category_and_those_below_it_are_listed_page_by_page() {
    let api = Api::start().await;
    let insert = "insert into projections.products (sku, name, product_position, categories)
            select 'SKU-' || lpad(n::text, 3, '0'), 'No. ' || n, n,
                case when n > 41 then '{}' when n = 1 then '{clothes,shirts}' when n % 2 = 0 then '{hats}' else '{shirts}' end
                    ::text[]
            from generate_series(1, 45) n;";
    api.write(&(checkpoint("catalogue", 45) + insert + TREE + RELIST)).await;
    let (mut found, mut path) = (Vec::new(), "/v1/products?category=clothes&limit=20".to_owned());
    loop {
        let answer = api.ok(&path).await;
        found.push(skus(&answer.body).into_iter().map(str::to_owned).collect::<Vec<_>>());
        let Some(cursor) = answer.body["next_cursor"].as_str() else { break };
        path = format!("/v1/products?category=clothes&limit=20&cursor={cursor}");
    }
    let expected: Vec<_> = (1..=41).map(|n| format!("SKU-{n:03}")).collect();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [20, 20, 1]);
    assert_eq!(found.concat(), expected);
    assert_eq!(skus(&api.ok("/v1/products?category=hats&limit=2").await.body), ["SKU-002", "SKU-004"]);
    assert_eq!(api.ok("/v1/products?category=home").await.body["items"], json!([]));
    let answer = api.get("/v1/products?category=cars").await;
    assert_eq!((answer.status, answer.problem(), answer.position()), (404, "unknown-category", 45));
}

#[tokio::test]
async fn the_categories_are_answered_as_a_tree() {
    let api = Api::start().await;
    assert_eq!(api.ok("/v1/categories").await.body, json!({"position": 0, "categories": []}));
    api.write(&(checkpoint("catalogue", 21) + TREE)).await;
    let leaf = |id: &str, name: &str| json!({"category": id, "name": name, "slug": id, "categories": []});
    let clothes = json!({
        "category": "clothes", "name": "Clothes", "slug": "clothes",
        "categories": [leaf("hats", "Hats"), leaf("shirts", "Shirts")],
    });
    let answer = api.get_as_guest("/v1/categories").await;
    assert_eq!(answer.body, json!({"position": 21, "categories": [leaf("home", "At home"), clothes]}));
}
