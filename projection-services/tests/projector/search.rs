//! Read models in a search store: what is lost comes back, who was replaced writes nothing, and a rebuild is not noticed.
//!
//! The store is an index in a folder; with `KONTOR_SEARCH_URL` a Typesense (its key in `KONTOR_SEARCH__API_KEY`), one test at a time.

use crate::catalogue::Editor;
use crate::shop::{PATIENCE, Running, Shop, eventually};
use crate::trade::Decided;
use kontor_projection_services::ProjectorSettings;
use kontor_projection_services::projections::product_search::{PRODUCT_SEARCH, ProductSearch};
use kontor_projection_services::projections::{self, stock::StockLevels};
use kontor_projection_services::runtime::lanes::{LANES, Mark};
use kontor_projection_services::runtime::lease::{Lease, Manner};
use kontor_projection_services::runtime::rebuild::{Outcome, rebuild, rollback};
use kontor_projection_services::runtime::store::{Batch, Row, Rows, StoreError, StoreOptions};
use kontor_projection_services::runtime::verify::verify;
use kontor_projection_services::runtime::{Event, Kept, Projection, dead_letters};
use kontor_search::{Engine, Query, SearchSettings};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A shop with a search store, and what is shown of it.
struct Searched {
    shop: Shop,
    settings: ProjectorSettings,
    engine: Arc<dyn Engine>,
}

impl Searched {
    async fn open() -> Self {
        let shop = Shop::open().await;
        let mut settings = shop.settings();
        if let Ok(url) = std::env::var("KONTOR_SEARCH_URL") {
            settings.search.url = Some(url.parse().expect("a URL"));
            let key = std::env::var("KONTOR_SEARCH__API_KEY").expect("the key of the Typesense");
            settings.search.api_key = kontor_settings::Secret::new(key);
        }
        let engine = settings.search.engine().expect("it can be opened").expect("there is one");
        let searched = Searched { shop, settings, engine };
        searched.empty().await;
        searched
    }

    /// Drops all that the store has.
    async fn empty(&self) {
        for collection in self.engine.collections().await.expect("it answers") {
            self.engine.remove(&collection).await.expect("it is removed");
        }
        self.engine.hide(PRODUCT_SEARCH).await.expect("it is taken away");
    }

    async fn projector(&self) -> Running {
        let projections: Vec<Arc<dyn Projection>> = vec![Arc::new(ProductSearch), Arc::new(StockLevels)];
        self.shop.projector_with(projections, &self.settings).await
    }

    /// As another process has it.
    fn kept(&self) -> Kept {
        let search = self.settings.search.engine().expect("it can be opened");
        let postgres = self.shop.servers.postgres().url(kontor_local::Role::Projector).parse().expect("a URL");
        Kept::new(Arc::new(ProductSearch), &StoreOptions { postgres, redis: None, search, writers_max: 2 })
    }

    /// Every document of what queries see, by digest.
    async fn rows(&self) -> Vec<Row> {
        let Rows { rows, .. } =
            self.kept().store.rows(&self.shop.live(PRODUCT_SEARCH).await).await.expect("they can be read");
        rows
    }

    async fn until_shown(&self) {
        let head = self.shop.head().await;
        self.shop.until_at(PRODUCT_SEARCH, head).await;
        eventually("queries see the index", async || {
            self.engine.search(PRODUCT_SEARCH, &Query::of("")).await.is_ok_and(|answer| answer.position >= head)
        })
        .await;
    }

    async fn verify(&self) {
        let verified = verify(&self.shop.means(), &self.kept(), &CancellationToken::new(), &|_| {}).await;
        let verified = verified.expect("it is compared").expect("it was not ended");
        assert_eq!(verified.differences, []);
        assert!(verified.rows > 3, "{}", verified.rows);
    }
}

/// A shop that trades and edits its catalogue, with its index up to date.
async fn busy() -> (Searched, Running) {
    let mut searched = Searched::open().await;
    let projector = searched.projector().await;
    let mut editor = Editor::new(5);
    for _ in 0..5 {
        searched.shop.trade(200).await;
        for _ in 0..40 {
            searched.shop.append(editor.next()).await;
        }
    }
    searched.until_shown().await;
    (searched, projector)
}

/// However events fall into batches.
#[tokio::test]
async fn documents_are_those_of_a_fresh_fold() {
    let (searched, projector) = busy().await;
    searched.verify().await;
    projector.stop().await;
}

/// Step 1: all is lost, and nothing else happens. Step 2: the documents are what they were.
#[tokio::test]
async fn an_index_that_was_lost_is_filled_again_by_itself() {
    let (searched, projector) = busy().await;
    let before = searched.rows().await;
    searched.empty().await;
    assert!(searched.engine.search(PRODUCT_SEARCH, &Query::of("")).await.is_err(), "queries see none");
    searched.until_shown().await;
    assert_eq!(searched.rows().await, before);
    eventually("it is ready", async || projector.health.is_ready()).await;
    projector.stop().await;
}

/// Queries must not see what is older than what they have seen: the store was brought back as it was a while ago.
#[tokio::test]
async fn an_index_that_has_become_older_is_not_shown_until_it_has_caught_up() {
    let (mut searched, projector) = busy().await;
    projector.stop().await;
    let live = searched.shop.live(PRODUCT_SEARCH).await;
    searched.shop.trade(50).await;
    let head = searched.shop.head().await;
    searched
        .shop
        .sql(&format!(
            "update projections.generations set position = {head} where projection = '{PRODUCT_SEARCH}'" // It was there once.
        ))
        .await;
    let (lease, generation) = seize(&searched).await;
    let writer = searched.kept().store.open(&generation, &lease).await.expect("it opens");
    assert_eq!(writer.progress().mark.position, live.position);
    assert_eq!(searched.engine.shown(PRODUCT_SEARCH).await.expect("it answers"), None);
    drop(writer);
    lease.release(&searched.shop.database).await.expect("it is given back");

    let projector = searched.projector().await;
    searched.until_shown().await;
    assert_eq!(searched.engine.shown(PRODUCT_SEARCH).await.expect("it answers"), Some("product_search_1".to_owned()));
    projector.stop().await;
}

