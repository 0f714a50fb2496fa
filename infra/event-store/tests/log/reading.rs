//! Reading: the stock repository of postgres-es understands the log, old events are read as new ones, and nobody's idle transaction is in
//! anybody's way.

use crate::support::notes::{Note, Notes, new_event, stream};
use crate::support::{Fixture, PATIENCE, append, on, options, pool};
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore, SemanticVersionEventUpcaster};
use cqrs_es::{Aggregate, AggregateContext, EventStore};
use futures::{StreamExt, TryStreamExt};
use kontor_domain::stock::{Stock, StockCommand};
use kontor_domain::{LocationId, OrderId, Quantity};
use kontor_event_schemas::upcast::Upcasters;
use kontor_event_store::log_reader::ReadError;
use kontor_event_store::{Key, Log, LogReader, LogSettings, NewEvent, Selection, StreamAppend, StreamId};
use kontor_local::Role;
use postgres_es::PostgresEventRepository;
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use sqlx::{ConnectOptions, PgConnection};
use std::sync::Arc;
use uuid::Uuid;

/// What the shop does with its stock, handled as the executor handles it: through `Aggregate::handle`.
async fn stock_events() -> (Stock, Vec<NewEvent>) {
    let units = |number| Quantity::new(number).expect("few units");
    let order_id = OrderId(Uuid::now_v7());
    let commands = [
        StockCommand::Receive { quantity: units(7), reference: None, location: LocationId::MAIN },
        StockCommand::Reserve { order_id, quantity: units(3), expires_at: None },
        StockCommand::Ship { order_id, quantity: None },
        StockCommand::Receive { quantity: units(1), reference: None, location: LocationId::MAIN },
    ];
    let (mut stock, mut events) = (Stock::default(), Vec::new());
    for command in commands {
        let sink = EventSink::default();
        stock.handle(command, &(), &sink).await.expect("the rules allow it");
        events.extend(sink.collect().await.iter().map(new_event));
    }
    (stock, events)
}

#[tokio::test]
async fn the_stock_repository_reads_what_was_appended() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let (stock, events) = stock_events().await;
    let id = StreamId { aggregate_type: Stock::TYPE, aggregate_id: "85123A".into() };
    let appends = StreamAppend { stream: id, expected_version: 0, lineage: log.new_lineage(), events: events.clone() };
    log.append(append(Key::unique(), [on(&log, "85123A", 0, ["another aggregate of this id"]), appends]))
        .await
        .expect("new");

    let repository = || async { PostgresEventRepository::new(pool(fixture.options(Role::Auditor)).await) };
    let stored = repository().await.get_events::<Stock>("85123A").await.expect("it can be read");
    assert_eq!(stored.len(), 4);
    for (sequence, (stored, event)) in (1..).zip(stored.iter().zip(&events)) {
        assert_eq!(
            (stored.sequence, &stored.event_type, &stored.event_version),
            (sequence, &event.event_type, &event.event_version)
        );
        assert_eq!(
            stored.payload.to_string(),
            serde_json::from_str::<serde_json::Value>(&event.payload).expect("JSON").to_string()
        );
    }
    let last = repository().await.get_last_events::<Stock>("85123A", 3).await.expect("it can be read");
    assert_eq!(last, stored[3..]);

    let store = PersistedEventStore::<_, Stock>::new_event_store(repository().await);
    let mut loaded = store.load_aggregate("85123A").await.expect("it can be read");
    assert_eq!(loaded.current_sequence, 4);
    assert_eq!(*loaded.aggregate(), stock);
    let envelopes = store.load_events("85123A").await.expect("it can be read");
    let metadata = &envelopes[2].metadata;
    assert_eq!(metadata["actor"], "service:test");
    assert_eq!(envelopes.len(), log.stream::<Stock>("85123A").await.expect("it can be read").len());
    assert_eq!(log.load::<Stock>("85123A").await.expect("it can be read").aggregate, stock);

    let mut replay = repository().await.stream_all_events::<Stock>().await.expect("it can be read");
    let mut replayed = 0;
    while let Some(event) = replay.next::<Stock>(&[]).await {
        replayed += 1;
        assert_eq!(event.expect("it can be read").sequence, replayed);
    }
    assert_eq!(replayed, 4);
}

