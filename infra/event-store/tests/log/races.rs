//! Many writers in several processes, on few streams: the log stays dense, and each reader sees it in order.

use crate::support::notes::{Notes, on_lineage};
use crate::support::{Fixture, append, noted, sound_log, until};
use kontor_event_schemas::RecordedEvent;
use kontor_event_store::{AppendError, Appended, Key, Log, LogReader};
use kontor_local::{Need, Role};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::JoinSet;

const STREAMS: [&str; 5] = ["A", "B", "C", "D", "E"];
const PROCESSES: usize = 3;
const WRITERS: usize = 6;
const COMMANDS: usize = 6;

/// An append that was acknowledged: its words, and what was answered.
struct Acknowledged {
    words: Vec<String>,
    streams: Vec<&'static str>,
    appended: Appended,
}

#[derive(Default)]
struct Report {
    acknowledged: Vec<Acknowledged>,
    refused: BTreeSet<String>,
}

/// Carries out `COMMANDS` commands, each on what it has just read of its streams, and decides again after each conflict. Every third
/// command concerns two streams. Words are never used twice, not even by the next attempt of a command.
async fn write(log: Arc<Log>, writer: usize) -> Report {
    let mut report = Report::default();
    for command in 0..COMMANDS {
        let first = (writer + command) % STREAMS.len();
        let streams =
            if command % 3 == 0 { vec![STREAMS[first], STREAMS[(first + 1) % 5]] } else { vec![STREAMS[first]] };
        for attempt in 0.. {
            let mut appends = Vec::new();
            let mut words = Vec::new();
            for id in &streams {
                let lineage = log.new_lineage();
                let version = log.load::<Notes>(id).await.expect("the stream can be read").version;
                let own = [1, 2].map(|part| format!("{writer} {command} {attempt} {id} {part}"));
                appends.push(on_lineage(lineage, id, version, own.iter().map(String::as_str)));
                words.extend(own);
            }
            match log.append(append(Key::unique(), appends)).await {
                Ok(appended) => {
                    report.acknowledged.push(Acknowledged { words, streams: streams.clone(), appended });
                    break;
                }
                Err(AppendError::Conflict { .. }) => report.refused.extend(words),
                Err(error) => panic!("{error}"),
            }
        }
    }
    report
}

/// Several processes with several writers each; what each writer reports.
async fn write_from_all_sides(fixture: &Fixture) -> Vec<Report> {
    let mut writers = JoinSet::new();
    for process in 0..PROCESSES {
        let log = fixture.open().await;
        for writer in 0..WRITERS {
            writers.spawn(write(log.clone(), process * WRITERS + writer));
        }
    }
    writers.join_all().await
}

/// 1. The writers of three processes append to five streams, where only one of all those who have read a version can be the next. 2. Who
/// is refused reads and decides again. 3. The log is dense, holds what was acknowledged where it was said to be, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_race_for_streams_leave_what_was_acknowledged_and_nothing_else() {
    let fixture = Fixture::start().await;
    let reports = write_from_all_sides(&fixture).await;
    let conflicts: usize = reports.iter().map(|report| report.refused.len()).sum();
    assert!(conflicts > 50, "only {conflicts} words were refused: they did not race");

    let events = fixture.events().await;
    let words: Vec<String> = events.iter().map(noted).collect();
    let mut count = 0;
    for Acknowledged { words: own, streams, appended } in reports.iter().flat_map(|report| &report.acknowledged) {
        let last = appended.position as usize;
        assert_eq!(words[last - own.len()..last], own[..], "an append is one piece of the log");
        let of_first = &events[last - own.len() + 1];
        assert_eq!((of_first.aggregate_id.as_str(), of_first.sequence), (streams[0], appended.version));
        count += own.len();
    }
    assert_eq!(words.len(), count);
    assert!(!words.iter().any(|word| reports.iter().any(|report| report.refused.contains(word))));
}

