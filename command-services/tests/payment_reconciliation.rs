//! Our payments beside the simulator's ledger, and who may touch the ledger.

mod support;

use chrono::{TimeDelta, Utc};
use kontor_command_services::payments::provider::{PaymentProvider, Request};
use kontor_command_services::payments::reconcile::{Kind, Reconciliation, reconcile};
use kontor_domain::payment::{Operation, Outcome, PaymentCommand};
use kontor_domain::{AttemptId, PaymentId};
use kontor_local::{Need, Role, Servers};
use sqlx::{Connection, PgConnection};
use support::migrate;
use support::payments::{Process, capture, new_attempt, pence, refund};
use uuid::Uuid;

async fn servers() -> Servers {
    let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
    migrate(&servers).await;
    servers
}

async fn connect(servers: &Servers, role: Role) -> PgConnection {
    PgConnection::connect(&servers.postgres().url(role)).await.expect("it takes connections")
}

async fn compared(servers: &Servers, under_way: TimeDelta) -> Reconciliation {
    reconcile(&mut connect(servers, Role::Auditor).await, under_way).await.expect("both can be read")
}

async fn kinds(servers: &Servers) -> Vec<(AttemptId, Kind)> {
    let found = compared(servers, TimeDelta::zero()).await;
    found.differences.iter().map(|difference| (difference.attempt, difference.kind)).collect()
}

/// As the provider is asked; nothing is recorded.
async fn ask_provider(process: &Process, payment: PaymentId, attempt: AttemptId) -> Request {
    let state = process.payments.load(payment).await.expect("the log can be read");
    let request = Request::of(payment, &state, attempt).expect("it was requested");
    process.payments.simulator().perform(&request).await;
    request
}

#[actix_web::test]
async fn what_was_settled_agrees() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    for token in ["tok_success", "tok_decline", "tok_capture_fails", "tok_async"] {
        let (payment, attempt) = process.request(token).await;
        if process.settle(payment, attempt).await == kontor_domain::payment::Progress::Done {
            process.then(payment, capture(300)).await;
        }
    }
    let (payment, attempt) = process.request("tok_success").await;
    process.settle(payment, attempt).await;
    process.then(payment, capture(345)).await;
    process.then(payment, refund(5)).await;
    process.request("tok_success").await; // Nobody has asked the provider yet.
    let found = compared(&servers, TimeDelta::zero()).await;
    assert_eq!((found.attempts, found.differences), (10, vec![]));
}

#[actix_web::test]
async fn each_difference_is_told() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    // 1. Charged, and not recorded.
    let (payment, not_heard) = process.request("tok_success").await;
    let request = ask_provider(&process, payment, not_heard).await;
    assert_eq!(kinds(&servers).await, [(not_heard, Kind::NotHeard)]);
    assert_eq!(compared(&servers, TimeDelta::minutes(1)).await.differences, [], "it is under way");
    process.settle(payment, not_heard).await;
    assert_eq!(kinds(&servers).await, []);
    // 2. Captured, and never asked for.
    let not_ours =
        Request { attempt: new_attempt(), operation: Operation::Capture, amount: pence(1), ..request.clone() };
    process.payments.simulator().perform(&not_ours).await;
    // 3. Captured for another amount.
    let other_request = new_attempt();
    process.append(payment, capture(2)(other_request)).await;
    let other = Request { attempt: other_request, operation: Operation::Capture, amount: pence(3), ..request };
    process.payments.simulator().perform(&other).await;
    // 4. Recorded, and not in the ledger.
    let (payment, not_in_ledger) = process.request("tok_success").await;
    let authorised = Outcome::Authorised {
        amount: pence(345),
        expires_at: Utc::now(),
        captures_once: false,
        provider_reference: None,
    };
    process.append(payment, record(not_in_ledger, authorised)).await;
    // 5. Declined there, authorised here.
    let (payment, other_end) = process.request("tok_decline").await;
    ask_provider(&process, payment, other_end).await;
    let authorised = Outcome::Authorised {
        amount: pence(345),
        expires_at: Utc::now(),
        captures_once: false,
        provider_reference: None,
    };
    process.append(payment, record(other_end, authorised)).await;
    let mut expected = [
        (not_ours.attempt, Kind::NotOurs),
        (other_request, Kind::OtherRequest),
        (not_in_ledger, Kind::NotInLedger),
        (other_end, Kind::OtherEnd),
    ];
    let mut found = kinds(&servers).await;
    expected.sort_by_key(|(attempt, _)| *attempt);
    found.sort_by_key(|(attempt, _)| *attempt);
    assert_eq!(found, expected);
}

fn record(attempt: AttemptId, outcome: Outcome) -> PaymentCommand {
    PaymentCommand::Record { attempt, outcome, provider_event: None, at: Utc::now() }
}

/// SQLSTATE insufficient_privilege.
const DENIED: &str = "42501";

#[actix_web::test]
async fn no_service_edits_the_ledger() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    let (payment, attempt) = process.request("tok_async").await;
    process.settle(payment, attempt).await;
    for role in [Role::Command, Role::Relay, Role::Projector, Role::Query, Role::Auditor] {
        let mut connection = connect(&servers, role).await;
        let mut statements = vec![
            "update simulator.ledger set amount_minor = 1",
            "delete from simulator.ledger",
            "truncate simulator.ledger cascade",
            "insert into simulator.ledger (attempt, payment, order_id, operation, method, amount_minor, currency, state)
             select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'authorise', 'x', 1, 'GBP', 'done'",
            "update simulator.webhooks set due_at = now()",
            "create table simulator.of_ones_own (a int)",
            "select simulator.refusal('void', gen_random_uuid(), 1, 'GBP')",
        ];
        if role != Role::Command {
            statements.push("select simulator.take_webhooks(1, 1)");
            statements.push("select simulator.webhook_delivered('evt', 1)");
        }
        for statement in statements {
            let error = sqlx::raw_sql(statement).execute(&mut connection).await.expect_err(statement);
            let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
            assert_eq!(code, DENIED, "{} {statement}", role.name());
        }
    }
    assert!(process.agrees_with_the_ledger(payment).await);
}

#[actix_web::test]
async fn requests_that_come_together_are_written_together() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    let (payment, attempt) = process.request("tok_success").await;
    let state = process.payments.load(payment).await.expect("the log can be read");
    let request = Request::of(payment, &state, attempt).expect("it was requested");
    let others: Vec<_> = (0..300)
        .map(|_| Request { attempt: new_attempt(), payment_id: PaymentId(Uuid::now_v7()), ..request.clone() })
        .collect();
    let simulator = process.payments.simulator();
    // The same attempt many times over among them.
    let same = (0..50).map(|_| simulator.perform(&request));
    let outcomes = futures::future::join_all(others.iter().map(|other| simulator.perform(other)).chain(same)).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Authorised { .. })), "{outcomes:?}");
    assert_eq!(process.ledger().await.len(), 301);
    let transactions = servers.postgres().sql("select count(distinct xmin::text) from simulator.ledger").await;
    let transactions: u32 = transactions.expect("it can be asked").parse().expect("a number");
    assert!(transactions < 30, "{transactions} commits");
}
