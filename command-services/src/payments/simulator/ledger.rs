//! The simulator's ledger in Postgres: what was asked of it, once for each attempt.
//!
//! Requests that arrive while others are being written wait together and are written together, in one statement and one
//! commit. There is no timer: the commit under way is the wait. It does not wait for the disk (migration 0005).

use super::tokens::{self, Script};
use crate::payments::provider::{Request, failure_code};
use chrono::{DateTime, TimeDelta, Utc};
use kontor_domain::payment::{Operation, Outcome, ProviderReference};
use kontor_domain::text::PaymentMethod;
use kontor_domain::{AttemptId, Currency, Money, OrderId, PaymentId};
use schemars::JsonSchema;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde::{Deserialize, Serialize};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, Row};
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use uuid::Uuid;

/// Requests that are written together.
const BATCH_MAX: usize = 500;
/// Requests that may wait; more are let in one by one.
const WAITING_MAX: usize = 10_000;
/// How long an authorisation holds.
const AUTHORISATION_TTL: TimeDelta = TimeDelta::days(7);

/// How far the simulator has come with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "LedgerState")]
pub enum State {
    Pending,
    Failed,
    Done,
    /// Done, and over: an authorisation that was let go of unasked.
    Expired,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Failed => "failed",
            State::Done => "done",
            State::Expired => "expired",
        }
    }
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LedgerEntry")]
pub struct Entry {
    pub number: i64,
    pub attempt: AttemptId,
    pub payment_id: PaymentId,
    pub order_id: OrderId,
    pub operation: Operation,
    pub method: PaymentMethod,
    pub amount: Money,
    pub state: State,
    /// Why it failed.
    pub code: Option<String>,
    pub asked_at: DateTime<Utc>,
}

impl Entry {
    /// In the words of the domain.
    pub fn outcome(&self) -> Outcome {
        let provider_reference = ProviderReference::new(&format!("sim_{}", self.payment_id)).ok();
        match (self.state, self.operation) {
            (State::Pending, _) => Outcome::Pending { action: None, provider_reference },
            (State::Failed, Operation::Authorise) => Outcome::Declined { code: self.failure_code() },
            (State::Failed, _) => Outcome::Failed { code: self.failure_code() },
            (State::Expired, _) => Outcome::Expired,
            (State::Done, Operation::Authorise) => Outcome::Authorised {
                amount: self.amount,
                expires_at: self.asked_at + AUTHORISATION_TTL,
                captures_once: self.method.as_str() == tokens::CAPTURES_ONCE,
                provider_reference,
            },
            (State::Done, Operation::Capture) => Outcome::Captured,
            (State::Done, Operation::Void) => Outcome::Voided,
            (State::Done, Operation::Refund) => Outcome::Refunded,
        }
    }

    fn failure_code(&self) -> kontor_domain::payment::FailureCode {
        failure_code(self.code.as_deref().unwrap_or_default())
    }
}

impl FromRow<'_, PgRow> for Entry {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            number: row.try_get("number")?,
            attempt: AttemptId(row.try_get("attempt")?),
            payment_id: PaymentId(row.try_get("payment")?),
            order_id: OrderId(row.try_get("order_id")?),
            operation: word(row, "operation")?,
            method: word(row, "method")?,
            amount: Money::new(row.try_get("amount_minor")?, word::<Currency>(row, "currency")?),
            state: word(row, "state")?,
            code: row.try_get("code")?,
            asked_at: row.try_get("asked_at")?,
        })
    }
}

/// A text column as a type that has such a form in JSON.
fn word<'r, T: Deserialize<'r>>(row: &'r PgRow, column: &str) -> sqlx::Result<T> {
    let text: &str = row.try_get(column)?;
    T::deserialize(StrDeserializer::<WordError>::new(text))
        .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) })
}

/// Writes, in batches, and reads. Stops when it is dropped, after what it was given.
#[derive(Debug, Clone)]
pub struct Ledger {
    pool: PgPool,
    queue: mpsc::Sender<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    script: Script,
    answer: oneshot::Sender<Answer>,
}

/// The attempt's line; `None`: the payment has another authorisation.
type Answer = Option<Entry>;

/// The ledger gave no answer: it may have been written or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

