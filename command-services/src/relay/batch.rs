//! Batches of events, each published whole or not at all: JetStream's atomic batch (ADR-50), fenced by the expected last
//! sequence of the stream.

use super::resume::End;
use async_nats::header::{HeaderMap, HeaderName, HeaderValue};
use async_nats::{Client, Message, StatusCode, Subscriber};
use futures::StreamExt;
use kontor_event_schemas::{RecordedEvent, subject};
use kontor_telemetry::{TraceParent, exporting, spans};
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;
use tracing::Span;

const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Up to so many events go one by one. A lone message is on disk in a fifth of a millisecond, an atomic batch in ten,
/// whatever its size: few are sooner there alone, many together.
const SINGLES_MAX: usize = 24;

/// Publishes batches, without waiting for one before it sends the next.
pub struct Publisher {
    client: Client,
    inbox: String,
    answers: Subscriber,
    /// Begins the batches' ids. No other relay's: two batches under one id would be taken for one. Short: JetStream searches
    /// the headers of each message several times.
    short_id: String,
    batches: u64,
}

/// A batch that JetStream has not acknowledged yet.
pub struct Sent {
    pub events: usize,
    /// Where the stream ends once this is acknowledged.
    pub end: End,
    reply: String,
    answers: usize,
    /// They end with it.
    _traced: Vec<Span>,
}

/// Why a batch was not acknowledged. Whether the stream has it is asked of the stream.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("JetStream refused a batch: {description} ({err_code})")]
    Refused { err_code: u64, description: String },
    #[error("JetStream did not acknowledge a batch within {} s", ANSWER_WITHIN.as_secs())]
    Unanswered,
    #[error("no stream takes the events")]
    NoStream,
    #[error("event {position} has no readable metadata: {error}")]
    Metadata { position: i64, error: serde_json::Error },
    #[error("NATS: {0}")]
    Client(String),
}

/// What JetStream answers to the last message of a batch.
#[derive(Deserialize)]
struct Answer {
    seq: Option<u64>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// What the relay needs of an event's metadata.
#[derive(Deserialize)]
struct Origin<'a> {
    event_id: &'a str,
    traceparent: &'a str,
}

