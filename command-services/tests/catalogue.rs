//! The catalogue over HTTP: variants, what a product is found by, categories, rows of a file.

mod support;

use serde_json::{Value, json};
use support::{Answer, App, problem, send, spawn_app};
use uuid::Uuid;

/// A shop with a mug and a tree of two categories; each command under a key of its own.
struct Shop(App);

impl Shop {
    async fn open() -> Self {
        let shop = Self(spawn_app().await);
        shop.done("/v1/products", json!({"sku": "MUG", "name": "Mug"})).await;
        shop.done("/v1/categories", json!({"category": "home", "name": "Home", "slug": "home"})).await;
        shop.done("/v1/categories", json!({"category": "mugs", "name": "Mugs", "slug": "mugs", "parent": "home"}))
            .await;
        shop
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.0.post(path, &Uuid::now_v7().to_string(), body).await
    }

    /// What must change something; under another key it then changes nothing.
    async fn done(&self, path: &str, body: Value) {
        let answer = self.post(path, body.clone()).await;
        assert_eq!(answer.status, 201, "{path} {body}: {answer:?}");
        let again = self.post(path, body).await;
        assert_eq!((again.status, again.position), (200, answer.position), "{path}: {again:?}");
    }

    /// What must be refused, with members of its problem; nothing is stored.
    async fn refused(&self, path: &str, body: Value, status: u16, kind: &str, members: Value) {
        let before = self.events().await.len();
        let answer = self.post(path, body.clone()).await;
        assert_eq!((answer.status, problem(&answer)), (status, kind), "{path} {body}: {answer:?}");
        for (name, value) in members.as_object().expect("members") {
            assert_eq!(answer.body[name], *value, "{path} {body}: {answer:?}");
        }
        assert_eq!(self.events().await.len(), before, "{path} {body} left something behind");
    }

    /// Stream and type of each event.
    async fn events(&self) -> Vec<String> {
        let name = |event: &kontor_event_schemas::RecordedEvent| {
            format!("{} {} {}", event.aggregate_type, event.aggregate_id, event.event_type)
        };
        self.0.log().await.iter().map(name).collect()
    }
}

fn add(variant: &str, size: &str) -> Value {
    json!({"variant": variant, "options": {"size": size}})
}

fn gbp(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "GBP"})
}

#[actix_web::test]
async fn a_variant_and_its_sku_are_booked_together() {
    let shop = Shop::open().await;
    shop.done("/v1/products/MUG/variants", add("MUG-L", "L")).await;
    shop.done("/v1/products/MUG/variants", add("MUG-S", "S")).await;
    shop.done("/v1/products/MUG/price", json!({"price": gbp(300), "variant": "MUG-L"})).await;
    shop.done("/v1/products/MUG/variants/remove", json!({"variant": "MUG-S"})).await;
    let expected = [
        "product MUG VariantAdded",
        "sku MUG-L Claimed",
        "product MUG VariantAdded",
        "sku MUG-S Claimed",
        "product MUG VariantPriced",
        "product MUG VariantRemoved",
        "sku MUG-S Released",
    ];
    assert_eq!(shop.events().await[3..], expected);
    // Free again, so another product may have it.
    shop.done("/v1/products", json!({"sku": "CUP", "name": "Cup"})).await;
    shop.done("/v1/products/CUP/variants", add("MUG-S", "S")).await;
}

#[actix_web::test]
async fn a_variant_that_breaks_a_rule_is_refused() {
    let shop = Shop::open().await;
    let path = "/v1/products/MUG/variants";
    shop.done(path, add("MUG-L", "L")).await;
    shop.refused("/v1/products/NONE/variants", add("X", "L"), 404, "unknown-product", json!({})).await;
    let members = json!({"variant": "MUG-L", "options": {"size": "L"}});
    shop.refused(path, add("MUG-L", "S"), 409, "variant-added-differently", members).await;
    shop.refused(path, add("MUG-X", "L"), 409, "same-options", json!({"variant": "MUG-L"})).await;
    let members = json!({"option": "size", "expected": "L", "found": "l"});
    shop.refused(path, add("MUG-X", "l"), 409, "option-spelling", members).await;
    let body = json!({"variant": "MUG-X", "options": {"colour": "red"}});
    shop.refused(path, body, 409, "other-options", json!({"expected": ["size"], "found": ["colour"]})).await;
    let body = json!({"variant": "MUG-X", "options": {}});
    shop.refused(path, body, 422, "option-count", json!({"count": 0, "max": 5})).await;
    let body = json!({"price": gbp(1), "variant": "MUG-X"});
    shop.refused("/v1/products/MUG/price", body, 404, "unknown-variant", json!({"variant": "MUG-X"})).await;
    let body = json!({"variant": "MUG-X", "options": {"size": " L"}});
    shop.refused(path, body, 422, "invalid-field", json!({"field": "options.size"})).await;
}