impl Ledger {
    pub fn new(pool: PgPool, webhook_delay_ms: i64) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write(pool.clone(), webhook_delay_ms, waiting));
        Self { pool, queue }
    }

    /// Has `script` happen to the attempt, unless something has before; answers what it is now.
    pub async fn enter(&self, request: Request, script: Script) -> Result<Answer, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { request, script, answer }).await.map_err(|_| NoAnswer)?;
        answered.await.map_err(|_| NoAnswer)
    }

    /// Up to `most` lines after the line `number`, in the order of their numbers.
    pub async fn page(&self, number: i64, most: i64) -> sqlx::Result<Vec<Entry>> {
        sqlx::query_as("select * from simulator.ledger where number > $1 order by number limit $2")
            .bind(number)
            .bind(most)
            .fetch_all(&self.pool)
            .await
    }
}

async fn write(pool: PgPool, webhook_delay_ms: i64, mut queue: mpsc::Receiver<Waiting>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    // Kept from batch to batch: a pool sends a round trip after each that it is given back.
    let mut at_hand = None;
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        match perform(&pool, &mut at_hand, webhook_delay_ms, &batch).await {
            Ok(entries) => {
                let by_attempt: HashMap<_, _> = entries.into_iter().map(|entry| (entry.attempt, entry)).collect();
                for Waiting { request, answer, .. } in batch.drain(..) {
                    // Nobody waits any more when the caller has gone: the line stays, under the attempt.
                    let _ = answer.send(by_attempt.get(&request.attempt).cloned());
                }
            }
            Err(error) => {
                warn!(%error, "The simulator's ledger could not be written: {} requests have no answer", batch.len());
                batch.clear();
            }
        }
    }
}

/// One round trip, one commit; by the connection at hand, which is gone after an error.
async fn perform(
    pool: &PgPool,
    at_hand: &mut Option<PoolConnection<Postgres>>,
    webhook_delay_ms: i64,
    batch: &[Waiting],
) -> sqlx::Result<Vec<Entry>> {
    let mut connection = match at_hand.take() {
        Some(connection) => connection,
        None => pool.acquire().await?,
    };
    let mut of = Columns::default();
    for Waiting { request, script, .. } in batch {
        of.attempts.push(request.attempt.0);
        of.payments.push(request.payment_id.0);
        of.orders.push(request.order_id.0);
        of.operations.push(request.operation.name());
        of.methods.push(request.method.as_str());
        of.amounts.push(request.amount.amount_minor);
        of.currencies.push(request.amount.currency.code());
        of.states.push(script.state.name());
        of.codes.push(script.code);
        for (n, news) in (1..).zip(script.news) {
            for delivery in 1..=news.deliveries {
                of.told_attempts.push(request.attempt.0);
                of.told_events.push(format!("evt_{}_{n}", request.attempt));
                of.told_deliveries.push(delivery.cast_signed());
                of.told_states.push(news.state.name());
                of.told_codes.push(news.code);
                of.told_after.push(i64::from(news.after) * webhook_delay_ms);
            }
        }
    }
    let entries = sqlx::query_as(
        "select * from simulator.perform($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(&of.attempts)
    .bind(&of.payments)
    .bind(&of.orders)
    .bind(&of.operations)
    .bind(&of.methods)
    .bind(&of.amounts)
    .bind(&of.currencies)
    .bind(&of.states)
    .bind(&of.codes)
    .bind(&of.told_attempts)
    .bind(&of.told_events)
    .bind(&of.told_deliveries)
    .bind(&of.told_states)
    .bind(&of.told_codes)
    .bind(&of.told_after)
    .fetch_all(&mut *connection)
    .await?;
    *at_hand = Some(connection);
    Ok(entries)
}

/// The arguments of the SQL function `simulator.perform`: of each group of arrays the same places belong together.
#[derive(Default)]
struct Columns<'a> {
    attempts: Vec<Uuid>,
    payments: Vec<Uuid>,
    orders: Vec<Uuid>,
    operations: Vec<&'a str>,
    methods: Vec<&'a str>,
    amounts: Vec<i64>,
    currencies: Vec<&'a str>,
    states: Vec<&'a str>,
    codes: Vec<Option<&'a str>>,

    told_attempts: Vec<Uuid>,
    told_events: Vec<String>,
    told_deliveries: Vec<i32>,
    told_states: Vec<&'a str>,
    told_codes: Vec<Option<&'a str>>,
    /// In milliseconds.
    told_after: Vec<i64>,
}
