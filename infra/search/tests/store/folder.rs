//! What only an index in a folder does: one process writes it, and others read it.

use crate::support::{Store, product};
use kontor_search::{Batch, Checkpoint, Embedded, Engine, Query, SearchError};
use std::time::{Duration, Instant};

async fn eventually(holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "it has not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_writes_another_finds_and_both_follow_the_alias() {
    let store = Store::in_a_folder();
    store.fill(vec![product("A", "Blue mug")]).await;
    store.show("products", &store.name).await.expect("it is shown");
    // As another process: nothing is shared but the folder.
    let reader = Embedded::open(store.folder()).expect("a folder");
    let position = async || reader.search("products", &Query::of("mug")).await.expect("an answer").position;
    assert_eq!(position().await, 1);
    store.put(vec![product("B", "Green mug")], 2).await;
    eventually(async || position().await == 2).await;
    let found = reader.search("products", &Query::of("green")).await.expect("an answer");
    assert_eq!((found.total, found.collection.as_str()), (1, "products_1"));

    store.create("products_2").await.expect("it is made");
    store.show("products", "products_2").await.expect("it is shown");
    eventually(async || reader.search("products", &Query::of("")).await.expect("an answer").collection == "products_2")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_has_lost_its_lease_lets_go_and_writes_nothing_more() {
    let store = Store::in_a_folder();
    store.fill(vec![product("A", "Blue mug")]).await;
    let next = Embedded::open(store.folder()).expect("a folder");
    let mut tries = 0;
    let checkpoint = loop {
        match next.open(&store.name, 2).await {
            Ok(checkpoint) => break checkpoint,
            Err(SearchError::Busy { .. }) => tries += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(tries < 400, "the first process has not let go");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(checkpoint.map(|at| at.position), Some(1));
    let checkpoint = Checkpoint { position: 7, state: String::new() };
    let batch = Batch { fence: 1, documents: vec![product("A", "Late mug")], removed: Vec::new(), checkpoint };
    let refused = store.write(&store.name, batch.clone()).await;
    assert!(matches!(refused, Err(SearchError::Fenced { by: 2, .. })), "{refused:?}");
    next.write(&store.name, Batch { fence: 2, ..batch }).await.expect("the next one writes");
    eventually(async || store.found_by("late").await == ["A"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_batches_leave_few_segments_and_are_all_there() {
    let store = Store::in_a_folder();
    store.fill(Vec::new()).await;
    for position in 2..62 {
        store.put(vec![product(&format!("P{}", position % 20), &format!("Mug number {position}"))], position).await;
    }
    let answer = store.search(&store.name, &Query { limit: 100, ..Query::of("mug") }).await.expect("an answer");
    assert_eq!((answer.total, answer.position), (20, 61));
    assert_eq!(store.found_by("mug 61").await, ["P1"]);
    assert!(store.found_by("mug 21").await.is_empty(), "it was replaced");
    drop(store.open(&store.name, 1).await);
    let again = Embedded::open(store.folder()).expect("a folder");
    assert_eq!(again.search(&store.name, &Query::of("mug")).await.expect("an answer").total, 20);
}

#[tokio::test]
async fn a_badly_misspelt_word_is_found_beside_one_that_is_known() {
    let store = Store::in_a_folder();
    store.fill(vec![product("U", "RED UMBRELLA"), product("S", "BLACK SUIT")]).await;
    assert_eq!(store.found_by("red umbrla").await, ["U"]);
    assert_eq!(store.found_by("blakc siut").await, ["S"], "one edit each needs nothing that is known");
    assert_eq!(store.found_by("umbrla").await, Vec::<String>::new(), "alone it may be anything");
    assert_eq!(store.found_by("blorp zumbla").await, Vec::<String>::new());
}
