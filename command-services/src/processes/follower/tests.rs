use super::*;
use crate::service::open_shop;
use crate::settings::Settings;
use crate::stock::ReceiveStock;
use kontor_domain::stock::Stock;
use kontor_event_schemas::upcast;
use kontor_event_store::{Log, LogSettings, MIGRATIONS, NewEvent, StreamId};
use kontor_local::{Need, Role, Servers};
use kontor_telemetry::Health;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::future::poll_fn;
use std::task::Poll;
use uuid::Uuid;

/// Long enough for a question to Postgres on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// A follower of a log of its own, which nobody leads.
async fn follower(servers: &Servers) -> Follower {
    let url = |role| servers.postgres().url(role);
    let mut connection = PgConnection::connect(&url(Role::Migrator)).await.expect("the database is there");
    MIGRATIONS.run(&mut connection).await.expect("the log has its tables");
    let mut settings = Settings::default();
    settings.log.url = url(Role::Command).parse().expect("a URL");
    settings.privacy.master_key_file = servers.master_key_file().to_owned();
    let log = Log::open(url(Role::Command).parse().expect("a URL"), LogSettings::default(), upcast::released()).await;
    let shop = open_shop(&settings).expect("the shop opens");
    let executor = Executor::new(log.expect("the log opens"), shop, settings.executor).serving::<Stock>();
    Follower {
        executor: Arc::new(executor),
        settlements: Settlements::default(),
        settings: settings.processes,
        managers: None,
        counts: Arc::default(),
        health: Health::new().register("processes"),
    }
}

async fn receive_a_mug(executor: &Executor) {
    let receive: ReceiveStock = serde_json::from_value(json!({"sku": "MUG", "quantity": 1})).expect("a command");
    executor.execute(Origin::time().command(Uuid::now_v7()), receive).await.expect("it is appended");
}

/// Step 1: this process has heard event 1. Step 2: it hears that it has appended event 3, again and again, without a pause in
/// which it would look at the log. Step 3: another process appends event 2, and this one hears of it all the same.
#[tokio::test]
async fn a_process_that_is_fed_without_a_pause_hears_of_what_another_has_appended() {
    let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
    let follower = follower(&servers).await;
    let mut following = Following::begin(&follower).await.expect("the log can be read");
    let (feed, fed) = mpsc::channel(256);
    following.feed = fed;
    let stream = StreamId { aggregate_type: Stock::TYPE, aggregate_id: "MUG".into() };
    let (event_type, event_version) = ("Received".to_owned(), "1.0".to_owned());
    let event = NewEvent { event_type, event_version, payload: String::new(), metadata: String::new() };
    let own = Committed { before: 2, events: vec![CommittedEvent { stream, sequence: 3, event }] };
    let heard = || follower.counts.position.load(Ordering::Relaxed);
    let story = async {
        // 1
        receive_a_mug(&follower.executor).await;
        while heard() < 1 {
            sleep(Duration::from_millis(1)).await;
        }
        // 2
        let since = Instant::now();
        let feeding = poll_fn(|context| {
            let _ = feed.try_send(own.clone()); // Or there is enough.
            if heard() == 3 || since.elapsed() > PATIENCE {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref(); // Whenever the follower is about to look, something is there.
            Poll::Pending
        });
        // 3
        let executor = follower.executor.clone();
        let appending = tokio::spawn(async move {
            receive_a_mug(&executor).await;
            receive_a_mug(&executor).await;
        });
        feeding.await;
        assert_eq!(heard(), 3);
        appending.await.expect("both are appended");
    };
    tokio::select! {
        biased;
        () = story => {}
        Err(interruption) = following.follow() => panic!("{interruption}"),
    }
}
