//! Snapshots: with one or without, an aggregate is read as its events say.

use crate::support::notes::{Notes, on_lineage};
use crate::support::{Fixture, append};
use kontor_event_store::stream::Loaded;
use kontor_event_store::{Key, Lineage, Log};
use std::sync::Arc;

/// A log with the notes A, which have some words.
struct Story {
    fixture: Fixture,
    log: Arc<Log>,
    lineage: Lineage,
}

impl Story {
    async fn of(words: &[&str]) -> Self {
        let fixture = Fixture::start().await;
        let log = fixture.open().await;
        let story = Self { fixture, lineage: log.new_lineage(), log };
        story.note(0, words).await;
        story
    }

    async fn note(&self, version: i64, words: &[&str]) {
        let words = on_lineage(self.lineage, "A", version, words.iter().copied());
        self.log.append(append(Key::unique(), [words])).await.expect("A is at this version");
    }

    async fn keep(&self, loaded: &Loaded<Notes>) {
        self.log.keep_snapshot("A", loaded, self.lineage).await.expect("it is kept");
    }

    async fn load(&self) -> Loaded<Notes> {
        self.log.load("A").await.expect("it can be read")
    }

    async fn assert_reads(&self, words: &[&str]) {
        let Loaded { aggregate, version } = self.load().await;
        assert_eq!(
            (aggregate.words, version),
            (words.iter().map(|&word| word.to_owned()).collect(), words.len() as i64)
        );
    }

    async fn sql(&self, statement: &str) -> String {
        self.fixture.servers.postgres().sql(statement).await.expect("it is done")
    }
}

#[tokio::test]
async fn a_snapshot_with_the_events_since_is_the_whole_stream() {
    let story = Story::of(&["a1", "a2"]).await;
    story.keep(&story.load().await).await;
    story.assert_reads(&["a1", "a2"]).await;
    story.note(2, &["a3"]).await;
    story.assert_reads(&["a1", "a2", "a3"]).await;
    let folded = story.log.stream::<Notes>("A").await.expect("it can be read");
    assert_eq!(folded.len(), 3, "all events are read from the log itself");
    // That the snapshot is used at all shows when it differs from what the events say.
    story.sql("update snapshots set payload = '{\"words\": [\"kept\"]}'").await;
    assert_eq!(story.load().await.aggregate.words, ["kept", "a3"]);
}

#[tokio::test]
async fn a_lost_snapshot_changes_nothing() {
    let story = Story::of(&["a1", "a2"]).await;
    story.keep(&story.load().await).await;
    story.sql("delete from snapshots").await;
    story.assert_reads(&["a1", "a2"]).await;
}

#[tokio::test]
async fn a_late_snapshot_does_not_replace_a_later_state() {
    let story = Story::of(&["a1"]).await;
    let early = story.load().await;
    story.note(1, &["a2"]).await;
    story.keep(&story.load().await).await;
    story.keep(&early).await;
    assert_eq!(story.sql("select sequence from snapshots").await, "2");
    story.sql("delete from snapshots").await;
    story.keep(&early).await;
    story.assert_reads(&["a1", "a2"]).await;
}

#[tokio::test]
async fn a_snapshot_of_another_form_is_not_read_and_is_replaced() {
    let story = Story::of(&["a1"]).await;
    let loaded = story.load().await;
    for spoilt in [
        "update snapshots set form = form + 1, payload = '{\"words\": [\"of another release\"]}'",
        "update snapshots set payload = '{\"words\": 7}'",
        "update snapshots set payload = 'null'",
    ] {
        story.keep(&loaded).await;
        story.sql(spoilt).await;
        story.assert_reads(&["a1"]).await;
    }
    story.sql("update snapshots set form = form + 1, sequence = 50").await;
    story.keep(&loaded).await;
    assert_eq!(story.sql("select sequence from snapshots").await, "1", "the form that is read wins");
}

/// As a restored backup of the tables may leave it: the snapshot is of events that are not there.
#[tokio::test]
async fn a_snapshot_ahead_of_its_stream_is_not_read() {
    let story = Story::of(&["a1"]).await;
    let ahead = Loaded { aggregate: Notes { words: ["a1", "a2, lost"].map(String::from).into() }, version: 2 };
    story.keep(&ahead).await;
    story.assert_reads(&["a1"]).await;
}

#[tokio::test]
async fn a_snapshot_of_nothing_is_harmless() {
    let story = Story::of(&["a1"]).await;
    story.keep(&Loaded { aggregate: Notes::default(), version: 0 }).await;
    story.assert_reads(&["a1"]).await;
    assert_eq!(story.log.load::<Notes>("B").await.expect("it can be read").version, 0);
}
