use crate::log::Fixture;
use kontor_event_schemas::RecordedEvent;
use kontor_event_store::Selection;
use kontor_export::{Replay, ReplayError, Replayed, line, replay};
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Takes what is written, and says when it has had enough.
#[derive(Clone, Default)]
struct Paper {
    text: Arc<Mutex<Vec<u8>>>,
    lines: Arc<AtomicUsize>,
    most: Option<usize>,
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.text.lock().expect("no writer panics");
        if self.most.is_some_and(|most| text.len() >= most) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        text.extend_from_slice(bytes);
        self.lines.fetch_add(bytes.iter().filter(|byte| **byte == b'\n').count(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.text.lock().expect("no writer panics").clone()).expect("UTF-8")
    }

    fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }

    /// Waits until there are so many lines.
    async fn has(&self, lines: usize) {
        let begun = Instant::now();
        while self.lines() < lines {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} of {lines} lines", self.lines());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn all() -> Replay {
    Replay { selection: Selection::default(), after: 0, until: None, follow: false }
}

async fn told(fixture: &Fixture, plan: Replay, paper: &Paper) -> Result<Replayed, ReplayError> {
    let no_trouble = |error: &sqlx::Error| panic!("{error}");
    replay(&fixture.reader, plan, paper.clone(), &CancellationToken::new(), &no_trouble).await
}

fn in_lines<'a>(events: impl IntoIterator<Item = &'a RecordedEvent>) -> String {
    let mut text = Vec::new();
    events.into_iter().for_each(|event| line::write(event, &mut text).expect("memory takes it"));
    String::from_utf8(text).expect("UTF-8")
}

#[tokio::test]
async fn the_log_is_told_in_its_order_from_any_position_to_any() {
    let fixture = Fixture::start(7_000).await;
    let log = fixture.events().await;
    for (after, until, expected) in [(0, None, &log[..]), (4_321, Some(4_322), &log[4_321..4_322]), (7_000, None, &[])]
    {
        let paper = Paper::default();
        let done = told(&fixture, Replay { after, until, ..all() }, &paper).await.expect("it is told");
        assert_eq!(done, Replayed { position: until.unwrap_or(7_000), events: expected.len() as u64 });
        assert!(paper.text() == in_lines(expected), "after {after}");
    }
}

#[tokio::test]
async fn a_selection_is_told_and_nothing_else() {
    let fixture = Fixture::start(3_000).await;
    let log = fixture.events().await;
    let text = |text: &str| text.to_owned();
    type Wanted = fn(&&RecordedEvent) -> bool;
    let selections: [(Selection, Wanted); 4] = [
        (Selection { aggregates: vec![text("cart")], ..Selection::default() }, |event| event.aggregate_type == "cart"),
        (Selection { events: vec![(text("stock"), text("Shipped"))], ..Selection::default() }, |event| {
            event.aggregate_type == "stock" && event.event_type == "Shipped"
        }),
        (Selection { ids: vec![text("A3"), text("A4")], ..Selection::default() }, |event| {
            matches!(&*event.aggregate_id, "A3" | "A4")
        }),
        (Selection { aggregates: vec![text("stock")], events: vec![], ids: vec![text("A3")] }, |event| {
            event.aggregate_type == "stock" && event.aggregate_id == "A3"
        }),
    ];
    for (selection, is_wanted) in selections {
        let paper = Paper::default();
        let named = format!("{selection:?}");
        told(&fixture, Replay { selection, ..all() }, &paper).await.expect("it is told");
        let wanted: Vec<_> = log.iter().filter(is_wanted).collect();
        assert!(wanted.len() > 10 && paper.text() == in_lines(wanted), "{named}");
    }
}

