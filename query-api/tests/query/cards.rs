//! Product cards: as the projector keeps them in Redis and, when Redis is gone or lacks them, as Postgres has them.

use crate::api::{Answer, Api, client, eventually};
use crate::recorder::{Recorder, projector_settings};
use kontor_identity::Role as Caller;
use kontor_projection_services::{Projector, projections};
use kontor_telemetry::{Health, Metrics};
use serde_json::{Value, json};
use std::ops::Deref;

/// A catalogue with an editor, projectors and the API.
struct Shop {
    api: Api,
    recorder: Recorder,
    projector: Option<Projector>,
}

impl Deref for Shop {
    type Target = Recorder;

    fn deref(&self) -> &Recorder {
        &self.recorder
    }
}

const SKUS: [&str; 7] = ["MUG", "SHIRT", "SHIRT-S", "SHIRT-L", "DRAFT", "GONE", "NOTHING"];

impl Shop {
    /// With all of the catalogue in Redis and in Postgres.
    async fn open() -> Self {
        let api = Api::start_with_redis().await;
        let recorder = Recorder::on(&api).await;
        let mut shop = Shop { api, recorder, projector: None };
        shop.start_projector().await;
        for (kind, id, event) in catalogue() {
            shop.append(kind, id, event).await;
        }
        shop.until_visible().await;
        shop
    }

    async fn start_projector(&mut self) {
        let mut settings = projector_settings(&self.api);
        settings.redis.url = Some(self.api.servers.redis().url().parse().expect("a URL"));
        let projector = Projector::start(&settings, projections::all(), &Metrics::new(), &Health::new()).await;
        self.projector = Some(projector.expect("it starts"));
    }

    async fn stop_projector(&mut self) {
        self.projector.take().expect("it is at work").stop().await;
    }

    async fn append(&mut self, kind: &'static str, id: &str, event: Value) {
        self.recorder.append(kind, id, event).await;
    }

    async fn until_visible(&self) {
        eventually("all is visible, in Redis and in Postgres", async || {
            let positions = self.api.ok("/v1/positions").await.body;
            let are_there = ["catalogue", "stock", "product-cards"].iter().all(|name| positions[name] == self.head);
            are_there && self.is_in_redis().await
        })
        .await;
    }

    /// Whether Redis answers for itself.
    async fn is_in_redis(&self) -> bool {
        let live = self.redis(&["GET", "kontor:live:product-cards"]).await;
        live.is_some()
    }

    async fn redis(&self, command: &[&str]) -> Option<String> {
        let client = redis::Client::open(self.api.servers.redis().url()).expect("a URL of Redis");
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]).query_async(&mut connection).await.ok()?
    }

    fn found(&self) -> f64 {
        self.api.metric("kontor_query_redis_found_total")
    }

    /// Everything that can be asked of cards and availability, by role.
    async fn answers(&self) -> Vec<(String, Answer)> {
        let mut paths: Vec<String> = SKUS.iter().map(|sku| format!("/v1/product-cards/{sku}")).collect();
        paths.extend(["mug", "t-shirt", "idea", "nothing"].map(|slug| format!("/v1/product-cards/by-slug/{slug}")));
        paths.push(format!("/v1/product-cards?skus={}", SKUS.join(",")));
        paths.extend(SKUS.iter().map(|sku| format!("/v1/stock/{sku}")));
        let mut answers = Vec::new();
        for path in paths {
            answers.push((format!("guest {path}"), self.api.get_as_guest(&path).await));
            answers.push((format!("staff {path}"), self.api.get(&path).await));
        }
        answers
    }
}