#[actix_web::test]
async fn a_product_has_so_many_variants_at_most() {
    let shop = Shop::open().await;
    let path = "/v1/products/MUG/import";
    let lines: Vec<_> = (0..500)
        .map(|n| {
            let (key, sku) = (format!("k{n}"), format!("MUG-{n}"));
            let options = json!({"size": n.to_string()});
            json!({"key": key, "command": "import-product", "sku": sku, "product": "MUG", "options": options})
                .to_string()
        })
        .collect();
    let results = shop.0.bulk(&lines.join("\n")).await;
    assert!(results.iter().all(|result| result["status"] == 201), "{results:?}");
    shop.refused("/v1/products/MUG/variants", add("MUG-X", "X"), 409, "too-many-variants", json!({"max": 500})).await;
    shop.done(path, json!({"name": "Large mug"})).await;
}

#[actix_web::test]
async fn a_sku_is_a_product_or_a_variant_of_one_and_never_both() {
    let shop = Shop::open().await;
    // Both before and after its product in the order in which they are held.
    for variant in ["A-L", "Z-L"] {
        shop.done("/v1/products/MUG/variants", add(variant, variant)).await;
        let body = json!({"sku": variant, "name": "Large"});
        shop.refused("/v1/products", body, 409, "sku-taken", json!({"sku": variant, "product": "MUG"})).await;
    }
    for code in ["ALE", "ZIP"] {
        shop.done("/v1/products", json!({"sku": code, "name": "Another"})).await;
        let path = "/v1/products/MUG/variants";
        shop.refused(path, add(code, code), 409, "sku-is-product", json!({"sku": code})).await;
        let path = format!("/v1/products/{code}/variants");
        shop.refused(&path, add("A-L", "L"), 409, "sku-taken", json!({"sku": "A-L", "product": "MUG"})).await;
    }
    shop.refused("/v1/products/MUG/variants", add("MUG", "M"), 409, "sku-is-product", json!({"sku": "MUG"})).await;
}

#[actix_web::test]
async fn the_answer_is_about_the_product_whatever_else_was_looked_at() {
    let shop = Shop::open().await;
    for (path, body, version) in [
        ("/v1/products/MUG/variants", add("A-L", "L"), 2),
        ("/v1/products/MUG/variants", add("Z-L", "XL"), 3),
        ("/v1/products/MUG/categories", json!({"categories": ["mugs"]}), 4),
    ] {
        let request = |expected: i64| {
            let request = shop.0.client.post(shop.0.url(path)).header("If-Match", format!("\"{expected}\""));
            send(request.header("Idempotency-Key", Uuid::now_v7().to_string()).json(&body))
        };
        let stale = request(version).await;
        assert_eq!((stale.status, &stale.body["actual"]), (412, &json!(version - 1)), "{path}: {stale:?}");
        let answer = request(version - 1).await;
        let told = (answer.status, &answer.body["id"], &answer.body["version"]);
        assert_eq!(told, (201, &json!("MUG"), &json!(version)), "{path}: {answer:?}");
    }
    // Sent again, the key leads to the product, too.
    let key = Uuid::now_v7().to_string();
    for status in [201, 200] {
        let answer = shop.0.post("/v1/products/MUG/variants", &key, add("A-S", "S")).await;
        assert_eq!((answer.status, &answer.body["id"], &answer.body["version"]), (status, &json!("MUG"), &json!(5)));
    }
}

