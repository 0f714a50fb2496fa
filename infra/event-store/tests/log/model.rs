//! Whatever two processes append, in whatever order: the log is one that could have been written one append after another.

use crate::support::notes::{Notes, on_lineage};
use crate::support::{Fixture, append, noted};
use kontor_event_store::{AppendError, Appended, Key, Lineage, Log, LogReader, StreamAppend};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const STREAMS: usize = 3;

/// What a writer takes a stream's version from.
#[derive(Debug, Clone, Copy)]
enum Basis {
    /// What it has decided before, though it may not have been appended yet.
    OnTop,
    /// The log.
    Reread,
    /// Thin air: this far beside what it believes.
    Wrong(i64),
}

#[derive(Debug, Clone)]
struct Planned {
    writer: usize,
    /// Stream, basis, number of events.
    streams: Vec<(usize, Basis, usize)>,
    /// Of an earlier append, counted from the last; `None`: a new key. And whether it is used for the same request.
    key: Option<(usize, bool)>,
}

/// Appends that are submitted together. Deaf writers do not learn what became of them.
#[derive(Debug, Clone)]
struct Step {
    appends: Vec<Planned>,
    deaf: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let basis = prop_oneof![6 => Just(Basis::OnTop), 3 => Just(Basis::Reread), 1 => prop_oneof![Just(-1), Just(1)].prop_map(Basis::Wrong)];
    let streams = proptest::collection::vec((0..STREAMS, basis, 0..3_usize), 1..3).prop_map(|mut streams| {
        let mut seen = HashSet::new();
        streams.retain(|(stream, ..)| seen.insert(*stream));
        // The first stream of an append has events if any has.
        if streams.iter().any(|(.., events)| *events > 0) {
            streams[0].2 = streams[0].2.max(1);
        }
        streams
    });
    let key = prop_oneof![5 => Just(None), 1 => (0..4_usize, prop::bool::weighted(0.8)).prop_map(Some)];
    let planned = (0..2_usize, streams, key).prop_map(|(writer, streams, key)| Planned { writer, streams, key });
    (proptest::collection::vec(planned, 1..7), prop::bool::weighted(0.4))
        .prop_map(|(appends, deaf)| Step { appends, deaf })
}

/// An append as it was submitted.
struct Submitted {
    writer: usize,
    key: usize,
    request: u8,
    streams: Vec<StreamAppend>,
    words: Vec<String>,
}

/// The log as it should be, written one append after another.
#[derive(Default)]
struct Model {
    start: i64,
    words: Vec<String>,
    versions: HashMap<String, i64>,
    /// By key: the request and its outcome.
    keys: HashMap<usize, (u8, Appended)>,
    /// By writer and stream: the latest reading on which an append was refused.
    broken: HashMap<(usize, String), Lineage>,
}

impl Model {
    fn version(&self, id: &str) -> i64 {
        self.versions.get(id).copied().unwrap_or_default()
    }

    /// Judges what became of the appends of one step, in order of their submission, and follows.
    fn follow(&mut self, step: &[(Submitted, Result<Appended, AppendError>)]) -> Result<(), TestCaseError> {
        // What could have changed during the step: for these streams the version at its beginning proves nothing.
        let is_new =
            |outcome: &Result<Appended, AppendError>| outcome.as_ref().is_ok_and(|appended| !appended.replayed);
        let mut accepted: Vec<_> =
            step.iter().filter(|(submitted, outcome)| is_new(outcome) && !submitted.words.is_empty()).collect();
        let touched: HashSet<String> = accepted.iter().flat_map(|(submitted, _)| ids(&submitted.streams)).collect();
        let fits_before: Vec<bool> = step.iter().map(|(submitted, _)| self.fits(&submitted.streams)).collect();

        accepted.sort_by_key(|(_, outcome)| outcome.as_ref().map_or(0, |appended| appended.position));
        for (submitted, outcome) in accepted {
            let appended = outcome.clone().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(self.fits(&submitted.streams), "{appended:?} was not decided on what was there");
            for of_stream in &submitted.streams {
                *self.versions.entry(of_stream.stream.aggregate_id.to_string()).or_default() +=
                    of_stream.events.len() as i64;
            }
            self.words.extend(submitted.words.iter().cloned());
            let version = self.version(&submitted.streams[0].stream.aggregate_id);
            let position = self.start + self.words.len() as i64;
            prop_assert_eq!(appended, Appended { position, version, replayed: false });
            let before = self.keys.insert(submitted.key, (submitted.request, appended));
            prop_assert!(before.is_none(), "key {} was appended with twice", submitted.key);
        }

        for (at, (submitted, outcome)) in step.iter().enumerate() {
            let broken = |of_stream: &StreamAppend| {
                let broken = self.broken.get(&(submitted.writer, of_stream.stream.aggregate_id.to_string()));
                broken.is_some_and(|broken| of_stream.lineage <= *broken)
            };
            let on_refused = submitted.streams.iter().any(broken);
            let undisturbed = ids(&submitted.streams).all(|id| !touched.contains(&id));
            match outcome {
                Ok(appended) if appended.replayed => {
                    let (request, first) = self.keys.get(&submitted.key).expect("a replayed key was used");
                    prop_assert_eq!(
                        (*request, first.position, first.version),
                        (submitted.request, appended.position, appended.version)
                    );
                }
                Ok(_) => {
                    prop_assert!(!on_refused, "append {at} was decided on one that was refused");
                    prop_assert!(
                        !submitted.words.is_empty() || !undisturbed || fits_before[at],
                        "question {at} was wrong"
                    );
                }
                Err(AppendError::KeyReused) => {
                    prop_assert_ne!(
                        self.keys.get(&submitted.key).map(|(request, _)| *request),
                        Some(submitted.request)
                    );
                    prop_assert!(self.keys.contains_key(&submitted.key));
                }
                Err(AppendError::Conflict { .. }) => {
                    // What one process submits at once for one stream, or with one key, is judged as if it came to be: a
                    // refusal may stand though its cause was refused itself. Who is refused decides again.
                    let entangled = step.iter().enumerate().any(|(other, (twin, outcome))| {
                        let refused =
                            twin.writer == submitted.writer && !is_new(outcome) && writes_to_one_of(twin, submitted);
                        other != at && (twin.key == submitted.key || refused)
                    });
                    let reason = on_refused || !fits_before[at] || !undisturbed || entangled;
                    prop_assert!(reason, "append {at} was refused without a reason");
                }
                Err(error) => return Err(TestCaseError::fail(format!("append {at}: {error}"))),
            }
            if !is_new(outcome) {
                for of_stream in submitted.streams.iter().filter(|of_stream| !of_stream.events.is_empty()) {
                    let id = of_stream.stream.aggregate_id.to_string();
                    let broken = self.broken.entry((submitted.writer, id)).or_insert(of_stream.lineage);
                    *broken = of_stream.lineage.max(*broken);
                }
            }
        }
        Ok(())
    }

