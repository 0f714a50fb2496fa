//! Payments over HTTP, apart from their commands: how one stands, what providers tell, the simulator's ledger.

use super::bulk::NDJSON;
use super::context::Request;
use super::endpoints::Parameter;
use super::fields::InvalidField;
use super::problem::Problem;
use super::routes::unreadable;
use crate::executor::{Executor, Failure};
use crate::payments::simulator::ledger::{Entry, Ledger};
use crate::payments::{Payments, simulator, stripe};
use crate::refusal::Refusal;
use actix_web::http::header::ACCEPT;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, SecondsFormat, Utc};
use futures::stream::try_unfold;
use kontor_domain::order::Order;
use kontor_domain::payment::{Account, Attempt, Operation, Payment, PaymentError, Progress, Provider};
use kontor_domain::{AttemptId, Money, OrderId, PaymentId, ReturnId};
use kontor_identity::{Permission, Role};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use std::sync::Arc;
use tracing::{error, info};

pub const CSV: &str = "text/csv";
/// Lines of the ledger that are read at once.
const PAGE: i64 = 1_000;

/// How a payment stands. What the provider must have to charge it is not shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Payment")]
pub struct Shown<'a> {
    id: PaymentId,
    version: i64,
    order_id: OrderId,
    provider: &'a Provider,
    requested: Money,
    authorised: Money,
    captured: Money,
    refunded: Money,
    /// Whether the authorisation has expired.
    expired: bool,
    attempts: Vec<ShownAttempt>,
}

/// One request to the provider.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PaymentAttempt")]
struct ShownAttempt {
    attempt: AttemptId,
    operation: Operation,
    amount: Money,
    #[serde(skip_serializing_if = "Option::is_none")]
    return_id: Option<ReturnId>,
    progress: Progress,
    requested_at: String,
}

/// `GET /v1/payments/{payment_id}`: 404 also for a customer whose order it does not pay.
pub async fn payment(
    request: HttpRequest,
    path: Path<String>,
    executor: Data<Arc<Executor>>,
) -> Result<HttpResponse, Problem> {
    let ours = Request::of(&request)?;
    ours.caller().may(Permission::ReadPayments)?;
    let id: PaymentId = path.parse().map_err(|rule: kontor_domain::ids::IdError| InvalidField {
        field: "payment_id".into(),
        rule: rule.to_string(),
    })?;
    // From the log: another process may have settled what this one remembers as open.
    let log = executor.log();
    let loaded = log.load::<Payment>(&id.to_string()).await.map_err(Failure::from)?;
    let payment = loaded.aggregate;
    let account = payment.account().map_err(refused)?;
    if ours.caller().role() == Role::Customer {
        let order = log.load::<Order>(&account.order_id.to_string()).await.map_err(Failure::from)?.aggregate;
        if !ours.caller().concerns(order.placed().and_then(|placed| placed.customer_id.as_ref())) {
            return Err(refused(PaymentError::Unknown));
        }
    }
    let Account { order_id, ref provider, requested, authorised, captured, refunded, expired, .. } = *account;
    let mut attempts: Vec<_> = payment.attempts().collect();
    attempts.sort_by_key(|(id, attempt)| (attempt.requested_at, *id));
    let attempts = attempts.into_iter().map(|(id, attempt)| ShownAttempt::of(id, attempt)).collect();
    let version = loaded.version;
    let shown = Shown { id, version, order_id, provider, requested, authorised, captured, refunded, expired, attempts };
    Ok(HttpResponse::Ok().insert_header(("ETag", format!("\"{version}\""))).json(shown))
}

impl ShownAttempt {
    fn of(id: AttemptId, attempt: &Attempt) -> Self {
        let Attempt { operation, amount, return_id, progress, requested_at } = *attempt;
        Self { attempt: id, operation, amount, return_id, progress, requested_at: written(requested_at) }
    }
}

fn refused(error: PaymentError) -> Problem {
    Failure::Refused(error.into()).into()
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Whose webhooks are signed in which header.
pub const SIGNATURES: &[Parameter] = &[
    Parameter {
        name: simulator::SIGNATURE,
        place: "header",
        description: "The payment simulator's signature: `t=…,v1=…`, as Stripe's.",
        schema: SchemaGenerator::subschema_for::<String>,
    },
    Parameter {
        name: stripe::SIGNATURE,
        place: "header",
        description: "Stripe's signature: `t=…,v1=…`, the time in seconds and HMAC-SHA256 of time, dot and body.",
        schema: SchemaGenerator::subschema_for::<String>,
    },
];

/// The answer to a webhook.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookHeard")]
pub struct Heard {
    outcome: HeardAs,
}

/// What became of a webhook.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum HeardAs {
    /// It was news, and is in the log.
    Recorded,
    /// It was known, or older than what is known.
    Known,
    /// It concerns no payment of ours, or cannot be.
    Ignored,
}