#[actix_web::test]
async fn a_variant_costs_what_the_product_does_when_its_own_price_is_removed() {
    let shop = Shop::open().await;
    shop.done("/v1/products/MUG/variants", add("MUG-L", "L")).await;
    shop.done("/v1/products/MUG/price", json!({"variant": "MUG-L", "price": gbp(300)})).await;
    let (path, body) = ("/v1/products/MUG/price/remove", json!({"variant": "MUG-L", "currency": "GBP"}));
    shop.done(path, body.clone()).await;
    let log = shop.0.log().await;
    let last: Value = serde_json::from_str(&log.last().expect("events").payload).expect("JSON");
    assert_eq!(last, json!({"VariantPriceRemoved": {"sku": "MUG-L", "previous": gbp(300)}}));
    assert_eq!(shop.post(path, body).await.status, 200, "it has none any more");
    let body = json!({"variant": "CUP", "currency": "GBP"});
    shop.refused(path, body.clone(), 404, "unknown-variant", json!({"variant": "CUP"})).await;
    shop.refused("/v1/products/NONE/price/remove", body, 404, "unknown-product", json!({})).await;
    let body = json!({"variant": "MUG-L", "currency": "gbp"});
    shop.refused(path, body, 422, "invalid-field", json!({"field": "currency"})).await;
}

#[actix_web::test]
async fn a_slug_is_of_one_product_and_free_when_it_has_another() {
    let shop = Shop::open().await;
    shop.done("/v1/products", json!({"sku": "CUP", "name": "Cup"})).await;
    shop.done("/v1/products/MUG/slug", json!({"slug": "mug"})).await;
    let members = json!({"slug": "mug", "product": "MUG"});
    shop.refused("/v1/products/CUP/slug", json!({"slug": "mug"}), 409, "slug-taken", members).await;
    shop.done("/v1/products/MUG/slug", json!({"slug": "enamel-mug"})).await;
    shop.done("/v1/products/CUP/slug", json!({"slug": "mug"})).await;
    let expected = ["product MUG SlugSet", "slug enamel-mug Claimed", "slug mug Released", "product CUP SlugSet"];
    assert_eq!(shop.events().await[6..10], expected);
    let invalid = json!({"field": "slug"});
    shop.refused("/v1/products/MUG/slug", json!({"slug": "Mug"}), 422, "invalid-field", invalid).await;
}

#[actix_web::test]
async fn of_those_who_want_a_slug_or_a_sku_at_once_one_gets_it() {
    let shop = Shop::open().await;
    let codes: Vec<_> = (0..8).map(|n| format!("P{n}")).collect();
    for code in &codes {
        shop.done("/v1/products", json!({"sku": code, "name": "One of many"})).await;
    }
    for (verb, body, kind) in
        [("slug", json!({"slug": "the-one"}), "slug-taken"), ("variants", add("ONE", "1"), "sku-taken")]
    {
        let wanted = codes.iter().map(|code| {
            let (shop, body, path) = (&shop, body.clone(), format!("/v1/products/{code}/{verb}"));
            async move { shop.post(&path, body).await }
        });
        let answers = futures::future::join_all(wanted).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| problem(answer) == kind).count(), codes.len() - 1, "{answers:?}");
    }
}

#[actix_web::test]
async fn a_draft_is_not_on_sale_until_it_is_published() {
    let shop = Shop::open().await;
    shop.done("/v1/products", json!({"sku": "CUP", "name": "Cup", "draft": true})).await;
    let body = json!({"sku": "CUP", "name": "Cup"});
    shop.refused("/v1/products", body, 409, "registered-differently", json!({"name": "Cup"})).await;
    shop.done("/v1/products/CUP/publish", json!({})).await;
    shop.refused("/v1/products/CUP/import", json!({"status": "draft"}), 409, "product-published", json!({})).await;
    shop.done("/v1/products/CUP/withdraw", json!({"reason": "chipped"})).await;
    shop.refused("/v1/products/CUP/publish", json!({}), 409, "product-withdrawn", json!({})).await;
    shop.refused("/v1/products/NONE/publish", json!({}), 404, "unknown-product", json!({})).await;
}

