//! What comes of an append: it is done whole and answered with its place, or refused whole, alone, with the reason.

use crate::support::notes::on_lineage;
use crate::support::{Fixture, append, in_one_batch, noted, notes::stream, on};
use kontor_event_store::{Append, AppendError, Appended, Key};

fn conflict(id: &str, expected: i64) -> AppendError {
    AppendError::Conflict { stream: stream(id), expected }
}

fn done(position: i64, version: i64) -> Appended {
    Appended { position, version, replayed: false }
}

#[tokio::test]
async fn an_append_is_answered_with_its_position_and_version() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    assert_eq!(*log.appended().borrow(), 0);
    assert_eq!(log.append(append(Key::unique(), [on(&log, "A", 0, ["a1", "a2"])])).await, Ok(done(2, 2)));
    assert_eq!(log.append(append(Key::unique(), [on(&log, "B", 0, ["b1"])])).await, Ok(done(3, 1)));
    assert_eq!(log.append(append(Key::unique(), [on(&log, "A", 2, ["a3"])])).await, Ok(done(4, 3)));
    assert_eq!(*log.appended().borrow(), 4);
    assert_eq!(fixture.words().await, ["a1", "a2", "b1", "a3"]);
    assert_eq!(*fixture.open().await.appended().borrow(), 4, "who opens the log knows how far it is");
}

#[tokio::test]
async fn an_append_to_several_streams_is_done_whole_with_the_version_of_its_first() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    log.append(append(Key::unique(), [on(&log, "B", 0, ["b1", "b2"])])).await.expect("B is new");
    let both = append(Key::unique(), [on(&log, "C", 0, ["c1"]), on(&log, "B", 2, ["b3"])]);
    assert_eq!(log.append(both).await, Ok(done(4, 1)));
    assert_eq!(fixture.words().await, ["b1", "b2", "c1", "b3"]);
}

#[tokio::test]
async fn appends_to_one_stream_follow_one_another_within_a_batch() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let lineage = log.new_lineage();
    let chain = (0..3).map(|version| {
        append(Key::unique(), [on_lineage(lineage, "A", version, [format!("a{}", version + 1).as_str()])])
    });
    let outcomes = in_one_batch(&fixture, &log, chain.collect()).await;
    assert_eq!(outcomes, [Ok(done(2, 1)), Ok(done(3, 2)), Ok(done(4, 3))]);
    assert_eq!(fixture.words().await, ["in the way", "a1", "a2", "a3"]);
}

#[tokio::test]
async fn a_conflict_refuses_its_append_alone() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    log.append(append(Key::unique(), [on(&log, "B", 0, ["b1"])])).await.expect("B is new");
    let outcomes = in_one_batch(
        &fixture,
        &log,
        vec![
            append(Key::unique(), [on(&log, "A", 0, ["a1"])]),
            append(Key::unique(), [on(&log, "B", 0, ["stale: B is not new any more"])]),
            append(Key::unique(), [on(&log, "B", 3, ["stale: B is not so far"])]),
            append(Key::unique(), [on(&log, "C", 0, ["c1"])]),
            append(Key::unique(), [on(&log, "B", 1, ["b2"])]),
        ],
    )
    .await;
    let refused = |expected| Err(conflict("B", expected));
    assert_eq!(outcomes, [Ok(done(3, 1)), refused(0), refused(3), Ok(done(4, 1)), Ok(done(5, 2))]);
    assert_eq!(fixture.words().await, ["b1", "in the way", "a1", "c1", "b2"]);
}

#[tokio::test]
async fn a_conflict_on_one_stream_keeps_the_append_from_all_its_streams() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    log.append(append(Key::unique(), [on(&log, "B", 0, ["b1"])])).await.expect("B is new");
    let outcomes = in_one_batch(
        &fixture,
        &log,
        vec![
            append(Key::unique(), [on(&log, "A", 0, ["not without B"]), on(&log, "B", 0, ["stale"])]),
            append(Key::unique(), [on(&log, "B", 1, ["b2"]), on(&log, "C", 1, ["stale: there is no C"])]),
            append(Key::unique(), [on(&log, "A", 0, ["a1"]), on(&log, "B", 1, ["b2"])]),
        ],
    )
    .await;
    assert_eq!(outcomes, [Err(conflict("B", 0)), Err(conflict("C", 1)), Ok(done(4, 1))]);
    assert_eq!(fixture.words().await, ["b1", "in the way", "a1", "b2"]);
}

/// 1. Another process appends `theirs` to A. 2. We, knowing nothing of it, append `ours`, and on top of that `more`: it expects
/// version 1, which A has by now. 3. Both are refused, since `more` was not decided on `theirs`.
#[tokio::test]
async fn what_was_decided_on_top_of_a_refused_append_is_refused_in_its_batch() {
    let fixture = Fixture::start().await;
    let (log, other) = (fixture.open_one_lane().await, fixture.open().await);
    let lineage = log.new_lineage();
    other.append(append(Key::unique(), [on(&other, "A", 0, ["theirs"])])).await.expect("A is new");
    let outcomes = in_one_batch(
        &fixture,
        &log,
        vec![
            append(Key::unique(), [on_lineage(lineage, "A", 0, ["ours"])]),
            append(Key::unique(), [on_lineage(lineage, "A", 1, ["more"])]),
        ],
    )
    .await;
    assert_eq!(outcomes, [Err(conflict("A", 0)), Err(conflict("A", 1))]);
    assert_eq!(fixture.words().await, ["theirs", "in the way"]);
}

