//! Recommendations: what they are learnt from is what was sold, and models follow each other.

use crate::shop::{Shop, eventually};
use crate::trade::Decided;
use kontor_domain::SubjectId;
use kontor_local::Role;
use kontor_privacy::{Keyring, MasterKey, PrivacySettings};
use kontor_projection_services::ProjectorSettings;
use kontor_projection_services::models::{self, COLLECTION, ModelVersion, TrainError};
use kontor_projection_services::projections::recommendations::Recommendations;
use kontor_projection_services::runtime::Projection;
use kontor_recommend::{Choice, Model};
use kontor_vectors::{Exact, To, Vectors};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use uuid::Uuid;

/// Documents by what the rows of `orders` say of them, and by their own. No row: no difference.
const TRADE: &str = "with lines as (
         select order_id as id, customer_id, placed_at as at, false as taken_back, lines, placed_at, 0 as n
         from projections.orders where status <> 'cancelled'
         union all
         select cancellation_id, customer_id, cancelled_at, true, lines, null, 0 from projections.cancellations
         union all
         select (r->>'return_id')::uuid, customer_id, (r->>'received_at')::timestamptz, true, r->'parts', null, 0
         from projections.orders cross join json_array_elements(returns) r
         where r->>'received_at' is not null and status <> 'cancelled'
     ), expected as (
         select id, customer_id, at, taken_back,
             array(select l->>'sku' from json_array_elements(lines) with ordinality as a (l, n) order by n) as skus,
             array(select (l->>'quantity')::bigint from json_array_elements(lines) with ordinality as a (l, n) order by n)
                 as units
         from lines
     )
     select coalesce(string_agg(coalesce(e::text, '') || ' is ' || coalesce(t::text, 'missing'), e'\\n'), '')
     from expected e full join projections.trade t on t.document_id = e.id
     where t.document_id is null or e.id is null
         or (e.customer_id, e.at, e.taken_back, e.skus, e.units)
             is distinct from (t.customer_id, t.at, t.taken_back, t.skus, t.units)";

/// The same of products. No row: no difference.
const PRODUCTS: &str = "select coalesce(string_agg(coalesce(p::text, '') || ' is ' || coalesce(t::text, 'missing'), e'\\n'), '')
     from (select * from projections.products where name is not null) p full join projections.trade_products t using (sku)
     where (p.name, p.draft, p.withdrawn, p.categories, p.prices)
         is distinct from (t.name, t.draft, t.withdrawn, t.categories, t.prices)";

#[tokio::test]
async fn what_is_learnt_from_is_what_was_sold_and_not_cancelled() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    for commands in [1, 40, 3, 400, 1_500] {
        let positions = shop.trade(commands).await;
        shop.publish(positions).await;
        shop.until_caught_up().await;
        assert_eq!(shop.sql(TRADE).await, "");
        assert_eq!(shop.sql(PRODUCTS).await, "");
    }
    let counts = "select count(*) > 100 and count(*) filter (where taken_back) > 10 from projections.trade";
    assert_eq!(shop.sql(counts).await, "t", "there is enough to be compared");
    projector.stop().await;
}

