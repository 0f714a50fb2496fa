//! What is written, by whom, and what is read back.

use crate::support::{Store, attributes, category, gbp, product, sorted};
use futures::TryStreamExt;
use kontor_search::{Batch, Checkpoint, Document, Query, SearchError};

fn mug() -> Document {
    Document {
        description: Some("Holds 300 ml, and \"that\" is <enough>.".to_owned()),
        categories: vec![category("kitchen", "Kitchen & Table"), category("mugs", "Mugs")],
        attributes: attributes(&[("colour", "Red"), ("made of", "bone china")]),
        skus: vec!["MUG-S".to_owned(), "MUG-L".to_owned()],
        prices: gbp(595),
        sold: 12.5,
        listed: 7,
        source: "{\"folded\":[1,2]}".to_owned(),
        ..product("MUG", "Red mug")
    }
}

/// Of which nothing is known but that it has stock.
fn ghost() -> Document {
    Document { product: "GHOST".to_owned(), source: "stock".to_owned(), ..Document::default() }
}

fn codes(documents: &[Document]) -> Vec<String> {
    sorted(documents.iter().map(|document| document.product.clone()).collect())
}

pub async fn what_is_written_is_read_back(store: Store) {
    assert!(store.create(&store.name).await.is_ok());
    assert_eq!(store.open(&store.name, 1).await.expect("it is opened"), None);
    assert_eq!(store.checkpoint(&store.name).await.expect("it is read"), None);
    let many: Vec<_> = (0..600).map(|n| product(&format!("P{n}"), "Plate")).collect();
    store.put([many, vec![mug(), ghost()]].concat(), 42).await;

    let read = store.read(&store.name, &["MUG".to_owned(), "NONE".to_owned(), "P3".to_owned()]).await.expect("read");
    assert_eq!(codes(&read), ["MUG", "P3"]);
    assert!(read.contains(&mug()), "{read:?}");
    let by_sku = store.read_by_sku(&store.name, &["MUG-L".to_owned(), "MUG-S".to_owned()]).await.expect("read");
    assert_eq!(by_sku, [mug()]);
    let by_category = store.read_by_category(&store.name, &["kitchen".to_owned()]).await.expect("read");
    assert_eq!(by_category, [mug()]);
    let all: Vec<_> = store.scan(&store.name).await.expect("a scan").try_collect().await.expect("read");
    assert_eq!(all.len(), 602);
    assert!(all.contains(&mug()) && codes(&all).contains(&"GHOST".to_owned()));

    let checkpoint = Some(Checkpoint { position: 42, state: "{\"at\":42}".to_owned() });
    assert_eq!(store.checkpoint(&store.name).await.expect("it is read"), checkpoint);
    assert_eq!(store.open(&store.name, 1).await.expect("it is opened again"), checkpoint);
    let answer = store.search(&store.name, &Query::of("red mug")).await.expect("an answer");
    assert_eq!((answer.position, answer.collection.as_str(), answer.total), (42, store.name.as_str(), 1));
    assert_eq!(answer.hits[0].card, mug().card);
    store.clear().await;
}

pub async fn a_document_replaces_the_one_of_the_same_product_and_one_that_is_removed_is_gone(store: Store) {
    store.fill(vec![product("A", "Blue mug"), product("B", "Blue plate")]).await;
    store.put(vec![product("A", "Green mug")], 2).await;
    assert_eq!(store.found_by("blue").await, ["B"]);
    assert_eq!(store.found_by("green").await, ["A"]);
    let checkpoint = Checkpoint { position: 3, state: String::new() };
    let batch = Batch { fence: 1, documents: Vec::new(), removed: vec!["A".into(), "NONE".into()], checkpoint };
    store.write(&store.name, batch).await.expect("it is written");
    assert!(store.found_by("green").await.is_empty());
    assert!(store.read(&store.name, &["A".to_owned()]).await.expect("read").is_empty());
    assert_eq!(store.checkpoint(&store.name).await.expect("read").map(|at| at.position), Some(3));
    store.clear().await;
}

