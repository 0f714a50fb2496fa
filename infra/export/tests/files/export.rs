use crate::files::{are, parts, positions};
use crate::log::{Fixture, generated};
use kontor_event_store::Selection;
use kontor_export::{Destination, ExportError, Exported, Format, Plan, export};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const FORMATS: [Format; 3] = [Format::Parquet, Format::Ndjson, Format::Csv];

fn plan(format: Format, up_to: i64) -> Plan {
    Plan { format, selection: Selection::default(), after: 0, up_to, round_events: 500_000 }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn at(folder: &Path) -> Destination {
    Destination::open(folder.to_str().expect("UTF-8"), None).expect("it can be made")
}

async fn exported(fixture: &Fixture, folder: &Path, plan: &Plan) -> Result<Exported, ExportError> {
    export(&fixture.reader, &at(folder), plan, &CancellationToken::new(), &|_| {}).await
}

#[tokio::test]
async fn every_format_says_all_that_the_log_says() {
    let fixture = Fixture::start(4_500).await; // Five days.
    let log = fixture.events().await;
    for format in FORMATS {
        let folder = folder();
        let plan = Plan { round_events: 2_500, ..plan(format, 4_500) };
        let done = exported(&fixture, folder.path(), &plan).await.expect("it is written");
        assert_eq!((done.position, done.events), (4_500, 4_500));
        assert_eq!(done.parts, parts(folder.path()).len() as u64);
        are(folder.path(), format, &log);
    }
}

#[tokio::test]
async fn what_is_new_is_added_and_nothing_is_written_twice() {
    let fixture = Fixture::start(3_000).await;
    let folder = folder();
    let first = exported(&fixture, folder.path(), &plan(Format::Csv, 2_000)).await.expect("it is written");
    let before = parts(folder.path());
    fixture.append(3_001, 500).await;
    let second = exported(&fixture, folder.path(), &plan(Format::Csv, 3_500)).await.expect("it goes on");
    assert_eq!((first.events, second.events, second.position), (2_000, 1_500, 3_500));
    let after = parts(folder.path());
    assert!(before.iter().all(|part| after.contains(part)), "what is there stays");
    are(folder.path(), Format::Csv, &fixture.events().await);
    let third = exported(&fixture, folder.path(), &plan(Format::Csv, 3_500)).await.expect("there is nothing to do");
    assert_eq!((third.events, third.parts, parts(folder.path())), (0, 0, after));
}

#[tokio::test]
async fn a_selection_has_its_events_and_no_others() {
    let fixture = Fixture::start(3_000).await;
    let selection = Selection {
        aggregates: vec!["stock".to_owned()],
        events: vec![("order".to_owned(), "Placed".to_owned())],
        ids: Vec::new(),
    };
    let folder = folder();
    let plan = Plan { selection, after: 1_000, ..plan(Format::Parquet, 2_500) };
    exported(&fixture, folder.path(), &plan).await.expect("it is written");
    let mut wanted = fixture.events().await;
    wanted.retain(|event| {
        let is_wanted =
            event.aggregate_type == "stock" || event.aggregate_type == "order" && event.event_type == "Placed";
        is_wanted && (1_001..=2_500).contains(&event.position)
    });
    assert!(wanted.len() > 100);
    are(folder.path(), Format::Parquet, &wanted);
}

/// Step 1: it is given up at some moment, as a process that is killed gives up. Step 2: what can be seen then is whole, and no
/// event is there twice. Step 3: the same is done again, later each time. Step 4: the last run ends, and all is there.
#[tokio::test]
async fn whatever_the_moment_of_a_crash_each_event_is_there_once() {
    let fixture = Fixture::start(4_500).await;
    let folder = folder();
    let plan = Plan { round_events: 2_000, ..plan(Format::Parquet, 4_500) };
    let mut crashes = 0;
    for files in (3..).step_by(67) {
        let so_many = async {
            while parts(folder.path()).len() < files {
                sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::select! {
            done = exported(&fixture, folder.path(), &plan) => {
                done.expect("it is written");
                break;
            }
            () = so_many => crashes += 1,
        }
        let there = positions(folder.path(), Format::Parquet);
        assert!(there.is_sorted_by(|a, b| a < b), "an event is there twice");
    }
    assert!(crashes >= 4, "{crashes} crashes");
    are(folder.path(), Format::Parquet, &fixture.events().await);
}

/// Step 1: it is told to end while a round is under way. Step 2: that round is written, as far as it is. Step 3: it goes on there.
#[tokio::test]
async fn an_interrupted_export_keeps_what_it_has_read() {
    let fixture = Fixture::start(9_000).await;
    let (folder, ending, pages) = (folder(), CancellationToken::new(), AtomicUsize::new(0));
    let tell = |_| {
        if pages.fetch_add(1, Ordering::Relaxed) == 2 {
            ending.cancel();
        }
    };
    let plan = plan(Format::Parquet, 9_000);
    let first = export(&fixture.reader, &at(folder.path()), &plan, &ending, &tell).await.expect("it ends in peace");
    assert!(first.events > 0 && first.position < 9_000, "{first:?}");
    let second = exported(&fixture, folder.path(), &plan).await.expect("it goes on");
    assert_eq!(first.events + second.events, 9_000);
    are(folder.path(), Format::Parquet, &fixture.events().await);
}

#[tokio::test]
async fn another_export_is_not_written_into_one_that_was_begun() {
    let fixture = Fixture::start(100).await;
    let folder = folder();
    let begun = plan(Format::Csv, 100);
    exported(&fixture, folder.path(), &begun).await.expect("it is written");
    let selection = Selection { aggregates: vec!["stock".to_owned()], ..Selection::default() };
    for (other, complaint) in [
        (Plan { format: Format::Parquet, ..begun.clone() }, "format csv, not parquet"),
        (Plan { after: 9, ..begun.clone() }, "from 1, not 10"),
        (Plan { selection, ..begun.clone() }, "aggregate and event all, not stock"),
    ] {
        let error = exported(&fixture, folder.path(), &other).await.expect_err("it is refused").to_string();
        assert!(error.contains(complaint), "{error}");
    }
    let another = Fixture::start(0).await;
    let mut events: Vec<_> = (1..=200).map(generated).collect();
    events[99].metadata = events[0].metadata.clone();
    another.append_each(events).await;
    let error = exported(&another, folder.path(), &plan(Format::Csv, 200)).await.expect_err("it is refused");
    assert!(matches!(error, ExportError::OtherLog(100)), "{error}");
    std::fs::write(folder.path().join("_export.json"), "{}").expect("it can be written");
    let error = exported(&fixture, folder.path(), &begun).await.expect_err("it is refused").to_string();
    assert!(error.contains("was not written by this release"), "{error}");
}

#[test]
fn other_places_are_refused_by_name() {
    for (place, complaint) in [
        ("gs://bucket/events", "must be a folder or s3://BUCKET/PREFIX, is gs://bucket/events"),
        ("s3://a b/c", "must be a URL such as s3://bucket/prefix, is s3://a b/c"),
    ] {
        let error = Destination::open(place, None).expect_err("it is refused").to_string();
        assert_eq!(error, complaint);
    }
}

#[tokio::test]
async fn an_event_that_this_release_does_not_know_is_kept_whole() {
    let fixture = Fixture::start(0).await;
    let mut event = generated(1);
    event.event_type = "Teleported".into();
    event.payload = r#"{"Teleported":{"to":"Mars"}}"#.to_owned();
    fixture.append_each(vec![event.clone()]).await;
    let folder = folder();
    exported(&fixture, folder.path(), &plan(Format::Csv, 1)).await.expect("it is written");
    let text = std::fs::read_to_string(&parts(folder.path())[0]).expect("UTF-8");
    assert!(text.lines().nth(1).is_some_and(|row| row.ends_with(r#","{""Teleported"":{""to"":""Mars""}}""#)), "{text}");
}
