//! Idempotency keys: the same key with the same request has the first outcome, whoever asks, whenever, however often at once.

use crate::support::{Fixture, append, in_one_batch, on};
use kontor_event_store::{Append, AppendError, Appended, Key, Log};
use std::time::Duration;
use tokio::task::JoinSet;

fn key(request: &str) -> Key {
    Key::new("client", "1", request.as_bytes())
}

/// What a retry gets.
fn again(first: Appended) -> Appended {
    Appended { replayed: true, ..first }
}

/// Appends as a tier does: after a conflict it looks again, and here that means with the same events.
async fn append_stubbornly(log: &Log, make: impl Fn() -> Append) -> Result<Appended, AppendError> {
    for _ in 0..100 {
        match log.append(make()).await {
            Err(AppendError::Conflict { .. }) => {}
            outcome => return outcome,
        }
    }
    panic!("a hundred conflicts");
}

#[tokio::test]
async fn a_retry_gets_the_first_outcome_and_appends_nothing() {
    let fixture = Fixture::start().await;
    let (log, other) = (fixture.open().await, fixture.open().await);
    let first = log.append(append(key("r"), [on(&log, "A", 0, ["a1", "a2"])])).await.expect("A is new");
    assert_eq!(first, Appended { position: 2, version: 2, replayed: false });
    // In the same process and in another; decided on the old state, on the new one, or on another stream altogether.
    for log in [&log, &other] {
        for (id, version) in [("A", 0), ("A", 2), ("B", 0)] {
            assert_eq!(
                log.append(append(key("r"), [on(log, id, version, ["again"])])).await,
                Ok(again(first)),
                "{id} {version}"
            );
        }
    }
    assert_eq!(fixture.words().await, ["a1", "a2"]);
}

#[tokio::test]
async fn a_key_used_for_another_request_is_refused() {
    let fixture = Fixture::start().await;
    let (log, other) = (fixture.open().await, fixture.open().await);
    log.append(append(key("r"), [on(&log, "A", 0, ["a1"])])).await.expect("A is new");
    for log in [&log, &other] {
        for (id, version) in [("A", 0), ("A", 1), ("B", 0)] {
            let reuse = append(key("another"), [on(log, id, version, ["another"])]);
            assert_eq!(log.append(reuse).await, Err(AppendError::KeyReused), "{id} {version}");
        }
    }
    assert_eq!(fixture.words().await, ["a1"]);
}

#[tokio::test]
async fn a_retry_in_one_batch_with_other_appends_disturbs_none_of_them() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let first = log.append(append(key("r"), [on(&log, "A", 0, ["a1"])])).await.expect("A is new");
    let outcomes = in_one_batch(
        &fixture,
        &log,
        vec![
            append(Key::unique(), [on(&log, "B", 0, ["b1"])]),
            append(key("r"), [on(&log, "A", 1, ["again"])]),
            append(key("another"), [on(&log, "C", 0, ["another"])]),
            append(Key::unique(), [on(&log, "A", 1, ["a2"])]),
        ],
    )
    .await;
    let done = |position, version| Ok(Appended { position, version, replayed: false });
    assert_eq!(outcomes, [done(3, 1), Ok(again(first)), Err(AppendError::KeyReused), done(4, 2)]);
    assert_eq!(fixture.words().await, ["a1", "in the way", "b1", "a2"]);
}

/// Of two appends with one key in one batch the first is appended. The second is to look again, and finds it.
#[tokio::test]
async fn a_key_that_comes_twice_in_one_batch_leads_to_one_event() {
    let fixture = Fixture::start().await;
    let log = fixture.open_one_lane().await;
    let twice = [("A", "r"), ("B", "r"), ("C", "another")];
    let twice = twice.map(|(id, request)| append(key(request), [on(&log, id, 0, [id])])).to_vec();
    let outcomes = in_one_batch(&fixture, &log, twice.clone()).await;
    let first = outcomes[0].clone().expect("it came first");
    assert_eq!(first, Appended { position: 2, version: 1, replayed: false });
    assert!(matches!(outcomes[1], Err(AppendError::Conflict { .. })), "{outcomes:?}");
    assert!(matches!(outcomes[2], Err(AppendError::Conflict { .. })), "{outcomes:?}");
    assert_eq!(append_stubbornly(&log, || append(key("r"), [on(&log, "B", 0, ["B"])])).await, Ok(again(first)));
    assert_eq!(log.append(append(key("another"), [on(&log, "C", 0, ["C"])])).await, Err(AppendError::KeyReused));
    assert_eq!(fixture.words().await, ["in the way", "A"]);
}

