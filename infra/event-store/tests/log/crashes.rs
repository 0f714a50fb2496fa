//! What is left after something broke in the middle: each acknowledged append once, each unanswered one once or not at all, as its
//! key tells.

use crate::support::{Fixture, PATIENCE, Proxy, append, noted, on, open, options, until};
use kontor_event_store::{Append, AppendError, Appended, Key, Log, LogSettings};
use kontor_local::Role;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Names the work of a helper process, and where its log is.
const WORK: &str = "KONTOR_TEST_WORK";
const LOG_URL: &str = "KONTOR_TEST_LOG_URL";

fn key(number: usize) -> Key {
    Key::new("client", &number.to_string(), b"request")
}

/// Command `number`: opens a stream of its own.
fn command(log: &Log, number: usize) -> Append {
    append(key(number), [on(log, &format!("S{number}"), 0, [format!("word {number}").as_str()])])
}

/// Another process: this very binary, running one helper below.
fn helper(name: &str, work: &str, url: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args(["--exact", &format!("crashes::{name}"), "--nocapture"]).env(WORK, work).env(LOG_URL, url);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("we can start ourselves")
}

async fn one_lane_through(proxy: &Proxy, fixture: &Fixture, settings: LogSettings) -> Arc<Log> {
    open(fixture.options(Role::Command).port(proxy.port()), LogSettings { lanes: 1, ..settings }).await
}

/// Waits until `count` events are in the log, whoever was told of them.
async fn until_committed(fixture: &Fixture, count: i64) {
    let reader = fixture.reader();
    until("the append is committed", async || reader.head().await.expect("the log can be read") == count).await;
}

/// 1. A process appends, its connections go through a proxy. 2. From now on the proxy loses all answers. 3. The process appends again:
/// Postgres commits, the process waits. 4. It is killed with SIGKILL. 5. Its client retries with the same key.
#[tokio::test]
async fn a_process_killed_between_commit_and_answer_leaves_one_event() {
    let fixture = Fixture::start().await;
    let proxy = Proxy::to(fixture.servers.postgres().port()).await;
    let direct = fixture.servers.postgres().url(Role::Command);
    let url = direct.replace(&format!(":{}/", fixture.servers.postgres().port()), &format!(":{}/", proxy.port()));
    let mut process = helper("appends_twice", "yes", &url);
    let mut input = process.stdin.take().expect("it is piped");
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();

    while !lines.next_line().await.expect("it speaks").expect("it goes on").contains("appended 1") {} // 1
    proxy.lose_answers(); // 2
    input.write_all(b"go on\n").await.expect("it listens"); // 3
    until_committed(&fixture, 2).await;
    process.kill().await.expect("it ran"); // 4
    assert!(lines.next_line().await.expect("it has ended").is_none(), "it had no answer");

    let log = fixture.open().await;
    let retried = log.append(command(&log, 2)).await; // 5
    assert_eq!(retried, Ok(Appended { position: 2, version: 1, replayed: true }));
    assert_eq!(fixture.words().await, ["word 1", "word 2"]);
}

/// Plays the process above; alone it does nothing.
#[tokio::test]
async fn appends_twice() {
    let (Ok(_), Ok(url)) = (std::env::var(WORK), std::env::var(LOG_URL)) else { return };
    let log = open(options(&url), LogSettings { lanes: 1, ..LogSettings::default() }).await;
    log.append(command(&log, 1)).await.expect("it is new");
    println!("appended 1");
    std::io::stdin().read_line(&mut String::new()).expect("the test tells us to go on");
    log.append(command(&log, 2)).await.expect("it is new");
    println!("appended 2");
}

/// 1. A process appends on 16 tasks and tells of every answer. 2. It is killed with SIGKILL amid its work. 3. All its commands, told of or
/// not, are retried with their keys: those told of were done, at the position told, and each is done once.
#[tokio::test]
async fn what_a_killed_process_had_acknowledged_is_all_there() {
    let fixture = Fixture::start().await;
    let mut process = helper("appends_until_killed", "yes", &fixture.servers.postgres().url(Role::Command));
    let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
    let mut told = BTreeMap::new();
    while let Some(line) = lines.next_line().await.expect("it speaks") {
        if let Some((number, position)) = line.strip_prefix("appended ").and_then(|rest| rest.split_once(" at ")) {
            let number: usize = number.parse().expect("a number");
            told.insert(number, position.parse::<i64>().expect("a position"));
        }
        if told.len() == 300 {
            process.start_kill().expect("it runs"); // What it has told until it is gone is read all the same.
        }
    }
    assert!(told.len() >= 300);

    let log = fixture.open().await;
    let last = told.keys().max().expect("it has told of some") + 100; // Beyond any that it may have begun.
    for number in 0..last {
        let Appended { position, replayed, .. } = log.append(command(&log, number)).await.expect("once is allowed");
        if let Some(told) = told.get(&number) {
            assert_eq!((position, replayed), (*told, true), "command {number}");
        }
    }
    assert_eq!(fixture.events().await.len(), last);
}

