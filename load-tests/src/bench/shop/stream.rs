//! One aggregate's events, as its rules decide them.

use anyhow::anyhow;
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use kontor_event_store::StreamId;
use std::fmt::Display;

/// An aggregate, with what has been decided and is not appended yet.
pub struct Stream<A: Aggregate> {
    id: String,
    state: A,
    /// Before what is in `new`.
    version: i64,
    new: Vec<A::Event>,
}

/// Events for one stream, which is at `version` before them.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    pub stream: StreamId,
    pub version: i64,
    pub events: Vec<Fresh>,
}

/// An event that is nowhere yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Fresh {
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
}

impl Fresh {
    pub fn of(event: &impl DomainEvent) -> Self {
        let payload = serde_json::to_string(event).expect("events have a JSON form");
        Self { event_type: event.event_type(), event_version: event.event_version(), payload }
    }
}

impl<A: Aggregate<Services = ()>> Stream<A> {
    pub fn begin(id: impl Display) -> Self {
        Self { id: id.to_string(), state: A::default(), version: 0, new: Vec::new() }
    }

    /// Handles a command as the executor does; that it is refused would be our mistake.
    pub async fn handle(&mut self, command: A::Command) -> anyhow::Result<()> {
        let sink = EventSink::default();
        let handled = self.state.handle(command, &(), &sink).await;
        handled.map_err(|refusal| anyhow!("the generated {} {} was refused: {refusal}", A::TYPE, self.id))?;
        self.new.extend(sink.collect().await);
        Ok(())
    }

    /// What was decided since this was asked last.
    pub fn decided(&mut self) -> Decided {
        let events: Vec<_> = self.new.drain(..).map(|event| Fresh::of(&event)).collect();
        let version = self.version;
        self.version += events.len() as i64;
        let stream = StreamId { aggregate_type: A::TYPE, aggregate_id: self.id.as_str().into() };
        Decided { stream, version, events }
    }
}
