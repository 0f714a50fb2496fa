//! Whatever happens to relay or stream, the stream ends equal to the log, or the relay stops and says why.

mod support;

use async_nats::jetstream::{self, stream::Stream};
use kontor_command_services::relay::{Relay, Stopped};
use kontor_command_services::service::{NatsClient, Role};
use kontor_event_schemas::subject::{CE_ID, POSITION, STREAM};
use kontor_event_store::{Append, Key, Log, LogSettings, NewEvent, StreamAppend, StreamId};
use kontor_local::{Need, Role as DbRole, Servers, Tier, TierPlan};
use kontor_telemetry::Health;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

struct World {
    servers: Servers,
    log: Arc<Log>,
    stream: jetstream::Context,
}

impl World {
    async fn new() -> Self {
        let servers = Servers::start(&[Need::Postgres, Need::Nats]).await.expect("the servers start");
        support::migrate(&servers).await;
        let options = servers.postgres().url(DbRole::Command).parse().expect("a URL");
        let log = Log::open(options, LogSettings::default(), Default::default()).await.expect("the log");
        let stream = NatsClient::connect(&servers.nats().url()).await.expect("NATS").jetstream;
        Self { servers, log, stream }
    }

    /// Appends `count` events, up to 500 a command.
    async fn append(&self, count: usize) {
        for start in (0..count).step_by(500) {
            let event = |n: usize| NewEvent {
                event_type: "Happened".into(),
                event_version: "1.0".into(),
                payload: format!(r#"{{"Happened":{{"n":{n}}}}}"#),
                metadata: format!(
                    r#"{{"event_id":"{}","correlation_id":"{1}","causation_id":"{1}","actor":"test","traceparent":""}}"#,
                    Uuid::now_v7(),
                    Uuid::nil()
                ),
            };
            let stream = StreamId { aggregate_type: "test", aggregate_id: Uuid::now_v7().to_string().into() };
            let events = (start..count.min(start + 500)).map(event).collect();
            let of_stream = StreamAppend { stream, expected_version: 0, lineage: self.log.new_lineage(), events };
            self.log.append(Append { key: Key::unique(), streams: vec![of_stream] }).await.expect("appended");
        }
    }

    /// A relay that leads whoever else leads: its lock is in another database.
    async fn second_leader(&self) -> JoinHandle<Stopped> {
        let elsewhere = self.servers.postgres().url(DbRole::Relay).replace("/kontor", "/postgres");
        self.relay_with(&elsewhere).await
    }

    async fn relay(&self) -> JoinHandle<Stopped> {
        self.relay_with(&self.servers.postgres().url(DbRole::Relay)).await
    }

    async fn relay_with(&self, lock: &str) -> JoinHandle<Stopped> {
        let relay = Relay {
            settings: support::settings(&self.servers).relay,
            log: support::log_reader(&self.servers).await,
            lock: lock.parse().expect("a URL"),
            nats: NatsClient::connect(&self.servers.nats().url()).await.expect("NATS"),
            appended: Some(self.log.appended()),
            health: Health::new().register("relay"),
            counts: Arc::default(),
        };
        tokio::spawn(relay.run())
    }

    /// Position and id of every event on the stream, in the stream's order.
    async fn on_stream(&self) -> Vec<(i64, String)> {
        let Ok(mut stream) = self.stream.get_stream(STREAM).await else { return Vec::new() };
        let last = stream.info().await.map_or(0, |info| info.state.last_sequence);
        let mut events = Vec::new();
        for sequence in 1..=last {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                let header = |name| message.headers.get(name).expect("a header").to_string();
                events.push((header(POSITION).parse().expect("a position"), header(CE_ID)));
            }
        }
        events
    }

    async fn in_log(&self) -> Vec<(i64, String)> {
        let events = self.log.reader().read(0, 1_000_000).await.expect("the log");
        let id = |event: &kontor_event_schemas::RecordedEvent| event.metadata().expect("metadata").event_id.to_string();
        events.iter().map(|event| (event.position, id(event))).collect()
    }