/// Plays the process above; alone it does nothing.
#[tokio::test]
async fn appends_until_killed() {
    let (Ok(_), Ok(url)) = (std::env::var(WORK), std::env::var(LOG_URL)) else { return };
    let log = open(options(&url), LogSettings::default()).await;
    let next = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for _ in 0..16 {
        let (log, next) = (log.clone(), next.clone());
        writers.spawn(async move {
            for number in std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)) {
                let appended = log.append(command(&log, number)).await.expect("it is new");
                println!("appended {number} at {}", appended.position);
            }
        });
    }
    writers.join_all().await;
}

/// 1. The answers are lost. 2. We append; Postgres commits. 3. The connection breaks. 4. The log finds out by the key what became of it.
#[tokio::test]
async fn an_append_whose_answer_is_lost_with_the_connection_is_resolved_by_its_key() {
    let fixture = Fixture::start().await;
    let proxy = Proxy::to(fixture.servers.postgres().port()).await;
    let log = one_lane_through(&proxy, &fixture, LogSettings::default()).await;
    log.append(command(&log, 1)).await.expect("it is new");

    proxy.lose_answers(); // 1
    let pending = log.submit(command(&log, 2)).expect("there is room"); // 2
    until_committed(&fixture, 2).await;
    proxy.cut(); // 3
    let Appended { position, version, .. } = pending.await.expect("it was committed"); // 4
    assert_eq!((position, version), (2, 1));
    assert_eq!(log.counts().reconnects.load(Ordering::Relaxed), 1);
    assert_eq!(fixture.words().await, ["word 1", "word 2"]);
    assert!(log.append(command(&log, 3)).await.is_ok(), "the log goes on");
}

/// 1. What we send is lost. 2. We append; Postgres hears nothing of it. 3. The connection breaks. 4. The log appends it over another.
#[tokio::test]
async fn an_append_that_was_lost_on_its_way_is_sent_again() {
    let fixture = Fixture::start().await;
    let proxy = Proxy::to(fixture.servers.postgres().port()).await;
    let log = one_lane_through(&proxy, &fixture, LogSettings::default()).await;
    log.append(command(&log, 1)).await.expect("it is new");

    proxy.lose_requests(); // 1
    let pending = log.submit(command(&log, 2)).expect("there is room"); // 2
    until("the lane has it", async || log.waiting() == 0).await;
    proxy.cut(); // 3
    assert_eq!(pending.await, Ok(Appended { position: 2, version: 1, replayed: false })); // 4
    assert_eq!(fixture.words().await, ["word 1", "word 2"]);
}

/// 1. Another transaction holds the gate. 2. Our append waits at it. 3. The connection breaks, which its backend does not notice. 4. The
/// log connects again and ends that backend, 5. so that of the two only one passes when the gate opens.
#[tokio::test]
async fn an_append_whose_connection_breaks_at_the_gate_passes_it_once() {
    let fixture = Fixture::start().await;
    let proxy = Proxy::to(fixture.servers.postgres().port()).await;
    let log = one_lane_through(&proxy, &fixture, LogSettings::default()).await;
    log.append(command(&log, 1)).await.expect("it is new");

    let gate = fixture.hold_gate().await; // 1
    let pending = log.submit(command(&log, 2)).expect("there is room"); // 2
    fixture.until_at_gate(1).await;
    let waits = "select pid from pg_locks where not granted";
    let former = fixture.servers.postgres().sql(waits).await.expect("a process id");
    proxy.cut(); // 3
    until("the new backend is at the gate, the former is gone", async || {
        let now = fixture.servers.postgres().sql(waits).await.expect("process ids");
        !now.is_empty() && !now.lines().any(|pid| pid == former)
    })
    .await; // 4
    gate.release().await; // 5
    assert_eq!(pending.await, Ok(Appended { position: 2, version: 1, replayed: false }));
    assert_eq!(fixture.words().await, ["word 1", "word 2"]);
}

/// 1. The network swallows everything, and tells nobody. 2. An append ends as unknown. 3. The network is well again for new connections,
/// while the old ones hang on. 4. The next append is done.
#[tokio::test]
async fn a_connection_that_hangs_is_given_up() {
    let fixture = Fixture::start().await;
    let proxy = Proxy::to(fixture.servers.postgres().port()).await;
    let settings = LogSettings { give_up_after_ms: 250, ..LogSettings::default() };
    let log = one_lane_through(&proxy, &fixture, settings).await;
    log.append(command(&log, 1)).await.expect("it is new");

    proxy.lose_requests(); // 1
    proxy.lose_answers();
    assert!(matches!(log.append(command(&log, 2)).await, Err(AppendError::Unknown { .. }))); // 2
    proxy.spare_new_connections(); // 3
    log.append(command(&log, 2)).await.expect("it is new"); // 4
    assert_eq!(fixture.words().await, ["word 1", "word 2"]);
}

