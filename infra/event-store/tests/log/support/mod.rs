//! What every story needs: a Postgres of its own with the log in it, the gate held on demand, and words to append.

pub mod notes;
pub mod proxy;

use kontor_event_schemas::RecordedEvent;
use kontor_event_store::{Append, AppendError, Appended, Key, Log, LogReader, LogSettings, MIGRATIONS};
use kontor_local::{Need, Role, Servers};
pub use notes::{append, noted, on};
pub use proxy::Proxy;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgConnection, PgPool, Postgres, Transaction};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whatever is awaited comes within a moment; who waits this long waits in vain.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Postgres with an empty log, gone when dropped.
pub struct Fixture {
    pub servers: Servers,
    /// Connections of the role that owns the log.
    owner: PgPool,
    auditor: LogReader,
}

impl Fixture {
    pub async fn start() -> Self {
        Self::start_with(&[Need::Postgres]).await
    }

    pub async fn start_with(needs: &[Need]) -> Self {
        let servers = Servers::start(needs).await.expect("the servers start");
        let [owner, auditor] = [Role::Migrator, Role::Auditor].map(|role| options(&servers.postgres().url(role)));
        let owner = pool(owner).await;
        MIGRATIONS.run(&owner).await.expect("the migrations run");
        Self { servers, owner, auditor: LogReader::new(pool(auditor).await, Arc::default()) }
    }

    /// The log as one more process has it.
    pub async fn open(&self) -> Arc<Log> {
        self.open_with(LogSettings::default()).await
    }

    pub async fn open_with(&self, settings: LogSettings) -> Arc<Log> {
        open(self.options(Role::Command), settings).await
    }

    /// With a single lane: while the gate is held and one append waits at it, all later ones gather in one batch.
    pub async fn open_one_lane(&self) -> Arc<Log> {
        self.open_with(LogSettings { lanes: 1, ..LogSettings::default() }).await
    }

    pub fn options(&self, role: Role) -> PgConnectOptions {
        options(&self.servers.postgres().url(role))
    }

    pub async fn connect(&self, role: Role) -> PgConnection {
        self.options(role).connect().await.expect("it takes connections")
    }

    /// The log by position, read as an auditor does.
    pub fn reader(&self) -> LogReader {
        self.auditor.clone()
    }

    /// The whole log, found sound: positions are 1, 2, 3 … and so are the sequences of each stream.
    pub async fn events(&self) -> Vec<RecordedEvent> {
        sound_log(&self.auditor).await
    }

    /// What was noted in the whole log, in order.
    pub async fn words(&self) -> Vec<String> {
        self.events().await.iter().map(noted).collect()
    }

    /// Has every append wait until the gate is released.
    pub async fn hold_gate(&self) -> Gate {
        let mut transaction = self.owner.begin().await.expect("it takes connections");
        sqlx::query("select from log_head for update").execute(&mut *transaction).await.expect("the gate is free");
        Gate(transaction)
    }

    /// Waits until `batches` batches stand at the gate.
    pub async fn until_at_gate(&self, batches: i64) {
        // What other roles' backends do is visible to their members only, but that they wait for a lock is public.
        let waiting = "select count(distinct pid) from pg_locks where not granted";
        until("the batches are at the gate", async || {
            let count: i64 = sqlx::query_scalar(waiting).fetch_one(&self.owner).await.expect("a count");
            count == batches
        })
        .await;
    }
}

/// The gate, held by a transaction.
pub struct Gate(Transaction<'static, Postgres>);

impl Gate {
    pub async fn release(self) {
        self.0.commit().await.expect("it was held");
    }
}

/// While the gate is held: submits one append that occupies the lane, then the others, and has them all in one batch.
pub async fn in_one_batch(fixture: &Fixture, log: &Log, appends: Vec<Append>) -> Vec<Result<Appended, AppendError>> {
    let gate = fixture.hold_gate().await;
    let blocker = log.submit(append(Key::unique(), [on(log, "blocker", 0, ["in the way"])])).expect("there is room");
    fixture.until_at_gate(1).await;
    let submitted: Vec<_> = appends.into_iter().map(|append| log.submit(append)).collect();
    gate.release().await;
    blocker.await.expect("nobody else writes to its stream");
    futures::future::join_all(submitted.into_iter().map(async |pending| pending?.await)).await
}

pub async fn open(options: PgConnectOptions, settings: LogSettings) -> Arc<Log> {
    Log::open(options, settings, Default::default()).await.expect("the log is there")
}

pub async fn pool(options: PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(2).connect_with(options).await.expect("it takes connections")
}

pub fn options(url: &str) -> PgConnectOptions {
    url.parse().expect("a URL of Postgres")
}

/// Reads the whole log and checks what is true of every log.
pub async fn sound_log(reader: &LogReader) -> Vec<RecordedEvent> {
    let mut events: Vec<RecordedEvent> = Vec::new();
    loop {
        let page = reader.read(events.len() as i64, 1_000).await.expect("the log can be read");
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    assert_eq!(
        reader.head().await.expect("the log can be read"),
        events.len() as i64,
        "nothing is beyond the last page"
    );
    let mut versions: HashMap<(&str, &str), i64> = HashMap::new();
    for (position, event) in (1..).zip(&events) {
        assert_eq!(event.position, position);
        let version = versions.entry((&event.aggregate_type, &event.aggregate_id)).or_default();
        *version += 1;
        assert_eq!(event.sequence, *version, "{} {} at position {position}", event.aggregate_type, event.aggregate_id);
    }
    events
}

/// Waits until `holds`, asked every few milliseconds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The SQLSTATE that `statement` was refused with; panics when it was not.
pub async fn refused(connection: &mut PgConnection, statement: &str) -> String {
    match sqlx::raw_sql(statement).execute(connection).await {
        Ok(_) => panic!("not refused: {statement}"),
        Err(error) => match error.as_database_error().and_then(|error| error.code()) {
            Some(code) => code.into_owned(),
            None => panic!("{statement}: {error}"),
        },
    }
}
