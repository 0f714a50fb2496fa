//! The books, as an auditor reads them: every unit of stock counted at every position of the log, every order settled, and
//! our payments those of the provider's own ledger. And [`copies`], whether what repeats the log says the same.

pub mod copies;
pub(crate) mod stock;

use anyhow::{Context, bail, ensure};
use cqrs_es::Aggregate;
use kontor_domain::order::{Order, OrderEvent, demand};
use kontor_domain::payment::{Account, Operation, Payment, Progress};
use kontor_domain::{OrderId, PaymentId, Sku};
use kontor_event_schemas::{Fact, RecordedEvent, upcast};
use kontor_event_store::LogReader;
use kontor_local::{Postgres, Role};
use sqlx::FromRow;
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use stock::Count;
use uuid::Uuid;

/// Events that are read together.
const PAGE: i64 = 10_000;
/// Without anything new in the log for so long, what is under way is lost.
const AT_REST_WITHIN: Duration = Duration::from_secs(90);
/// Faults that are told; the others are counted.
const TOLD_MAX: usize = 5;

/// What the log says of orders from check-out, their goods and their money.
pub struct Books {
    database: PgPool,
    log: LogReader,
    /// The last position that was read.
    at: i64,
    stock: BTreeMap<Sku, Count>,
    orders: HashMap<OrderId, Order>,
    /// Those of which all has left.
    shipped: HashSet<OrderId>,
    payments: HashMap<PaymentId, Payment>,
    faults: Vec<String>,
}

/// What true books add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    pub confirmed: usize,
    pub cancelled: usize,
    /// Confirmed orders of which all has left, and was captured.
    pub shipped: usize,
    /// Authorisations that hold money, and are not voided: one of each confirmed order.
    pub authorised: usize,
    pub voided: usize,
    /// Units that orders hold.
    pub units: i64,
}

/// One line of the simulator's ledger, or what we hold it to be.
#[derive(Debug, PartialEq, FromRow)]
struct Line {
    payment: Uuid,
    order_id: Uuid,
    operation: String,
    amount_minor: i64,
    currency: String,
    state: String,
}

impl Books {
    /// Opens the books of a log from its beginning.
    pub async fn open(postgres: &Postgres) -> anyhow::Result<Self> {
        let database = PgPoolOptions::new().max_connections(2).connect(&postgres.url(Role::Command)).await?;
        let log = LogReader::new(database.clone(), Arc::new(upcast::released()));
        let (stock, orders, shipped, payments) = Default::default();
        Ok(Self { database, log, at: 0, stock, orders, shipped, payments, faults: Vec::new() })
    }

