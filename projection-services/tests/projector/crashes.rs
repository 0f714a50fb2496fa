//! Each event has its effect once, whoever dies in between, and whoever else is at work.

use crate::shop::{PATIENCE, Shop, eventually};
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_local::{Role, Tier, TierPlan, ports};
use kontor_projection_services::projections::catalogue::Catalogue;
use kontor_projection_services::projections::orders::Orders;
use kontor_projection_services::runtime::store::{Store, StoreOptions};
use kontor_projection_services::runtime::{ApplyError, Event, PostgresProjection, PostgresStore, Projection};
use sqlx::PgConnection;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

#[tokio::test]
async fn a_restart_goes_on_from_the_checkpoint() {
    let mut shop = Shop::open().await;
    for _ in 0..3 {
        let projector = shop.projector().await;
        let before = shop.position("orders").await;
        let positions = shop.trade(60).await;
        shop.publish(positions).await;
        shop.until_caught_up().await;
        let applied = projector.of("kontor_projection_events_total", "orders");
        assert_eq!(applied, (shop.head().await - before) as f64, "only what is new is applied");
        projector.stop().await;
    }
}

/// A projection that, after it has written its rows, waits for leave before the checkpoint and they are committed.
struct Held {
    projection: Arc<dyn PostgresProjection>,
    written: Arc<Semaphore>,
    leave: Arc<Semaphore>,
}

impl Projection for Held {
    fn name(&self) -> &'static str {
        self.projection.name()
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        self.projection.aggregate_types()
    }

    fn spanning(&self) -> &'static [&'static str] {
        self.projection.spanning()
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for Held {
    fn tables(&self) -> &'static str {
        self.projection.tables()
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            self.projection.apply(view, events).await?;
            self.written.add_permits(1);
            self.leave.acquire().await.expect("it is never closed").forget();
            Ok(())
        }
        .boxed()
    }
}

