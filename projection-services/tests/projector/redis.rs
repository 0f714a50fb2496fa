//! Read models in Redis: what is lost comes back, and who was replaced writes nothing.

use crate::catalogue::Editor;
use crate::shop::{PATIENCE, Running, Shop, eventually};
use kontor_projection_services::projections;
use kontor_projection_services::projections::product_cards::ProductCards;
use kontor_projection_services::runtime::lanes::{LANES, Mark};
use kontor_projection_services::runtime::lease::{Lease, Manner};
use kontor_projection_services::runtime::rebuild::{Outcome, rebuild};
use kontor_projection_services::runtime::store::{Batch, Row, Rows, StoreError};
use kontor_projection_services::runtime::verify::{Kind, verify};
use kontor_projection_services::runtime::{Event, Kept};
use kontor_redis::{Reader, keys};
use redis::aio::ConnectionManager;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const CARDS: &str = "product-cards";

fn connection(shop: &Shop) -> ConnectionManager {
    shop.redis().expect("it is configured").connection(Duration::from_secs(5)).expect("it can be made")
}

fn cards(shop: &Shop) -> Kept {
    shop.kept(Arc::new(ProductCards))
}

async fn ask(shop: &Shop, command: &[&str]) -> Option<String> {
    let mut asked = redis::cmd(command[0]);
    asked.arg(&command[1..]);
    asked.query_async(&mut connection(shop)).await.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Every row of what queries see, by digest.
async fn rows(shop: &Shop) -> Vec<Row> {
    let Rows { rows, .. } = cards(shop).store.rows(&shop.live(CARDS).await).await.expect("they can be read");
    rows
}

async fn until_shown(shop: &Shop) {
    eventually("queries see the cards", async || ask(shop, &["GET", &keys::live(CARDS)]).await.is_some()).await;
}

/// A shop that trades and edits its catalogue, with its cards up to date.
async fn busy() -> (Shop, Running) {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(1_500).await;
    let mut editor = Editor::new(5);
    for _ in 0..200 {
        shop.append(editor.next()).await;
    }
    shop.until_at(CARDS, shop.head().await).await;
    until_shown(&shop).await;
    (shop, projector)
}

/// Step 1: Redis is emptied, and nothing else happens. Step 2: the cards are what they were.
#[tokio::test]
async fn a_redis_that_was_emptied_is_filled_again_by_itself() {
    let (shop, projector) = busy().await;
    let before = rows(&shop).await;
    assert!(before.len() > 20, "{}", before.len());
    ask(&shop, &["FLUSHALL"]).await;
    until_shown(&shop).await;
    assert_eq!(rows(&shop).await, before);
    assert_eq!(shop.position(CARDS).await, shop.head().await);
    projector.stop().await;
}

/// Step 1: Redis dies, and trade goes on in Postgres. Step 2: Redis is back, empty. Step 3: the cards are those of the log.
#[tokio::test]
async fn a_redis_that_died_stops_no_other_read_model() {
    let (mut shop, projector) = busy().await;
    shop.servers.redis().kill().await.expect("it runs");
    shop.trade(200).await;
    for projection in projections::names().into_iter().filter(|name| *name != CARDS) {
        shop.until_at(projection, shop.head().await).await;
    }
    projector.until_reported("Redis").await;
    shop.servers.redis().restart().await.expect("it starts");
    shop.until_at(CARDS, shop.head().await).await;
    until_shown(&shop).await;
    eventually("it is ready", async || projector.health.is_ready()).await;
    let verified = verify(&shop.means(), &cards(&shop), &CancellationToken::new(), &|_| {}).await;
    assert_eq!(verified.expect("it is compared").expect("it was not ended").differences, []);
    projector.stop().await;
}

/// Queries must not see cards that are older than what they have seen: Redis was brought back as it was a while ago.
#[tokio::test]
async fn a_redis_that_has_become_older_is_not_shown_until_it_has_caught_up() {
    let (mut shop, projector) = busy().await;
    projector.stop().await;
    let live = shop.live(CARDS).await;
    let position = live.position;
    shop.trade(50).await;
    let head = shop.head().await;
    shop.sql(&format!(
        "update projections.generations set position = {head} where projection = '{CARDS}'" // It was there once.
    ))
    .await;
    let lease = Lease::take(&shop.database, (CARDS, live.generation), Uuid::now_v7(), PATIENCE, Manner::Seize);
    let (lease, live) = lease.await.expect("it answers").expect("it is there");
    let writer = cards(&shop).store.open(&live, &lease).await.expect("it opens");
    assert_eq!(writer.progress().mark.position, position);
    assert_eq!(ask(&shop, &["GET", &keys::live(CARDS)]).await, None);
    lease.release(&shop.database).await.expect("it is given back");

    let projector = shop.projector().await;
    until_shown(&shop).await;
    // Of Redis itself, which is ahead of what Postgres knows of it.
    let checkpoint = format!("{}{}", keys::prefix(&live), keys::CHECKPOINT);
    let reached = ask(&shop, &["HGET", &checkpoint, "position"]).await.expect("it is there");
    assert!(reached.parse::<i64>().expect("a number") >= head, "{reached}");
    projector.stop().await;
}

/// Step 1: a worker opens the generation. Step 2: another takes over. Step 3: the first one, which knows nothing of it, writes.
#[tokio::test]
async fn of_two_writers_the_one_that_was_replaced_writes_nothing() {
    let (shop, projector) = busy().await;
    projector.stop().await;
    let (store, live) = (cards(&shop).store, shop.live(CARDS).await);
    let seize = async || {
        let taken =
            Lease::take(&shop.database, (CARDS, live.generation), Uuid::now_v7(), PATIENCE, Manner::Seize).await;
        taken.expect("it answers").expect("it is there")
    };
    let (lease, generation) = seize().await;
    let first = store.open(&generation, &lease).await.expect("it opens");
    let (lease, generation) = seize().await;
    let second = store.open(&generation, &lease).await.expect("it opens");

    let before = rows(&shop).await;
    let events: Vec<Event> = vec![received(live.position + 1)];
    let to = Mark { position: live.position + 1, event_id: Some(Uuid::now_v7()), log_epoch: live.log_epoch };
    let batch = Batch { lanes: 0..LANES, from: live.position, to, events: &events, letters: &[], settled: &[] };
    assert!(matches!(first.write(&batch).await, Err(StoreError::Fenced)));
    assert!(matches!(first.check().await, Err(StoreError::Fenced)));
    assert_eq!(rows(&shop).await, before, "nothing was written");

    second.write(&batch).await.expect("it is written");
    assert_ne!(rows(&shop).await, before);
    assert!(matches!(second.write(&batch).await, Err(StoreError::Lost)), "it is there already");
}

fn received(position: i64) -> Event {
    let payload = br#"{"Received":{"quantity":2,"reference":null,"on_hand_after":7000,"available_after":6000}}"#;
    Event { position, fact: kontor_event_schemas::Fact::decode("stock", "SKU-1", payload).expect("a stored event") }
}

/// Step 1: the shop trades and cards are read without pause. Step 2: they are built anew, again and again. Step 3: no reader has
/// missed a card or seen an older one, and nothing is left of earlier generations but one.
#[tokio::test]
async fn a_rebuild_under_load_misses_no_card() {
    let (mut shop, projector) = busy().await;
    let (means, kept, reader) = (shop.means(), cards(&shop), Reader::new(connection(&shop), CARDS));
    let sku = registered(&shop).await;
    let done = AtomicBool::new(false);
    let build = async {
        for _ in 0..4 {
            let built = rebuild(&means, &kept, None, &CancellationToken::new(), &|_| {}).await.expect("it is built");
            assert!(matches!(built, Outcome::Shown(_)), "{built:?}");
        }
        done.store(true, Ordering::Relaxed);
    };
    let trade = async {
        while !done.load(Ordering::Relaxed) {
            let positions = shop.trade(20).await;
            shop.publish(positions).await;
        }
    };
    let read = async {
        let (mut reads, mut before) = (0, 0);
        while !done.load(Ordering::Relaxed) {
            let found = reader.read(keys::CARD, None, &[&sku]).await.expect("it answers");
            let found = found[0].as_ref().expect("there is a card");
            assert!(found.position >= before, "{} after {before}", found.position);
            (reads, before) = (reads + 1, found.position);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        reads
    };
    let ((), (), reads) = tokio::join!(build, trade, read);
    assert!(reads > 20, "{reads}");
    shop.until_at(CARDS, shop.head().await).await;
    for (generation, is_kept) in [(1, false), (3, false), (4, true), (5, true)] {
        let checkpoint = format!("{}{}", keys::prefix(format!("product_cards_{generation}")), keys::CHECKPOINT);
        assert_eq!(ask(&shop, &["HGET", &checkpoint, "position"]).await.is_some(), is_kept, "{generation}");
    }
    projector.stop().await;
}

/// A SKU that has a card.
async fn registered(shop: &Shop) -> String {
    shop.sql("select min(sku) from projections.products where name is not null").await
}

#[tokio::test]
async fn a_card_that_was_changed_by_hand_is_found() {
    let (shop, projector) = busy().await;
    let sku = registered(&shop).await;
    let card = format!("{}{}{sku}", keys::prefix("product_cards_1"), keys::CARD);
    ask(&shop, &["SET", &card, "p{}"]).await;
    let verified = verify(&shop.means(), &cards(&shop), &CancellationToken::new(), &|_| {}).await;
    let verified = verified.expect("it is compared").expect("it was not ended");
    let told: Vec<_> = verified.differences.iter().map(|found| (&*found.table, &*found.key, found.kind)).collect();
    assert_eq!(told, [("card", &*sku, Kind::Differs)]);
    projector.stop().await;
}

#[tokio::test]
async fn without_redis_all_other_read_models_are_kept() {
    let mut shop = Shop::open().await;
    let mut settings = shop.settings();
    settings.redis.url = None;
    let projector = shop.projector_with(projections::all(), &settings).await;
    shop.trade(50).await;
    for projection in projections::names().into_iter().filter(|name| *name != CARDS) {
        shop.until_at(projection, shop.head().await).await;
    }
    eventually("it is ready", async || projector.health.is_ready()).await;
    assert_eq!(shop.sql("select count(*) from projections.generations where projection = 'product-cards'").await, "0");
    projector.stop().await;
}