#[actix_web::test]
async fn what_is_said_of_a_product_is_replaced_as_a_whole() {
    let shop = Shop::open().await;
    let attributes = json!({
        "material": {"text": "Enamel"}, "height-cm": {"decimal": "9.50"}, "pieces": {"integer": 1}, "washable": {"flag": true},
    });
    shop.done("/v1/products/MUG/attributes", json!({"attributes": attributes})).await;
    let medium = json!({"kind": "image", "url": "https://cdn.example/mug.jpg", "alternative_text": "A mug"});
    shop.done("/v1/products/MUG/media", json!({"media": [medium]})).await;
    shop.done("/v1/products/MUG/tax-class", json!({"tax_class": "reduced"})).await;
    shop.done("/v1/products/MUG/categories", json!({"categories": ["mugs", "home"]})).await;
    shop.done("/v1/products/MUG/categories", json!({"categories": []})).await;
}

#[actix_web::test]
async fn what_is_said_of_a_product_is_bounded() {
    let shop = Shop::open().await;
    let attributes: serde_json::Map<_, _> = (0..101).map(|n| (format!("a{n}"), json!({"integer": n}))).collect();
    let members = json!({"count": 101, "max": 100});
    let body = json!({"attributes": attributes});
    shop.refused("/v1/products/MUG/attributes", body, 422, "too-many-attributes", members).await;
    let media: Vec<_> = (0..51).map(|n| json!({"kind": "image", "url": format!("https://cdn.example/{n}")})).collect();
    let members = json!({"count": 51, "max": 50});
    shop.refused("/v1/products/MUG/media", json!({"media": media}), 422, "too-many-media", members).await;
    let categories: Vec<_> = (0..21).map(|n| format!("c{n}")).collect();
    for category in &categories {
        shop.done("/v1/categories", json!({"category": category, "name": "C", "slug": category})).await;
    }
    let members = json!({"count": 21, "max": 20});
    let path = "/v1/products/MUG/categories";
    shop.refused(path, json!({"categories": categories}), 422, "too-many-categories", members).await;
    shop.refused(path, json!({"categories": ["home", "x"]}), 404, "unknown-category", json!({"category": "x"})).await;
    for (verb, body, field) in [
        ("media", json!({"media": [{"kind": "image", "url": "http://cdn.example/a"}]}), "media[0].url"),
        ("media", json!({"media": [{"kind": "film", "url": "https://cdn.example/a"}]}), "media[0].kind"),
        ("attributes", json!({"attributes": {"height": {"decimal": 9.5}}}), "attributes.height"),
        ("attributes", json!({"attributes": {"a b": {"flag": true}}}), "attributes"),
        ("tax-class", json!({"tax_class": ""}), "tax_class"),
    ] {
        let answer = shop.post(&format!("/v1/products/MUG/{verb}"), body).await;
        assert_eq!((answer.status, problem(&answer)), (422, "invalid-field"), "{verb}: {answer:?}");
        let named = answer.body["field"].as_str().unwrap_or_default();
        assert!(named.starts_with(field), "{verb} names {named}: {answer:?}");
    }
}

#[actix_web::test]
async fn the_categories_stay_a_tree() {
    let shop = Shop::open().await;
    shop.done("/v1/categories/mugs/rename", json!({"name": "Cups", "slug": "cups"})).await;
    shop.done("/v1/categories/mugs/move", json!({})).await;
    shop.done("/v1/categories/home/move", json!({"parent": "mugs"})).await;
    let members = json!({"category": "mugs", "parent": "home"});
    shop.refused("/v1/categories/mugs/move", json!({"parent": "home"}), 409, "category-under-itself", members).await;
    let members = json!({"category": "mugs", "children": 1});
    shop.refused("/v1/categories/mugs/remove", json!({}), 409, "category-has-children", members).await;
    let members = json!({"slug": "cups", "category": "mugs"});
    let body = json!({"name": "Home", "slug": "cups"});
    shop.refused("/v1/categories/home/rename", body, 409, "category-slug-taken", members).await;
    let body = json!({"name": "X", "slug": "x"});
    shop.refused("/v1/categories/x/rename", body, 404, "unknown-category", json!({"category": "x"})).await;
    let body = json!({"category": "x", "name": "X", "slug": "x", "parent": "y"});
    shop.refused("/v1/categories", body, 422, "unknown-parent", json!({"parent": "y"})).await;
    let body = json!({"category": "home", "name": "House", "slug": "house"});
    let members = json!({"category": "home", "name": "Home"});
    shop.refused("/v1/categories", body, 409, "category-created-differently", members).await;
    shop.done("/v1/categories/home/remove", json!({})).await;
    let body = json!({"categories": ["home"]});
    shop.refused("/v1/products/MUG/categories", body, 404, "unknown-category", json!({"category": "home"})).await;
}

