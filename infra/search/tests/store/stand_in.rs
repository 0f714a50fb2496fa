//! The adapter of Typesense without a Typesense: each of its requests, and answers as the description of the API has them.
//! What is found is the business of the other tests, with a real one.

use crate::between::{Answering, Between, Other};
use crate::support::{category, product};
use futures::TryStreamExt;
use kontor_search::{Batch, Checkpoint, Document, Engine, Query, SearchError, Synonym, Typesense, Value};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn mug() -> Document {
    Document { categories: vec![category("mugs", "Mugs")], ..product("MUG", "Red mug & \"saucer\"") }
}

/// As a line of an export.
fn kept() -> serde_json::Value {
    let rest = Document { card: String::new(), ..mug() };
    json!({ "document": serde_json::to_string(&rest).expect("it has a JSON form"), "card": mug().card })
}

fn checkpoint() -> serde_json::Value {
    json!({ "id": "products_1", "fence": 3, "position": 42, "state": "{}" })
}

fn collection() -> serde_json::Value {
    json!({ "name": "products_1", "num_documents": 0, "created_at": 1, "fields": [{ "name": "title", "type": "string" }] })
}

/// What each search of a request finds.
fn found(searches: &str) -> serde_json::Value {
    let searches: serde_json::Value = serde_json::from_str(searches).expect("searches");
    let result = |search: &serde_json::Value| {
        if search["collection"] == "kontor_checkpoints" {
            return json!({ "found": 1, "page": 1, "search_time_ms": 1, "out_of": 1, "facet_counts": [],
                "hits": [{ "document": checkpoint(), "highlights": [] }] });
        }
        let title = "Red \u{e000}mug\u{e001} & \"saucer\"";
        let highlight = json!({ "field": "title", "snippet": title, "value": title, "matched_tokens": ["mug"] });
        let counts = |value: &str, count: i64| json!({ "value": value, "count": count, "highlighted": value });
        json!({
            "found": 1, "page": 1, "search_time_ms": 1, "out_of": 1,
            "facet_counts": [
                { "field_name": "categories", "counts": [counts("mugs = Mugs", 1)], "stats": {} },
                { "field_name": "attributes", "counts": [counts("colour = red = ish", 1)], "stats": {} },
                { "field_name": "in_stock", "counts": [counts("true", 1)], "stats": {} },
                { "field_name": "price_GBP", "counts": [counts("1", 1)], "stats": { "min": 500.0 } },
            ],
            "hits": [{ "document": kept(), "highlights": [highlight], "text_match": 578_730_123_365_711_993_i64 }],
        })
    };
    let results: Vec<_> = searches["searches"].as_array().expect("searches").iter().map(result).collect();
    json!({ "results": results })
}

fn answering() -> Answering {
    Arc::new(|operation, body| match operation {
        "createCollection" => (201, collection().to_string()),
        "getCollection" | "deleteCollection" => (200, collection().to_string()),
        "getCollections" => (200, json!([collection()]).to_string()),
        "getDocument" | "deleteDocument" => (200, checkpoint().to_string()),
        "importDocuments" => (200, body.lines().map(|_| "{\"success\":true}").collect::<Vec<_>>().join("\n")),
        "exportDocuments" => (200, kept().to_string()),
        "deleteDocuments" => (200, json!({ "num_deleted": 1 }).to_string()),
        "getAlias" | "upsertAlias" => (200, json!({ "name": "products", "collection_name": "products_1" }).to_string()),
        "retrieveSynonymSet" | "upsertSynonymSet" => {
            let items = [
                json!({ "id": "0", "synonyms": ["mug", "cup"] }),
                json!({ "id": "1", "root": "pot", "synonyms": ["can"] }),
            ];
            (200, json!({ "name": "kontor", "items": items }).to_string())
        }
        "multiSearch" => (200, found(body).to_string()),
        other => panic!("{other} is not asked for"),
    })
}