/// All projections, each held by the same two semaphores: rows written, and leave to commit them.
fn held() -> (Vec<Arc<dyn Projection>>, Arc<Semaphore>, Arc<Semaphore>) {
    let (written, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let hold = |projection| -> Arc<dyn Projection> {
        Arc::new(Held { projection, written: written.clone(), leave: leave.clone() })
    };
    (vec![hold(Arc::new(Catalogue)), hold(Arc::new(Orders))], written, leave)
}

/// Step 1: a batch has written its rows. Step 2: its connection dies before the commit. Step 3: neither rows nor checkpoint
/// are there. Step 4: the batch is applied again, once.
#[tokio::test]
async fn a_batch_that_dies_half_way_leaves_nothing() {
    let mut shop = Shop::open().await;
    let (projections, written, leave) = held();
    let projector = shop.projector_of(projections).await;
    shop.trade(60).await;
    written.acquire_many(2).await.expect("both have written").forget();

    shop.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'kontor-projector'")
        .await;
    leave.add_permits(2);

    eventually("both have noticed", async || {
        ["catalogue", "orders"].iter().all(|name| projector.of("kontor_projection_errors_total", name) >= 1.0)
    })
    .await;
    assert_eq!((shop.position("catalogue").await, shop.position("orders").await), (0, 0));
    let rows: i64 = sqlx::query_scalar(
        "select (select count(*) from projections.products) + (select count(*) from projections.orders)",
    )
    .fetch_one(&shop.database)
    .await
    .expect("rows");
    assert_eq!(rows, 0);

    leave.add_permits(1_000);
    shop.until_caught_up().await;
    eventually("it is ready again", async || projector.health.is_ready()).await;
    projector.stop().await;
}

/// The binary, as an operator runs it.
fn plan(shop: &Shop, name: &str) -> TierPlan {
    let ops_port = ports::free();
    let setting = |name: &str, value: String| (format!("KONTOR_{name}"), value);
    TierPlan {
        name: "kontor-projector".to_owned(),
        program: PathBuf::from(env!("CARGO_BIN_EXE_kontor-projector")),
        arguments: vec!["serve".to_owned()],
        environment: vec![
            setting("PROJECTIONS__URL", shop.servers.postgres().url(Role::Projector)),
            setting("NATS__URL", shop.servers.nats().url()),
            setting("REDIS__URL", shop.servers.redis().url()),
            setting("OPS__BIND", format!("127.0.0.1:{ops_port}")),
            setting("PROJECTIONS__LEASE_MS", "2000".to_owned()),
        ],
        ops_port,
        log: shop.servers.folder().join(format!("{name}.log")),
        ready_within: PATIENCE,
    }
}

#[tokio::test]
async fn killed_again_and_again_it_ends_with_the_rows_of_the_log() {
    let mut shop = Shop::open().await;
    for round in 0..5 {
        let tier = Tier::start(&plan(&shop, "killed"), |_, _| {}).await.expect("it starts");
        let positions = shop.trade(150).await;
        let publish = shop.publish(positions);
        let kill = async {
            tokio::time::sleep(Duration::from_millis(13 * round)).await;
            tier.kill().await;
        };
        tokio::join!(publish, kill);
    }
    let tier = Tier::start(&plan(&shop, "last"), |_, _| {}).await.expect("it starts");
    shop.until_caught_up().await;
    let status = tier.stop().await;
    assert!(status.success(), "SIGTERM is a graceful end, not {status}: {}", tier.log_tail(10));
}

/// Two processes keep the same projections: one works, the other stands by and takes over as soon as the first has ended.
#[tokio::test]
async fn of_two_projectors_one_works_and_the_other_takes_over_at_once() {
    let mut shop = Shop::open().await;
    let (one, other) = (shop.projector().await, shop.projector().await);
    one.until_reading().await;
    other.until_reading().await;
    let total = |metric: &str, projection: &str| one.of(metric, projection) + other.of(metric, projection);
    for _ in 0..10 {
        let positions = shop.trade(20).await;
        shop.publish(positions).await;
    }
    shop.until_caught_up().await;
    for projection in ["catalogue", "orders"] {
        assert_eq!(total("kontor_projection_active", projection), 1.0, "one keeps {projection}, the other stands by");
        let applied = total("kontor_projection_events_total", projection);
        assert_eq!(applied, shop.head().await as f64, "each event was applied by one of them");
    }
    eventually("standing by is no trouble", async || one.health.is_ready() && other.health.is_ready()).await;

    one.stop().await;
    let stopped = Instant::now();
    eventually("it has taken over", async || {
        ["catalogue", "orders"].iter().all(|name| other.of("kontor_projection_active", name) == 1.0)
    })
    .await;
    assert!(stopped.elapsed() < Duration::from_millis(1_500), "not before the lease of 2 s ran out: {stopped:?}");
    let positions = shop.trade(50).await;
    shop.publish(positions).await;
    shop.until_caught_up().await;
    other.stop().await;
}

/// Step 1: a worker has written a batch and hangs before its commit. Step 2: its lease runs out, but another one waits for what
/// it has begun. Step 3: the first goes on and commits. Step 4: the second has taken the lease, and the first writes no more.
#[tokio::test]
async fn a_worker_that_hangs_in_a_batch_is_waited_for_and_then_replaced() {
    let mut shop = Shop::open().await;
    let (projections, written, leave) = held();
    shop.trade(30).await; // Before it begins, so that it is one batch.
    let first = shop.projector_of(projections).await;
    written.acquire_many(2).await.expect("both have written").forget();

    let second = shop.projector().await;
    let waiting = "select count(*) from pg_stat_activity
         where application_name = 'kontor-projector' and wait_event_type = 'Lock'";
    eventually("the second waits for what the first has begun", async || shop.sql(waiting).await == "2").await;
    assert_eq!(second.of("kontor_projection_active", "orders"), 0.0);

    leave.add_permits(2);
    shop.until_caught_up().await;
    leave.add_permits(1_000);
    shop.trade(30).await;
    shop.until_caught_up().await;
    first.stop().await;
    second.stop().await;
}

/// Step 1: the process that keeps the projections is paused. Step 2: its leases run out, another process takes over and goes
/// on. Step 3: the first wakes up, in the belief that it is still its turn. Step 4: it writes nothing: each event was applied
/// once, and it stands by.
#[tokio::test]
async fn a_process_that_was_paused_and_replaced_writes_nothing() {
    let mut shop = Shop::open().await;
    let tier = Tier::start(&plan(&shop, "paused"), |_, _| {}).await.expect("it starts");
    let positions = shop.trade(50).await;
    shop.publish(positions).await;
    shop.until_caught_up().await;
    let fences = "select string_agg(fence::text, ' ' order by projection) from projections.generations";
    let of_first = shop.sql(fences).await;

    tier.signal(rustix::process::Signal::STOP);
    let positions = shop.trade(50).await;
    shop.publish(positions).await;
    let second = shop.projector().await;
    shop.until_caught_up().await;
    let of_second = shop.sql(fences).await;
    assert_ne!(of_first, of_second);

    tier.signal(rustix::process::Signal::CONT);
    let positions = shop.trade(50).await;
    shop.publish(positions).await;
    shop.until_caught_up().await;
    for projection in ["catalogue", "orders"] {
        assert_eq!(second.of("kontor_projection_active", projection), 1.0);
    }
    assert_eq!(shop.sql(fences).await, of_second, "nobody has taken the leases back");
    tier.stop().await;
    second.stop().await;
}