pub async fn a_writer_with_a_lower_fence_is_refused(store: Store) {
    store.fill(vec![product("A", "Blue mug")]).await;
    let checkpoint = store.open(&store.name, 2).await.expect("the next writer opens it");
    assert_eq!(checkpoint.map(|at| at.position), Some(1));
    let batch = |fence| Batch {
        fence,
        documents: vec![product("A", "Green mug")],
        removed: Vec::new(),
        checkpoint: Checkpoint { position: 9, state: String::new() },
    };
    let refused = store.write(&store.name, batch(1)).await;
    assert!(matches!(refused, Err(SearchError::Fenced { fence: 1, by: 2, .. })), "{refused:?}");
    assert!(matches!(store.open(&store.name, 1).await, Err(SearchError::Fenced { .. })));
    assert_eq!(store.found_by("mug").await.len(), 1);
    assert!(store.found_by("green").await.is_empty(), "nothing was written");
    store.write(&store.name, batch(2)).await.expect("the next writer writes");
    assert_eq!(store.found_by("green").await, ["A"]);
    store.clear().await;
}

pub async fn an_alias_shows_one_collection_at_a_time(store: Store) {
    let (alias, next) = (format!("{}_alias", store.name), format!("{}_next", store.name));
    store.fill(vec![product("OLD", "Blue mug")]).await;
    assert_eq!(store.shown(&alias).await.expect("it is read"), None);
    store.show(&alias, &store.name).await.expect("it is shown");
    let found = |answer: kontor_search::Answer| (answer.collection, answer.hits[0].product.clone());
    let answer = store.search(&alias, &Query::of("mug")).await.expect("an answer");
    assert_eq!(found(answer), (store.name.clone(), "OLD".to_owned()));

    store.create(&next).await.expect("it is made");
    store.open(&next, 1).await.expect("it is opened");
    let checkpoint = Checkpoint { position: 5, state: String::new() };
    let batch = Batch { fence: 1, documents: vec![product("NEW", "Blue mug")], removed: Vec::new(), checkpoint };
    store.write(&next, batch).await.expect("it is written");
    store.show(&alias, &next).await.expect("it is shown");
    assert_eq!(store.shown(&alias).await.expect("it is read"), Some(next.clone()));
    let answer = store.search(&alias, &Query::of("mug")).await.expect("an answer");
    assert_eq!(found(answer), (next.clone(), "NEW".to_owned()));
    assert!(store.show(&alias, "nothing_is_called_so").await.is_err());
    store.hide(&alias).await.expect("it is taken away");
    store.hide(&alias).await.expect("it is not there already");
    assert_eq!(store.shown(&alias).await.expect("it is read"), None);
    assert!(matches!(store.search(&alias, &Query::of("mug")).await, Err(SearchError::Unknown(_))));
    store.clear().await;
    store.remove(&next).await.expect("it is removed");
}

pub async fn a_collection_that_is_removed_is_gone(store: Store) {
    store.fill(vec![product("A", "Blue mug")]).await;
    store.create(&store.name).await.expect("one that is there stays");
    assert_eq!(store.found_by("mug").await, ["A"]);
    assert!(store.collections().await.expect("a list").contains(&store.name));
    store.clear().await;
    store.clear().await; // It is gone already.
    assert!(!store.collections().await.expect("a list").contains(&store.name));
    assert!(matches!(store.checkpoint(&store.name).await, Err(SearchError::Unknown(_))));
    store.create(&store.name).await.expect("it is made again");
    assert_eq!(store.open(&store.name, 1).await.expect("it is opened"), None, "it has forgotten all");
    assert!(store.found_by("mug").await.is_empty());
    store.clear().await;
}

pub async fn names_are_checked_and_what_is_unknown_is_told(store: Store) {
    for name in ["", "../etc", "Upper", "a b", &"x".repeat(101)] {
        let refused = store.create(name).await;
        assert!(matches!(refused, Err(SearchError::Name(_))), "{name}: {refused:?}");
    }
    let unknown = store.search("nothing_is_called_so", &Query::of("mug")).await;
    assert!(matches!(unknown, Err(SearchError::Unknown(_))), "{unknown:?}");
    assert!(matches!(store.open("nothing_is_called_so", 1).await, Err(SearchError::Unknown(_))));
}