/// 1. The connection breaks while the tables of the log are locked. 2. The log connects, but gets no answer to its questions: the append
/// ends as unknown instead of waiting for ever. 3. The lock is gone. 4. The append is done.
#[tokio::test]
async fn a_log_that_does_not_answer_after_a_break_is_given_up() {
    let fixture = Fixture::start().await;
    let proxy = Proxy::to(fixture.servers.postgres().port()).await;
    let settings = LogSettings { give_up_after_ms: 250, ..LogSettings::default() };
    let log = one_lane_through(&proxy, &fixture, settings).await;

    let mut migrator = fixture.connect(Role::Migrator).await;
    sqlx::raw_sql("begin; lock table log_head in access exclusive mode")
        .execute(&mut migrator)
        .await
        .expect("it is free");
    proxy.cut(); // 1
    let outcome = tokio::time::timeout(PATIENCE, log.append(command(&log, 1))).await.expect("it is answered");
    assert!(matches!(outcome, Err(AppendError::Unknown { .. })), "{outcome:?}"); // 2
    sqlx::raw_sql("commit").execute(&mut migrator).await.expect("it was locked"); // 3
    log.append(command(&log, 1)).await.expect("it is new"); // 4
    assert_eq!(fixture.words().await, ["word 1"]);
}

/// 1. Sixteen writers append as fast as they can. 2. Postgres is killed with SIGKILL and started again, twice. 3. The writers go on without
/// anybody's help. 4. What was acknowledged is in the log, where it was said to be, and what was not was not done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_loses_nothing_that_was_acknowledged() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let next = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicUsize::new(usize::MAX));
    let mut writers = JoinSet::new();
    for _ in 0..16 {
        let (log, next, done, stop) = (log.clone(), next.clone(), done.clone(), stop.clone());
        writers.spawn(async move {
            let mut acknowledged = Vec::new();
            while done.load(Ordering::Relaxed) < stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let appended = log.append(command(&log, number)).await.expect("it is tried for longer than this takes");
                acknowledged.push((number, appended.position));
                done.fetch_add(1, Ordering::Relaxed);
            }
            acknowledged
        }); // 1
    }
    for _ in 0..2 {
        let before = done.load(Ordering::Relaxed);
        until("the writers are at work", async || done.load(Ordering::Relaxed) > before + 200).await;
        fixture.servers.postgres().kill().await.expect("it ran"); // 2
        fixture.servers.postgres().restart().await.expect("it starts again");
    }
    stop.store(done.load(Ordering::Relaxed) + 200, Ordering::Relaxed); // 3
    let acknowledged: Vec<(usize, i64)> = writers.join_all().await.concat();

    let events = fixture.events().await; // 4
    assert_eq!(events.len(), acknowledged.len());
    for (number, position) in acknowledged {
        assert_eq!(noted(&events[position as usize - 1]), format!("word {number}"));
    }
    assert!(log.counts().reconnects.load(Ordering::Relaxed) >= 2);
    let read = async || log.load::<crate::support::notes::Notes>("S0").await;
    until("the log can be read as before", async || read().await.is_ok_and(|notes| notes.version == 1)).await;
}

/// Nobody waits for ever: who had submitted when the log was dropped is told that the outcome is not known.
#[tokio::test]
async fn a_log_that_is_dropped_leaves_nobody_waiting() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let gate = fixture.hold_gate().await;
    let at_gate = log.submit(command(&log, 1)).expect("there is room");
    fixture.until_at_gate(1).await;
    let queued = log.submit(command(&log, 2)).expect("there is room");
    drop(log);
    for pending in [at_gate, queued] {
        let outcome = tokio::time::timeout(Duration::from_secs(5), pending).await.expect("it is answered");
        assert!(matches!(outcome, Err(AppendError::Unknown { .. })), "{outcome:?}");
    }
    gate.release().await;
}

#[tokio::test]
async fn a_log_that_is_closed_appends_what_was_submitted_and_takes_nothing_more() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let pending: Vec<_> = (0..100).map(|number| log.submit(command(&log, number)).expect("there is room")).collect();
    log.close().await;
    for outcome in futures::future::join_all(pending).await {
        outcome.expect("it was submitted in time");
    }
    assert!(matches!(log.append(command(&log, 100)).await, Err(AppendError::Unknown { .. })));
    assert_eq!(fixture.events().await.len(), 100);
}