    /// Reads on until nothing is under way any more, then says whether all is right.
    ///
    /// # Errors
    /// Orders that nobody settles, units that were sold twice or lost, money that the provider's ledger tells otherwise.
    pub async fn check(&mut self) -> anyhow::Result<Sums> {
        let mut moved_at = Instant::now();
        loop {
            let events = self.log.read(self.at, PAGE).await?;
            for event in &events {
                self.enter(event).with_context(|| format!("event {}", event.position))?;
            }
            match (events.is_empty(), self.under_way()) {
                (false, _) => moved_at = Instant::now(),
                (true, None) => break,
                (true, Some(what)) => {
                    ensure!(moved_at.elapsed() < AT_REST_WITHIN, "{what}, and nothing happens any more");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        let sums = self.close();
        self.compare_with_the_ledger().await?;
        if self.faults.is_empty() {
            return Ok(sums);
        }
        let told = self.faults[..self.faults.len().min(TOLD_MAX)].join("; ");
        bail!("the books have {} faults: {told}", self.faults.len())
    }

    fn enter(&mut self, event: &RecordedEvent) -> anyhow::Result<()> {
        let RecordedEvent { position, aggregate_type, aggregate_id, payload, .. } = event;
        self.at = *position;
        if ![kontor_domain::stock::Stock::TYPE, Order::TYPE, Payment::TYPE].contains(&aggregate_type.as_str()) {
            return Ok(());
        }
        match Fact::decode(aggregate_type, aggregate_id, payload.as_bytes())? {
            Fact::Stock(sku, event) => {
                let faults = self.stock.entry(sku.clone()).or_default().enter(&event);
                self.faults.extend(faults.into_iter().map(|fault| format!("at position {position}: {sku} {fault}")));
            }
            Fact::Order(order_id, event) => {
                if let OrderEvent::Shipped { complete: true, .. } = event {
                    self.shipped.insert(order_id);
                }
                self.orders.entry(order_id).or_default().apply(event);
            }
            Fact::Payment(payment_id, event) => self.payments.entry(payment_id).or_default().apply(event),
            Fact::Product(..) | Fact::Sku(..) | Fact::Slug(..) | Fact::Category(..) => {}
            Fact::Cart(..) | Fact::Timer(..) | Fact::Cancellation(..) => {}
        }
        Ok(())
    }

    /// Something that is still to come to its end.
    fn under_way(&self) -> Option<String> {
        let open = |order: &Order| from_checkout(order) && !order.is_confirmed() && !order.is_cancelled();
        if let Some((order_id, _)) = self.orders.iter().find(|(_, order)| open(order)) {
            return Some(format!("order {order_id} is not settled"));
        }
        let open = |(payment_id, payment): (&PaymentId, &Payment)| {
            let asked = payment.open_attempts().next().map(|(_, attempt)| attempt.operation.name());
            let what = asked.or_else(|| self.is_to_be_voided(payment).then_some("void"));
            let what = what.or_else(|| self.is_to_be_captured(payment).then_some("capture"))?;
            Some(format!("payment {payment_id} is to {what}"))
        };
        self.payments.iter().find_map(open)
    }

    fn is_to_be_voided(&self, payment: &Payment) -> bool {
        let order = payment.account().ok().and_then(|account| self.orders.get(&account.order_id));
        order.is_some_and(Order::is_cancelled) && holds_money(payment)
    }

    fn is_to_be_captured(&self, payment: &Payment) -> bool {
        let shipped = |account: &Account| self.shipped.contains(&account.order_id);
        payment
            .account()
            .is_ok_and(|account| shipped(account) && account.captured.amount_minor < account.authorised.amount_minor)
    }

    /// Each order against its goods and its payment.
    fn close(&mut self) -> Sums {
        let mut sums =
            Sums { confirmed: 0, cancelled: 0, shipped: self.shipped.len(), authorised: 0, voided: 0, units: 0 };
        for (order_id, order) in &self.orders {
            let Some(placed) = order.placed().filter(|_| from_checkout(order)) else { continue };
            let stands = order.is_confirmed() && !order.is_cancelled();
            sums.confirmed += usize::from(stands);
            sums.cancelled += usize::from(!stands);
            for (sku, quantity) in demand(&placed.lines).expect("it was added up when the order was placed") {
                let has = self.stock.get(&sku).map_or(0, |count| count.of(*order_id));
                let owed = if stands { quantity.units().cast_signed() } else { 0 };
                if has != owed {
                    self.faults.push(format!("order {order_id} has {has} of {sku}, not {owed}"));
                }
            }
            let payment = placed.checkout.as_ref().and_then(|checkout| self.payments.get(&checkout.payment_id));
            let held = payment.filter(|payment| holds_money(payment)).and_then(|payment| payment.account().ok());
            let owed = (stands && placed.due().amount_minor > 0).then(|| placed.due());
            let captured = held.map_or(0, |account| account.captured.amount_minor);
            let left = owed.filter(|_| self.shipped.contains(order_id)).map_or(0, |owed| owed.amount_minor);
            if held.map(|account| account.authorised) != owed || captured != left {
                self.faults.push(format!("order {order_id} owes {owed:?}, its payment is {payment:?}"));
            }
        }
        sums.authorised = self.payments.values().filter(|payment| holds_money(payment)).count();
        sums.voided = self.payments.values().filter(|payment| has_done(payment, Operation::Void)).count();
        sums.units = self.stock.values().map(Count::set_aside).sum();
        sums
    }

    /// Every attempt is there once, on both sides, and was to do and did the same.
    async fn compare_with_the_ledger(&mut self) -> anyhow::Result<()> {
        #[derive(FromRow)]
        struct Entry {
            attempt: Uuid,
            #[sqlx(flatten)]
            line: Line,
        }
        let sql = "select attempt, payment, order_id, operation, amount_minor, currency, state from simulator.ledger";
        let entries: Vec<Entry> = sqlx::query_as(sql).fetch_all(&self.database).await?;
        let mut theirs: HashMap<Uuid, Line> =
            entries.into_iter().map(|Entry { attempt, line }| (attempt, line)).collect();
        for (payment_id, payment) in &self.payments {
            let order_id = payment.account().context("a payment has no beginning")?.order_id.0;
            for (attempt, ours) in payment.attempts() {
                let line = Line {
                    payment: payment_id.0,
                    order_id,
                    operation: ours.operation.name().to_owned(),
                    amount_minor: ours.amount.amount_minor,
                    currency: ours.amount.currency.code().to_owned(),
                    state: state(ours.progress).to_owned(),
                };
                match theirs.remove(&attempt.0) {
                    Some(their) if their == line => {}
                    their => self.faults.push(format!("attempt {attempt}: we say {line:?}, the ledger says {their:?}")),
                }
            }
        }
        self.faults
            .extend(theirs.into_iter().map(|(attempt, line)| format!("attempt {attempt} is not ours: {line:?}")));
        Ok(())
    }
}

fn from_checkout(order: &Order) -> bool {
    order.placed().is_some_and(|placed| placed.checkout.is_some())
}

/// Whether the provider holds, or has moved, what it authorised.
fn holds_money(payment: &Payment) -> bool {
    has_done(payment, Operation::Authorise) && !has_done(payment, Operation::Void)
}

fn has_done(payment: &Payment, operation: Operation) -> bool {
    payment.attempts().any(|(_, attempt)| attempt.operation == operation && attempt.progress == Progress::Done)
}

/// In the ledger's words; the first two it does not know.
fn state(progress: Progress) -> &'static str {
    match progress {
        Progress::Requested => "requested",
        Progress::Unknown => "unknown",
        Progress::Pending => "pending",
        Progress::Failed => "failed",
        Progress::Done => "done",
        Progress::Expired => "expired",
    }
}
