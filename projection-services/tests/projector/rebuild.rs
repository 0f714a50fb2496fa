//! Read models are built anew beside the ones that queries see, and nobody notices.

use crate::shop::{PATIENCE, Shop, eventually};
use kontor_local::Role;
use kontor_projection_services::projections;
use kontor_projection_services::runtime::generation::{self, Generation, State};
use kontor_projection_services::runtime::operations::{OperationError, status};
use kontor_projection_services::runtime::rebuild::{AsOf, Outcome, rebuild, rollback};
use kontor_projection_services::runtime::verify::{Kind, verify};
use kontor_projection_services::runtime::{Filled, Kept, Means};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

const NOBODY_HEARS: fn(Filled) = |_| {};

fn kept(shop: &Shop) -> Vec<Kept> {
    projections::all().into_iter().map(|projection| shop.kept(projection)).collect()
}

async fn rebuilt(means: &Means, kept: &Kept) -> Generation {
    let ending = CancellationToken::new();
    match rebuild(means, kept, None, &ending, &NOBODY_HEARS).await.expect("it is built") {
        Outcome::Shown(generation) => generation,
        other => panic!("{other:?}"),
    }
}

/// What a reader sees at one moment: how far the orders are, how many there are, and how many were placed up to there.
const SEEN: &str = "select c.position, (select count(*) from projections.orders),
         (select count(*) from events where aggregate_type = 'order' and event_type = 'Placed' and position <= c.position)
     from projections.checkpoints c where c.projection = 'orders'";

/// Reads until `done`: never an error, never nothing, never less than before, never other than the log. Returns how often.
async fn read_all_the_time(database: PgPool, done: &AtomicBool) -> usize {
    let (mut reads, mut before) = (0, (0, 0));
    while !done.load(Ordering::Relaxed) {
        let (position, orders, placed): (i64, i64, i64) =
            sqlx::query_as(SEEN).fetch_one(&database).await.expect("there is an answer");
        assert!(orders >= placed && placed > 0, "{orders} orders at {position}, and {placed} were placed");
        assert!(position >= before.0 && orders >= before.1, "{:?} after {before:?}", (position, orders));
        (reads, before) = (reads + 1, (position, orders));
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    reads
}

/// Step 1: the shop trades without pause, and readers ask a primary and a replica without pause. Step 2: all read models are built
/// anew, again and again. Step 3: no reader has noticed, and the rows are those of the log.
#[tokio::test]
async fn a_rebuild_under_load_is_not_noticed() {
    let mut shop = Shop::open_with_replica().await;
    let projector = shop.projector().await;
    shop.trade(800).await;
    shop.until_caught_up().await;
    shop.servers.replica().catch_up(shop.servers.postgres(), PATIENCE).await.expect("it follows");
    let replica = shop.servers.replica().url(Role::Query);
    let replica = PgPoolOptions::new().max_connections(1).connect(&replica).await.expect("it answers");
    let primary = shop.database.clone();
    let (means, kept) = (shop.means(), kept(&shop));

    let done = AtomicBool::new(false);
    let build = async {
        for _ in 0..4 {
            for kept in &kept {
                rebuilt(&means, kept).await;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let trade = async {
        while !done.load(Ordering::Relaxed) {
            let positions = shop.trade(20).await;
            shop.publish(positions).await;
        }
    };
    let ((), (), on_primary, on_replica) =
        tokio::join!(build, trade, read_all_the_time(primary, &done), read_all_the_time(replica, &done));
    assert!(on_primary > 20 && on_replica > 20, "{on_primary} and {on_replica} reads");

    shop.until_caught_up().await;
    for name in projections::names() {
        let there = generation::of(&shop.database, name).await.expect("they can be read");
        let states: Vec<_> = there.iter().map(|generation| (generation.generation, generation.state)).collect();
        assert_eq!(states, [(4, State::Retired), (5, State::Live)], "one is kept for a rollback");
    }
    assert_eq!(shop.sql("select count(*) from pg_namespace where nspname ~ '^(catalogue|orders)_'").await, "4");
    eventually("the projector is ready", async || projector.health.is_ready()).await;
    projector.stop().await;
}

#[tokio::test]
async fn a_rebuild_that_was_interrupted_goes_on_where_it_was() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(2_500).await;
    shop.until_caught_up().await;
    let (means, kept) = (shop.means(), &kept(&shop)[1]);
    let ending = CancellationToken::new();
    let end = |Filled { position, .. }| {
        if position > 0 {
            ending.cancel();
        }
    };
    let interrupted = rebuild(&means, kept, None, &ending, &end).await.expect("it ends");
    let Outcome::Interrupted(begun) = interrupted else { panic!("{interrupted:?}") };
    assert!(begun.position > 0 && begun.position < shop.head().await, "{begun:?}");
    assert_eq!((begun.state, begun.worker), (State::Filling, None));
    assert_eq!(shop.live("orders").await.generation, 1);

    let positions = std::sync::Mutex::new(Vec::new());
    let tell = |Filled { position, .. }| positions.lock().expect("nobody panics").push(position);
    let shown = rebuild(&means, kept, None, &CancellationToken::new(), &tell).await.expect("it is built");
    assert!(matches!(&shown, Outcome::Shown(shown) if shown.generation == begun.generation), "{shown:?}");
    assert_eq!(positions.lock().expect("nobody panics")[0], begun.position, "it did not begin anew");
    shop.until_caught_up().await;
    projector.stop().await;
}

#[tokio::test]
async fn of_two_who_build_the_same_one_is_told_to_wait() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(50).await;
    shop.until_caught_up().await;
    let (means, kept) = (shop.means(), &kept(&shop)[0]);
    let ending = CancellationToken::new();
    ending.cancel();
    rebuild(&means, kept, None, &ending, &NOBODY_HEARS).await.expect("it is begun");
    shop.sql(
        "update projections.generations set worker = gen_random_uuid(), lease_until = now() + interval '1 minute'
         where generation = 2",
    )
    .await;
    let refused = rebuild(&means, kept, None, &CancellationToken::new(), &NOBODY_HEARS).await.expect_err("it is held");
    assert!(matches!(refused, OperationError::Busy { .. }), "{refused}");
    projector.stop().await;
}

/// Step 1: a new generation is shown. Step 2: trade goes on. Step 3: the one before is shown again, with all that happened since.
#[tokio::test]
async fn a_rollback_shows_the_one_before_up_to_date() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(200).await;
    shop.until_caught_up().await;
    let (means, kept) = (shop.means(), &kept(&shop)[1]);
    let ending = CancellationToken::new();
    let nothing = rollback(&means, kept, &ending, &NOBODY_HEARS).await.expect_err("there is no other");
    assert!(matches!(nothing, OperationError::NothingBefore { .. }), "{nothing}");
    assert_eq!(rebuilt(&means, kept).await.generation, 2);
    shop.trade(200).await;
    shop.until_caught_up().await;
    for expected in [1, 2] {
        let shown = rollback(&means, kept, &ending, &NOBODY_HEARS).await.expect("it is shown");
        assert!(matches!(&shown, Outcome::Shown(shown) if shown.generation == expected), "{shown:?}");
        shop.until_caught_up().await;
        shop.trade(50).await;
        shop.until_caught_up().await;
    }
    projector.stop().await;
}

#[tokio::test]
async fn a_row_that_was_changed_by_hand_is_found() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(600).await;
    shop.until_caught_up().await;
    let (means, kept) = (shop.means(), kept(&shop));
    let ending = CancellationToken::new();
    for kept in &kept {
        // The shop goes on meanwhile: both are folded up to the same place.
        let (verified, _) = tokio::join!(verify(&means, kept, &ending, &NOBODY_HEARS), shop.trade(100));
        let verified = verified.expect("it is compared").expect("it was not ended");
        assert!(verified.rows > 0);
        assert_eq!(verified.differences, []);
    }

    shop.until_caught_up().await;
    let changed = shop.sql("update orders_1.orders set units = units + 1 where order_id = (select min(order_id::text)::uuid from orders_1.orders) returning order_id").await;
    let removed = shop.sql("delete from orders_1.orders where order_id = (select max(order_id::text)::uuid from orders_1.orders) returning order_id").await;
    let verified = verify(&means, &kept[1], &ending, &NOBODY_HEARS).await.expect("it is compared").expect("as above");
    let told: Vec<_> = verified.differences.iter().map(|found| (&*found.table, &*found.key, found.kind)).collect();
    assert_eq!(told, [("orders", &*changed, Kind::Differs), ("orders", &*removed, Kind::Missing)]);
    assert_eq!(shop.sql("select count(*) from pg_namespace where nspname ~ '^orders_'").await, "1", "nothing is left");
    projector.stop().await;
}

