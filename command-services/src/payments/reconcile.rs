//! Comparing our payments with the simulator's ledger, attempt by attempt, at one moment.

use super::simulator::NAME;
use super::simulator::ledger::{Entry, State};
use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::persist::SerializedEvent;
use cqrs_es::{Aggregate, EventEnvelope};
use futures::TryStreamExt;
use kontor_domain::payment::{Attempt, Operation, Payment, Progress};
use kontor_domain::{AttemptId, Money, PaymentId};
use kontor_event_schemas::upcast;
use serde::Serialize;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::collections::HashMap;

/// What was compared, and where the two do not say the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reconciliation {
    /// Attempts that either side knows.
    pub attempts: usize,
    pub differences: Vec<Difference>,
}

/// One attempt of which our payment and the ledger do not say the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    pub attempt: AttemptId,
    pub payment_id: PaymentId,
    pub operation: Operation,
    pub kind: Kind,
    /// What our payment says; `None`: nothing.
    pub ours: Option<Ours>,
    /// What the ledger says; `None`: nothing.
    pub theirs: Option<Theirs>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ours {
    pub progress: Progress,
    pub amount: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Theirs {
    pub state: State,
    pub amount: Money,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// We count on it, and the ledger does not know it.
    NotInLedger,
    /// The ledger has done it, and no payment of ours has asked for it.
    NotOurs,
    /// It was for something else.
    OtherRequest,
    /// The ledger has ended it, and we have not heard.
    NotHeard,
    /// Both have ended it, and not alike.
    OtherEnd,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::NotInLedger => "not-in-ledger",
            Kind::NotOurs => "not-ours",
            Kind::OtherRequest => "other-request",
            Kind::NotHeard => "not-heard",
            Kind::OtherEnd => "other-end",
        }
    }
}

/// Compares all payments at the simulator with its ledger. What the ledger was asked for less than `under_way` ago may not be
/// recorded yet, and is not told as a difference. Keeps the ledger in memory: about 300 bytes a line.
///
/// # Errors
/// The database's, and an event that cannot be read.
pub async fn reconcile(connection: &mut PgConnection, under_way: TimeDelta) -> anyhow::Result<Reconciliation> {
    let mut moment = connection.begin().await?;
    sqlx::query("set transaction isolation level repeatable read read only").execute(&mut *moment).await?;
    let now: DateTime<Utc> = sqlx::query_scalar("select now()").fetch_one(&mut *moment).await?;
    let mut ledger: HashMap<AttemptId, Entry> = sqlx::query_as("select * from simulator.ledger")
        .fetch(&mut *moment)
        .map_ok(|entry: Entry| (entry.attempt, entry))
        .try_collect()
        .await
        .context("the ledger cannot be read")?;
    let mut found = Reconciliation { attempts: 0, differences: Vec::new() };
    let upcasters = upcast::released();
    {
        let mut events = sqlx::query_as::<_, (String, i64, String, String, Value, Value)>(
            "select aggregate_id, sequence, event_type, event_version, payload, metadata from events
             where aggregate_type = $1 order by aggregate_id, sequence",
        )
        .bind(Payment::TYPE)
        .fetch(&mut *moment);
        let mut current: Option<(String, Payment)> = None;
        while let Some((id, sequence, kind, version, payload, metadata)) = events.try_next().await? {
            if current.as_ref().is_some_and(|(of, _)| *of != id) {
                found.compare(current.take(), &mut ledger, now - under_way)?;
            }
            let (_, payment) = current.get_or_insert_with(|| (id.clone(), Payment::default()));
            let aggregate_type = Payment::TYPE.to_owned();
            let stored = SerializedEvent::new(id, sequence as usize, aggregate_type, kind, version, payload, metadata);
            payment.apply(EventEnvelope::<Payment>::try_from(upcasters.upcast_serialized(stored))?.payload);
        }
        found.compare(current, &mut ledger, now - under_way)?;
    }
    moment.rollback().await?;
    found.attempts += ledger.len();
    found.differences.extend(ledger.into_values().map(|entry| Difference::of(None, &entry, Kind::NotOurs)));
    found.differences.sort_by_key(|difference| (difference.payment_id, difference.attempt));
    Ok(found)
}

impl Reconciliation {
    /// Takes what the ledger has of the payment's attempts out, and notes what differs.
    fn compare(
        &mut self,
        payment: Option<(String, Payment)>,
        ledger: &mut HashMap<AttemptId, Entry>,
        settled_before: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let Some((id, payment)) = payment else { return Ok(()) };
        let payment_id: PaymentId = id.parse().with_context(|| format!("{id} is no id of a payment"))?;
        if payment.account().is_ok_and(|account| account.provider.as_str() != NAME) {
            return Ok(());
        }
        for (id, attempt) in payment.attempts() {
            self.attempts += 1;
            match ledger.remove(&id) {
                Some(entry) => {
                    let kind = difference(payment_id, attempt, &entry, settled_before);
                    self.differences.extend(kind.map(|kind| Difference::of(Some(attempt), &entry, kind)));
                }
                None if matches!(attempt.progress, Progress::Requested | Progress::Unknown | Progress::Failed) => {}
                None => self.differences.push(Difference {
                    attempt: id,
                    payment_id,
                    operation: attempt.operation,
                    kind: Kind::NotInLedger,
                    ours: Some(Ours::of(attempt)),
                    theirs: None,
                }),
            }
        }
        Ok(())
    }
}

impl Difference {
    fn of(attempt: Option<&Attempt>, entry: &Entry, kind: Kind) -> Self {
        let Entry { attempt: id, payment_id, operation, state, amount, .. } = *entry;
        let theirs = Some(Theirs { state, amount });
        Self { attempt: id, payment_id, operation, kind, ours: attempt.map(Ours::of), theirs }
    }
}

impl Ours {
    fn of(attempt: &Attempt) -> Self {
        Self { progress: attempt.progress, amount: attempt.amount }
    }
}

fn difference(payment_id: PaymentId, attempt: &Attempt, entry: &Entry, settled_before: DateTime<Utc>) -> Option<Kind> {
    let ours = (payment_id, attempt.operation, attempt.amount);
    if ours != (entry.payment_id, entry.operation, entry.amount) {
        return Some(Kind::OtherRequest);
    }
    match (attempt.progress, entry.state) {
        (Progress::Requested | Progress::Unknown | Progress::Pending, State::Pending)
        | (Progress::Failed, State::Failed)
        | (Progress::Done, State::Done)
        | (Progress::Expired, State::Expired) => None,
        (progress, _) if progress.is_open() => (entry.asked_at < settled_before).then_some(Kind::NotHeard),
        (Progress::Done, State::Expired) => (entry.asked_at < settled_before).then_some(Kind::NotHeard),
        _ => Some(Kind::OtherEnd),
    }
}
