//! Recommendations, from the order to the answer: a shop with two tastes, its projector, which learns, and the API.

use crate::api::{Answer, Api, PATIENCE, eventually};
use kontor_event_store::{Append, Key, Log, LogSettings, NewEvent, StreamAppend, StreamId};
use kontor_identity::Role as Caller;
use kontor_local::{Need, Role};
use kontor_privacy::{Keyring, MasterKey, PrivacySettings};
use kontor_projection_services::projections::{catalogue::Catalogue, recommendations::Recommendations};
use kontor_projection_services::runtime::Projection;
use kontor_projection_services::{Projector, ProjectorSettings};
use kontor_query_api::QuerySettings;
use kontor_telemetry::{Health, Metrics};
use kontor_vectors::{Qdrant, Vectors};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const SIMILAR: &str = "/v1/recommendations/similar";
const TOGETHER: &str = "/v1/recommendations/together";
const TRENDING: &str = "/v1/recommendations/trending";
const FOR_YOU: &str = "/v1/recommendations/for-you";
const BUY_AGAIN: &str = "/v1/recommendations/buy-again";
/// Of each taste.
const PRODUCTS: usize = 8;

struct Shop {
    api: Api,
    log: Arc<Log>,
    projector: Projector,
    versions: HashMap<(&'static str, String), i64>,
    /// Position of the last event.
    head: i64,
}

impl Shop {
    /// Sixteen products of two tastes, and 24 people of each who have bought three of them. Vectors are rows in Postgres.
    async fn open() -> Self {
        Self::open_with(|_, _| {}).await
    }

    async fn open_with(change: impl Fn(&mut QuerySettings, &mut ProjectorSettings)) -> Self {
        let mut projector = ProjectorSettings::default();
        let api = Api::start_on(&[Need::Replica], |settings, _| change(settings, &mut projector)).await;
        projector.projections.url = Some(api.servers.postgres().url(Role::Projector).parse().expect("a URL"));
        projector.nats.url = "nats://127.0.0.1:1".parse().expect("a URL"); // Nobody is there: events come from the log.
        projector.recommendations.train_every_s = 1;
        projector.recommendations.look_interval_ms = 50;
        let options: PgConnectOptions = api.servers.postgres().url(Role::Command).parse().expect("a URL");
        let log = Log::open(options, LogSettings::default(), Default::default()).await.expect("it opens");
        let kept: Vec<Arc<dyn Projection>> = vec![Arc::new(Catalogue), Arc::new(Recommendations)];
        let mut filling = Filling { log: &log, versions: HashMap::new(), head: 0 };
        filling.two_tastes().await;
        let Filling { versions, head, .. } = filling;
        let projector = Projector::start(&projector, kept, &Metrics::new(), &Health::new()).await.expect("it starts");
        let shop = Shop { api, log, projector, versions, head };
        shop.until_learnt().await;
        shop
    }

    async fn append(&mut self, kind: &'static str, id: &str, event: Value) -> i64 {
        let mut filling = Filling { log: &self.log, versions: std::mem::take(&mut self.versions), head: self.head };
        filling.append(kind, id, event).await;
        (self.versions, self.head) = (filling.versions, filling.head);
        self.head
    }

    /// Until answers come from a model that has seen everything.
    async fn until_learnt(&self) {
        eventually("all of it is learnt", async || {
            let sql = "select coalesce(max(position), 0) from projections.recommendation_models";
            let learnt = self.api.servers.postgres().sql(sql).await.expect("it answers");
            let version = "select coalesce(max(version), 0) from projections.recommendation_models";
            let version: f64 =
                self.api.servers.postgres().sql(version).await.expect("it answers").parse().expect("a number");
            learnt == self.head.to_string() && self.api.metric("kontor_query_recommendations_version") == version
        })
        .await;
    }

    async fn as_customer(&self, customer: &str, path: &str) -> Answer {
        self.api.get_as(Caller::Customer, Some(customer), path).await
    }