/// Reads on from where it was, as fast as it can, until told to stop and the end is reached.
async fn poll(reader: LogReader, stop: Arc<AtomicBool>) -> Vec<RecordedEvent> {
    let mut seen: Vec<RecordedEvent> = Vec::new();
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        // Who has seen the head must find all below it, at once and for ever.
        let head = reader.head().await.expect("the log can be read") as usize;
        let page = reader.read(seen.len() as i64, 10_000).await.expect("no gap");
        assert!(seen.len() + page.len() >= head, "of {head} positions only {} are there", seen.len() + page.len());
        let idle = page.is_empty();
        seen.extend(page);
        let from = seen.len().saturating_sub(20);
        assert_eq!(reader.read(from as i64, 20).await.expect("no gap")[..seen.len() - from], seen[from..]);
        if idle && stopping {
            return seen;
        }
        if idle {
            tokio::task::yield_now().await;
        }
    }
}

/// 1. Readers poll the log, on the primary and on a replica. 2. Writers append from all sides. 3. No reader meets a gap, or a position that
/// is not there when a later one is. 4. What they saw while it was written is what is there in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_poll_all_the_while_see_no_gap_and_nothing_that_changes() {
    let fixture = Fixture::start_with(&[Need::Replica]).await;
    let (primary, replica) = (fixture.servers.postgres(), fixture.servers.replica());
    let of_replica = crate::support::pool(crate::support::options(&replica.url(Role::Query))).await;
    until("the replica has the log's tables", async || {
        sqlx::query("select from events").execute(&of_replica).await.is_ok()
    })
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let on_primary = tokio::spawn(poll(fixture.reader(), stop.clone())); // 1
    let on_replica = tokio::spawn(poll(LogReader::new(of_replica, Arc::default()), stop.clone()));
    write_from_all_sides(&fixture).await; // 2
    replica.catch_up(primary, crate::support::PATIENCE).await.expect("it follows");
    stop.store(true, Ordering::SeqCst);
    let log = sound_log(&fixture.reader()).await;
    assert_eq!(on_primary.await.expect("no gap"), log); // 3, 4
    assert_eq!(on_replica.await.expect("no gap"), log);
}

/// A hot stream within one process: a thousand appends, each decided on top of the one before without waiting for it, while another
/// process interferes with it. What is in the log is what was decided, in order, with no other's event in between a chain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_appends_is_never_continued_across_anothers_event() {
    let fixture = Fixture::start().await;
    let (log, other) = (fixture.open().await, fixture.open().await);
    let interfering = tokio::spawn(async move {
        for number in 0..20 {
            loop {
                let lineage = other.new_lineage();
                let version = other.load::<Notes>("A").await.expect("the stream can be read").version;
                let word = format!("theirs {number}");
                if other
                    .append(append(Key::unique(), [on_lineage(lineage, "A", version, [word.as_str()])]))
                    .await
                    .is_ok()
                {
                    break;
                }
            }
        }
    });
    // Each event names its chain and what it was decided on: the version and the word before it.
    let mut chains = 0;
    while !interfering.is_finished() || chains < 20 {
        let lineage = log.new_lineage();
        let loaded = log.load::<Notes>("A").await.expect("the stream can be read");
        let (mut version, mut before) = (loaded.version, loaded.aggregate.words.last().cloned().unwrap_or_default());
        let mut pending = Vec::new();
        for link in 0..20 {
            let word = format!("chain {chains} link {link} on [{}]", before.chars().take(24).collect::<String>());
            let append = append(Key::unique(), [on_lineage(lineage, "A", version, [word.as_str()])]);
            pending.push(log.submit(append).expect("there is room"));
            (version, before) = (version + 1, word);
            // Meanwhile the append may be refused, and that be forgotten by all but the chain, which does not look.
            log.outcome(&Key::unique()).await.expect("the log can be read");
        }
        let outcomes = futures::future::join_all(pending).await;
        let broken = outcomes.iter().position(Result::is_err).unwrap_or(outcomes.len());
        assert!(outcomes[broken..].iter().all(Result::is_err), "no link holds after a broken one: {outcomes:?}");
        chains += 1;
    }
    interfering.await.expect("it ends");
    let words = fixture.words().await;
    assert_eq!(words.iter().filter(|word| word.starts_with("theirs")).count(), 20);
    for (before, word) in std::iter::once(&String::new()).chain(&words).zip(&words) {
        if let Some((_, decided_on)) = word.split_once(" on [") {
            let before: String = before.chars().take(24).collect();
            assert_eq!(decided_on.trim_end_matches(']'), before.trim_end_matches(']'), "{word}");
        }
    }
}
