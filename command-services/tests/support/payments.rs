//! A process that settles payments, and what a check-out and the staff ask of it.

use chrono::Utc;
use kontor_command_services::executor::{Context, Decision, Executor, Expects, Failure, Stop, Unit};
use kontor_command_services::payments::Payments;
use kontor_command_services::payments::simulator::ledger::{Entry, State};
use kontor_command_services::payments::simulator::{Simulator, SimulatorSettings};
use kontor_command_services::payments::stripe::Stripe;
use kontor_command_services::processes::reactions::Origin;
use kontor_command_services::refusal::Refusal;
use kontor_command_services::service::open_shop;
use kontor_command_services::settings::Settings;
use kontor_domain::order::Order;
use kontor_domain::payment::{Payment, PaymentCommand, Progress};
use kontor_domain::stock::Stock;
use kontor_domain::text::PaymentMethod;
use kontor_domain::{AttemptId, Currency, Money, OrderId, PaymentId};
use kontor_event_schemas::upcast;
use kontor_event_store::{Key, Log, LogSettings};
use kontor_identity::Caller;
use kontor_local::{Role, Servers};
use kontor_telemetry::TraceParent;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A process that settles payments, without an API of its own.
pub struct Process {
    pub executor: Arc<Executor>,
    pub payments: Payments,
}

/// A payment's part in a check-out, or a command of the staff.
struct Ask(PaymentId, PaymentCommand);

impl Decision for Ask {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let handled = unit.handle::<Payment>(&self.0.to_string(), self.1.clone()).await;
        handled.map_err(|refused| refused.or(Refusal::Payment))?;
        Ok(())
    }
}

pub fn pence(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::GBP)
}

pub fn new_attempt() -> AttemptId {
    AttemptId(Uuid::now_v7())
}

impl Process {
    pub async fn start(servers: &Servers) -> Self {
        Self::start_with(servers, super::settings(servers)).await
    }

    pub async fn start_with(servers: &Servers, settings: Settings) -> Self {
        let url = servers.postgres().url(Role::Command);
        let log = Log::open(url.parse().expect("a URL"), LogSettings::default(), upcast::released()).await;
        let log = log.expect("the log opens");
        let executor = Executor::new(log, open_shop(&settings).expect("the shop opens"), settings.executor);
        let executor = Arc::new(executor.serving::<Payment>().serving::<Order>().serving::<Stock>());
        let pool = PgPool::connect_lazy(&url).expect("a URL");
        let simulator = SimulatorSettings { webhook_delay_ms: 50, ..settings.simulator };
        let simulator = Arc::new(Simulator::new(pool, simulator));
        let stripe = Stripe::new(&settings.stripe, Duration::from_secs(10)).expect("a client");
        let payments = Payments::new(executor.clone(), &settings.payments, simulator, stripe);
        Self { executor, payments }
    }

    pub async fn append(&self, payment_id: PaymentId, command: PaymentCommand) {
        let context = Context {
            key: Key::unique(),
            correlation_id: Uuid::now_v7(),
            causation_id: Uuid::now_v7(),
            caller: Caller::internal("test"),
            expects: Expects::Anything,
            trace: TraceParent::new_root(false),
        };
        self.executor.execute(context, Ask(payment_id, command)).await.expect("it is appended");
    }

    /// Asks for 3.45 with `token`; nobody has asked the provider yet.
    pub async fn request(&self, token: &str) -> (PaymentId, AttemptId) {
        let (payment_id, attempt) = (PaymentId(Uuid::now_v7()), new_attempt());
        let request = PaymentCommand::RequestAuthorisation {
            order_id: OrderId(Uuid::now_v7()),
            attempt,
            provider: self.payments.provider().clone(),
            method: PaymentMethod::new(token).expect("a token"),
            amount: pence(345),
            requested_at: Utc::now(),
        };
        self.append(payment_id, request).await;
        (payment_id, attempt)
    }

    pub async fn settle(&self, payment_id: PaymentId, attempt: AttemptId) -> Progress {
        self.ask(payment_id, attempt).await.expect("it is asked");
        self.progress(payment_id, attempt).await
    }

    /// Asks the provider once, and records what it says.
    pub async fn ask(&self, payment_id: PaymentId, attempt: AttemptId) -> Result<(), Failure> {
        let Some(answer) = self.payments.ask(payment_id, attempt).await? else { return Ok(()) };
        let context = Context { key: answer.key(), ..Origin::time().command(Uuid::now_v7()) };
        self.executor.execute(context, answer).await.map(drop)
    }

    pub async fn progress(&self, payment_id: PaymentId, attempt: AttemptId) -> Progress {
        let payment = self.payments.load(payment_id).await.expect("the log can be read");
        payment.attempt(attempt).expect("it was requested").progress
    }

    /// Asks for one more thing and settles it.
    pub async fn then(&self, payment_id: PaymentId, command: impl FnOnce(AttemptId) -> PaymentCommand) -> Progress {
        let attempt = new_attempt();
        self.append(payment_id, command(attempt)).await;
        self.settle(payment_id, attempt).await
    }

    pub async fn ledger(&self) -> Vec<Entry> {
        self.payments.simulator().ledger().page(0, 1_000_000).await.expect("the ledger can be read")
    }

    /// Whether the ledger says the same of every attempt as our payment.
    pub async fn agrees_with_the_ledger(&self, payment_id: PaymentId) -> bool {
        let payment = self.payments.load(payment_id).await.expect("the log can be read");
        let ledger = self.ledger().await;
        let entries: Vec<_> = ledger.iter().filter(|entry| entry.payment_id == payment_id).collect();
        payment.attempts().count() == entries.len()
            && entries.iter().all(|entry| {
                payment.attempt(entry.attempt).is_some_and(|attempt| {
                    let expected = match entry.state {
                        State::Pending => Progress::Pending,
                        State::Failed => Progress::Failed,
                        State::Done => Progress::Done,
                        State::Expired => Progress::Expired,
                    };
                    (attempt.operation, attempt.amount, attempt.progress) == (entry.operation, entry.amount, expected)
                })
            })
    }
}

pub fn capture(amount: i64) -> impl FnOnce(AttemptId) -> PaymentCommand {
    move |attempt| PaymentCommand::RequestCapture { attempt, amount: pence(amount), requested_at: Utc::now() }
}

pub fn void(attempt: AttemptId) -> PaymentCommand {
    PaymentCommand::RequestVoid { attempt, requested_at: Utc::now() }
}

pub fn refund(amount: i64) -> impl FnOnce(AttemptId) -> PaymentCommand {
    move |attempt| PaymentCommand::RequestRefund {
        attempt,
        return_id: None,
        amount: pence(amount),
        requested_at: Utc::now(),
    }
}