/// Step 1: history is told while a writer appends all the while, so that the head moves on under it. Step 2: the history is told, and
/// the writer goes on. Step 3: all was told, once and in order, and the end is where it was to be.
#[tokio::test]
async fn history_and_what_is_appended_meanwhile_are_one() {
    let fixture = Fixture::start(9_000).await;
    let paper = Paper::default();
    let appending = async {
        let mut at = 9_001;
        while at <= 11_000 {
            fixture.append(at, 1 + at % 7).await;
            at += 1 + at % 7;
            if at > 10_000 {
                paper.has(9_001).await;
            }
        }
    };
    let plan = Replay { until: Some(10_900), follow: true, ..all() };
    let (done, ()) = tokio::join!(told(&fixture, plan, &paper), appending);
    assert_eq!(done.expect("it is told"), Replayed { position: 10_900, events: 10_900 });
    assert!(paper.text() == in_lines(&fixture.events().await[..10_900]));
}

#[tokio::test]
async fn who_follows_a_selection_hears_of_what_is_new() {
    let fixture = Fixture::start(100).await;
    let (paper, ending) = (Paper::default(), CancellationToken::new());
    let selection = Selection { aggregates: vec!["stock".to_owned()], ..Selection::default() };
    let plan = Replay { selection, after: 100, follow: true, ..all() };
    let appending = async {
        fixture.append(101, 50).await;
        paper.has(1).await;
        fixture.append(151, 50).await;
        let new = fixture.events().await.split_off(100);
        let wanted = in_lines(new.iter().filter(|event| event.aggregate_type == "stock"));
        paper.has(wanted.lines().count()).await;
        assert!(paper.text() == wanted);
        ending.cancel();
    };
    let no_trouble = |error: &sqlx::Error| panic!("{error}");
    let (done, ()) = tokio::join!(replay(&fixture.reader, plan, paper.clone(), &ending, &no_trouble), appending);
    let done = done.expect("it ends in peace");
    assert_eq!((done.position, done.events), (200, paper.lines() as u64));
}

/// Step 1: it follows. Step 2: Postgres ends, and it says so once. Step 3: Postgres is back, and it goes on where it was.
#[tokio::test]
async fn who_follows_outlasts_a_restart_of_the_database() {
    let fixture = Fixture::start(100).await;
    let (paper, ending, troubles) = (Paper::default(), CancellationToken::new(), AtomicUsize::new(0));
    let restarting = async {
        let postgres = fixture.servers.postgres();
        paper.has(100).await;
        postgres.stop().await.expect("it ends");
        let begun = Instant::now();
        while troubles.load(Ordering::Relaxed) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "it does not notice");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        postgres.restart().await.expect("it starts again");
        fixture.append(101, 50).await;
        paper.has(150).await;
        ending.cancel();
    };
    let trouble = |_: &sqlx::Error| {
        troubles.fetch_add(1, Ordering::Relaxed);
    };
    let plan = Replay { follow: true, ..all() };
    let (done, ()) = tokio::join!(replay(&fixture.reader, plan, paper.clone(), &ending, &trouble), restarting);
    assert_eq!(done.expect("it ends in peace"), Replayed { position: 150, events: 150 });
    assert!(paper.text() == in_lines(&fixture.events().await));
    assert_eq!(troubles.into_inner(), 1);
}

#[tokio::test]
async fn who_has_read_enough_is_no_error_and_a_full_disk_is() {
    let fixture = Fixture::start(10_000).await;
    let paper = Paper { most: Some(1_000_000), ..Paper::default() };
    let done = told(&fixture, Replay { follow: true, ..all() }, &paper).await.expect("nobody reads any more");
    assert!(done.position < 10_000, "it does not go on for nobody: {done:?}");

    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let no_trouble = |error: &sqlx::Error| panic!("{error}");
    let failed = replay(&fixture.reader, all(), Full, &CancellationToken::new(), &no_trouble).await;
    assert!(matches!(failed, Err(ReplayError::Write(_))), "{failed:?}");
}

#[tokio::test]
async fn a_log_that_has_lost_commits_is_not_followed() {
    let fixture = Fixture::start(100).await;
    let failed = told(&fixture, Replay { after: 120, follow: true, ..all() }, &Paper::default()).await;
    assert!(matches!(failed, Err(ReplayError::LostCommits { position: 120, head: 100 })), "{failed:?}");
}