    /// Waits until the stream equals the log.
    async fn until_equal(&self) {
        let log = self.in_log().await;
        let patience = Instant::now() + Duration::from_secs(30);
        loop {
            let count = match self.stream.get_stream(STREAM).await {
                Ok(mut stream) => stream.info().await.map_or(0, |info| info.state.messages as usize),
                Err(_) => 0,
            };
            if count >= log.len() {
                let stream = self.on_stream().await;
                assert!(stream == log, "the stream differs from the log: {} and {} events", stream.len(), log.len());
                return;
            }
            assert!(Instant::now() < patience, "the stream has {count} of {} events", log.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn kontor(&self) -> Stream {
        self.stream.get_stream(STREAM).await.expect("the stream")
    }
}

#[tokio::test]
async fn the_stream_repeats_the_log_event_for_event() {
    let world = World::new().await;
    world.append(2_345).await; // More than two batches are waiting,
    let _relay = world.relay().await;
    world.until_equal().await;
    world.append(1).await; // then single events come.
    world.append(3).await;
    world.until_equal().await;
}

#[tokio::test]
async fn two_relays_at_once_publish_each_event_once() {
    let world = World::new().await;
    let relays = [world.relay().await, world.second_leader().await];
    for _ in 0..20 {
        world.append(37).await;
    }
    world.until_equal().await;
    assert!(relays.iter().all(|relay| !relay.is_finished()));
}

/// Passes bytes on, until it is told to swallow what the server answers.
async fn deaf_proxy(server: u16, deaf: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let deaf = deaf.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", server)).await?;
                let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                let mut bytes = vec![0; 1 << 16];
                loop {
                    let count = from_server.read(&mut bytes).await?;
                    if count == 0 {
                        return std::io::Result::Ok(());
                    }
                    if !deaf.load(Ordering::Acquire) {
                        to_client.write_all(&bytes[..count]).await?;
                    }
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_relay_killed_between_publish_and_acknowledgement_doubles_nothing() {
    let world = World::new().await;
    let deaf = Arc::new(AtomicBool::new(false));
    let proxy = deaf_proxy(world.servers.nats().port(), deaf.clone()).await;
    let ops = kontor_local::ports::free();
    let plan = TierPlan {
        name: "the relay".into(),
        program: PathBuf::from(env!("CARGO_BIN_EXE_kontor-command")),
        arguments: vec!["serve".into(), "relay".into()],
        environment: vec![
            ("KONTOR_RELAY__LOG_URL".into(), world.servers.postgres().url(DbRole::Relay)),
            ("KONTOR_NATS__URL".into(), format!("nats://127.0.0.1:{proxy}")),
            ("KONTOR_OPS__BIND".into(), format!("127.0.0.1:{ops}")),
        ],
        ops_port: ops,
        log: world.servers.folder().join("relay.log"),
        ready_within: Duration::from_secs(30),
    };
    // 1. A relay process publishes, and hears the acknowledgement.
    let relay = Tier::start(&plan, |_, _| {}).await.expect("the relay starts");
    world.append(10).await;
    world.until_equal().await;
    // 2. It hears no more. It publishes the next batch, which the stream takes.
    deaf.store(true, Ordering::Release);
    world.append(7).await;
    world.until_equal().await;
    // 3. It is killed before it knows; meanwhile the log goes on.
    relay.kill().await;
    world.append(5).await;
    // 4. Another one goes on where the stream ends.
    let _relay = world.relay().await;
    world.until_equal().await;
}

#[tokio::test]
async fn a_deleted_stream_is_filled_anew() {
    let world = World::new().await;
    let _relay = world.relay().await;
    world.append(1_500).await;
    world.until_equal().await;
    world.stream.delete_stream(STREAM).await.expect("deleted");
    world.until_equal().await; // An idle relay notices by itself.
    world.stream.delete_stream(STREAM).await.expect("deleted");
    world.append(1).await; // A busy one, too.
    world.until_equal().await;
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success());
}

#[tokio::test]
async fn a_stream_that_lost_its_tail_gets_it_back() {
    let world = World::new().await;
    let _relay = world.relay().await;
    // 1. The stream holds 300 events; its disk is kept as it is then.
    world.append(300).await;
    world.until_equal().await;
    let store = world.servers.nats().store_dir();
    let kept = world.servers.folder().join("kept");
    world.servers.nats().kill().await.expect("killed");
    copy(&store, &kept);
    world.servers.nats().restart().await.expect("restarted");
    // 2. 900 more come, and are lost with the power: the disk is as it was.
    world.append(900).await;
    world.until_equal().await;
    world.servers.nats().kill().await.expect("killed");
    std::fs::remove_dir_all(&store).expect("the store is removed");
    copy(&kept, &store);
    world.servers.nats().restart().await.expect("restarted");
    // 3. The relay, which was told that they were on disk, brings them again.
    world.until_equal().await;
    world.append(1).await;
    world.until_equal().await;
}

#[tokio::test]
async fn a_stream_ahead_of_the_log_stops_the_relay_and_is_left_alone() {
    let world = World::new().await;
    let relay = world.relay().await;
    world.append(5).await;
    world.until_equal().await;
    // 1. The stream holds an event that the log has lost.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(POSITION, "6");
    headers.insert(CE_ID, Uuid::now_v7().to_string().as_str());
    let published = world.stream.publish_with_headers("kontor.v1.test.happened", headers, "{}".into()).await;
    published.expect("sent").await.expect("published");
    // 2. The relay stops by itself and says why,
    let stopped = tokio::time::timeout(Duration::from_secs(20), relay).await.expect("it stops").expect("no panic");
    assert!(matches!(stopped, Stopped::Ahead { stream: 6, log: 5 }), "{stopped}");
    assert!(stopped.to_string().contains("the stream is ahead of the log"), "{stopped}");
    // 3. and goes on stopping when the log grows past it: position 6 is another event there.
    world.append(2).await;
    let relay = world.relay().await;
    let stopped = tokio::time::timeout(Duration::from_secs(20), relay).await.expect("it stops").expect("no panic");
    assert!(matches!(stopped, Stopped::Differ { position: 6, .. }), "{stopped}");
    assert_eq!(world.kontor().await.info().await.expect("info").state.messages, 6, "nothing was added");
}

#[actix_web::test]
async fn commands_go_on_when_the_relay_has_stopped_and_readiness_says_why() {
    let roles = [Role::Commands, Role::Relay];
    let app = support::spawn(&[Need::Postgres, Need::Nats], &roles, |_| {}).await;
    let nats = NatsClient::connect(&app.servers.nats().url()).await.expect("NATS");
    let ops = app.service.ops_address().port();
    let ready = async |wanted: u16, because: &str| {
        let patience = Instant::now() + Duration::from_secs(20);
        loop {
            let (status, report) = kontor_local::http_get(ops, "/readyz?verbose").await.expect("an answer");
            if status == wanted && report.contains(because) {
                return;
            }
            assert!(Instant::now() < patience, "still {status}: {report}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    ready(200, "").await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(POSITION, "6");
    headers.insert(CE_ID, Uuid::now_v7().to_string().as_str());
    let published = nats.jetstream.publish_with_headers("kontor.v1.test.happened", headers, "{}".into()).await;
    published.expect("sent").await.expect("published");
    ready(503, "the stream is ahead of the log").await;
    app.done("/v1/products", "1", serde_json::json!({"sku": "MUG", "name": "Mug"})).await;
    let (_, metrics) = kontor_local::http_get(ops, "/metrics").await.expect("an answer");
    assert!(metrics.contains("kontor_log_events_total 1"), "{metrics}");
    assert!(metrics.contains("kontor_relay_leading 0"), "{metrics}");
}