    async fn stop(self) {
        self.projector.stop().await;
        self.api.stop().await;
    }
}

/// Appends events.
struct Filling<'a> {
    log: &'a Log,
    versions: HashMap<(&'static str, String), i64>,
    head: i64,
}

impl Filling<'_> {
    async fn append(&mut self, kind: &'static str, id: &str, event: Value) {
        let version = self.versions.entry((kind, id.to_owned())).or_default();
        let (event_type, _) = event.as_object().and_then(|event| event.iter().next()).expect("one event");
        let metadata = json!({"event_id": Uuid::now_v7(), "correlation_id": Uuid::nil(), "causation_id": Uuid::nil(),
            "actor": "test", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
        let event = NewEvent {
            event_type: event_type.clone(),
            event_version: "1.0".to_owned(),
            payload: event.to_string(),
            metadata: metadata.to_string(),
        };
        let stream = StreamId { aggregate_type: kind, aggregate_id: id.into() };
        let (expected_version, lineage) = (*version, self.log.new_lineage());
        let streams = vec![StreamAppend { stream, expected_version, lineage, events: vec![event] }];
        *version += 1;
        self.head = self.log.append(Append { key: Key::unique(), streams }).await.expect("it is appended").position;
    }

    async fn two_tastes(&mut self) {
        for product in 0..PRODUCTS {
            for taste in ["TEA", "SPADE"] {
                for (kind, event) in on_sale(&format!("{taste} {taste}{product}")) {
                    self.append(kind, &format!("{taste}-{product}"), event).await;
                }
            }
        }
        for person in 0..24 {
            for taste in ["TEA", "SPADE"] {
                let skus = [0, 1, 3].map(|step| format!("{taste}-{}", (person + step) % PRODUCTS));
                let skus: Vec<_> = skus.iter().map(String::as_str).collect();
                let (id, event) = order(&format!("{taste}-{person}"), person % 6, &skus);
                self.append("order", &id, event).await;
            }
        }
    }
}

/// A product that everybody may see, with a price and stock.
fn on_sale(name: &str) -> [(&'static str, Value); 3] {
    let price = json!({"amount_minor": 250, "currency": "GBP"});
    [
        ("product", json!({"Registered": {"name": name, "description": null}})),
        ("product", json!({"Priced": {"price": price, "previous": null}})),
        (
            "stock",
            json!({"Received": {"quantity": 100, "reference": null, "on_hand_after": 100, "available_after": 100}}),
        ),
    ]
}

fn order(customer: &str, day: usize, skus: &[&str]) -> (String, Value) {
    let id = Uuid::now_v7();
    let price = json!({"amount_minor": 250, "currency": "GBP"});
    let lines: Vec<_> = skus.iter().map(|sku| json!({"sku": sku, "quantity": 1, "unit_price": price})).collect();
    let event = json!({"Placed": {"order_id": id, "reference": null, "customer_id": customer, "country": "United Kingdom",
        "lines": lines, "total": {"amount_minor": 250 * skus.len(), "currency": "GBP"}, "fulfilment": "ship",
        "placed_at": format!("2011-05-{:02}T12:00:00Z", day + 1)}});
    (id.to_string(), event)
}

/// The SKUs of an answer that is in order.
fn skus(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let items = answer.body["items"].as_array().expect("items");
    items.iter().map(|item| item["product"]["sku"].as_str().expect("a SKU")).collect()
}

/// Why each is recommended.
fn reasons(answer: &Answer) -> Vec<&str> {
    answer.body["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["reason"].as_str().expect("a reason"))
        .collect()
}

fn are_all(skus: &[&str], taste: &str) -> bool {
    !skus.is_empty() && skus.iter().all(|sku| sku.starts_with(taste))
}

#[tokio::test]
async fn what_is_similar_and_bought_together_is_of_one_taste() {
    let shop = Shop::open().await;
    for taste in ["TEA", "SPADE"] {
        for path in
            [format!("{SIMILAR}?sku={taste}-1&limit=3"), format!("{TOGETHER}?sku={taste}-1&sku={taste}-2&limit=3")]
        {
            let answer = shop.api.get_as_guest(&path).await;
            let found = skus(&answer);
            assert!(found.len() == 3 && are_all(&found, taste), "{path}: {answer:?}");
            assert!(!found.contains(&format!("{taste}-1").as_str()), "{path}: {answer:?}");
            assert_eq!(answer.body["items"][0]["because"][0], json!(format!("{taste}-1")));
            let product = &answer.body["items"][0]["product"];
            assert_eq!(product["prices"], json!([{"amount_minor": 250, "currency": "GBP"}]));
            assert!(product["name"].as_str().is_some_and(|name| name.starts_with(taste)), "{product}");
            assert_eq!((&answer.body["degraded"], answer.position()), (&json!(false), shop.head));
            assert_eq!(answer.body["model"]["trained_at"], "2011-05-06T12:00:00Z");
            let again = shop.api.get_with(&path, &[("If-None-Match", answer.header("etag").expect("a tag"))]).await;
            assert_eq!(again.status, 304);
        }
    }
    assert_eq!(reasons(&shop.api.ok(&format!("{SIMILAR}?sku=TEA-1&limit=1")).await), ["similar"]);
    assert_eq!(reasons(&shop.api.ok(&format!("{TOGETHER}?sku=TEA-1&limit=1")).await), ["bought-together"]);
    shop.stop().await;
}

#[tokio::test]
async fn customers_are_recommended_what_they_lack_and_may_buy_again_what_they_had() {
    let shop = Shop::open().await;
    let had = ["TEA-0", "TEA-1", "TEA-3"];
    let answer = shop.as_customer("TEA-0", &format!("{FOR_YOU}?limit=3")).await;
    let found = skus(&answer);
    assert!(are_all(&found, "TEA") && found.iter().all(|sku| !had.contains(sku)), "{answer:?}");
    let because = answer.body["items"][0]["because"][0].as_str().expect("it is explained");
    assert!(had.contains(&because), "{because}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));

    let answer = shop.as_customer("TEA-0", BUY_AGAIN).await;
    let mut found = skus(&answer);
    found.sort();
    assert_eq!(found, had);
    assert_eq!(answer.body["items"][0]["bought"], json!({"times": 1, "last_at": "2011-05-01T12:00:00Z"}));
    // Somebody new has no history.
    let answer = shop.as_customer("new", &format!("{FOR_YOU}?limit=4")).await;
    assert_eq!((skus(&answer).len(), reasons(&answer)), (4, vec!["trending"; 4]));
    assert_eq!(skus(&shop.as_customer("new", BUY_AGAIN).await), Vec::<&str>::new());
    shop.stop().await;
}

#[tokio::test]
async fn customers_ask_for_themselves_and_staff_for_anybody() {
    let shop = Shop::open().await;
    for path in [FOR_YOU, BUY_AGAIN] {
        let of_spade = format!("{path}?customer_id=SPADE-0&limit=3");
        assert!(are_all(&skus(&shop.api.ok(&of_spade).await), "SPADE"), "{path}");
        assert!(are_all(&skus(&shop.as_customer("SPADE-0", &of_spade).await), "SPADE"), "{path}");
        let of_another = shop.as_customer("TEA-0", &of_spade).await;
        assert_eq!((of_another.status, of_another.problem()), (404, "unknown-customer"));
        assert_eq!(shop.api.get_as_guest(path).await.problem(), "unauthenticated");
        assert_eq!(shop.api.get_as(Caller::Analyst, None, &of_spade).await.problem(), "forbidden");
        let of_nobody = shop.api.get(path).await;
        assert_eq!((of_nobody.problem(), &of_nobody.body["parameter"]), ("invalid-parameter", &json!("customer_id")));
    }
    shop.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_named() {
    let shop = Shop::open().await;
    for (path, problem, parameter) in [
        (format!("{SIMILAR}?skus=TEA-1"), "unknown-parameter", "skus"),
        (SIMILAR.to_owned(), "invalid-parameter", "sku"),
        (format!("{SIMILAR}?sku=TEA-1&sku=TEA-2"), "invalid-parameter", "sku"),
        (TOGETHER.to_owned(), "invalid-parameter", "sku"),
        (format!("{TOGETHER}?sku="), "invalid-parameter", "sku"),
        (format!("{TRENDING}?limit=0"), "invalid-parameter", "limit"),
        (format!("{TRENDING}?limit=51"), "invalid-parameter", "limit"),
        (format!("{TRENDING}?currency=pounds"), "invalid-parameter", "currency"),
        (format!("{FOR_YOU}?customer_id=a%20b"), "invalid-parameter", "customer_id"),
        (format!("{BUY_AGAIN}?customer=17850"), "unknown-parameter", "customer"),
    ] {
        let answer = shop.api.get(&path).await;
        assert_eq!((answer.status, answer.problem()), (400, problem), "{path}");
        assert_eq!(answer.body["parameter"], parameter, "{path}");
    }
    for path in [format!("{SIMILAR}?sku=NOTHING"), format!("{TOGETHER}?sku=TEA-1&sku=NOTHING")] {
        assert_eq!(shop.api.get(&path).await.problem(), "unknown-product", "{path}");
    }
    shop.stop().await;
}

/// Step 1: one is sold out, one is withdrawn and one is made a draft's: none of them is shown, at once and by whatever model. Step
/// 2: it is in stock again, and shown again.
#[tokio::test]
async fn only_what_can_be_had_is_recommended() {
    let mut shop = Shop::open().await;
    let all = format!("{TRENDING}?limit=50");
    assert_eq!(skus(&shop.api.ok(&all).await).len(), 2 * PRODUCTS);
    // 1
    let sold_out =
        json!({"Adjusted": {"change": {"down": 100}, "reason": "broken", "on_hand_after": 0, "available_after": 0}});
    shop.append("stock", "TEA-1", sold_out).await;
    let position = shop.append("product", "TEA-2", json!({"Withdrawn": {"reason": "broken"}})).await.to_string();
    let headers = [("Kontor-Min-Position", &*position)];
    for path in [all.clone(), format!("{SIMILAR}?sku=TEA-0&limit=50"), format!("{TOGETHER}?sku=TEA-0&limit=50")] {
        let answer = shop.api.get_with(&path, &headers).await;
        let found = skus(&answer);
        assert!(
            !found.contains(&"TEA-1") && !found.contains(&"TEA-2") && found.contains(&"TEA-3"),
            "{path}: {found:?}"
        );
    }
    shop.until_learnt().await;
    // 2
    let received = json!({"Received": {"quantity": 5, "reference": null, "on_hand_after": 5, "available_after": 5}});
    shop.append("stock", "TEA-1", received).await;
    eventually("it is shown again", async || skus(&shop.api.ok(&all).await).contains(&"TEA-1")).await;
    let in_euros = shop.api.ok(&format!("{all}&currency=EUR")).await;
    assert_eq!(skus(&in_euros), Vec::<&str>::new());
    assert_eq!(skus(&shop.api.ok(&format!("{all}&currency=GBP")).await).len(), 2 * PRODUCTS - 1);
    shop.stop().await;
}

/// Step 1: a product comes, and before anything is learnt of it, it is known by its words. Step 2: after that, too, although nobody
/// has bought it.
#[tokio::test]
async fn a_new_product_is_like_those_with_its_words() {
    let mut shop = Shop::open().await;
    for (kind, event) in on_sale("TEA no. 9") {
        shop.append(kind, "NEW", event).await;
    }
    let position = shop.head.to_string();
    let path = format!("{SIMILAR}?sku=NEW&limit=3");
    for _ in 0..2 {
        let answer = shop.api.get_with(&path, &[("Kontor-Min-Position", &position)]).await;
        assert!(are_all(&skus(&answer), "TEA"), "{answer:?}");
        shop.until_learnt().await;
    }
    shop.stop().await;
}

/// Step 1: a purchase is in the history as soon as the read model has it. Step 2: its buyer is erased, and nobody new any more.
#[tokio::test]
async fn a_purchase_counts_at_once_and_who_is_erased_has_none() {
    let mut shop = Shop::open().await;
    let primary = PgPool::connect(&shop.api.servers.postgres().url(Role::Command)).await.expect("it connects");
    let master = MasterKey::read(shop.api.servers.master_key_file()).expect("the master key");
    let keyring = Keyring::new(primary, master, &PrivacySettings::default());
    let ada = "ada".parse().expect("a subject");
    keyring.seal(&ada, "Ada").await.expect("it is sealed");
    // 1
    let (id, event) = order("ada", 6, &["SPADE-1", "SPADE-2"]);
    let position = shop.append("order", &id, event).await.to_string();
    let path = format!("{BUY_AGAIN}?customer_id=ada");
    let answer = shop.api.get_with(&path, &[("Kontor-Min-Position", &position)]).await;
    assert!(skus(&answer).len() == 2 && are_all(&skus(&answer), "SPADE"), "{answer:?}");
    // 2
    keyring.erase(&ada).await.expect("it is erased");
    shop.api.servers.replica().catch_up(shop.api.servers.postgres(), PATIENCE).await.expect("the replica follows");
    assert_eq!(skus(&shop.api.ok(&path).await), Vec::<&str>::new());
    assert_eq!(reasons(&shop.api.ok(&format!("{FOR_YOU}?customer_id=ada&limit=1")).await), ["trending"]);
    shop.stop().await;
}

#[tokio::test]
async fn before_anything_is_learnt_there_is_nothing_to_recommend() {
    let api = Api::start().await;
    let answer = api.ok(TRENDING).await;
    assert_eq!(answer.body, json!({"position": 0, "model": null, "degraded": true, "items": []}));
}

/// Nobody is at the address of the vector store: what sells together and most is answered instead, and operators are told.
#[tokio::test]
async fn without_its_vector_store_a_shop_still_recommends() {
    let shop = Shop::open_with(|query, _| query.vectors.url = Some("http://127.0.0.1:1".parse().expect("a URL"))).await;
    let answer = shop.api.ok(&format!("{SIMILAR}?sku=TEA-1&limit=12")).await;
    assert_eq!(answer.body["degraded"], true);
    let reasons = reasons(&answer);
    assert!(reasons[0] == "bought-together" && reasons.contains(&"trending"), "{answer:?}");
    let mut found = skus(&answer);
    assert!(found[0].starts_with("TEA-") && !found.contains(&"TEA-1"), "{answer:?}");
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 12, "none is there twice");
    // What needs no vectors is as it always is.
    assert_eq!(shop.api.ok(&format!("{TOGETHER}?sku=TEA-1")).await.body["degraded"], false);
    assert!(shop.api.health.report().contains("vectors: not ok"), "{}", shop.api.health.report());
    assert!(shop.api.health.is_ready(), "it can do without");
    assert!(shop.api.metric("kontor_query_recommendations_degraded_total") >= 1.0);
    assert_eq!(shop.api.metric("kontor_query_vectors_away"), 1.0);
    shop.stop().await;
}

/// Step 1: vectors are in Qdrant. Step 2: it loses them, which is noticed. Step 3: it is filled again.
#[tokio::test]
async fn a_qdrant_that_has_lost_the_vectors_is_filled_again() {
    let Some(url) = std::env::var("KONTOR_VECTORS_URL").ok().filter(|url| !url.is_empty()) else { return };
    let shop = Shop::open_with(|query, projector| {
        query.vectors.url = Some(url.parse().expect("a URL"));
        projector.vectors.url = Some(url.parse().expect("a URL"));
    })
    .await;
    // 1
    let path = format!("{SIMILAR}?sku=TEA-1&limit=3");
    let is_whole = async || {
        let answer = shop.api.ok(&path).await;
        answer.body["degraded"] == false && reasons(&answer) == ["similar"; 3] && are_all(&skus(&answer), "TEA")
    };
    assert!(is_whole().await);
    // 2
    let qdrant = Qdrant::new(&url.parse().expect("a URL"), None, Duration::from_secs(10)).expect("a URL of Qdrant");
    let version = shop.api.metric("kontor_query_recommendations_version");
    qdrant.remove(&format!("recommendations_{version}")).await.expect("it is removed");
    // 3
    eventually("it is filled again", async || {
        qdrant.count(&format!("recommendations_{version}")).await.is_ok_and(|points| points == 2 * PRODUCTS as u64)
    })
    .await;
    eventually("answers are whole again", is_whole).await;
    shop.stop().await;
}
