//! Many commands through the bulk endpoint, surely: what is refused for the moment or lost on the way is sent again, under
//! the same idempotency keys, so that nothing is done twice.

use crate::client::{Api, ApiError, is_transient};
use crate::progress::Progress;
use anyhow::{Context, bail};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// One request has at most so many commands and, but for a single large one, bytes.
const BATCH_COMMANDS_MAX: usize = 500;
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Requests in flight: while one is answered, the next is already there.
const IN_FLIGHT: usize = 2;
/// Without any command done for so long we give up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// A command as a line of the bulk endpoint.
#[derive(Debug, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command<'a> {
    RegisterProduct { sku: &'a str, name: &'a str },
    PriceProduct { sku: &'a str, price: Money },
    ReceiveStock { sku: &'a str, quantity: i64, reference: &'a str },
    PlaceOrder(Order<'a>),
    CancelOrder { order_id: &'a str, reason: &'a str },
    BookCancellation(Cancellation<'a>),
}

#[derive(Debug, Serialize)]
pub struct Order<'a> {
    pub order_id: &'a str,
    pub reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<&'a str>,
    pub country: &'a str,
    pub lines: Vec<Line<'a>>,
    /// `ship` or `reserve`.
    pub fulfilment: &'static str,
    pub placed_at: &'a str,
}

#[derive(Debug, Serialize)]
pub struct Cancellation<'a> {
    pub cancellation_id: &'a str,
    pub reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<&'a str>,
    pub country: &'a str,
    pub lines: Vec<Line<'a>>,
    pub cancelled_at: &'a str,
}

#[derive(Debug, Serialize)]
pub struct Line<'a> {
    pub sku: &'a str,
    pub quantity: i64,
    pub unit_price: Money,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Money {
    pub amount_minor: i64,
    pub currency: &'static str,
}

/// Pence sterling.
pub fn pence(amount_minor: i64) -> Money {
    Money { amount_minor, currency: "GBP" }
}

/// A command under its idempotency key, written down.
#[derive(Debug, Clone)]
pub struct Written(Vec<u8>);

impl Written {
    pub fn new(key: &str, command: &Command<'_>) -> Self {
        #[derive(Serialize)]
        struct Keyed<'a> {
            key: &'a str,
            #[serde(flatten)]
            command: &'a Command<'a>,
        }
        let mut line = serde_json::to_vec(&Keyed { key, command }).expect("text and numbers have a JSON form");
        line.push(b'\n');
        Self(line)
    }
}

/// What the sending came to.
#[derive(Debug, Default)]
pub struct Sent {
    pub commands: AtomicU64,
    /// Of them: done before, by an earlier run.
    pub replayed: AtomicU64,
    /// The last position that an answer named.
    pub position: AtomicI64,
}

/// Sends commands, in batches, two requests at a time. Within a batch the order is kept; batches may overtake each other.
pub struct Sender {
    api: Api,
    sent: Arc<Sent>,
}

impl Sender {
    pub fn new(api: Api) -> Self {
        Self { api, sent: Arc::default() }
    }

    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Sends what `produce` yields, from a thread of its own, and returns when all of it is done. The first command that is
    /// refused ends it, as `produce`'s own error does.
    pub async fn send<P>(&self, progress: Progress, produce: P) -> anyhow::Result<()>
    where
        P: FnOnce(&mut Batches) -> anyhow::Result<()> + Send + 'static,
    {
        let (full, batches) = mpsc::channel(IN_FLIGHT);
        let mut filling = Batches { batch: Vec::new(), bytes: 0, full };
        let produced = tokio::task::spawn_blocking(move || produce(&mut filling).and_then(|()| filling.flush()));
        let (batches, progress) = (Arc::new(Mutex::new(batches)), Arc::new(progress));
        let mut senders = JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (api, sent) = (self.api.clone(), self.sent.clone());
            let (batches, progress) = (batches.clone(), progress.clone());
            senders.spawn(async move {
                loop {
                    let batch = batches.lock().await.recv().await;
                    let Some(batch) = batch else { return anyhow::Ok(()) };
                    send_batch(&api, batch, &sent, &progress).await?;
                }
            });
        }
        drop(batches); // When the senders have gone, the producer learns it.
        while let Some(done) = senders.join_next().await {
            done??;
        }
        progress.finish();
        produced.await?
    }
}