/// A batch that has all of it, and the same in pieces, event by event.
#[tokio::test]
async fn variants_and_prices_come_and_go() {
    let mut shop = Shop::open().await;
    let gbp = |minor: i64| json!({"amount_minor": minor, "currency": "GBP"});
    let eur = |minor: i64| json!({"amount_minor": minor, "currency": "EUR"});
    let events = [
        json!({"Registered": {"name": "Shirt", "description": null, "draft": true}}),
        json!({"VariantAdded": {"sku": "SHIRT-S", "options": {"size": "S"}}}),
        json!({"VariantAdded": {"sku": "SHIRT-L", "options": {"size": "L"}}}),
        json!({"VariantPriced": {"sku": "SHIRT-L", "price": gbp(900), "previous": null}}),
        json!({"VariantPriced": {"sku": "SHIRT-L", "price": eur(990), "previous": null}}),
        json!({"Priced": {"price": gbp(800), "previous": null}}),
        json!({"Categorised": {"categories": ["clothes"]}}),
        json!({"VariantPriceRemoved": {"sku": "SHIRT-L", "previous": gbp(900)}}),
        json!({"VariantRemoved": {"sku": "SHIRT-S"}}),
        json!({"Published": {"name": "Shirt"}}),
    ];
    let rows = "select (select json_agg(p.*) from (select sku, name, draft, withdrawn, categories, prices
                    from projections.trade_products) p)::jsonb || (select json_agg(v.*) from projections.trade_variants v)::jsonb";
    let expected = json!([
        {"sku": "SHIRT", "name": "Shirt", "draft": false, "withdrawn": false, "categories": ["clothes"],
            "prices": {"GBP": 800}},
        {"product": "SHIRT", "sku": "SHIRT-L", "prices": {"EUR": 990}},
    ]);
    // 1. All at once: the projector finds them there.
    for event in &events {
        shop.append(vec![decided("product", "SHIRT", event)]).await;
    }
    let projector = shop.projector().await;
    shop.until_at("recommendations", shop.head().await).await;
    assert_eq!(shop.sql(rows).await.parse::<Value>().expect("JSON"), expected);
    projector.stop().await;
    // 2. Another product, as events come.
    let projector = shop.projector().await;
    for event in &events {
        let event = serde_json::from_str(&event.to_string().replace("SHIRT", "SMOCK")).expect("JSON");
        shop.append(vec![decided("product", "SMOCK", &event)]).await;
        shop.until_at("recommendations", shop.head().await).await;
    }
    let others = shop
        .sql(
            &rows
                .replace("trade_products)", "trade_products where sku = 'SMOCK')")
                .replace("trade_variants v)", "trade_variants v where product = 'SMOCK')"),
        )
        .await;
    let others: Value = others.replace("SMOCK", "SHIRT").parse().expect("JSON");
    assert_eq!(others, expected);
    projector.stop().await;
}

/// Step 1: a shop with two tastes is learnt as soon as it has been read. Step 2: who likes tea is found by what is for tea. Step 3:
/// somebody whose taste is strange is erased, and what they alone bought together is not together any more.
#[tokio::test]
async fn a_model_knows_the_tastes_and_forgets_who_was_erased() {
    let mut shop = Shop::open().await;
    let keyring = keyring(&shop).await;
    let eve: SubjectId = "eve".parse().expect("a subject");
    keyring.seal(&eve, "Eve").await.expect("it is sealed");
    two_tastes(&mut shop).await;
    for day in 0..6 {
        shop.append(vec![order("eve", day, &["TEA-0", "SPADE-0"])]).await;
    }
    // 1
    let projector = shop.projector_with(only(), &eager(&shop)).await;
    let first = until_model(&shop, |_| true).await;
    assert_eq!((first.documents, first.position), (54, shop.head().await));
    // 2
    let vectors = exact(&shop);
    let near = vectors.nearest(COLLECTION, To::Sku("TEA-1"), &[models::PUBLIC], 3).await.expect("an answer");
    assert!(near.iter().all(|near| near.sku.starts_with("TEA-")), "{near:?}");
    assert_eq!(near.len(), 3);
    assert!(is_together(&shop, &first, "TEA-0", "SPADE-0").await);
    // 3
    keyring.erase(&eve).await.expect("it is erased");
    let second = until_model(&shop, |model| model.version > first.version).await;
    assert_eq!((second.documents, second.erased), (48, 1));
    assert!(!is_together(&shop, &second, "TEA-0", "SPADE-0").await);
    assert_eq!(shop.sql("select count(*) from projections.trade where customer_id = 'eve'").await, "6");
    projector.stop().await;
}

