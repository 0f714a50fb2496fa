//! A failover to an asynchronous replica that had not received everything: what was lost is gone, and writers do not build on it.

use crate::support::notes::{Notes, on_lineage, stream};
use crate::support::{Fixture, PATIENCE, Proxy, append, noted, on, open, options, pool, sound_log};
use kontor_event_store::stream::Loaded;
use kontor_event_store::{AppendError, Appended, Key, Lineage, Log, LogReader, LogSettings};
use kontor_local::{Need, Postgres, Role};
use std::sync::Arc;

/// A primary with a replica, and a log that finds the one which is primary at the moment.
struct Pair {
    fixture: Fixture,
    proxy: Proxy,
    log: Arc<Log>,
}

impl Pair {
    async fn start() -> Self {
        let fixture = Fixture::start_with(&[Need::Replica]).await;
        let proxy = Proxy::to(fixture.servers.postgres().port()).await;
        let log = open(fixture.options(Role::Command).port(proxy.port()), LogSettings::default()).await;
        Self { fixture, proxy, log }
    }

    fn replica(&self) -> &Postgres {
        self.fixture.servers.replica()
    }

    /// From now on the replica receives nothing.
    async fn cut_replica_off(&self) {
        self.replica().catch_up(self.fixture.servers.postgres(), PATIENCE).await.expect("it follows");
        self.replica().stop().await.expect("it ends");
    }

    /// The primary dies with what the replica has not received; the replica takes its place.
    async fn fail_over(&self) {
        self.fixture.servers.postgres().kill().await.expect("it ran");
        self.replica().restart().await.expect("it starts with what it has");
        self.replica().promote().await.expect("it becomes the primary");
        self.proxy.switch_to(self.replica().port());
    }

    /// The log as one more process has it.
    async fn open(&self) -> Arc<Log> {
        open(options(&self.replica().url(Role::Command)), LogSettings::default()).await
    }

    async fn words(&self) -> Vec<String> {
        let reader = LogReader::new(pool(options(&self.replica().url(Role::Auditor))).await, Arc::default());
        sound_log(&reader).await.iter().map(noted).collect()
    }

    async fn write(&self, lineage: Lineage, id: &str, version: i64, word: &str) -> Result<Appended, AppendError> {
        self.log.append(append(Key::unique(), [on_lineage(lineage, id, version, [word])])).await
    }
}

/// 1. A is at version 1, on primary and replica. 2. Two more events of A reach the primary only; the writer knows version 3. 3. The primary
/// dies, the replica takes over. 4. Another writer brings A to version 3 again, with other events. 5. What the first writer decides on
/// top of what was lost is refused, though the version fits. 6. It reads again, and the log goes on without a gap.
#[tokio::test]
async fn nothing_is_appended_on_top_of_commits_that_were_lost() {
    let pair = Pair::start().await;
    assert_eq!((pair.log.epoch(), pair.fixture.reader().epoch().await.expect("it can be read")), (1, 1));
    let (of_a, of_b) = (pair.log.new_lineage(), pair.log.new_lineage());
    pair.write(of_a, "A", 0, "a1").await.expect("A is new"); // 1
    pair.write(of_b, "B", 0, "b1").await.expect("B is new");
    pair.cut_replica_off().await;
    pair.write(of_a, "A", 1, "a2, lost").await.expect("A is at 1"); // 2
    pair.write(of_a, "A", 2, "a3, lost").await.expect("A is at 2");
    pair.fail_over().await; // 3

    let other = pair.open().await; // 4
    assert_eq!(other.epoch(), 2);
    let others = append(Key::unique(), [on(&other, "A", 1, ["a2", "a3"])]);
    assert_eq!(other.append(others).await, Ok(Appended { position: 4, version: 3, replayed: false }));

    let conflict = |id: &str, expected| Err(AppendError::Conflict { stream: stream(id), expected });
    assert!(pair.log.is_current(of_a), "the first writer has not noticed yet");
    assert_eq!(pair.write(of_a, "A", 3, "a4 on top of what was lost").await, conflict("A", 3)); // 5
    assert_eq!(pair.log.epoch(), 2);
    assert!(!pair.log.is_current(of_a) && !pair.log.is_current(of_b));
    // B lost nothing, but nobody can know that without reading it again.
    assert_eq!(pair.write(of_b, "B", 1, "b2").await, conflict("B", 1));

    let read_again = pair.log.new_lineage(); // 6
    assert_eq!(pair.log.load::<Notes>("A").await.expect("it can be read").aggregate.words, ["a1", "a2", "a3"]);
    let Appended { position, .. } = pair.write(read_again, "A", 3, "a4").await.expect("it was read again");
    assert_eq!(position, 5);
    assert_eq!(pair.words().await, ["a1", "b1", "a2", "a3", "a4"]);
}