/// Takes commands and hands them over in batches.
pub struct Batches {
    batch: Vec<Written>,
    bytes: usize,
    full: mpsc::Sender<Vec<Written>>,
}

impl Batches {
    /// Blocks while all requests are under way.
    pub fn push(&mut self, command: Written) -> anyhow::Result<()> {
        let bytes = command.0.len();
        if self.batch.len() >= BATCH_COMMANDS_MAX || self.bytes + bytes > BATCH_BYTES_MAX {
            self.flush()?;
        }
        self.bytes += bytes;
        self.batch.push(command);
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        match batch.is_empty() {
            true => Ok(()),
            false => self.full.blocking_send(batch).context("the sending has ended"),
        }
    }
}

/// Sends one batch until all of it is done.
async fn send_batch(api: &Api, mut left: Vec<Written>, sent: &Sent, progress: &Progress) -> anyhow::Result<()> {
    let mut last_progress = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let body: Vec<u8> = left.iter().flat_map(|command| &command.0).copied().collect();
        let mut done = vec![false; left.len()];
        let mut refused = None;
        let answered = api.bulk(Bytes::from(body), |result| {
            if matches!(result.status, 200 | 201) {
                if let Some(done) = result.line.checked_sub(1).and_then(|line| done.get_mut(line)) {
                    *done = true;
                }
                sent.commands.fetch_add(1, Ordering::Relaxed);
                sent.replayed.fetch_add(u64::from(result.replayed), Ordering::Relaxed);
                sent.position.fetch_max(result.position.unwrap_or(0), Ordering::Relaxed);
                progress.advance(1);
            } else if !is_transient(result.status) && refused.is_none() {
                refused = Some(result);
            }
        });
        let answered = answered.await;
        if let Some(result) = refused {
            let what = result.key.as_deref().map_or_else(|| "a command".to_owned(), spoken);
            let problem = result.problem.map_or_else(|| result.status.to_string(), |problem| problem.to_string());
            bail!("{what} was refused: {problem}");
        }
        if done.contains(&true) {
            last_progress = Instant::now();
            pause = Duration::from_millis(50);
        }
        let mut done = done.into_iter();
        left.retain(|_| done.next() == Some(false));
        if left.is_empty() {
            return Ok(());
        }
        let (reason, asked_for) = match answered {
            Ok(()) => (format!("{} of the commands have to come again later", left.len()), None),
            Err(ApiError::Unavailable { reason, retry_after, .. }) => (reason, retry_after),
            Err(error) => return Err(error.into()),
        };
        if last_progress.elapsed() > GIVE_UP_AFTER {
            bail!("gave up after {} s without an answer from {}: {reason}", GIVE_UP_AFTER.as_secs(), api.url());
        }
        tokio::time::sleep(asked_for.unwrap_or(pause)).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

/// `online-retail/invoice/489434` as `invoice 489434`.
fn spoken(key: &str) -> String {
    let mut parts = key.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(id), Some(what)) => format!("{what} {id}"),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line_with_its_key() {
        let lines = vec![Line { sku: "85048", quantity: 12, unit_price: pence(695) }];
        let order = Order {
            order_id: "01890a5d-ac96-774b-bcce-b302099a8057",
            reference: "489434",
            customer_id: None,
            country: "United Kingdom",
            lines,
            fulfilment: "ship",
            placed_at: "2009-12-01T07:45:00Z",
        };
        let written = Written::new("online-retail/invoice/489434", &Command::PlaceOrder(order));
        let text = String::from_utf8(written.0).expect("UTF-8");
        let expected = concat!(
            r#"{"key":"online-retail/invoice/489434","command":"place-order","#,
            r#""order_id":"01890a5d-ac96-774b-bcce-b302099a8057","reference":"489434","country":"United Kingdom","#,
            r#""lines":[{"sku":"85048","quantity":12,"unit_price":{"amount_minor":695,"currency":"GBP"}}],"#,
            r#""fulfilment":"ship","placed_at":"2009-12-01T07:45:00Z"}"#,
            "\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_refused_command_is_named_by_its_key() {
        assert_eq!(spoken("online-retail/invoice/C489449"), "invoice C489449");
        assert_eq!(spoken("key"), "key");
    }
}
