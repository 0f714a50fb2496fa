//! The smallest aggregate: words, noted one after another.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use kontor_event_schemas::{Metadata, RecordedEvent};
use kontor_event_store::{Append, Key, Lineage, Log, NewEvent, StreamAppend, StreamId};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    pub words: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Note {
    Noted { word: String },
}

impl DomainEvent for Note {
    fn event_type(&self) -> String {
        "Noted".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl Aggregate for Notes {
    const TYPE: &'static str = "notes";
    type Command = ();
    type Event = Note;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, (): (), (): &(), _: &EventSink<Self>) -> Result<(), Infallible> {
        Ok(())
    }

    fn apply(&mut self, Note::Noted { word }: Note) {
        self.words.push(word);
    }
}

/// An event of any aggregate, as the executor hands it to the log.
pub fn new_event(event: &impl DomainEvent) -> NewEvent {
    let metadata = Metadata {
        event_id: Uuid::now_v7(),
        correlation_id: Uuid::now_v7(),
        causation_id: Uuid::now_v7(),
        actor: "service:test".into(),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
    };
    NewEvent {
        event_type: event.event_type(),
        event_version: event.event_version(),
        payload: serde_json::to_string(event).expect("an event has a JSON form"),
        metadata: metadata.to_json(),
    }
}

/// `words` for the notes called `id`, which are at `expected_version`, under a lineage of its own.
pub fn on<'w>(log: &Log, id: &str, expected_version: i64, words: impl IntoIterator<Item = &'w str>) -> StreamAppend {
    on_lineage(log.new_lineage(), id, expected_version, words)
}

/// As `on`, decided on top of what was read under `lineage`.
pub fn on_lineage<'w>(
    lineage: Lineage,
    id: &str,
    expected_version: i64,
    words: impl IntoIterator<Item = &'w str>,
) -> StreamAppend {
    let events = words.into_iter().map(|word| new_event(&Note::Noted { word: word.to_owned() })).collect();
    StreamAppend { stream: stream(id), expected_version, lineage, events }
}

pub fn append(key: Key, streams: impl Into<Vec<StreamAppend>>) -> Append {
    Append { key, streams: streams.into() }
}

pub fn stream(id: &str) -> StreamId {
    StreamId { aggregate_type: Notes::TYPE, aggregate_id: id.into() }
}

/// The word that a recorded event holds.
pub fn noted(event: &RecordedEvent) -> String {
    let Note::Noted { word } = serde_json::from_str(&event.payload).expect("the payload of a note");
    word
}