impl Publisher {
    pub async fn new(client: Client) -> Result<Self, BatchError> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(format!("{inbox}.*")).await.map_err(client_error)?;
        let short_id = inbox.chars().rev().take(8).collect(); // Random, like all of an inbox's name.
        Ok(Self { client, inbox, answers, short_id, batches: 0 })
    }

    /// Sends `events` (1 to 1,000, in order) to follow `after`, which may itself be still on its way: the fence refuses
    /// them if it does not arrive.
    pub async fn send(&mut self, events: &[RecordedEvent], after: End, epoch: i64) -> Result<Sent, BatchError> {
        self.batches += 1;
        let reply = format!("{}.{}", self.inbox, self.batches);
        let batch_id = format!("{}{}", self.short_id, self.batches);
        let singly = events.len() <= SINGLES_MAX;
        let epoch = HeaderValue::from(epoch);
        let mut traced: Vec<Span> = Vec::new();
        for (number, event) in (1..).zip(events) {
            let origin: Origin<'_> = serde_json::from_str(&event.metadata)
                .map_err(|error| BatchError::Metadata { position: event.position, error })?;
            let subject = subject::subject(&event.aggregate_type, &event.event_type);
            let span = span(event, &origin, &subject);
            let mut headers = headers(event, &origin, &subject, &span);
            headers.insert(EPOCH, epoch.clone());
            if number == 1 || singly {
                headers.insert(EXPECTED_LAST_SEQUENCE, HeaderValue::from(after.sequence + number as u64 - 1));
            }
            if !singly {
                headers.insert(BATCH_ID, batch_id.as_str());
                headers.insert(BATCH_SEQUENCE, HeaderValue::from(number as u64));
            }
            let payload = event.payload.clone().into();
            let published = if number == events.len() || singly {
                if !singly {
                    headers.insert(BATCH_COMMIT, "1");
                }
                self.client.publish_with_reply_and_headers(subject, reply.clone(), headers, payload).await
            } else {
                self.client.publish_with_headers(subject, headers, payload).await
            };
            published.map_err(client_error)?;
            if !span.is_disabled() {
                traced.push(span);
            }
        }
        self.client.flush().await.map_err(client_error)?;
        let sequence = after.sequence + events.len() as u64;
        let position = events.last().map_or(after.position, |event| event.position);
        let answers = if singly { events.len() } else { 1 };
        Ok(Sent { events: events.len(), end: End { position, sequence }, reply, answers, _traced: traced })
    }

    /// Waits until JetStream has `sent` on disk. Batches are settled in the order they were sent in.
    pub async fn settle(&mut self, sent: &Sent) -> Result<(), BatchError> {
        // Each single event is answered for itself. Once one is refused, so are all after it, by their fences.
        let mut last = 0;
        for _ in 0..sent.answers {
            last = self.answer(&sent.reply).await?;
        }
        if last == sent.end.sequence {
            Ok(())
        } else {
            Err(BatchError::Client(format!("the events are at sequence {last}, not {}", sent.end.sequence)))
        }
    }

    /// The answer to the batch that asked for it at `reply`; those of batches given up before are passed over.
    async fn answer(&mut self, reply: &str) -> Result<u64, BatchError> {
        let answered = timeout(ANSWER_WITHIN, async {
            loop {
                match self.answers.next().await {
                    Some(message) if message.subject.as_str() == reply => return Ok(message),
                    Some(_) => {}
                    None => return Err(BatchError::Client("the connection was closed".into())),
                }
            }
        });
        let Message { payload, status, .. } = answered.await.map_err(|_| BatchError::Unanswered)??;
        if status == Some(StatusCode::NO_RESPONDERS) {
            return Err(BatchError::NoStream);
        }
        let answer: Answer = serde_json::from_slice(&payload)
            .map_err(|error| BatchError::Client(format!("unexpected answer: {error}")))?;
        match answer {
            Answer { error: Some(ApiError { err_code, description }), .. } => {
                Err(BatchError::Refused { err_code, description })
            }
            Answer { seq: Some(sequence), .. } => Ok(sequence),
            Answer { seq: None, .. } => Err(BatchError::Client("the answer names no sequence".into())),
        }
    }
}

const EXPECTED_LAST_SEQUENCE: HeaderName = HeaderName::from_static("Nats-Expected-Last-Sequence");
const BATCH_ID: HeaderName = HeaderName::from_static("Nats-Batch-Id");
const BATCH_SEQUENCE: HeaderName = HeaderName::from_static("Nats-Batch-Sequence");
const BATCH_COMMIT: HeaderName = HeaderName::from_static("Nats-Batch-Commit");
const EPOCH: HeaderName = HeaderName::from_static(subject::LOG_EPOCH);

fn headers(event: &RecordedEvent, origin: &Origin<'_>, subject: &str, span: &Span) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| headers.insert(HeaderName::from_static(name), value);
    set(subject::POSITION, itoa::Buffer::new().format(event.position));
    set(subject::SEQUENCE, itoa::Buffer::new().format(event.sequence));
    set(subject::AGGREGATE_ID, &event.aggregate_id);
    set(subject::EVENT_VERSION, &event.event_version);
    match spans::of_span(span) {
        Some(here) => set(subject::TRACEPARENT, &here.text()),
        None => set(subject::TRACEPARENT, origin.traceparent),
    }
    set(subject::CE_SPECVERSION, "1.0");
    set(subject::CE_ID, origin.event_id);
    set(subject::CE_SOURCE, subject::SOURCE);
    set(subject::CE_TYPE, subject);
    set(subject::CE_TIME, &event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    headers
}

/// The span of one event's publishing, if its trace is recorded.
fn span(event: &RecordedEvent, origin: &Origin<'_>, subject: &str) -> Span {
    if !exporting() {
        return Span::none();
    }
    let Ok(parent) = TraceParent::parse(origin.traceparent.as_bytes()) else { return Span::none() };
    spans::relay_publish(spans::Message {
        parent: &parent,
        subject,
        event_id: origin.event_id,
        aggregate_type: &event.aggregate_type,
        position: event.position,
    })
}

fn client_error(error: impl std::fmt::Display) -> BatchError {
    BatchError::Client(error.to_string())
}