/// As above, but 3. `ours` is refused and answered, the log is idle, and only then 4. `more` is submitted, by one who has not heard of it.
#[tokio::test]
async fn what_was_decided_on_top_of_a_refused_append_is_refused_however_late_it_comes() {
    let fixture = Fixture::start().await;
    let (log, other) = (fixture.open().await, fixture.open().await);
    let lineage = log.new_lineage();
    other.append(append(Key::unique(), [on(&other, "A", 0, ["theirs"])])).await.expect("A is new");
    let ours = append(Key::unique(), [on_lineage(lineage, "A", 0, ["ours"])]);
    assert_eq!(log.append(ours).await, Err(conflict("A", 0)));
    // The log has settled `ours` and taken up and done other work since.
    log.append(append(Key::unique(), [on(&log, "B", 0, ["b1"])])).await.expect("B is new");
    let more = append(Key::unique(), [on_lineage(lineage, "A", 1, ["more"])]);
    assert_eq!(log.append(more).await, Err(conflict("A", 1)));

    // Who has read A again decides on what is there.
    let again = append(Key::unique(), [on(&log, "A", 1, ["ours again"])]);
    assert_eq!(log.append(again).await, Ok(done(3, 2)));
    assert_eq!(fixture.words().await, ["theirs", "b1", "ours again"]);
}

/// A was read twice, early and late. 1. What was decided on the late reading is refused, 2. then what was decided on the early one.
/// 3. What was decided on top of the late reading's append is refused all the same.
#[tokio::test]
async fn a_refusal_of_an_older_reading_does_not_rehabilitate_a_newer_one() {
    let fixture = Fixture::start().await;
    let (log, other) = (fixture.open_one_lane().await, fixture.open().await);
    let (early, late) = (log.new_lineage(), log.new_lineage());
    other.append(append(Key::unique(), [on(&other, "A", 0, ["theirs"])])).await.expect("A is new");
    let appends = [(late, 0), (early, 0), (late, 1)];
    let appends =
        appends.map(|(lineage, version)| append(Key::unique(), [on_lineage(lineage, "A", version, ["ours"])]));
    let outcomes = in_one_batch(&fixture, &log, appends.into()).await;
    assert_eq!(outcomes, [Err(conflict("A", 0)), Err(conflict("A", 0)), Err(conflict("A", 1))]);
}

/// An append to A and B is refused because of A; what was decided on top of its part in B must go with it.
#[tokio::test]
async fn a_refused_append_takes_along_what_was_decided_on_top_of_it_on_any_of_its_streams() {
    let fixture = Fixture::start().await;
    let (log, other) = (fixture.open_one_lane().await, fixture.open().await);
    let (of_a, of_b) = (log.new_lineage(), log.new_lineage());
    other.append(append(Key::unique(), [on(&other, "A", 0, ["theirs"])])).await.expect("A is new");
    other.append(append(Key::unique(), [on(&other, "B", 0, ["theirs"])])).await.expect("B is new");
    let both = append(Key::unique(), [on_lineage(of_a, "A", 0, ["a"]), on_lineage(of_b, "B", 0, ["b"])]);
    let more = append(Key::unique(), [on_lineage(of_b, "B", 1, ["more"])]);
    let outcomes = in_one_batch(&fixture, &log, vec![both, more]).await;
    assert_eq!(outcomes, [Err(conflict("A", 0)), Err(conflict("B", 1))]);
    assert_eq!(fixture.words().await, ["theirs", "theirs", "in the way"]);
}

#[tokio::test]
async fn an_append_that_runs_ahead_of_its_stream_is_refused() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let alone = append(Key::unique(), [on(&log, "A", 2, ["a3"])]);
    assert_eq!(log.append(alone).await, Err(conflict("A", 2)));
    // Behind another append to its stream it would leave a gap, too.
    let first = append(Key::unique(), [on(&log, "A", 0, ["a1"])]);
    let ahead = append(Key::unique(), [on(&log, "A", 2, ["a3"])]);
    let outcomes = in_one_batch(&fixture, &log, vec![first, ahead]).await;
    assert_eq!(outcomes, [Ok(done(2, 1)), Err(conflict("A", 2))]);
    assert_eq!(fixture.words().await, ["in the way", "a1"]);
}

fn question(streams: impl Into<Vec<kontor_event_store::StreamAppend>>) -> Append {
    append(Key::unique(), streams)
}

