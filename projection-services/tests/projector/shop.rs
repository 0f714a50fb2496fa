//! What every story needs: a log, a stream and projectors, and the words to speak of them.

use crate::trade::{Decided, Outcome, Trade};
use async_nats::HeaderMap;
use async_nats::jetstream::{self, stream};
use chrono::SecondsFormat;
use kontor_event_schemas::{Metadata, RecordedEvent, subject};
use kontor_event_store::{
    Append, Key, Lineage, Log, LogReader, LogSettings, MIGRATIONS, NewEvent, StreamAppend, StreamId,
};
use kontor_local::{Need, Role, Servers};
use kontor_projection_services::runtime::generation::{self, Generation, State};
use kontor_projection_services::runtime::store::StoreOptions;
use kontor_projection_services::runtime::{Kept, Means, Projection};
use kontor_projection_services::{Projector, ProjectorSettings, migrate, projections};
use kontor_redis::Redis;
use kontor_search::SearchSettings;
use kontor_telemetry::{Health, Metrics};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Whatever is awaited comes within a moment; who waits this long waits in vain.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The trace of every request.
pub const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Postgres with the log and the read models, NATS with the stream, and trade that goes on. Gone when dropped.
pub struct Shop {
    pub servers: Servers,
    pub jetstream: jetstream::Context,
    /// As the role that writes the read models.
    pub database: PgPool,
    pub reader: LogReader,
    log: Arc<Log>,
    pub trade: Trade,
    versions: HashMap<StreamId, i64>,
    /// Projections in Postgres that a projector was started for. It may not have made them yet.
    kept: Mutex<BTreeSet<&'static str>>,
}

impl Shop {
    pub async fn open() -> Self {
        Self::open_with(Need::Postgres).await
    }

    /// With a replica as well.
    pub async fn open_with_replica() -> Self {
        Self::open_with(Need::Replica).await
    }

    async fn open_with(database: Need) -> Self {
        let servers = Servers::start(&[database, Need::Nats, Need::Redis]).await.expect("the servers start");
        let options = |role| -> PgConnectOptions { servers.postgres().url(role).parse().expect("a URL") };
        MIGRATIONS.run(&mut options(Role::Migrator).connect().await.expect("it connects")).await.expect("they run");
        migrate(options(Role::Migrator)).await.expect("the migrations run");
        kontor_privacy::migrate(options(Role::Migrator)).await.expect("the keys have their table");
        let database =
            PgPoolOptions::new().max_connections(4).connect_with(options(Role::Projector)).await.expect("it connects");
        let log =
            Log::open(options(Role::Command), LogSettings::default(), Default::default()).await.expect("it opens");
        let jetstream = connect(&servers).await;
        let reader = LogReader::new(database.clone(), Arc::default());
        let shop = Shop {
            trade: Trade::new(7, 12),
            versions: HashMap::new(),
            servers,
            jetstream,
            database,
            reader,
            log,
            kept: Mutex::default(),
        };
        shop.create_stream().await;
        shop
    }

    /// The stream as the relay makes it.
    pub async fn create_stream(&self) {
        let config = stream::Config {
            name: subject::STREAM.to_owned(),
            subjects: vec![subject::ALL_SUBJECTS.to_owned()],
            ..stream::Config::default()
        };
        self.jetstream.create_stream(config).await.expect("the stream is created");
    }

    pub async fn delete_stream(&self) {
        self.jetstream.delete_stream(subject::STREAM).await.expect("the stream is deleted");
    }

    /// Lets the shop do business: this many commands. Returns the positions of their events, appended but not published.
    pub async fn trade(&mut self, commands: usize) -> Vec<i64> {
        let before = self.head().await;
        let lineage = self.log.new_lineage();
        let outcomes = self.trade.next(commands);
        let appends: Vec<_> = outcomes.into_iter().map(|outcome| self.prepare(outcome, lineage)).collect();
        let pending: Vec<_> =
            appends.into_iter().map(|append| self.log.submit(append).expect("it is queued")).collect();
        for appended in pending {
            appended.await.expect("it is appended");
        }
        (before + 1..=self.head().await).collect()
    }

    /// As [`Shop::trade`], after the log's epoch was raised behind the back of this writer.
    pub async fn trade_in_new_epoch(&mut self, commands: usize) -> Vec<i64> {
        let options: PgConnectOptions = self.servers.postgres().url(Role::Command).parse().expect("a URL");
        self.log = Log::open(options, LogSettings::default(), Default::default()).await.expect("it opens");
        self.trade(commands).await
    }

