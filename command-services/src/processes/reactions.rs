//! What a reaction does: a command, given by nobody but the event that it answers, or a question to the provider.

use crate::executor::{Context, Decision, Executor, Expects, Failure, Stop, Undecided, Unit};
use crate::orders::{give_up, handle};
use crate::payments::{Answer, Payments};
use crate::refusal::Refusal;
use crate::stock;
use chrono::{DateTime, Utc};
use kontor_domain::order::{Order, OrderCommand};
use kontor_domain::payment::{Payment, PaymentCommand, Progress, Provider};
use kontor_domain::processes::{Confirmation, Instruction, Reaction};
use kontor_domain::stock::{Stock, StockCommand};
use kontor_domain::timer::{Timer, TimerCommand, TimerReason};
use kontor_domain::{AttemptId, LocationId, OrderId, PaymentId, Quantity, Sku};
use kontor_event_schemas::Metadata;
use kontor_event_store::Key;
use kontor_identity::Caller;
use kontor_telemetry::TraceParent;
use std::collections::BTreeMap;
use tracing::debug;
use uuid::Uuid;

/// Who acts, in the events' metadata.
const ACTOR: &str = "service:processes";

/// Where a reaction comes from: the request behind the event that it answers.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub correlation_id: Uuid,
    pub trace: TraceParent,
}

impl Origin {
    /// Of what follows from an event.
    pub fn of(metadata: &Metadata) -> Self {
        let trace = TraceParent::parse(metadata.traceparent.as_bytes());
        let trace = trace.map_or_else(|_| TraceParent::new_root(false), |trace| trace.child());
        Self { correlation_id: metadata.correlation_id, trace }
    }

    /// Of what follows from the time alone.
    pub fn time() -> Self {
        Self { correlation_id: Uuid::now_v7(), trace: TraceParent::new_root(false) }
    }

    /// The context of a command that is done once, whoever gives it and however often.
    pub fn command(self, command_id: Uuid) -> Context {
        Context {
            key: Key::new(ACTOR, &command_id.to_string(), &[]),
            correlation_id: self.correlation_id,
            causation_id: command_id,
            caller: Caller::internal(ACTOR),
            expects: Expects::Anything,
            trace: self.trace,
        }
    }
}

/// What became of a reaction.
#[derive(Debug)]
pub enum Carried {
    /// Done, or refused for a reason that is in the log.
    Out,
    /// The provider will tell what becomes of it.
    Pending,
}

/// Carries `instruction` out. On an error it is to be carried out again.
pub async fn carry_out(
    executor: &Executor,
    payments: &Payments,
    origin: Origin,
    instruction: Instruction,
) -> Result<Carried, Failure> {
    let Instruction { command_id, reaction } = instruction;
    if let Reaction::AskProvider { payment_id, attempt, confirms } = reaction {
        if let Some(answer) = payments.ask(payment_id, attempt).await? {
            record(executor, origin.command(command_id), answer, confirms).await?;
        }
        return await_answer(executor, payment_id, attempt).await;
    }
    let name = reaction.name();
    let command = Carry { command_id, reaction, provider: payments.provider().clone(), now: Utc::now() };
    match executor.execute(origin.command(command_id), command).await {
        Ok(_) => Ok(Carried::Out),
        Err(Failure::Refused(refusal)) => {
            debug!(%command_id, %refusal, "{name} was refused");
            Ok(Carried::Out)
        }
        Err(failure) => Err(failure),
    }
}

/// Records what the provider says. If the order can be confirmed on it, both are one append: whoever buys waits for one less.
async fn record(
    executor: &Executor,
    context: Context,
    answer: Answer,
    confirms: Option<Confirmation>,
) -> Result<(), Failure> {
    let context = Context { key: answer.key(), ..context };
    if let Some(confirmation) = confirms.filter(|confirmation| confirmation.follows_from(answer.outcome())) {
        let both = RecordAndConfirm { answer: answer.clone(), confirmation, now: Utc::now() };
        match executor.execute(context.clone(), both).await {
            Err(Failure::Refused(refusal)) => debug!(%refusal, "The order is not confirmed with its payment"),
            done => return done.map(drop),
        }
    }
    executor.execute(context, answer).await.map(drop)
}