/// Step 1: the first model. Step 2: there is news, and the second takes its place at once, in all stores. Step 3: the third
/// takes the place of the first. Step 4: without news there is no other.
#[tokio::test]
async fn a_new_model_takes_the_place_of_the_last_and_two_stay() {
    let mut shop = Shop::open().await;
    two_tastes(&mut shop).await;
    let projector = shop.projector_with(only(), &eager(&shop)).await;
    let vectors = exact(&shop);
    let mut before: Option<ModelVersion> = None;
    for day in 0..3 {
        let least = before.as_ref().map_or(0, |before| before.version);
        let model = until_model(&shop, |model| model.version > least).await;
        eventually("two versions stay", async || versions(&shop).await.len() <= 2).await;
        let shown = vectors.shown(COLLECTION).await.expect("an answer");
        assert_eq!(shown, Some(model.collection()));
        assert_eq!(vectors.count(&model.collection()).await.expect("it is counted"), model.points as u64);
        let mut kept: Vec<_> = before.iter().chain([&model]).map(|model| model.collection()).collect();
        kept.sort();
        eventually("so do their collections", async || vectors.collections().await.expect("an answer") == kept).await;
        before = Some(model);
        if day < 2 {
            shop.append(vec![order("news", day, &["TEA-2", "TEA-3"])]).await;
        }
    }
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(versions(&shop).await.first(), before.as_ref());
    assert_eq!(projector.metric("kontor_recommendations_trainings_total"), 3.0);
    assert_eq!(projector.metric("kontor_recommendations_model_version"), before.expect("a model").version as f64);
    projector.stop().await;
}

#[tokio::test]
async fn of_two_projectors_one_learns() {
    let mut shop = Shop::open().await;
    two_tastes(&mut shop).await;
    let settings = eager(&shop);
    let one = shop.projector_with(only(), &settings).await;
    let other = shop.projector_with(only(), &settings).await;
    until_model(&shop, |_| true).await;
    sleep(Duration::from_millis(1_500)).await; // Both have looked again and again.
    assert_eq!(versions(&shop).await.len(), 1);
    let trainings = "kontor_recommendations_trainings_total";
    assert_eq!(one.metric(trainings) + other.metric(trainings), 1.0);
    one.stop().await;
    other.stop().await;
    // Nor do two operators.
    let vectors = exact(&shop);
    let (one, other) = tokio::join!(models::train(&shop.database, &vectors), models::train(&shop.database, &vectors));
    let busy = [one, other].into_iter().filter(|trained| matches!(trained, Err(TrainError::Busy))).count();
    assert_eq!((busy, versions(&shop).await.len()), (1, 2));
}

/// Step 1: the vectors are lost. Step 2: they are there again, of the same model.
#[tokio::test]
async fn vectors_that_were_lost_are_filled_again() {
    let mut shop = Shop::open().await;
    two_tastes(&mut shop).await;
    let projector = shop.projector_with(only(), &eager(&shop)).await;
    let model = until_model(&shop, |_| true).await;
    // 1
    shop.sql("delete from vectors.collections").await;
    // 2
    let vectors = exact(&shop);
    eventually("the alias is there again", async || {
        vectors.shown(COLLECTION).await.expect("an answer") == Some(model.collection())
    })
    .await;
    assert_eq!(vectors.count(&model.collection()).await.expect("it is counted"), model.points as u64);
    assert_eq!(versions(&shop).await, [model]);
    eventually("it is counted", async || projector.metric("kontor_recommendations_refills_total") == 1.0).await;
    projector.stop().await;
}

#[tokio::test]
async fn a_shop_that_has_sold_nothing_is_learnt_from_by_its_words() {
    let mut shop = Shop::open().await;
    let nothing = models::train(&shop.database, &exact(&shop)).await.expect_err("there is no read model yet");
    assert!(matches!(nothing, TrainError::Postgres(_) | TrainError::Nothing), "{nothing}");
    for product in ["TEA-0", "TEA-1", "SPADE-0"] {
        put_on_sale(&mut shop, product).await;
    }
    let projector = shop.projector_with(only(), &eager(&shop)).await;
    let model = until_model(&shop, |_| true).await;
    assert_eq!((model.documents, model.products), (0, 3));
    projector.stop().await;
}

