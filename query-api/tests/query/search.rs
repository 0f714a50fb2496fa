//! Product search over HTTP: as the index finds, as Postgres does while the index is away, and what is refused.
//!
//! The index is one in a folder; with `KONTOR_SEARCH_URL` a Typesense (its key in `KONTOR_SEARCH__API_KEY`), one test at a time.

use crate::api::{Answer, Api, eventually};
use crate::recorder::{Recorder, projector_settings};
use kontor_local::Need;
use kontor_projection_services::{Projector, projections};
use kontor_search::SearchSettings;
use kontor_telemetry::{Health, Metrics};
use serde_json::{Value, json};

/// A catalogue that was edited, with its index up to date.
struct Shop {
    api: Api,
    recorder: Recorder,
    projector: Option<Projector>,
    search: SearchSettings,
}

impl Shop {
    async fn open() -> Self {
        let mut search = SearchSettings::default();
        let api = Api::start_on(&[Need::Replica], |settings, servers| {
            search.folder = Some(servers.folder().join("search"));
            if let Ok(url) = std::env::var("KONTOR_SEARCH_URL") {
                search.url = Some(url.parse().expect("a URL"));
                let key = std::env::var("KONTOR_SEARCH__API_KEY").expect("the key of the Typesense");
                search.api_key = kontor_settings::Secret::new(key);
            }
            settings.search = search.clone();
        });
        let api = api.await;
        empty(&search).await;
        let recorder = Recorder::on(&api).await;
        let mut shop = Shop { api, recorder, projector: None, search };
        shop.start_projector().await;
        for (kind, id, event) in catalogue() {
            shop.recorder.append(kind, id, event).await;
        }
        shop.until_visible().await;
        shop
    }

    async fn start_projector(&mut self) {
        let mut settings = projector_settings(&self.api);
        settings.search = self.search.clone();
        let projector = Projector::start(&settings, projections::all(), &Metrics::new(), &Health::new()).await;
        self.projector = Some(projector.expect("it starts"));
    }