#[tokio::test]
async fn a_build_of_an_earlier_moment_stays_as_it_was() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(300).await;
    shop.until_caught_up().await;
    let (means, kept) = (shop.means(), &kept(&shop)[1]);
    let (ending, head) = (CancellationToken::new(), shop.head().await);
    let as_of = AsOf { position: head / 2, name: "noon".to_owned() };
    let named = rebuild(&means, kept, Some(&as_of), &ending, &NOBODY_HEARS).await.expect("it is built");
    let Outcome::Named(named) = named else { panic!("{named:?}") };
    assert_eq!((named.position, named.state, named.name.as_deref()), (head / 2, State::Named, Some("noon")));

    shop.trade(50).await;
    shop.until_caught_up().await;
    // As a query does that asks for it.
    let database = PgPoolOptions::new().max_connections(1).connect(&shop.servers.postgres().url(Role::Query)).await;
    let mut database = database.expect("it answers").acquire().await.expect("a connection");
    sqlx::query("set search_path = orders_2, projections").execute(&mut *database).await.expect("it is set");
    let (position, orders): (i64, i64) =
        sqlx::query_as("select position, (select count(*) from orders) from checkpoints")
            .fetch_one(&mut *database)
            .await
            .expect("it answers");
    let placed = format!(
        "select count(*) from events where aggregate_type = 'order' and event_type = 'Placed' and position <= {position}"
    );
    assert_eq!((position, orders.to_string()), (head / 2, shop.sql(&placed).await));

    let again = rebuild(&means, kept, Some(&as_of), &ending, &NOBODY_HEARS).await.expect_err("it is there");
    assert!(matches!(again, OperationError::NameTaken { .. }), "{again}");
    let beyond = AsOf { position: 1_000_000, name: "tomorrow".to_owned() };
    let beyond = rebuild(&means, kept, Some(&beyond), &ending, &NOBODY_HEARS).await.expect_err("it is not there yet");
    assert!(matches!(beyond, OperationError::NotInLog { position: 1_000_000, .. }), "{beyond}");
    let told = status(&shop.database, &["orders"]).await.expect("it answers");
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].lag_events, told[0].kept, told[0].dead_letters), (0, true, 0));
    projector.stop().await;
}