/// Notes 0.9 had their word under "text".
fn from_text() -> Upcasters {
    let upcaster = SemanticVersionEventUpcaster::new(
        "Noted",
        "1.0",
        Box::new(|mut payload| json!({ "Noted": { "word": payload["Noted"]["text"].take() } })),
    );
    Upcasters::default().with(Notes::TYPE, upcaster)
}

#[tokio::test]
async fn an_old_event_is_read_as_the_new_one_however_it_is_read() {
    let fixture = Fixture::start().await;
    let log =
        Log::open(fixture.options(Role::Command), LogSettings::default(), from_text()).await.expect("it is there");
    let mut events = on(&log, "A", 0, ["old", "old, too", "new"]);
    for (event, text) in events.events.iter_mut().zip(["old", "old, too"]) {
        event.event_version = "0.9".into();
        event.payload = json!({ "Noted": { "text": text } }).to_string();
    }
    log.append(append(Key::unique(), [events])).await.expect("A is new");
    let words = ["old", "old, too", "new"];

    let envelopes = log.stream::<Notes>("A").await.expect("it can be read");
    let noted = envelopes.into_iter().map(|envelope| envelope.payload);
    assert!(noted.eq(words.map(|word| Note::Noted { word: word.into() })));
    let mut loaded = log.load::<Notes>("A").await.expect("it can be read");
    assert_eq!(loaded.aggregate.words, words);
    // From a snapshot on, too.
    (loaded.aggregate.words, loaded.version) = (vec!["old".into()], 1);
    log.keep_snapshot("A", &loaded, log.new_lineage()).await.expect("it is kept");
    assert_eq!(log.load::<Notes>("A").await.expect("it can be read").aggregate.words, words);

    let auditor = pool(fixture.options(Role::Auditor)).await;
    for reader in [log.reader(), LogReader::new(auditor.clone(), Arc::new(from_text()))] {
        let events = reader.read(0, 10).await.expect("it can be read");
        assert_eq!(events.iter().map(crate::support::noted).collect::<Vec<_>>(), words);
        assert_eq!(events[0].event_version, "1.0.0");
        for ids in [vec![], vec!["A".to_owned()]] {
            let selection = Arc::new(Selection { ids, ..Selection::default() });
            let pages: Vec<_> = reader.pages(selection, 0, 3).try_collect().await.expect("it can be read");
            assert_eq!(pages.iter().flat_map(|page| &page.events).cloned().collect::<Vec<_>>(), events);
        }
    }
    // The log itself keeps what was written.
    let untouched = LogReader::new(auditor, Arc::default()).read(0, 1).await.expect("it can be read").remove(0);
    assert_eq!((untouched.event_version.as_str(), untouched.payload.as_str()), ("0.9", r#"{"Noted":{"text":"old"}}"#));
}

#[tokio::test]
async fn the_log_is_read_in_pages_from_any_position() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let reader = fixture.reader();
    assert_eq!((reader.head().await.expect("it can be read"), reader.read(0, 10).await.expect("empty").len()), (0, 0));
    log.append(append(Key::unique(), [on(&log, "A", 0, ["a1", "a2"]), on(&log, "B", 0, ["b1"])])).await.expect("new");
    let positions = async |after, most| {
        let events = reader.read(after, most).await.expect("it can be read");
        events.iter().map(|event| event.position).collect::<Vec<_>>()
    };
    assert_eq!(reader.head().await.expect("it can be read"), 3);
    assert_eq!(positions(0, 2).await, [1, 2]);
    assert_eq!(positions(2, 2).await, [3]);
    assert_eq!(positions(3, 2).await, [0; 0]);
    assert_eq!(positions(7, 2).await, [0; 0]);
    let event = reader.read(1, 1).await.expect("it can be read").remove(0);
    assert_eq!((&*event.aggregate_type, &*event.aggregate_id, event.sequence), ("notes", "A", 2));
    assert_eq!((&*event.event_type, &*event.event_version), ("Noted", "1.0"));
    assert_eq!(event.payload, r#"{"Noted":{"word":"a2"}}"#, "the text as it was sent");
    let event_id = event.metadata().expect("metadata").event_id;
    assert_eq!(reader.event_id(2).await.expect("it can be read"), Some(event_id));
    assert_eq!(reader.event_id(4).await.expect("it can be read"), None);

    let all = Arc::new(Selection::default());
    let pages: Vec<_> = reader.pages(all.clone(), 1, 3).try_collect().await.expect("it can be read");
    assert_eq!(pages.iter().flat_map(|page| &page.events).map(|event| event.position).collect::<Vec<_>>(), [2, 3]);
    let beyond: Vec<_> = reader.pages(all, 0, 5_000).collect().await;
    assert!(matches!(beyond[..], [Err(ReadError::Short { expected: 2_000, found: 3 })]), "it ends there: {beyond:?}");
}

/// Only an administrator can bring a gap about; a reader who meets one says so instead of passing over it.
#[tokio::test]
async fn a_gap_is_an_error() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    log.append(append(Key::unique(), [on(&log, "A", 0, ["a1", "a2", "a3"])])).await.expect("A is new");
    let tear = "set session_replication_role = replica; delete from events where position = 2";
    fixture.servers.postgres().sql(tear).await.expect("it is done");
    let reader = fixture.reader();
    assert!(matches!(reader.read(0, 10).await, Err(ReadError::Gap { expected: 2, found: 3 })));
    assert!(matches!(reader.read(1, 10).await, Err(ReadError::Gap { expected: 2, found: 3 })));
    assert_eq!(reader.read(0, 1).await.expect("before the gap").len(), 1);
}

#[tokio::test]
async fn a_stream_of_another_form_is_named_in_the_error() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let mut events = on(&log, "A", 0, ["a1"]);
    events.events[0].payload = r#"{"Erased":{}}"#.into();
    log.append(append(Key::unique(), [events])).await.expect("the log does not judge what it keeps");
    let error = log.load::<Notes>("A").await.expect_err("it is no note").to_string();
    assert!(error.contains(&stream("A").aggregate_id.to_string()) && error.contains("Erased"), "{error}");
}