    async fn until_visible(&self) {
        eventually("all is visible, in the index and in Postgres", async || {
            let positions = self.api.ok("/v1/positions").await.body;
            let are_there = ["catalogue", "product-search"].iter().all(|name| positions[name] == self.recorder.head);
            are_there && self.api.ok("/v1/product-search").await.body["degraded"] == false
        })
        .await;
        let head = self.recorder.head.to_string();
        let answer = self.api.get_with("/v1/product-search", &[("Kontor-Min-Position", &head)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn find(&self, parameters: &str) -> Answer {
        let answer = self.api.get_as_guest(&format!("/v1/product-search?{parameters}")).await;
        assert_eq!(answer.status, 200, "{parameters}: {answer:?}");
        answer
    }

    /// Nobody keeps the index any more, and it is gone.
    async fn lose_index(&mut self) {
        self.projector.take().expect("it is at work").stop().await;
        empty(&self.search).await;
        eventually("Postgres answers", async || self.find("q=mug").await.body["degraded"] == true).await;
    }
}

/// Drops all that a search store has.
async fn empty(settings: &SearchSettings) {
    let engine = settings.engine().expect("it can be opened").expect("there is one");
    for collection in engine.collections().await.expect("it answers") {
        engine.remove(&collection).await.expect("it is removed");
    }
    engine.hide("product-search").await.expect("it is taken away");
}

fn catalogue() -> Vec<(&'static str, &'static str, Value)> {
    let registered = |name: &str, draft: bool| json!({"Registered": {"name": name, "description": format!("{name}, made to last."), "draft": draft}});
    let priced = |amount_minor: i64, currency: &str| json!({"Priced": {"price": {"amount_minor": amount_minor, "currency": currency}, "previous": null}});
    let received = |units: u64| json!({"Received": {"quantity": units, "reference": null, "on_hand_after": units, "available_after": units}});
    let shipped = |units: u64, left: u64| {
        json!({"Shipped": {"order_id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "quantity": units, "on_hand_after": left, "available_after": left}})
    };
    let category = |id: &str, parent: Option<&str>| json!({"Created": {"category": id, "name": id.to_uppercase(), "slug": id, "parent": parent}});
    let is_in = |categories: &[&str]| json!({"Categorised": {"categories": categories}});
    let colour = |colour: &str| json!({"AttributesSet": {"attributes": {"colour": {"text": colour}}}});
    let added = |sku: &str, size: &str| json!({"VariantAdded": {"sku": sku, "options": {"size": size}}});
    vec![
        ("category-tree", "main", category("kitchen", None)),
        ("category-tree", "main", category("cups", Some("kitchen"))),
        ("product", "M1", registered("Enamel mug", false)),
        ("product", "M1", priced(700, "GBP")),
        ("product", "M1", is_in(&["cups"])),
        ("product", "M1", colour("red")),
        ("stock", "M1", received(7)),
        ("product", "M2", registered("Glass mug", false)),
        ("product", "M2", priced(900, "GBP")),
        ("product", "M2", is_in(&["cups"])),
        ("product", "M2", colour("blue")),
        ("stock", "M2", received(9)),
        ("stock", "M2", shipped(9, 0)),
        ("product", "POT", registered("Teapot & <warmer>", false)),
        ("product", "POT", priced(2_500, "GBP")),
        ("product", "POT", priced(2_900, "EUR")),
        ("product", "POT", is_in(&["kitchen"])),
        ("product", "SHIRT", registered("T-shirt", false)),
        ("product", "SHIRT", priced(1_500, "GBP")),
        ("stock", "SHIRT-S", received(3)),
        ("product", "SHIRT", added("SHIRT-S", "S")),
        ("product", "SHIRT", added("SHIRT-L", "L")),
        ("product", "DRAFT", registered("Secret mug", true)),
        ("product", "DRAFT", priced(100, "GBP")),
        ("product", "GONE", registered("Old mug", false)),
        ("product", "GONE", priced(100, "GBP")),
        ("product", "GONE", json!({"Withdrawn": {"reason": "broken"}})),
        ("stock", "UNKNOWN", received(5)),
    ]
}

fn skus(answer: &Value) -> Vec<&str> {
    let items = answer["items"].as_array().expect("a page");
    items.iter().map(|item| item["product"]["sku"].as_str().expect("a SKU")).collect()
}

fn sorted(mut skus: Vec<&str>) -> Vec<&str> {
    skus.sort_unstable();
    skus
}

#[tokio::test]
async fn products_are_found_as_they_are_typed() {
    let shop = Shop::open().await;
    for (parameters, expected) in [
        ("q=enamel%20mug", vec!["M1"]),
        ("q=enam", vec!["M1"]),
        ("q=enamle", vec!["M1"]),
        ("q=teapot", vec!["POT"]),
        ("q=SHIRT-S", vec!["SHIRT"]),
        ("q=zzyzx", vec![]),
        ("q=secret", vec![]),
    ] {
        assert_eq!(skus(&shop.find(parameters).await.body), expected, "{parameters}");
    }
    let answer = shop.find("q=mug").await.body;
    assert_eq!((&answer["degraded"], &answer["total"]), (&json!(false), &json!(2)));
    assert_eq!(skus(&answer), ["M2", "M1"], "what sells better comes first");
    let first = &answer["items"][0];
    assert_eq!(first["highlight"]["name"], "Glass <mark>mug</mark>");
    let card = shop.api.get_as_guest("/v1/product-cards/M2").await.body;
    assert_eq!(first["product"], card, "it is the product as its card has it");
    let escaped = &shop.find("q=warmer").await.body["items"][0]["highlight"]["name"];
    assert_eq!(escaped, "Teapot &amp; &lt;<mark>warmer</mark>&gt;");
}

#[tokio::test]
async fn what_is_found_is_filtered_sorted_and_counted() {
    let shop = Shop::open().await;
    for (parameters, expected) in [
        ("category=kitchen", vec!["M1", "M2", "POT"]),
        ("category=cups", vec!["M1", "M2"]),
        ("category=cups&available=true", vec!["M1"]),
        ("attribute=colour:red", vec!["M1"]),
        ("attribute=colour:red&attribute=colour:blue", vec!["M1", "M2"]),
        ("attribute=size:L", vec!["SHIRT"]),
        ("currency=EUR", vec!["POT"]),
        ("currency=GBP&price_min=700&price_max=900", vec!["M1", "M2"]),
        ("q=mug&currency=GBP&price_min=701", vec!["M2"]),
        ("category=nothing", vec![]),
    ] {
        assert_eq!(sorted(skus(&shop.find(parameters).await.body)), expected, "{parameters}");
    }
    for (parameters, expected) in [
        ("sort=price&currency=GBP", ["M1", "M2", "SHIRT", "POT"]),
        ("sort=-price&currency=GBP", ["POT", "SHIRT", "M2", "M1"]),
        ("sort=newest", ["SHIRT", "POT", "M2", "M1"]),
    ] {
        assert_eq!(skus(&shop.find(parameters).await.body), expected, "{parameters}");
    }
    assert_eq!(skus(&shop.find("sort=best-selling").await.body)[0], "M2");

    let facets = &shop.find("q=mug&currency=GBP&facets=true").await.body["facets"];
    let count = |values: &Value, value: &str| {
        let found = values.as_array().into_iter().flatten().find(|found| found["value"] == value);
        found.map(|found| (found["label"].as_str().expect("a label").to_owned(), found["count"].as_i64()))
    };
    assert_eq!(count(&facets["categories"], "kitchen"), Some(("KITCHEN".to_owned(), Some(2))));
    let colours = facets["attributes"].as_array().expect("attributes").iter().find(|found| found["name"] == "colour");
    assert_eq!(count(&colours.expect("colours")["values"], "blue"), Some(("blue".to_owned(), Some(1))));
    assert_eq!((&facets["in_stock"], &facets["out_of_stock"]), (&json!(1), &json!(1)));
    assert_eq!(facets["prices"][1], json!({"from": 500, "to": 1_000, "count": 2}));
    assert_eq!(shop.find("q=mug").await.body["facets"], Value::Null, "they were not asked for");
}

#[tokio::test]
async fn pages_have_each_product_once_and_tags() {
    let shop = Shop::open().await;
    let (mut one_by_one, mut path) = (Vec::new(), "sort=newest&limit=1".to_owned());
    loop {
        let page = shop.find(&path).await.body;
        assert_eq!(page["total"], 4);
        one_by_one.extend(skus(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("sort=newest&limit=1&cursor={cursor}");
    }
    assert_eq!(one_by_one, ["SHIRT", "POT", "M2", "M1"]);
    let answer = shop.find("q=mug").await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=1"));
    assert_eq!(answer.header("vary"), Some("Authorization, Kontor-Min-Position"));
    let of_staff = shop.api.ok("/v1/product-search?q=mug").await;
    assert_eq!(of_staff.header("cache-control"), Some("private, no-cache"));
    let tag = of_staff.header("etag").expect("a tag").to_owned();
    let known = shop.api.get_with("/v1/product-search?q=mug", &[("If-None-Match", &tag)]).await;
    assert_eq!(known.status, 304);
}

#[tokio::test]
async fn editors_find_drafts_and_what_was_withdrawn_and_guests_do_not() {
    let shop = Shop::open().await;
    let of_editor = shop.api.ok("/v1/product-search?q=mug").await.body;
    assert_eq!(sorted(skus(&of_editor)), ["DRAFT", "GONE", "M1", "M2"]);
    let all = shop.api.ok("/v1/product-search").await.body;
    assert_eq!(
        (all["total"].as_u64(), skus(&all).len()),
        (Some(6), 6),
        "stock of what nobody registered is no product"
    );
    assert_eq!(sorted(skus(&shop.find("q=mug").await.body)), ["M1", "M2"]);
}

/// A product is found within a second of its event, and at once by whoever asks for the event's position.
#[tokio::test]
async fn what_was_just_written_is_found() {
    let mut shop = Shop::open().await;
    let event = json!({"Described": {"name": "Porcelain beaker", "description": null}});
    shop.recorder.append("product", "M1", event).await;
    let min = shop.recorder.head.to_string();
    let answer = shop.api.get_with("/v1/product-search?q=beaker", &[("Kontor-Min-Position", &min)]).await;
    assert_eq!((answer.status, skus(&answer.body)), (200, vec!["M1"]), "{answer:?}");
    assert!(answer.position() >= shop.recorder.head && answer.body["degraded"] == false);
    shop.projector.take().expect("it is at work").stop().await;
    let beyond = (shop.recorder.head + 5).to_string();
    let answer = shop.api.get_with("/v1/product-search?q=beaker", &[("Kontor-Min-Position", &beyond)]).await;
    assert_eq!((answer.status, answer.problem()), (503, "position-not-reached"));
}

/// Step 1: the index is gone. Step 2: Postgres answers, says so, and lets as much through. Step 3: a projector fills the index
/// again, and it answers.
#[tokio::test]
async fn postgres_answers_while_the_index_is_away() {
    let mut shop = Shop::open().await;
    shop.lose_index().await;
    for (parameters, expected) in [
        ("q=mug", vec!["M1", "M2"]),
        ("q=MUG%20ena", vec!["M1"]),
        ("q=pot2", vec![]),
        ("q=shirt", vec!["SHIRT"]),
        ("q=50%25", vec![]),
        ("category=kitchen", vec!["M1", "M2", "POT"]),
        ("category=cups&available=true", vec!["M1"]),
        ("available=true", vec!["M1", "SHIRT"]),
        ("attribute=colour:red&attribute=colour:blue", vec!["M1", "M2"]),
        ("currency=GBP&price_min=700&price_max=900", vec!["M1", "M2"]),
    ] {
        let answer = shop.find(parameters).await.body;
        assert_eq!(sorted(skus(&answer)), expected, "{parameters}");
        assert_eq!((&answer["degraded"], &answer["total"]), (&json!(true), &json!(expected.len())), "{parameters}");
    }
    assert_eq!(skus(&shop.find("sort=-price&currency=GBP&limit=2").await.body), ["POT", "SHIRT"]);
    let answer = shop.find("q=mug&facets=true").await;
    assert_eq!((&answer.body["facets"], &answer.body["items"][0]["highlight"]), (&Value::Null, &Value::Null));
    assert_eq!(answer.position(), shop.recorder.head);
    assert!(shop.api.metric("kontor_query_search_degraded_total") > 10.0);
    let report = shop.api.health.report();
    assert!(report.contains("search: not ok") && report.contains("ready without it"), "{report}");
    eventually("it is ready all the same", async || shop.api.health.is_ready()).await;

    shop.start_projector().await;
    eventually("the index answers again", async || shop.find("q=enamle").await.body["degraded"] == false).await;
    assert_eq!(skus(&shop.find("q=enamle").await.body), ["M1"]);
    let report = shop.api.health.report();
    assert!(report.contains("search: ok"), "{report}");
}

#[tokio::test]
async fn each_wrong_parameter_of_a_search_is_named() {
    let api = Api::start().await; // Without an index all is as with one that is away.
    let long = format!("q={}", "a".repeat(201));
    for (query, problem, parameter) in [
        (&*long, "invalid-parameter", "q"),
        ("q=a&q=b", "invalid-parameter", "q"),
        ("text=a", "unknown-parameter", "text"),
        ("sort=size", "invalid-parameter", "sort"),
        ("sort=price", "invalid-parameter", "currency"),
        ("currency=pounds", "invalid-parameter", "currency"),
        ("price_min=100", "invalid-parameter", "currency"),
        ("currency=GBP&price_max=-1", "invalid-parameter", "price_max"),
        ("available=yes", "invalid-parameter", "available"),
        ("attribute=material", "invalid-parameter", "attribute"),
        ("facets=all", "invalid-parameter", "facets"),
        ("limit=0", "invalid-parameter", "limit"),
        ("cursor=eyJza3UiOiJ6In0", "invalid-parameter", "cursor"),
    ] {
        let answer = api.get(&format!("/v1/product-search?{query}")).await;
        assert_eq!((answer.status, answer.problem()), (400, problem), "{query}: {answer:?}");
        assert_eq!(answer.body["parameter"], parameter, "{query}");
    }
    assert_eq!(api.ok("/v1/product-search?q=mug").await.body["degraded"], true);
}