/// Whether the provider has said by now what became of an attempt.
async fn await_answer(executor: &Executor, payment_id: PaymentId, attempt: AttemptId) -> Result<Carried, Failure> {
    let (payment, _) = executor.peek::<Payment>(&payment_id.to_string()).await?;
    match payment.attempt(attempt).map(|attempt| attempt.progress) {
        Some(Progress::Requested | Progress::Unknown) => {
            Err(Failure::Unknown { reason: "the payment provider gave no answer".into() })
        }
        Some(Progress::Pending) => Ok(Carried::Pending),
        Some(Progress::Failed | Progress::Done | Progress::Expired) | None => Ok(Carried::Out),
    }
}

/// A reaction that is a command.
struct Carry {
    command_id: Uuid,
    reaction: Reaction,
    provider: Provider,
    now: DateTime<Utc>,
}

impl Decision for Carry {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (now, attempt) = (self.now, AttemptId(self.command_id));
        match &self.reaction {
            Reaction::AuthorisePayment { payment_id, order_id, amount, method } => {
                let request = PaymentCommand::RequestAuthorisation {
                    order_id: *order_id,
                    attempt,
                    provider: self.provider.clone(),
                    method: method.clone(),
                    amount: *amount,
                    requested_at: now,
                };
                payment(unit, *payment_id, request).await
            }
            Reaction::AskProvider { .. } => Ok(()), // A question, not a command.
            Reaction::ConfirmOrder(confirmation) => confirm(unit, confirmation, now).await,
            Reaction::CancelUnpaidOrder { order_id, reason, .. } => {
                let cancel = OrderCommand::CancelUnpaid { reason: reason.clone(), cancelled_at: now };
                give_up(unit, *order_id, cancel).await
            }
            Reaction::CancelOrder { order_id, reason, .. } => {
                let cancel = OrderCommand::Cancel { reason: reason.clone(), cancelled_at: now };
                give_up(unit, *order_id, cancel).await
            }
            Reaction::VoidPayment { payment_id } => {
                payment(unit, *payment_id, PaymentCommand::RequestVoid { attempt, requested_at: now }).await
            }
            Reaction::CapturePayment { payment_id, amount } => {
                let request = PaymentCommand::RequestCapture { attempt, amount: *amount, requested_at: now };
                payment(unit, *payment_id, request).await
            }
            Reaction::BookCapture { order_id, captured_total } => {
                let book = OrderCommand::BookCapture { captured_total: *captured_total, captured_at: now };
                handle(unit, *order_id, book).await.map(drop)
            }
            Reaction::RestockGoods { order_id, return_id, goods } => {
                let (order_id, return_id) = (*order_id, *return_id);
                let restock = OrderCommand::Restock { return_id, restocked_at: now };
                if handle(unit, order_id, restock).await?.is_unchanged() {
                    return Ok(());
                }
                let back = |quantity| StockCommand::Return { order_id, quantity, location: LocationId::MAIN };
                of_goods(unit, goods, back).await
            }
            Reaction::RefundPayment { payment_id, return_id, amount } => {
                let request = PaymentCommand::RequestRefund {
                    attempt,
                    return_id: Some(*return_id),
                    amount: *amount,
                    requested_at: now,
                };
                payment(unit, *payment_id, request).await
            }
            Reaction::BookRefund { order_id, return_id, attempt, amount } => {
                let (return_id, attempt, amount) = (*return_id, *attempt, *amount);
                let book = OrderCommand::BookRefund { return_id, attempt, amount, refunded_at: now };
                handle(unit, *order_id, book).await.map(drop)
            }
            Reaction::BookRefundBounce { order_id, return_id, attempt } => {
                let (return_id, attempt) = (*return_id, *attempt);
                let book = OrderCommand::BookRefundBounce { return_id, attempt, bounced_at: now };
                handle(unit, *order_id, book).await.map(drop)
            }
            Reaction::WakeMe { order_id, at, reason } => {
                let set = TimerCommand::Set { order_id: *order_id, reason: *reason, at: *at, sku: None };
                timer(unit, *order_id, set).await
            }
            Reaction::FireTimer { order_id, reason } => {
                let (order_id, reason) = (*order_id, *reason);
                timer(unit, order_id, TimerCommand::Fire { order_id, reason, fired_at: now, sku: None }).await
            }
            Reaction::ExpireReservation { order_id, sku } => expire(unit, *order_id, sku, now).await,
        }
    }
}