#[actix_web::test]
async fn the_tree_of_categories_is_bounded() {
    let shop = Shop::open().await;
    let create = |n: usize, parent: Option<String>| json!({"category": format!("c{n}"), "name": "C", "slug": format!("c{n}"), "parent": parent});
    for level in 0..8 {
        shop.done("/v1/categories", create(level, level.checked_sub(1).map(|above| format!("c{above}")))).await;
    }
    let members = json!({"levels": 9, "max": 8});
    shop.refused("/v1/categories", create(8, Some("c7".to_owned())), 409, "category-too-deep", members).await;
    let lines: Vec<_> = (10..2_000)
        .map(|n| {
            let mut line = create(n, None);
            (line["key"], line["command"]) = (json!(format!("k{n}")), json!("create-category"));
            line.to_string()
        })
        .collect();
    let results = shop.0.bulk(&lines.join("\n")).await;
    assert!(results.iter().all(|result| result["status"] == 201));
    shop.refused("/v1/categories", create(2_000, None), 409, "category-tree-full", json!({"max": 2_000})).await;
}

#[actix_web::test]
async fn a_row_of_a_file_is_one_append() {
    let shop = Shop::open().await;
    let row = json!({
        "name": "Cup", "description": "Holds tea", "status": "draft", "slug": "cup", "tax_class": "reduced",
        "prices": [gbp(250), {"amount_minor": 290, "currency": "EUR"}], "categories": ["mugs"],
        "attributes": {"material": {"text": "Tin"}}, "media": [{"kind": "image", "url": "https://cdn.example/cup.jpg"}],
    });
    shop.done("/v1/products/CUP/import", row.clone()).await;
    let kinds =
        ["Registered", "Priced", "Priced", "TaxClassSet", "Categorised", "AttributesSet", "MediaSet", "SlugSet"];
    let mut expected: Vec<_> = kinds.map(|kind| format!("product CUP {kind}")).to_vec();
    expected.push("slug cup Claimed".to_owned());
    assert_eq!(shop.events().await[3..], expected);
    // What a row does not say stays as it is.
    shop.done("/v1/products/CUP/import", json!({"status": "published"})).await;
    shop.done("/v1/products/CUP/import", json!({"name": "Tin cup"})).await;
    let log = shop.0.log().await;
    let described: Value = serde_json::from_str(&log[13].payload).expect("JSON");
    assert_eq!(described, json!({"Described": {"name": "Tin cup", "description": "Holds tea"}}));
    assert_eq!(shop.events().await.len(), 14);

    let variant = json!({"product": "CUP", "options": {"size": "L"}, "prices": [gbp(300)]});
    shop.done("/v1/products/CUP-L/import", variant).await;
    shop.done("/v1/products/CUP-L/import", json!({"product": "CUP", "prices": [gbp(310)]})).await;
    let expected =
        ["product CUP VariantAdded", "product CUP VariantPriced", "sku CUP-L Claimed", "product CUP VariantPriced"];
    assert_eq!(shop.events().await[14..], expected);
}

