//! Group commit: how many appends share a commit, how many may wait, and in which order they go.

use crate::support::notes::on_lineage;
use crate::support::{Fixture, append, on, until};
use kontor_event_store::{Append, AppendError, Key, Log, LogSettings};
use std::sync::atomic::Ordering;

fn to_new_stream(log: &Log, number: usize) -> Append {
    append(Key::unique(), [on(log, &format!("S{number}"), 0, ["word"])])
}

fn counts(log: &Log) -> (u64, u64, u64) {
    let counts = log.counts();
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    (count(&counts.batches), count(&counts.appends), count(&counts.events))
}

/// 1. One batch of one append is on its way. 2. 255 appends come meanwhile. 3. They share the next commit.
#[tokio::test]
async fn what_comes_during_a_commit_shares_the_next() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let gate = fixture.hold_gate().await;
    let mut pending = vec![log.submit(to_new_stream(&log, 0)).expect("there is room")]; // 1
    fixture.until_at_gate(1).await;
    pending.extend((1..256).map(|number| log.submit(to_new_stream(&log, number)).expect("there is room"))); // 2
    assert_eq!(log.waiting(), 255);
    gate.release().await;
    assert!(futures::future::join_all(pending).await.iter().all(Result::is_ok));
    assert_eq!(counts(&log), (2, 256, 256)); // 3
    assert_eq!(fixture.events().await.len(), 256);
}

/// As a tier has it: nothing is held up, all write at once, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_commits() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    for round in 0..4 {
        let appends = (0..256).map(|number| log.append(to_new_stream(&log, round * 256 + number)));
        assert!(futures::future::join_all(appends).await.iter().all(Result::is_ok));
    }
    let (batches, appends, _) = counts(&log);
    assert_eq!(appends, 1_024);
    assert!(batches * 10 < appends, "{batches} batches for {appends} appends");
}

/// Without company an append has a commit of its own, at once: nobody waits for a batch to fill.
#[tokio::test]
async fn a_single_appender_is_not_kept_waiting() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    for number in 0..20 {
        log.append(to_new_stream(&log, number)).await.expect("it is new");
    }
    assert_eq!(counts(&log), (20, 20, 20));
}

#[tokio::test]
async fn a_large_queue_is_appended_in_several_batches_in_order() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let gate = fixture.hold_gate().await;
    let mut pending = vec![log.submit(to_new_stream(&log, 0)).expect("there is room")];
    fixture.until_at_gate(1).await;
    let lineage = log.new_lineage();
    let words: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    for (version, words) in words.chunks(2).enumerate() {
        let words = words.iter().map(String::as_str);
        let append = append(Key::unique(), [on_lineage(lineage, "A", 2 * version as i64, words)]);
        pending.push(log.submit(append).expect("there is room"));
    }
    gate.release().await;
    assert!(futures::future::join_all(pending).await.iter().all(Result::is_ok));
    let (batches, appends, events) = counts(&log);
    assert_eq!((appends, events), (2_501, 5_001));
    assert!((3..10).contains(&batches), "{batches} batches");
    assert_eq!(fixture.words().await[1..], words);
}

/// 1. A lane is busy. 2. Ten appends fill the queue. 3. The eleventh is refused at once. 4. When the ten are done there is room again.
#[tokio::test]
async fn more_appends_than_may_wait_are_refused_as_busy() {
    let fixture = Fixture::start().await;
    let log = fixture.open_with(LogSettings { lanes: 1, waiting_max: 10, ..LogSettings::default() }).await;
    let gate = fixture.hold_gate().await;
    let mut pending = vec![log.submit(to_new_stream(&log, 0)).expect("there is room")]; // 1
    fixture.until_at_gate(1).await;
    pending.extend((1..=10).map(|number| log.submit(to_new_stream(&log, number)).expect("there is room"))); // 2
    for _ in 0..3 {
        assert_eq!(log.append(to_new_stream(&log, 11)).await, Err(AppendError::Busy { waiting: 10 })); // 3
    }
    gate.release().await;
    assert!(futures::future::join_all(pending).await.iter().all(Result::is_ok));
    log.append(to_new_stream(&log, 11)).await.expect("there is room again"); // 4
    assert_eq!(fixture.events().await.len(), 12);
}

/// Who goes away does not take back what he has submitted: the outcome is found under the key.
#[tokio::test]
async fn an_append_nobody_waits_for_is_done_all_the_same() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let key = Key::new("client", "1", b"request");
    drop(log.submit(append(key, [on(&log, "A", 0, ["a1"])])).expect("there is room"));
    until("it is appended", async || log.outcome(&key).await.expect("the log can be read").is_some()).await;
    assert_eq!(fixture.words().await, ["a1"]);
}

/// 1. The first lane appends to A. 2. What builds on it waits, and what comes after that too, so that all reach the log in order, though
/// the second lane is free.
#[tokio::test]
async fn two_lanes_keep_the_order_of_a_stream() {
    let fixture = Fixture::start().await;
    let log = fixture.open_with(LogSettings { lanes: 2, ..LogSettings::default() }).await;
    let lineage = log.new_lineage();
    let gate = fixture.hold_gate().await;
    let a1 = log.submit(append(Key::unique(), [on_lineage(lineage, "A", 0, ["a1"])])).expect("there is room"); // 1
    fixture.until_at_gate(1).await;
    let a2 = log.submit(append(Key::unique(), [on_lineage(lineage, "A", 1, ["a2"])])).expect("there is room"); // 2
    let b1 = log.submit(append(Key::unique(), [on(&log, "B", 0, ["b1"])])).expect("there is room");
    fixture.until_at_gate(1).await;
    assert_eq!(log.waiting(), 2);
    gate.release().await;
    assert!(futures::future::join_all([a1, a2, b1]).await.iter().all(Result::is_ok));
    assert_eq!(fixture.words().await, ["a1", "a2", "b1"]);
}