    fn fits(&self, streams: &[StreamAppend]) -> bool {
        streams.iter().all(|of_stream| self.version(&of_stream.stream.aggregate_id) == of_stream.expected_version)
    }
}

fn writes_to_one_of(one: &Submitted, other: &Submitted) -> bool {
    let written = one.streams.iter().filter(|of_stream| !of_stream.events.is_empty());
    written.map(|of_stream| &of_stream.stream).any(|stream| other.streams.iter().any(|theirs| theirs.stream == *stream))
}

fn ids(streams: &[StreamAppend]) -> impl Iterator<Item = String> {
    streams.iter().map(|of_stream| of_stream.stream.aggregate_id.to_string())
}

/// The two processes of one case, with what each believes of the streams: version and reading.
struct Writers<'l> {
    case: usize,
    logs: &'l [Arc<Log>; 2],
    beliefs: [HashMap<usize, (i64, Lineage)>; 2],
    keys: usize,
    words: usize,
}

impl Writers<'_> {
    async fn plan(&mut self, planned: &Planned) -> Submitted {
        let log = &self.logs[planned.writer];
        let (mut streams, mut words) = (Vec::new(), Vec::new());
        for (stream, basis, events) in &planned.streams {
            let id = format!("{}-{stream}", self.case);
            let beliefs = &mut self.beliefs[planned.writer];
            if matches!(basis, Basis::Reread) || !beliefs.contains_key(stream) {
                let lineage = log.new_lineage();
                let version = log.load::<Notes>(&id).await.expect("it can be read").version;
                beliefs.insert(*stream, (version, lineage));
            }
            let (version, lineage) = beliefs.get_mut(stream).expect("it was read");
            let expected = if let Basis::Wrong(by) = basis { (*version + by).max(0) } else { *version };
            let own: Vec<String> = (0..*events).map(|event| format!("{id}: {}", self.words + event)).collect();
            self.words += events;
            *version = expected + *events as i64;
            streams.push(on_lineage(*lineage, &id, expected, own.iter().map(String::as_str)));
            words.extend(own);
        }
        let (key, request) = match planned.key {
            Some((back, same)) if back < self.keys => (self.keys - 1 - back, if same { 0 } else { 1 }),
            _ => {
                self.keys += 1;
                (self.keys - 1, 0)
            }
        };
        Submitted { writer: planned.writer, key, request, streams, words }
    }

    async fn run(&mut self, steps: &[Step], reader: &LogReader) -> Result<(), TestCaseError> {
        let mut model = Model { start: reader.head().await.expect("it can be read"), ..Model::default() };
        for Step { appends, deaf } in steps {
            let mut submitted = Vec::new();
            for planned in appends {
                submitted.push(self.plan(planned).await);
            }
            let pending = submitted.iter().map(|one| {
                let key = Key::new(&self.case.to_string(), &one.key.to_string(), &[one.request]);
                self.logs[one.writer].submit(append(key, one.streams.clone())).expect("there is room")
            });
            let pending: Vec<_> = pending.collect();
            let outcomes = futures::future::join_all(pending).await;
            if !deaf {
                let unsure = submitted
                    .iter()
                    .zip(&outcomes)
                    .filter(|(_, outcome)| !matches!(outcome, Ok(Appended { replayed: false, .. })));
                for (Submitted { writer, streams, .. }, _) in unsure {
                    self.beliefs[*writer]
                        .retain(|stream, _| !ids(streams).any(|id| id == format!("{}-{stream}", self.case)));
                }
            }
            let step: Vec<_> = submitted.into_iter().zip(outcomes).collect();
            model.follow(&step)?;
        }
        let events = reader.read(model.start, 10_000).await.expect("it can be read");
        prop_assert_eq!(events.iter().map(noted).collect::<Vec<_>>(), model.words);
        Ok(())
    }
}

#[test]
fn the_log_equals_one_that_was_written_one_append_after_another() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let _context = runtime.enter();
    let (fixture, logs) = runtime.block_on(async {
        let fixture = Fixture::start().await;
        let logs = [fixture.open().await, fixture.open().await];
        (fixture, logs)
    });
    let reader = fixture.reader();
    let cases = std::cell::Cell::new(0);
    let config =
        ProptestConfig { cases: 40, failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() };
    let result = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..12), |steps| {
        cases.set(cases.get() + 1);
        let mut writers = Writers { case: cases.get(), logs: &logs, beliefs: Default::default(), keys: 0, words: 0 };
        runtime.block_on(writers.run(&steps, &reader))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    runtime.block_on(fixture.events());
}