/// `POST /v1/payments/webhooks/{provider}`: believed for its signature, not for a token. 200 for whatever the provider need
/// not send again.
pub async fn webhook(
    request: HttpRequest,
    path: Path<String>,
    body: Result<Bytes, actix_web::Error>,
    payments: Data<Payments>,
) -> Result<HttpResponse, Problem> {
    let provider = payments.adapter(&path).ok_or_else(|| Problem::unknown_provider(&path))?;
    let body = body.map_err(|error| unreadable(&request, &error))?;
    let Some(notification) = provider.read_webhook(request.headers(), &body, Utc::now())? else {
        return Ok(heard(HeardAs::Ignored));
    };
    let (event, payment_id) = (notification.event.clone(), notification.payment_id);
    match payments.hear(provider.name(), notification).await {
        Ok(done) if done.changed => Ok(heard(HeardAs::Recorded)),
        Ok(_) => Ok(heard(HeardAs::Known)),
        Err(Failure::Refused(refusal)) => {
            let provider = provider.name();
            match refusal {
                Refusal::Payment(PaymentError::Unknown) => {
                    info!(%provider, %event, %payment_id, "{provider} tells of a payment that is not ours");
                }
                refusal => {
                    error!(%provider, %event, %payment_id, %refusal, "{provider} tells what cannot be: {refusal}")
                }
            }
            Ok(heard(HeardAs::Ignored))
        }
        Err(failure) => Err(failure.into()),
    }
}

fn heard(outcome: HeardAs) -> HttpResponse {
    HttpResponse::Ok().json(Heard { outcome })
}

/// `GET /v1/payments/simulator/ledger`: all that the simulator has done, a line each, as NDJSON or (`Accept: text/csv`) CSV.
pub async fn ledger(request: HttpRequest, payments: Data<Payments>) -> Result<HttpResponse, Problem> {
    Request::of(&request)?.caller().may(Permission::MovePayments)?;
    let accepted = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = if accepted.contains(CSV) { Format::Csv } else { Format::Ndjson };
    let ledger = payments.simulator().ledger().clone();
    // Before the answer begins, so that a ledger that cannot be read is a problem and not an answer that breaks off.
    let first = ledger.page(0, PAGE).await.map_err(|error| Problem::unreadable_ledger(&error))?;
    let body = try_unfold((ledger, Some(first), true), move |(ledger, page, is_first)| async move {
        let Some(page) = page else { return Ok(None) };
        let text = format.lines(&page, is_first)?;
        let next = next_page(&ledger, &page).await?;
        Ok::<_, Box<dyn std::error::Error>>(Some((Bytes::from(text), (ledger, next, false))))
    });
    Ok(HttpResponse::Ok().content_type(format.media_type()).streaming(body))
}

/// `None`: `page` is the last.
async fn next_page(ledger: &Ledger, page: &[Entry]) -> sqlx::Result<Option<Vec<Entry>>> {
    match page.last() {
        Some(last) if page.len() as i64 == PAGE => ledger.page(last.number, PAGE).await.map(Some),
        _ => Ok(None),
    }
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Ndjson,
    Csv,
}

/// One line of the ledger as CSV has it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LedgerRow")]
pub struct Line<'a> {
    number: i64,
    attempt: AttemptId,
    payment_id: PaymentId,
    order_id: OrderId,
    operation: Operation,
    method: &'a str,
    amount_minor: i64,
    currency: &'a str,
    state: &'a str,
    code: Option<&'a str>,
    asked_at: String,
}

impl<'a> Line<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            number: entry.number,
            attempt: entry.attempt,
            payment_id: entry.payment_id,
            order_id: entry.order_id,
            operation: entry.operation,
            method: entry.method.as_str(),
            amount_minor: entry.amount.amount_minor,
            currency: entry.amount.currency.code(),
            state: entry.state.name(),
            code: entry.code.as_deref(),
            asked_at: written(entry.asked_at),
        }
    }
}

impl Format {
    fn media_type(self) -> &'static str {
        match self {
            Format::Ndjson => NDJSON,
            Format::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    fn lines(self, page: &[Entry], is_first: bool) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        match self {
            Format::Ndjson => {
                let mut text = Vec::new();
                for entry in page {
                    serde_json::to_writer(&mut text, entry)?;
                    text.push(b'\n');
                }
                Ok(text)
            }
            Format::Csv => {
                let mut csv = csv::WriterBuilder::new().has_headers(is_first).from_writer(Vec::new());
                for entry in page {
                    csv.serialize(Line::of(entry))?;
                }
                Ok(csv.into_inner()?)
            }
        }
    }
}