fn catalogue() -> Vec<(&'static str, &'static str, Value)> {
    let registered =
        |name: &str, draft: bool| json!({"Registered": {"name": name, "description": null, "draft": draft}});
    let pence = |amount_minor: i64, currency: &str| json!({"amount_minor": amount_minor, "currency": currency});
    let priced = |price: Value| json!({"Priced": {"price": price, "previous": null}});
    let slug = |slug: &str| json!({"SlugSet": {"slug": slug, "previous": null}});
    let added = |sku: &str, size: &str| json!({"VariantAdded": {"sku": sku, "options": {"size": size}}});
    let received = |units: u64| json!({"Received": {"quantity": units, "reference": null, "on_hand_after": units, "available_after": units}});
    let picture =
        |n: u32| json!({"kind": "image", "url": format!("https://cdn.example/{n}.jpg"), "alternative_text": "A “mug”"});
    let category = |id: &str| json!({"Created": {"category": id, "name": "Things", "slug": id, "parent": null}});
    vec![
        ("category-tree", "main", category("kitchen")),
        ("category-tree", "main", category("old")),
        ("stock", "MUG", received(7)),
        ("product", "MUG", registered("Mug with a \"crack\"", false)),
        ("product", "MUG", priced(pence(700, "GBP"))),
        ("product", "MUG", priced(pence(800, "EUR"))),
        ("product", "MUG", priced(pence(695, "GBP"))),
        ("product", "MUG", slug("mug")),
        ("slug", "mug", json!({"Claimed": {"product": "MUG"}})),
        ("product", "MUG", json!({"MediaSet": {"media": [picture(1), picture(2)]}})),
        ("product", "MUG", json!({"Categorised": {"categories": ["kitchen", "old"]}})),
        ("category-tree", "main", json!({"Removed": {"category": "old"}})),
        ("stock", "MUG", json!({"BackOrdersLimited": {"up_to": 5, "available_after": 7}})),
        ("product", "SHIRT", registered("T-shirt", false)),
        ("product", "SHIRT", slug("t-shirt")),
        ("slug", "t-shirt", json!({"Claimed": {"product": "SHIRT"}})),
        ("product", "SHIRT", priced(pence(1500, "GBP"))),
        ("product", "SHIRT", priced(pence(1800, "EUR"))),
        ("stock", "SHIRT-S", received(3)),
        ("product", "SHIRT", added("SHIRT-S", "S")),
        ("product", "SHIRT", added("SHIRT-L", "L")),
        (
            "product",
            "SHIRT",
            json!({"VariantPriced": {"sku": "SHIRT-L", "price": pence(1600, "GBP"), "previous": null}}),
        ),
        ("stock", "SHIRT-L", received(4)),
        ("product", "DRAFT", registered("Idea", true)),
        ("product", "DRAFT", slug("idea")),
        ("slug", "idea", json!({"Claimed": {"product": "DRAFT"}})),
        ("product", "GONE", registered("Fax", false)),
        ("product", "GONE", json!({"Withdrawn": {"reason": "out of date"}})),
    ]
}

#[tokio::test]
async fn a_card_has_what_a_shop_shows() {
    let shop = Shop::open().await;
    let answer = shop.api.get_as_guest("/v1/product-cards/SHIRT-L").await;
    let price = |amount_minor: i64, currency: &str| json!({"amount_minor": amount_minor, "currency": currency});
    let card = json!({
        "sku": "SHIRT-L", "product": "SHIRT", "name": "T-shirt", "slug": "t-shirt", "status": "published",
        "options": {"size": "L"}, "prices": [price(1800, "EUR"), price(1600, "GBP")], "medium": null, "categories": [],
        "variant_count": 2, "available": 4,
    });
    assert_eq!((answer.status, &answer.body, answer.position()), (200, &card, shop.head));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=1"));
    let tag = answer.header("etag").expect("a tag");
    let again = shop.api.get_with("/v1/product-cards/SHIRT-L", &[("If-None-Match", tag)]).await;
    assert_eq!((again.status, again.header("etag")), (304, Some(tag)));

    let mug = shop.api.ok("/v1/product-cards/by-slug/mug").await.body;
    assert_eq!((&mug["categories"], &mug["available"]), (&json!(["kitchen"]), &json!(7)));
    assert_eq!(mug["medium"]["url"], "https://cdn.example/1.jpg");
    let several = shop.api.get_as_guest("/v1/product-cards?skus=MUG,NOTHING,DRAFT,SHIRT").await;
    let items = several.body["items"].as_array().expect("cards");
    let skus: Vec<_> = items.iter().map(|card| card["sku"].as_str().expect("a SKU")).collect();
    assert_eq!((skus, several.position()), (vec!["MUG", "SHIRT"], shop.head));
    assert_eq!(several.body["missing"], json!(["NOTHING", "DRAFT"]));
    assert_eq!(several.body["items"][1]["available"], 7, "of all variants");
    assert_eq!(shop.api.metric("kontor_query_redis_failed_total"), 0.0);
}

#[tokio::test]
async fn drafts_and_what_was_withdrawn_are_for_those_who_edit_the_catalogue() {
    let shop = Shop::open().await;
    for (sku, status) in [("DRAFT", "draft"), ("GONE", "withdrawn")] {
        let path = format!("/v1/product-cards/{sku}");
        let answer = shop.api.ok(&path).await;
        assert_eq!(answer.body["status"], status);
        assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
        for answer in [shop.api.get_as_guest(&path).await, shop.api.get_as(Caller::Customer, Some("17"), &path).await] {
            assert_eq!((answer.status, answer.problem()), (404, "unknown-product"), "{sku}");
        }
    }
}

/// Step 1: Redis answers. Step 2: nobody keeps it, and it is emptied: Postgres answers, in the same words.
#[tokio::test]
async fn redis_and_postgres_answer_alike() {
    let mut shop = Shop::open().await;
    let before = shop.found();
    let of_redis = shop.answers().await;
    let found = shop.found() - before;
    assert!(found >= 25.0, "{found} of {} came from Redis", of_redis.len());

    shop.stop_projector().await;
    shop.redis(&["FLUSHALL"]).await;
    for ((path, of_redis), (_, of_postgres)) in of_redis.into_iter().zip(shop.answers().await) {
        let told = |answer: &Answer| {
            let headers =
                ["etag", "cache-control", "vary", "content-type"].map(|name| answer.header(name).map(str::to_owned));
            (answer.status, headers, answer.body.clone(), answer.position())
        };
        assert_eq!(told(&of_redis), told(&of_postgres), "{path}");
    }
}