/// 1. An append reaches the primary only and is acknowledged. 2. The primary dies, the replica takes over. 3. The retry with its key is a
/// first attempt: the commit was lost with its key.
#[tokio::test]
async fn a_lost_append_can_be_appended_again_with_its_key() {
    let pair = Pair::start().await;
    let key = Key::new("client", "1", b"request");
    pair.write(pair.log.new_lineage(), "A", 0, "a1").await.expect("A is new");
    pair.cut_replica_off().await;
    let b1 = append(key, [on(&pair.log, "B", 0, ["b1"])]);
    pair.log.append(b1).await.expect("B is new"); // 1
    pair.fail_over().await; // 2
    let again = loop {
        // The first call may meet the old epoch.
        match pair.log.append(append(key, [on(&pair.log, "B", 0, ["b1"])])).await {
            Err(AppendError::Conflict { .. }) => {}
            outcome => break outcome,
        }
    };
    assert_eq!(again, Ok(Appended { position: 2, version: 1, replayed: false })); // 3
    assert_eq!(pair.words().await, ["a1", "b1"]);
}

/// A failover that lost nothing, and one in which the writer is idle: the epoch rises all the same, once, whoever connects how often.
#[tokio::test]
async fn the_epoch_rises_once_with_each_failover() {
    let pair = Pair::start().await;
    pair.write(pair.log.new_lineage(), "A", 0, "a1").await.expect("A is new");
    assert_eq!(pair.fixture.open().await.epoch(), 1, "one more process is no reason");
    pair.fixture.servers.postgres().restart().await.expect("it starts again");
    assert_eq!(pair.fixture.open().await.epoch(), 1, "nor is a restart");
    pair.cut_replica_off().await;
    pair.fail_over().await;
    for _ in 0..3 {
        assert_eq!(pair.open().await.epoch(), 2);
    }
    pair.replica().restart().await.expect("it starts again");
    assert_eq!(pair.open().await.epoch(), 2);
}

/// 1. Events 2 and 3 of A reach the primary only; their state is to be kept as a snapshot, which takes its time. 2. The primary dies, the
/// replica takes over. 3. The snapshot is written. 4. A goes on, beyond version 3. 5. It is read as it is.
#[tokio::test]
async fn a_snapshot_of_commits_that_were_lost_is_not_kept() {
    let pair = Pair::start().await;
    let lineage = pair.log.new_lineage();
    pair.write(lineage, "A", 0, "a1").await.expect("A is new");
    pair.cut_replica_off().await;
    pair.write(lineage, "A", 1, "a2, lost").await.expect("A is at 1"); // 1
    pair.write(lineage, "A", 2, "a3, lost").await.expect("A is at 2");
    let lost: Loaded<Notes> = pair.log.load("A").await.expect("it can be read");
    pair.fail_over().await; // 2

    // Before the process has noticed, and after.
    let keep = async || {
        crate::support::until("the log can be reached again", async || {
            pair.log.keep_snapshot("A", &lost, lineage).await.is_ok()
        })
        .await;
    };
    keep().await; // 3
    assert_eq!(pair.log.load::<Notes>("A").await.expect("it can be read").aggregate.words, ["a1"]);
    let other = pair.open().await;
    other.append(append(Key::unique(), [on(&other, "A", 1, ["a2", "a3", "a4"])])).await.expect("A is at 1"); // 4
    keep().await;
    assert!(pair.write(lineage, "A", 3, "on top of what was lost").await.is_err());
    keep().await;
    let Loaded { aggregate, version } = pair.log.load::<Notes>("A").await.expect("it can be read"); // 5
    assert_eq!((aggregate.words, version), (["a1", "a2", "a3", "a4"].map(String::from).to_vec(), 4));
}

/// The old primary lives on, cut off from nobody but the replica. 1. An event reaches it alone. 2. The replica takes over; the writer's lane
/// is sent there, its connections for reading stay. 3. Once the writer has noticed, what it reads is what the new primary has.
#[tokio::test]
async fn what_is_read_after_a_failover_comes_from_the_new_primary() {
    let pair = Pair::start().await;
    let lineage = pair.log.new_lineage();
    pair.write(lineage, "A", 0, "a1").await.expect("A is new");
    pair.cut_replica_off().await;
    let old = pair.fixture.servers.postgres();
    old.sql("alter role kontor_replicator nologin").await.expect("it is done");
    pair.write(lineage, "A", 1, "a2, lost").await.expect("A is at 1"); // 1
    let load = async || pair.log.load::<Notes>("A").await.expect("it can be read").aggregate.words;
    assert_eq!(load().await, ["a1", "a2, lost"]);

    pair.replica().restart().await.expect("it starts with what it has"); // 2
    pair.replica().promote().await.expect("it becomes a primary");
    pair.proxy.lead_new_connections_to(pair.replica().port());
    assert_eq!(load().await, ["a1", "a2, lost"], "nobody has noticed");
    let lanes = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select append_batch%'";
    old.sql(lanes).await.expect("it is done");

    let outcome = pair.write(lineage, "A", 2, "on top of what was lost").await; // 3
    assert_eq!(outcome, Err(AppendError::Conflict { stream: stream("A"), expected: 2 }));
    assert_eq!(load().await, ["a1"]);
}