#[actix_web::test]
async fn a_row_of_what_was_withdrawn_can_be_followed_by_its_variants() {
    let shop = Shop::open().await;
    let row = json!({"name": "Cup", "slug": "cup", "prices": [gbp(250)], "status": "withdrawn", "reason": "chipped"});
    shop.done("/v1/products/CUP/import", row.clone()).await;
    let variant = json!({"product": "CUP", "options": {"size": "L"}, "prices": [gbp(300)]});
    shop.done("/v1/products/CUP-L/import", variant.clone()).await;
    let log = shop.events().await;
    let expected = ["product CUP Registered", "product CUP Priced", "product CUP SlugSet", "product CUP Withdrawn"];
    assert_eq!(log[3..7], expected);
    // Sent again under another key, neither changes anything; what differs is refused.
    for (path, body) in [("/v1/products/CUP/import", row), ("/v1/products/CUP-L/import", variant)] {
        assert_eq!(shop.post(path, body).await.status, 200);
    }
    assert_eq!(shop.events().await.len(), log.len());
    for body in [json!({"name": "Tin cup"}), json!({"status": "published"}), json!({"status": "draft"})] {
        shop.refused("/v1/products/CUP/import", body, 409, "product-withdrawn", json!({})).await;
    }
}

#[actix_web::test]
async fn a_row_of_a_category_creates_or_changes_it() {
    let shop = Shop::open().await;
    let path = "/v1/categories/cups/import";
    shop.refused(path, json!({"name": "Cups"}), 404, "unknown-category", json!({"category": "cups"})).await;
    let body = json!({"name": "Cups", "slug": "cups", "parent": "x"});
    shop.refused(path, body, 422, "unknown-parent", json!({"parent": "x"})).await;
    let row = json!({"name": "Cups", "slug": "cups", "parent": "home"});
    shop.done(path, row.clone()).await;
    assert_eq!(shop.post(path, row).await.status, 200);
    shop.done(path, json!({"name": "Tea cups", "parent": "mugs"})).await;
    let body = json!({"slug": "mugs"});
    shop.refused(path, body, 409, "category-slug-taken", json!({"slug": "mugs", "category": "mugs"})).await;
    let log = shop.0.log().await;
    let payloads: Vec<Value> =
        log[3..].iter().map(|event| serde_json::from_str(&event.payload).expect("JSON")).collect();
    let expected = [
        json!({"Created": {"category": "cups", "name": "Cups", "slug": "cups", "parent": "home"}}),
        json!({"Renamed": {"category": "cups", "name": "Tea cups", "slug": "cups"}}),
        json!({"Moved": {"category": "cups", "parent": "mugs", "previous": "home"}}),
    ];
    assert_eq!(payloads, expected);
}

#[actix_web::test]
async fn a_row_that_breaks_a_rule_is_refused_as_a_whole() {
    let shop = Shop::open().await;
    shop.done("/v1/products/MUG/slug", json!({"slug": "mug"})).await;
    let path = "/v1/products/CUP/import";
    shop.refused(path, json!({"slug": "cup"}), 404, "unknown-product", json!({})).await;
    shop.refused(path, json!({"name": "Cup", "slug": "mug"}), 409, "slug-taken", json!({"product": "MUG"})).await;
    let body = json!({"name": "Cup", "categories": ["x"]});
    shop.refused(path, body, 404, "unknown-category", json!({"category": "x"})).await;
    shop.refused(path, json!({"name": "Cup", "prices": [gbp(0)]}), 422, "price-not-positive", json!({})).await;
    shop.refused(path, json!({"product": "MUG"}), 422, "option-count", json!({"count": 0})).await;
    shop.refused(path, json!({"product": "NONE", "options": {"size": "L"}}), 404, "unknown-product", json!({})).await;
    shop.done("/v1/products/MUG/variants", add("CUP", "L")).await;
    shop.refused(path, json!({"name": "Cup"}), 409, "sku-taken", json!({"sku": "CUP", "product": "MUG"})).await;
    for (body, told) in [
        (json!({"options": {"size": "L"}}), "options are those of a variant"),
        (json!({"product": "MUG", "slug": "cup"}), "slug is said of a product"),
        (json!({"name": "Cup", "status": "withdrawn"}), "reason is missing"),
        (json!({"name": "Cup", "reason": "chipped"}), "reason says why a product was withdrawn"),
    ] {
        let answer = shop.post(path, body).await;
        assert_eq!((answer.status, problem(&answer)), (422, "invalid-field"), "{answer:?}");
        assert!(answer.body["rule"].as_str().is_some_and(|rule| rule.starts_with(told)), "{answer:?}");
    }
}
