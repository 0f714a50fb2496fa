//! The KONTOR stream: messages, read in chunks, from where we are.

use super::delivery::{Delivery, Published};
use super::metrics::SourceMetrics;
use super::source::Reach;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, stream};
use futures::{FutureExt, StreamExt};
use kontor_event_schemas::subject;
use kontor_event_schemas::upcast::Upcasters;
use kontor_telemetry::Check;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;
use tracing::{info, warn};

/// Messages on their way from NATS to us: its flow control.
const PULL_MESSAGES: usize = 2_000;
const CHUNK_MESSAGES: usize = 500;
const HEARTBEAT: Duration = Duration::from_secs(5);
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// NATS removes our consumer after this long without us.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(20);
/// Between two attempts at the stream.
const OPEN_PAUSE: Duration = Duration::from_millis(500);
/// An open stream is left alone for this long, so that a stream that nobody publishes on is not reopened all the time.
const OPEN_AT_LEAST: Duration = Duration::from_secs(2);

/// Reads the stream for as long as it runs. Whatever goes wrong, it opens the stream again.
pub(super) struct StreamReader {
    pub jetstream: jetstream::Context,
    pub upcasters: Arc<Upcasters>,
    pub chunks: mpsc::Sender<Vec<Published>>,
    /// Somebody doubts that what we read is the stream.
    pub reopen: Arc<Notify>,
    pub reach: watch::Receiver<Reach>,
    pub check: Check,
    pub metrics: SourceMetrics,
}

type OpenError = Box<dyn std::error::Error + Send + Sync>;

impl StreamReader {
    pub async fn run(mut self) {
        if self.reach.wait_for(|reach| reach.log_epoch > 0).await.is_err() {
            return;
        }
        loop {
            let trouble = match self.open().await {
                Ok(messages) => {
                    self.check.ok();
                    self.metrics.opened.inc();
                    match self.receive(messages).await {
                        Some(trouble) => trouble,
                        None => continue,
                    }
                }
                Err(trouble) => trouble,
            };
            if self.check.is_ok() {
                warn!("Events are read from the log until the stream is back: {trouble}");
            }
            self.check.failing(trouble.to_string());
            sleep(OPEN_PAUSE).await;
        }
    }

    /// A consumer that starts with the event after the last one seen. It acknowledges nothing and remembers nothing: the
    /// checkpoints do.
    async fn open(&self) -> Result<pull::Stream, OpenError> {
        let stream = self.jetstream.get_stream(subject::STREAM).await?;
        let last_seen = self.reach.borrow().last;
        let start_sequence = start(&stream, last_seen).await;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: AckPolicy::None,
            inactive_threshold: FORGOTTEN_AFTER,
            memory_storage: true,
            num_replicas: 1,
            description: Some("projector".to_owned()),
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(PULL_MESSAGES)
            .expires(PULL_EXPIRES)
            .heartbeat(HEARTBEAT)
            .messages()
            .await?;
        info!(start_sequence, after = last_seen, "Reading stream {} from message {start_sequence}", subject::STREAM);
        Ok(messages)
    }

    /// Passes messages on until the stream is to be opened again: with what went wrong, or because somebody asked for it.
    async fn receive(&mut self, mut messages: pull::Stream) -> Option<OpenError> {
        let opened = tokio::time::Instant::now();
        loop {
            let first = tokio::select! {
                message = messages.next() => message,
                () = self.reopen.notified() => {
                    if opened.elapsed() < OPEN_AT_LEAST {
                        continue;
                    }
                    return None;
                }
            };
            let mut chunk = Vec::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Some(Ok(message)) => self.add(&mut chunk, message),
                    Some(Err(error)) => return self.pass_on(chunk).await.or(Some(error.into())),
                    None => return self.pass_on(chunk).await.or(Some("the consumer has ended".into())),
                }
                // What is there already, without waiting; tokio's budget would end it early.
                next = match chunk.len() < CHUNK_MESSAGES {
                    true => tokio::task::unconstrained(messages.next()).now_or_never(),
                    false => None,
                };
            }
            if let Some(trouble) = self.pass_on(chunk).await {
                return Some(trouble);
            }
        }
    }

    fn add(&self, chunk: &mut Vec<Published>, message: jetstream::Message) {
        match Delivery::published(message.message, &self.upcasters) {
            Ok(published) => chunk.push(published),
            // It leaves a hole, which is filled from the log.
            Err(malformed) => {
                self.metrics.malformed.inc();
                warn!("A message of stream {} is read from the log instead: {malformed}", subject::STREAM);
            }
        }
    }

    async fn pass_on(&self, chunk: Vec<Published>) -> Option<OpenError> {
        if chunk.is_empty() {
            return None;
        }
        self.chunks.send(chunk).await.err().map(Into::into)
    }
}

/// The number in the stream of the event after `position`, as far as it can be told from the stream's last message: the
/// stream repeats the log event for event, so both count alike. If it does not, repetitions are dropped and holes filled.
async fn start(stream: &stream::Stream, position: i64) -> u64 {
    let state = &stream.cached_info().state;
    let after_last = state.last_sequence + 1;
    if state.messages == 0 {
        return after_last;
    }
    // The last message may have been deleted by hand; then begin with what comes.
    let Ok(last) = stream.get_raw_message(state.last_sequence).await else { return after_last };
    let last_position = last.headers.get(subject::POSITION).and_then(|text| text.as_str().parse::<i64>().ok());
    let Some(behind) = last_position.map(|last| last - position) else { return after_last };
    after_last.saturating_sub(u64::try_from(behind).unwrap_or(0)).max(state.first_sequence).max(1)
}