/// An authorisation and what it allows: all of it, or nothing.
struct RecordAndConfirm {
    answer: Answer,
    confirmation: Confirmation,
    now: DateTime<Utc>,
}

impl Decision for RecordAndConfirm {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        unit.state::<Order>(&self.confirmation.order_id.to_string()).await?; // Its turn comes before the payment's.
        if self.answer.record(unit).await?.is_unchanged() {
            return Ok(()); // Told before, and perhaps over since.
        }
        confirm(unit, &self.confirmation, self.now).await
    }
}

async fn confirm(unit: &mut Unit<'_>, confirmation: &Confirmation, now: DateTime<Utc>) -> Result<(), Stop> {
    let Confirmation { order_id, authorised, goods } = confirmation;
    if let Some((payment_id, amount)) = *authorised {
        let authorise = OrderCommand::Authorise { payment_id, amount, authorised_at: now };
        handle(unit, *order_id, authorise).await?;
    }
    handle(unit, *order_id, OrderCommand::Confirm { confirmed_at: now }).await?;
    of_goods(unit, goods, |_| StockCommand::Confirm { order_id: *order_id }).await
}

/// Puts back on sale what was set aside until now, unless that is settled otherwise, and says that its time is over.
async fn expire(unit: &mut Unit<'_>, order_id: OrderId, sku: &Sku, now: DateTime<Utc>) -> Result<(), Stop> {
    // What an order stands for it keeps until it is cancelled.
    if unit.state::<Order>(&order_id.to_string()).await?.placed().is_none() {
        match unit.handle::<Stock>(sku.as_str(), StockCommand::Expire { order_id, now }).await {
            Ok(_) | Err(Undecided::Refused(_)) => {} // Confirmed, released or shipped meanwhile.
            Err(Undecided::Failed(failure)) => return Err(Stop::Failed(failure)),
        }
    }
    let reason = TimerReason::ReservationEnds;
    timer(unit, order_id, TimerCommand::Fire { order_id, reason, fired_at: now, sku: Some(sku.clone()) }).await
}

async fn payment(unit: &mut Unit<'_>, payment_id: PaymentId, command: PaymentCommand) -> Result<(), Stop> {
    let handled = unit.handle::<Payment>(&payment_id.to_string(), command).await;
    handled.map_err(|refused| refused.or(Refusal::Payment))?;
    Ok(())
}

async fn timer(unit: &mut Unit<'_>, order_id: OrderId, command: TimerCommand) -> Result<(), Stop> {
    let handled = unit.handle::<Timer>(&order_id.to_string(), command).await;
    handled.map_err(|refused| refused.or(Refusal::Timer))?;
    Ok(())
}

/// The same for the goods of an order, in the order of their SKUs.
async fn of_goods(
    unit: &mut Unit<'_>,
    goods: &BTreeMap<Sku, Quantity>,
    command: impl Fn(Quantity) -> StockCommand,
) -> Result<(), Stop> {
    for (sku, quantity) in goods {
        stock::handle(unit, sku, command(*quantity)).await?;
    }
    Ok(())
}