/// A transaction with a snapshot and a transaction id that does nothing more. Systems that order events by transaction id stall on it.
async fn idle_transaction(url: &str) -> PgConnection {
    let mut connection = options(url).connect().await.expect("it takes connections");
    let begin = "begin isolation level repeatable read; create temporary table t (a int); select txid_current()";
    sqlx::raw_sql(begin).execute(&mut connection).await.expect("it begins");
    connection
}

/// 1. Transactions stay open in the log's database, one that has read the log among them, and in another database of the cluster. 2. Appends,
/// retries and reads go on, in processes old and new, and a reader sees all. 3. The transactions are still open, and still see nothing of it.
#[tokio::test]
async fn open_idle_transactions_stall_nothing() {
    let fixture = Fixture::start().await;
    let postgres = fixture.servers.postgres();
    postgres.sql("create database other").await.expect("it is made");
    let elsewhere = postgres.superuser_url().replace("/kontor", "/other");
    let mut idle = [idle_transaction(&postgres.superuser_url()).await, idle_transaction(&elsewhere).await]; // 1
    let count = "select count(*) from events";
    let before: i64 = sqlx::query_scalar(count).fetch_one(&mut idle[0]).await.expect("it can be read");
    assert_eq!(before, 0);

    let log = fixture.open().await;
    let work = async {
        for number in 0..50 {
            let key = Key::new("client", &number.to_string(), b"request");
            let note = async || {
                log.append(append(key, [on(&log, "A", number, ["word"])])).await.expect("A is at this version")
            };
            assert!(!note().await.replayed && note().await.replayed);
            assert_eq!(fixture.words().await.len() as i64, number + 1);
        }
        assert_eq!(fixture.open().await.load::<Notes>("A").await.expect("it can be read").version, 50);
    };
    tokio::time::timeout(PATIENCE, work).await.expect("nothing stalls"); // 2

    let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut idle[0]).await.expect("it can be read"); // 3
    assert_eq!(seen, 0);
    for connection in &mut idle {
        sqlx::raw_sql("commit").execute(connection).await.expect("it was open");
    }
}