    /// Appends what was decided; returns the position of its last event.
    pub async fn append(&mut self, outcome: Outcome) -> i64 {
        let lineage = self.log.new_lineage();
        let append = self.prepare(outcome, lineage);
        self.log.append(append).await.expect("it is appended").position
    }

    fn prepare(&mut self, outcome: Outcome, lineage: Lineage) -> Append {
        let streams = outcome.into_iter().filter(|decided| !decided.events.is_empty()).map(|decided| {
            let Decided { aggregate_type, aggregate_id, events } = decided;
            let stream = StreamId { aggregate_type, aggregate_id: aggregate_id.into() };
            let version = self.versions.entry(stream.clone()).or_default();
            let expected_version = *version;
            *version += events.len() as i64;
            StreamAppend { stream, expected_version, lineage, events: events.into_iter().map(new_event).collect() }
        });
        Append { key: Key::unique(), streams: streams.collect() }
    }

    /// Publishes the events at `positions`, in this order, as the relay does.
    pub async fn publish(&self, positions: impl IntoIterator<Item = i64>) {
        let epoch = self.reader.epoch().await.expect("the log answers");
        self.publish_in_epoch(positions, epoch).await;
    }

    pub async fn publish_in_epoch(&self, positions: impl IntoIterator<Item = i64>, epoch: i64) {
        let mut acknowledgements = Vec::new();
        for position in positions {
            let event = self.reader.read(position - 1, 1).await.expect("the log answers").remove(0);
            let subject = subject::subject(&event.aggregate_type, &event.event_type);
            let payload = event.payload.clone().into();
            let sent = self.jetstream.publish_with_headers(subject, headers(&event, epoch), payload).await;
            acknowledgements.push(sent.expect("it is sent"));
        }
        for acknowledgement in acknowledgements {
            acknowledgement.await.expect("it is acknowledged");
        }
    }

    pub fn settings(&self) -> ProjectorSettings {
        let mut settings = ProjectorSettings::default();
        settings.projections.url = Some(self.servers.postgres().url(Role::Projector).parse().expect("a URL"));
        settings.projections.lease_ms = 2_000;
        settings.redis.url = Some(self.servers.redis().url().parse().expect("a URL"));
        settings.search = self.search_settings();
        settings.nats.url = self.servers.nats().url().parse().expect("a URL");
        settings
    }

    /// A projector in this process, with all projections.
    pub async fn projector(&self) -> Running {
        self.projector_of(projections::all()).await
    }

    pub async fn projector_of(&self, projections: Vec<Arc<dyn Projection>>) -> Running {
        self.projector_with(projections, &self.settings()).await
    }

    pub async fn projector_with(&self, projections: Vec<Arc<dyn Projection>>, settings: &ProjectorSettings) -> Running {
        let (metrics, health) = (Metrics::new(), Health::new());
        let postgres = self.servers.postgres().url(Role::Projector).parse().expect("a URL");
        let only_postgres = StoreOptions { postgres, redis: None, search: None, writers_max: 1 };
        let kept = projections.iter().filter(|projection| projection.lacks(&only_postgres).is_none());
        self.kept.lock().expect("nobody panicked").extend(kept.map(|projection| projection.name()));
        let projector = Projector::start(settings, projections, &metrics, &health).await.expect("it starts");
        Running { projector, metrics, health }
    }

    /// What an operator's command works with.
    pub fn means(&self) -> Means {
        Means { control: self.database.clone(), log: self.reader.clone(), writers_max: 2 }
    }

    pub fn kept(&self, projection: Arc<dyn Projection>) -> Kept {
        let postgres = self.servers.postgres().url(Role::Projector).parse().expect("a URL");
        let search = self.search_settings().engine().expect("it can be opened");
        Kept::new(projection, &StoreOptions { postgres, redis: self.redis(), search, writers_max: 2 })
    }

    /// An index of its own, in a folder.
    pub fn search_settings(&self) -> SearchSettings {
        SearchSettings { folder: Some(self.servers.folder().join("search")), ..SearchSettings::default() }
    }

    pub fn redis(&self) -> Option<Redis> {
        Redis::of(&self.settings().redis).expect("a URL of Redis")
    }

    /// The generation of `projection` that queries see.
    pub async fn live(&self, projection: &str) -> Generation {
        let there = generation::of(&self.database, projection).await.expect("it answers");
        there.into_iter().find(|generation| generation.state == State::Live).expect("one is live")
    }