fn typesense(url: &str) -> Typesense {
    Typesense::of(url, "key", Duration::from_secs(5)).expect("a URL")
}

#[tokio::test]
async fn every_request_and_every_answer_is_as_the_description_has_them() {
    let Some(between) = Between::and(Other::StandIn(answering())) else { return };
    let engine = typesense(&between.url);
    engine.create("products_1").await.expect("it is made");
    assert_eq!(engine.collections().await.expect("a list"), ["products_1"]);
    engine.show("products", "products_1").await.expect("it is shown");
    assert_eq!(engine.shown("products").await.expect("it is read").as_deref(), Some("products_1"));
    let at = Some(Checkpoint { position: 42, state: "{}".to_owned() });
    assert_eq!(engine.open("products_1", 3).await.expect("it is opened"), at);
    assert!(matches!(engine.open("products_1", 2).await, Err(SearchError::Fenced { by: 3, .. })));
    let batch = Batch { fence: 3, documents: vec![mug()], removed: vec!["GONE".into()], ..Batch::default() };
    engine.write("products_1", batch).await.expect("it is written");
    assert_eq!(engine.checkpoint("products_1").await.expect("it is read"), at);
    assert_eq!(engine.read("products_1", &["MUG".into()]).await.expect("read"), [mug()]);
    assert_eq!(engine.read_by_sku("products_1", &["MUG".into()]).await.expect("read"), [mug()]);
    assert_eq!(engine.read_by_category("products_1", &["mugs".into()]).await.expect("read"), [mug()]);
    let all: Vec<_> = engine.scan("products_1").await.expect("a scan").try_collect().await.expect("read");
    assert!(all.iter().all(|document| *document == mug()) && !all.is_empty());

    let query = Query {
        categories: vec!["mugs".into()],
        attributes: BTreeMap::from([("colour".to_owned(), vec!["red".to_owned()])]),
        currency: Some("GBP".into()),
        price_min: Some(1),
        in_stock: true,
        facets: true,
        price_bands: vec![400, 800],
        ..Query::of("mug")
    };
    let answer = engine.search("products", &query).await.expect("an answer");
    assert_eq!((answer.total, answer.position, answer.collection.as_str()), (1, 42, "products_1"));
    assert_eq!(answer.hits[0].title, "Red <mark>mug</mark> &amp; &quot;saucer&quot;");
    assert_eq!((answer.hits[0].product.as_str(), &answer.hits[0].card), ("MUG", &mug().card));
    let facets = answer.facets.expect("they were asked for");
    assert_eq!(facets.categories, [Value { value: "mugs".into(), label: "Mugs".into(), count: 1 }]);
    assert_eq!(facets.attributes[0].values[0].value, "red = ish");
    assert_eq!(facets.prices.iter().map(|band| band.count).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!((facets.in_stock, facets.out_of_stock), (1, 0));

    let synonyms = [
        Synonym::Equal(vec!["mug".into(), "cup".into()]),
        Synonym::OneWay { word: "pot".into(), finds: vec!["can".into()] },
    ];
    engine.set_synonyms(&synonyms).await.expect("they are taken");
    assert_eq!(engine.synonyms().await.expect("those in force"), synonyms);
    engine.remove("products_1").await.expect("it is removed");
    assert_eq!(between.operations().len(), 14, "{:?}", between.operations());
}

#[tokio::test]
async fn what_goes_wrong_is_told() {
    let refusing = |status, body: &str| {
        let body = body.to_owned();
        Between::and(Other::StandIn(Arc::new(move |_, _| (status, body.clone()))))
    };
    let Some(between) = refusing(404, "{\"message\":\"Not Found\"}") else { return };
    let missing = typesense(&between.url).open("products_1", 1).await;
    assert!(matches!(missing, Err(SearchError::Unknown(_))), "{missing:?}");

    let gone = typesense("http://127.0.0.1:1").search("products", &Query::of("mug")).await;
    assert!(matches!(gone, Err(SearchError::Unreachable(_))), "{gone:?}");
}