#[tokio::test]
async fn who_wants_few_types_of_events_gets_those_and_knows_how_far_it_has_read() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let (_, events) = stock_events().await; // Received, Reserved, Shipped, Received
    let id = StreamId { aggregate_type: Stock::TYPE, aggregate_id: "85123A".into() };
    let of_stock = StreamAppend { stream: id, expected_version: 0, lineage: log.new_lineage(), events };
    log.append(append(Key::unique(), [on(&log, "A", 0, ["a note"]), of_stock])).await.expect("new");

    let types = [(Stock::TYPE, "Received"), (Notes::TYPE, "Shipped")];
    let read = async |after, most| {
        let (events, up_to) = log.reader().read_only(&types, after, most).await.expect("it can be read");
        (events.iter().map(|event| event.position).collect::<Vec<_>>(), up_to)
    };
    assert_eq!(read(0, 10).await, (vec![2, 5], 5));
    assert_eq!(read(0, 3).await, (vec![2], 3));
    assert_eq!(read(2, 2).await, (vec![], 4));
    assert_eq!(read(5, 10).await, (vec![], 5));
    // A log that has lost commits does not make anybody read backwards.
    assert_eq!(read(9, 10).await, (vec![], 9));

    // By aggregate alone, the last is there to tell how far that goes.
    let read_of = async |after, most| {
        let events = log.reader().read_of(&[Stock::TYPE], after, most).await.expect("it can be read");
        events.iter().map(|event| event.position).collect::<Vec<_>>()
    };
    let of_stock = read_of(0, 10).await;
    assert_eq!(of_stock.last(), Some(&5));
    assert!(!of_stock.contains(&1) && of_stock.contains(&2), "{of_stock:?}");
    assert_eq!(read_of(0, 1).await, [1]);
    assert!(read_of(5, 10).await.is_empty() && read_of(9, 10).await.is_empty());
}

#[tokio::test]
async fn who_wants_a_few_types_of_a_range_reads_the_range_and_not_all_there_is_of_these_types() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let append_stock = async |range: std::ops::Range<usize>| {
        let (_, events) = stock_events().await;
        let streams = range.map(|n| {
            let id = StreamId { aggregate_type: Stock::TYPE, aggregate_id: n.to_string().into() };
            StreamAppend { stream: id, expected_version: 0, lineage: log.new_lineage(), events: events.clone() }
        });
        log.append(append(Key::unique(), streams.collect::<Vec<_>>())).await.expect("new");
    };
    // There are no statistics yet, as in a shop's first minutes.
    for n in 0..20 {
        append_stock(n * 50..n * 50 + 50).await;
    }

    let one =
        PgPoolOptions::new().max_connections(1).connect_with(fixture.options(Role::Auditor)).await.expect("it is up");
    let reader = LogReader::new(one.clone(), Arc::new(Upcasters::default()));
    let types = [(Stock::TYPE, "Received"), (Stock::TYPE, "Shipped")];
    let (events, up_to) = reader.read_only(&types, 100, 400).await.expect("it can be read");
    assert_eq!((events.len(), up_to), (300, 500), "three of four");
    assert_eq!(reader.read_of(&[Stock::TYPE], 100, 400).await.expect("it can be read").len(), 400);

    sqlx::query("select pg_stat_force_next_flush()").execute(&one).await.expect("by anybody");
    let rows: i64 = sqlx::query_scalar(
        "select sum(idx_tup_read)::bigint from pg_stat_all_indexes where indexrelname ~ '^events_[0-9]+_pkey$'",
    )
    .fetch_one(&one)
    .await
    .expect("by anybody");
    assert!(rows < 500, "{rows} rows of 4,000 were looked for by their streams");
}