/// Learns as soon as there is something.
fn eager(shop: &Shop) -> ProjectorSettings {
    let mut settings = shop.settings();
    settings.recommendations.train_every_s = 1;
    settings.recommendations.look_interval_ms = 20;
    settings
}

fn only() -> Vec<Arc<dyn Projection>> {
    vec![Arc::new(Recommendations)]
}

/// Eight products for tea and eight for the garden, and 24 people of each taste who have bought three of them.
async fn two_tastes(shop: &mut Shop) {
    for product in 0..8 {
        for taste in ["TEA", "SPADE"] {
            put_on_sale(shop, &format!("{taste}-{product}")).await;
        }
    }
    for person in 0..24 {
        for taste in ["TEA", "SPADE"] {
            let skus: Vec<_> = [0, 1, 3].map(|step| format!("{taste}-{}", (person + step) % 8)).into();
            let skus: Vec<_> = skus.iter().map(String::as_str).collect();
            shop.append(vec![order(&format!("{taste}-{person}"), person % 6, &skus)]).await;
        }
    }
}

async fn put_on_sale(shop: &mut Shop, sku: &str) {
    let taste = sku.split('-').next().expect("a word");
    let event = json!({"Registered": {"name": format!("{taste} {}", sku.replace('-', "")), "description": null}});
    shop.append(vec![decided("product", sku, &event)]).await;
}

fn decided(aggregate_type: &'static str, id: &str, event: &Value) -> Decided {
    let event_type = event.as_object().and_then(|event| event.keys().next()).expect("an event names its type");
    Decided { aggregate_type, aggregate_id: id.to_owned(), events: vec![(event_type.clone(), event.to_string())] }
}

/// One unit of each, bought on this day of a May.
fn order(customer: &str, day: usize, skus: &[&str]) -> Decided {
    let id = Uuid::now_v7();
    let price = json!({"amount_minor": 100, "currency": "GBP"});
    let lines: Vec<_> = skus.iter().map(|sku| json!({"sku": sku, "quantity": 1, "unit_price": price})).collect();
    let event = json!({"Placed": {"order_id": id, "reference": null, "customer_id": customer, "country": "United Kingdom",
        "lines": lines, "total": {"amount_minor": 100 * skus.len(), "currency": "GBP"}, "fulfilment": "ship",
        "placed_at": format!("2011-05-{:02}T12:00:00Z", day + 1)}});
    decided("order", &id.to_string(), &event)
}

async fn keyring(shop: &Shop) -> Keyring {
    let pool = PgPool::connect(&shop.servers.postgres().url(Role::Command)).await.expect("it takes connections");
    let master = MasterKey::read(shop.servers.master_key_file()).expect("the master key");
    Keyring::new(pool, master, &PrivacySettings::default())
}

fn exact(shop: &Shop) -> Exact {
    Exact::new(shop.database.clone())
}

async fn versions(shop: &Shop) -> Vec<ModelVersion> {
    models::list(&shop.database).await.expect("they are listed")
}

/// The newest model, as soon as it is as wanted.
async fn until_model(shop: &Shop, is_wanted: impl Fn(&ModelVersion) -> bool) -> ModelVersion {
    let newest = async || models::newest(&shop.database).await.expect("it answers").filter(&is_wanted);
    eventually("a model is learnt", async || newest().await.is_some()).await;
    newest().await.expect("it was there")
}

/// Whether `other` is among what is bought with `sku`, which all is of one taste.
async fn is_together(shop: &Shop, model: &ModelVersion, sku: &str, other: &str) -> bool {
    let content = models::content(&shop.database, model.version).await.expect("it answers").expect("it is there");
    let model = Model::from_bytes(&content.model).expect("a model");
    let together = model.together(&[sku.parse().expect("a SKU")], Choice::any(4));
    let together: BTreeSet<_> = together.iter().map(|found| found.sku.as_str()).collect();
    together.contains(other)
}