async fn seize(searched: &Searched) -> (Lease, kontor_projection_services::runtime::generation::Generation) {
    let live = searched.shop.live(PRODUCT_SEARCH).await;
    let at = (PRODUCT_SEARCH, live.generation);
    let taken = Lease::take(&searched.shop.database, at, Uuid::now_v7(), PATIENCE, Manner::Seize).await;
    taken.expect("it answers").expect("it is there")
}

/// Step 1: a worker opens the generation. Step 2: another takes over. Step 3: the first one, which knows nothing of it, writes.
#[tokio::test]
async fn of_two_writers_the_one_that_was_replaced_writes_nothing() {
    let (searched, projector) = busy().await;
    projector.stop().await;
    let (lease, generation) = seize(&searched).await;
    let (here, there) = (searched.kept(), searched.kept());
    let first = here.store.open(&generation, &lease).await.expect("it opens");
    let (lease, generation) = seize(&searched).await;
    let second = there.store.open(&generation, &lease).await.expect("it opens");

    let before = searched.rows().await;
    let position = generation.position;
    let payload = br#"{"Received":{"quantity":2,"reference":null,"on_hand_after":7000,"available_after":6000}}"#;
    let fact = kontor_event_schemas::Fact::decode("stock", "SKU-1", payload).expect("a stored event");
    let events = [Event { position: position + 1, fact }];
    let to = Mark { position: position + 1, event_id: Some(Uuid::now_v7()), log_epoch: generation.log_epoch };
    let batch = Batch { lanes: 0..LANES, from: position, to, events: &events, letters: &[], settled: &[] };
    assert!(matches!(first.write(&batch).await, Err(StoreError::Fenced)));
    assert_eq!(searched.rows().await, before, "nothing was written");
    second.write(&batch).await.expect("it is written");
    assert_ne!(searched.rows().await, before);
    assert!(matches!(first.check().await, Err(StoreError::Lost)), "it is not where it was left");
}

/// Step 1: the shop trades, and somebody searches without pause. Step 2: the index is built anew, again and again, and rolled back.
/// Step 3: every search was answered, none with what is older than the one before, and one earlier generation is left.
#[tokio::test]
async fn a_rebuild_under_load_is_not_noticed() {
    let (mut searched, projector) = busy().await;
    let (means, kept, engine) = (searched.shop.means(), searched.kept(), searched.engine.clone());
    let done = AtomicBool::new(false);
    let build = async {
        for _ in 0..3 {
            let built = rebuild(&means, &kept, None, &CancellationToken::new(), &|_| {}).await.expect("it is built");
            assert!(matches!(built, Outcome::Shown(_)), "{built:?}");
        }
        let back = rollback(&means, &kept, &CancellationToken::new(), &|_| {}).await.expect("it is shown again");
        assert!(matches!(&back, Outcome::Shown(generation) if generation.generation == 3), "{back:?}");
        done.store(true, Ordering::Relaxed);
    };
    let shop = &mut searched.shop;
    let trade = async {
        while !done.load(Ordering::Relaxed) {
            shop.trade(20).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let search = async {
        let (mut searches, mut before) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            let answer = engine.search(PRODUCT_SEARCH, &Query::of("")).await.expect("it is answered");
            assert!(answer.position >= before && answer.total > 0, "{answer:?} after {before}");
            (searches, before) = (searches + 1, answer.position);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        searches
    };
    let ((), (), searches) = tokio::join!(build, trade, search);
    assert!(searches > 20, "{searches}");
    searched.until_shown().await;
    assert_eq!(engine.collections().await.expect("it answers"), ["product_search_3", "product_search_4"]);
    searched.verify().await;
    projector.stop().await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_only_its_product() {
    let mut searched = Searched::open().await;
    let projector = searched.projector().await;
    searched.shop.trade(100).await;
    let events = vec![("Received".to_owned(), r#"{"Received":{"quantity":"many"}}"#.to_owned())];
    let poisoned = Decided { aggregate_type: "stock", aggregate_id: "POISONED".to_owned(), events };
    let position = searched.shop.append(vec![poisoned]).await;
    searched.shop.trade(100).await;
    searched.until_shown().await;
    let live = searched.shop.live(PRODUCT_SEARCH).await;
    let letters = dead_letters::list(&searched.shop.database, &live).await.expect("they can be read");
    assert_eq!(letters.iter().map(|letter| letter.position).collect::<Vec<_>>(), [position]);
    searched.verify().await;
    projector.stop().await;
}

/// A Typesense that nobody has started.
#[tokio::test]
async fn a_search_store_that_is_away_stops_no_other_read_model() {
    let mut shop = Shop::open().await;
    let mut settings = shop.settings();
    settings.search = SearchSettings {
        url: Some("http://127.0.0.1:1".parse().expect("a URL")),
        api_key: kontor_settings::Secret::new("secret"),
        ..SearchSettings::default()
    };
    let projector = shop.projector_with(projections::all(), &settings).await;
    shop.trade(50).await;
    for projection in projections::names().into_iter().filter(|name| *name != PRODUCT_SEARCH) {
        shop.until_at(projection, shop.head().await).await;
    }
    projector.until_reported("the search store cannot be reached").await;
    assert!(projector.of("kontor_projection_errors_total", PRODUCT_SEARCH) > 0.0);
    projector.stop().await;
}