#[tokio::test]
async fn an_append_without_events_asks_whether_what_was_read_still_stands() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    log.append(append(Key::unique(), [on(&log, "A", 0, ["a1"])])).await.expect("A is new");
    assert_eq!(log.append(question([on(&log, "A", 1, [])])).await, Ok(done(1, 1)));
    assert_eq!(log.append(question([on(&log, "B", 0, [])])).await, Ok(done(1, 0)));
    for (id, wrong) in [("A", 0), ("A", 2), ("B", 1)] {
        assert_eq!(log.append(question([on(&log, id, wrong, [])])).await, Err(conflict(id, wrong)));
    }
    assert_eq!(log.append(question([on(&log, "A", 1, []), on(&log, "B", 1, [])])).await, Err(conflict("B", 1)));
    assert_eq!(fixture.words().await, ["a1"]);
}

#[tokio::test]
async fn an_append_without_events_is_answered_after_what_was_submitted_before_it() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let lineage = log.new_lineage();
    let outcomes = in_one_batch(
        &fixture,
        &log,
        vec![
            question([on(&log, "A", 0, [])]),
            append(Key::unique(), [on_lineage(lineage, "A", 0, ["a1"])]),
            question([on_lineage(lineage, "A", 1, [])]),
            question([on(&log, "A", 0, [])]), // Read before a1 was appended.
        ],
    )
    .await;
    assert_eq!(outcomes, [Ok(done(1, 0)), Ok(done(2, 1)), Ok(done(2, 1)), Err(conflict("A", 0))]);
}

/// A command may rest on a stream that it only read: that one must be as it was read, and nothing else be in the way.
#[tokio::test]
async fn a_stream_that_an_append_only_reads_must_be_as_it_was_read() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    log.append(append(Key::unique(), [on(&log, "A", 0, ["a1"])])).await.expect("A is new");
    let resting_on_a = |version| append(Key::unique(), [on(&log, "B", 0, ["b1"]), on(&log, "A", version, [])]);
    assert_eq!(log.append(resting_on_a(2)).await, Err(conflict("A", 2)));
    assert_eq!(log.append(resting_on_a(0)).await, Err(conflict("A", 0)), "A was to be new");
    assert_eq!(log.append(resting_on_a(1)).await, Ok(done(2, 1)));
    assert_eq!(fixture.words().await, ["a1", "b1"]);
}

#[tokio::test]
async fn an_append_names_each_of_its_streams_once() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let twice = append(Key::unique(), [on(&log, "A", 0, ["a1"]), on(&log, "A", 0, ["a1 again"])]);
    assert!(matches!(log.append(twice).await, Err(AppendError::Refused { .. })));
    let none = append(Key::unique(), []);
    assert!(matches!(log.append(none).await, Err(AppendError::Refused { .. })));
    // The lanes are none the worse for it.
    assert_eq!(log.append(append(Key::unique(), [on(&log, "A", 0, ["a1"])])).await, Ok(done(1, 1)));
}

/// What Postgres cannot store is refused; what stood in the same batch before and after it is appended.
#[tokio::test]
async fn an_append_that_cannot_be_stored_is_refused_alone() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let poisoned = |id: &str, poison: &dyn Fn(&mut Append)| {
        let mut append = append(Key::unique(), [on(&log, id, 0, ["poison"])]);
        poison(&mut append);
        append
    };
    let payload = |text: &str| {
        let text = text.to_owned();
        move |append: &mut Append| append.streams[0].events[0].payload = text.clone()
    };
    // Too long for an index, and too irregular to be compressed.
    let numbers = (1_000_000_000..1_000_001_000_u64).map(|number| (number * number).to_string());
    let long_id = numbers.collect::<String>();
    let long_id = |append: &mut Append| append.streams[0].stream.aggregate_id = long_id.as_str().into();
    let no_version = |append: &mut Append| append.streams[0].expected_version = -1;
    let metadata = |append: &mut Append| append.streams[0].events[0].metadata = "nor this".into();
    let appends = vec![
        append(Key::unique(), [on(&log, "A", 0, ["a1"])]),
        poisoned("P1", &payload("not JSON")),
        append(Key::unique(), [on(&log, "B", 0, ["b1"])]),
        poisoned("P2", &payload("{\"Noted\":{\"word\":\"a zero byte: \0\"}}")),
        poisoned("P3", &payload(r#"{"Noted":{"word":"a zero byte in disguise: \u0000"}}"#)),
        poisoned("P4", &metadata),
        poisoned("P5", &long_id),
        poisoned("P6", &no_version),
        append(Key::unique(), [on(&log, "A", 1, [r"no zero byte: \u0000"])]),
    ];
    let outcomes = in_one_batch(&fixture, &log, appends).await;
    let refused: Vec<usize> = (0..9).filter(|&at| matches!(outcomes[at], Err(AppendError::Refused { .. }))).collect();
    assert_eq!(refused, [1, 3, 4, 5, 6, 7], "{outcomes:?}");
    assert_eq!([&outcomes[0], &outcomes[2], &outcomes[8]], [&Ok(done(2, 1)), &Ok(done(3, 1)), &Ok(done(4, 2))]);
    assert_eq!(
        fixture.events().await.iter().map(noted).collect::<Vec<_>>(),
        ["in the way", "a1", "b1", r"no zero byte: \u0000"]
    );
}