/// Fifty at once, in two processes: on one stream, where versions would stop them too, and on a stream each, where only the key does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_identical_commands_at_once_lead_to_one_event() {
    let fixture = Fixture::start().await;
    let logs = [fixture.open().await, fixture.open().await];
    for (case, own_stream) in [(0, false), (1, true)] {
        let mut clients = JoinSet::new();
        for client in 0..50 {
            let log = logs[client % 2].clone();
            let id = if own_stream { format!("S{client}") } else { "A".to_owned() };
            let key = Key::new("client", &case.to_string(), b"request");
            clients.spawn(async move { append_stubbornly(&log, || append(key, [on(&log, &id, 0, ["once"])])).await });
        }
        let outcomes: Vec<Appended> =
            clients.join_all().await.into_iter().map(|outcome| outcome.expect("once")).collect();
        assert_eq!(outcomes.iter().filter(|outcome| !outcome.replayed).count(), 1);
        assert!(outcomes.iter().all(|outcome| (outcome.position, outcome.version) == (case + 1, 1)), "{outcomes:?}");
        assert_eq!(fixture.words().await.len() as i64, case + 1);
    }
}

#[tokio::test]
async fn a_refused_append_leaves_its_key_free() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let conflict = log.append(append(key("r"), [on(&log, "A", 1, ["a2"])])).await;
    assert!(matches!(conflict, Err(AppendError::Conflict { .. })));
    assert_eq!(log.outcome(&key("r")).await.expect("the log can be read"), None);
    // Even for another request: nothing was done with it.
    let appended = log.append(append(key("another"), [on(&log, "A", 0, ["a1"])])).await.expect("A is new");
    assert_eq!(appended, Appended { position: 1, version: 1, replayed: false });
}

#[tokio::test]
async fn a_key_leads_to_what_became_of_its_command() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let used = |text| Key::new("client", text, b"request");
    log.append(append(used("1"), [on(&log, "A", 0, ["a1"]), on(&log, "B", 0, ["b1", "b2"])]))
        .await
        .expect("both are new");
    log.append(append(used("2"), [on(&log, "B", 2, ["b3"])])).await.expect("B is at 2");
    log.append(append(used("3"), [on(&log, "B", 3, [])])).await.expect("B is at 3"); // A question has no outcome to keep.
    let keys = [used("2"), used("3"), used("1"), used("unused")];
    let outcomes = log.outcomes(&keys).await.expect("the log can be read");
    let told = |at: usize| {
        let outcome = outcomes[at].as_ref().expect("it was used");
        (outcome.aggregate_type.as_str(), outcome.aggregate_id.as_str(), outcome.position, outcome.version)
    };
    assert_eq!((told(0), told(2)), (("notes", "B", 4, 3), ("notes", "A", 3, 1)));
    assert_eq!((&outcomes[1], &outcomes[3]), (&None, &None));
    assert_eq!(log.outcome(&used("2")).await.expect("the log can be read"), outcomes[0]);
    assert!(used("2").led_to(outcomes[0].as_ref().expect("it was used")));
    assert!(!Key::new("client", "2", b"another").led_to(outcomes[0].as_ref().expect("it was used")));
}

/// Seven of ten commands are made eight days old; of those with a key older than seven days some are forgotten at a time.
#[tokio::test]
async fn old_keys_are_forgotten_in_small_steps() {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    let used = |number: usize| Key::new("client", &number.to_string(), b"request");
    for number in 0..10 {
        let two_words = [on(&log, &format!("S{number}"), 0, ["one", "two"])];
        log.append(append(used(number), two_words)).await.expect("it is new");
    }
    // Nobody may edit the log: an administrator who switches its triggers off turns back the clock for this test.
    let ageing = "set session_replication_role = replica; \
                  update log_batches set recorded_at = recorded_at - interval '8 days' where position <= 14";
    fixture.servers.postgres().sql(ageing).await.expect("it is done");

    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(log.prune_keys(2 * week, 100).await.expect("it is done"), 0);
    let mut steps = Vec::new();
    for _ in 0..4 {
        steps.push(log.prune_keys(week, 3).await.expect("it is done"));
    }
    assert_eq!(steps, [3, 3, 1, 0]);
    let keys: Vec<Key> = (0..10).map(used).collect();
    let known = log.outcomes(&keys).await.expect("the log can be read");
    assert_eq!(known.iter().map(Option::is_some).collect::<Vec<_>>(), [[false; 7].as_slice(), &[true; 3]].concat());
    assert_eq!(log.prune_keys(Duration::ZERO, 100).await.expect("it is done"), 3);
    assert_eq!(fixture.events().await.len(), 20, "only keys were forgotten");
    assert_eq!(log.prune_keys(Duration::ZERO, 100).await.expect("it is done"), 0);
}

#[tokio::test]
async fn an_empty_log_has_no_keys_to_forget() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.open().await.prune_keys(Duration::ZERO, 100).await.expect("it is done"), 0);
}