    pub async fn head(&self) -> i64 {
        self.reader.head().await.expect("the log answers")
    }

    /// How far `projection` has come; 0 before its first event.
    pub async fn position(&self, projection: &str) -> i64 {
        sqlx::query_scalar("select coalesce(max(position), 0) from projections.checkpoints where projection = $1")
            .bind(projection)
            .fetch_one(&self.database)
            .await
            .expect("the checkpoints can be read")
    }

    /// Until `projection` has come to `position`.
    pub async fn until_at(&self, projection: &str, position: i64) {
        eventually(&format!("{projection} comes to {position}"), async || self.position(projection).await >= position)
            .await;
    }

    /// Until every projection that is kept, products and orders among them, has all events of the log; then the rows of those two
    /// must be those of a fresh fold.
    pub async fn until_caught_up(&self) {
        let head = self.head().await;
        // Not only those that are shown: one that has been begun is soon, and all in Postgres will be.
        let kept = "select projection from projections.generations where state in ('live', 'filling')";
        let (kept, in_postgres) = (self.sql(kept).await, self.kept.lock().expect("nobody panicked").clone());
        for projection in ["catalogue", "orders"].into_iter().chain(in_postgres).chain(kept.lines()) {
            self.until_at(projection, head).await;
        }
        crate::views::assert_equal_to_a_fresh_fold(self).await;
    }

    /// Runs SQL as a database administrator does.
    pub async fn sql(&self, statement: &str) -> String {
        self.servers.postgres().sql(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }
}

fn new_event((event_type, payload): (String, String)) -> NewEvent {
    let metadata = Metadata {
        event_id: Uuid::now_v7(),
        correlation_id: Uuid::nil(),
        causation_id: Uuid::nil(),
        actor: "test".into(),
        traceparent: TRACEPARENT.into(),
    };
    NewEvent { event_type, event_version: "1.0".to_owned(), payload, metadata: metadata.to_json() }
}

pub async fn connect(servers: &Servers) -> jetstream::Context {
    jetstream::new(async_nats::connect(servers.nats().url()).await.expect("NATS takes connections"))
}

pub fn headers(event: &RecordedEvent, epoch: i64) -> HeaderMap {
    let metadata = event.metadata().expect("our own metadata");
    let mut headers = HeaderMap::new();
    headers.insert(subject::POSITION, event.position.to_string());
    headers.insert(subject::SEQUENCE, event.sequence.to_string());
    headers.insert(subject::AGGREGATE_ID, event.aggregate_id.as_str());
    headers.insert(subject::EVENT_VERSION, event.event_version.as_str());
    headers.insert(subject::LOG_EPOCH, epoch.to_string());
    headers.insert(subject::CE_ID, metadata.event_id.to_string());
    headers.insert(subject::CE_TIME, event.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true));
    headers.insert(subject::TRACEPARENT, metadata.traceparent.as_str());
    headers
}

/// A projector in this process, with what its operators see.
pub struct Running {
    pub projector: Projector,
    pub metrics: Metrics,
    pub health: Health,
}

impl Running {
    /// A sample of `/metrics`, such as `kontor_source_holes_total`.
    pub fn metric(&self, sample: &str) -> f64 {
        let text = self.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{sample} is missing in\n{text}")).parse().expect("a number")
    }

    pub fn of(&self, metric: &str, projection: &str) -> f64 {
        self.metric(&format!("{metric}{{projection=\"{projection}\"}}"))
    }

    /// Until `/readyz?verbose` says `text`.
    pub async fn until_reported(&self, text: &str) {
        eventually(&format!("/readyz says {text}"), async || self.health.report().contains(text)).await;
    }

    /// Until `/readyz?verbose` says that `projection` is not ok, because `reason` and maybe more. For how long is left open: on a busy
    /// machine that is seen seconds after it began.
    pub async fn until_failing(&self, projection: &str, reason: &str) {
        let projection = format!("projection {projection}: not ok for ");
        eventually(&format!("/readyz says {projection}…: {reason}"), async || {
            let report = self.health.report();
            let mut failing = report.lines().filter_map(|line| line.strip_prefix(&projection)?.split_once(": "));
            failing.any(|(_, told)| told.starts_with(reason))
        })
        .await;
    }

    /// Until the stream is open: what is published from now on comes by it.
    pub async fn until_reading(&self) {
        eventually("the stream is open", async || self.metric("kontor_source_stream_opened_total") >= 1.0).await;
    }

    pub async fn stop(self) {
        self.projector.stop().await;
    }
}

/// Until `condition` holds.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