/// Step 1: Redis is emptied. Step 2: the first answer comes from Postgres, and the next from Redis, where it was put. Step 3: a
/// projector fills Redis again, and then its cards are answered.
#[tokio::test]
async fn what_redis_lacks_is_put_there_until_a_projector_does() {
    let mut shop = Shop::open().await;
    shop.stop_projector().await;
    shop.redis(&["FLUSHALL"]).await;
    let path = "/v1/product-cards/MUG";
    let before = shop.found();
    let answer = shop.api.ok(path).await;
    assert_eq!((answer.position(), shop.found()), (shop.head, before));
    eventually("Redis answers", async || {
        shop.api.ok(path).await;
        shop.found() > before
    })
    .await;
    assert!(!shop.is_in_redis().await);

    shop.start_projector().await;
    eventually("Redis is filled again", async || shop.is_in_redis().await).await;
    shop.append(
        "product",
        "MUG",
        json!({"Priced": {"price": {"amount_minor": 1, "currency": "GBP"}, "previous": null}}),
    )
    .await;
    shop.until_visible().await;
    assert_eq!(shop.api.ok(path).await.body["prices"][1]["amount_minor"], 1);
    shop.stop_projector().await;
}

/// What a client has written it sees, also if Redis still has the card before.
#[tokio::test]
async fn a_card_waits_for_the_position_that_is_asked_for() {
    let mut shop = Shop::open().await;
    shop.append(
        "stock",
        "MUG",
        json!({"Received": {"quantity": 1, "reference": null, "on_hand_after": 8, "available_after": 8}}),
    )
    .await;
    let min = shop.head.to_string();
    let answer = shop.api.get_with("/v1/product-cards/MUG", &[("Kontor-Min-Position", &min)]).await;
    assert_eq!((answer.status, &answer.body["available"]), (200, &json!(8)), "{answer:?}");
    assert!(answer.position() >= shop.head);
    shop.stop_projector().await;
    let beyond = (shop.head + 5).to_string();
    let answer = shop.api.get_with("/v1/product-cards/MUG", &[("Kontor-Min-Position", &beyond)]).await;
    assert_eq!((answer.status, answer.problem()), (503, "position-not-reached"));
}

/// Step 1: cards are asked for without pause. Step 2: Redis dies, and comes back empty. Step 3: every answer was right, and Redis
/// answers again.
#[tokio::test]
async fn nobody_notices_that_redis_dies() {
    let shop = Shop::open().await;
    let done = tokio::sync::Notify::new();
    let guest = client(None);
    let ask = async {
        let mut asked = 0;
        loop {
            tokio::select! {
                () = done.notified() => return asked,
                answer = guest.get(format!("{}/v1/product-cards/MUG", shop.api.base)).send() => {
                    let answer = answer.expect("it is answered");
                    assert_eq!(answer.status(), 200);
                    let card: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
                    assert_eq!(card["available"], 7);
                    asked += 1;
                }
            }
        }
    };
    let trouble = async {
        shop.api.servers.redis().kill().await.expect("it runs");
        eventually("Redis is missed", async || shop.api.metric("kontor_query_redis_failed_total") > 0.0).await;
        shop.api.servers.redis().restart().await.expect("it starts");
        eventually("Redis is filled again", async || shop.is_in_redis().await).await;
        let before = shop.found();
        eventually("Redis answers", async || shop.found() > before).await;
        done.notify_one();
    };
    let (asked, ()) = tokio::join!(ask, trouble);
    assert!(asked > 20, "{asked}");
}

#[tokio::test]
async fn what_is_no_list_of_skus_is_refused_by_name() {
    let api = Api::start().await; // Without Redis all is as with one that is away.
    let many = vec!["A"; 101].join(",");
    for (query, kind, parameter) in [
        ("", "invalid-parameter", "skus"),
        ("?skus=", "invalid-parameter", "skus"),
        ("?skus=A,,B", "invalid-parameter", "skus"),
        (&format!("?skus={many}"), "invalid-parameter", "skus"),
        ("?sku=A", "unknown-parameter", "sku"),
    ] {
        let answer = api.get(&format!("/v1/product-cards{query}")).await;
        assert_eq!(
            (answer.status, answer.problem(), &answer.body["parameter"]),
            (400, kind, &json!(parameter)),
            "{query}"
        );
    }
    assert_eq!(api.get("/v1/product-cards/A?skus=A").await.problem(), "unknown-parameter");
    assert_eq!(api.get("/v1/product-cards/A").await.problem(), "unknown-product");
}
