//! Payments at work with the simulator: every test token, processes that die and that race.

mod support;

use futures::future::join_all;
use kontor_command_services::payments::provider::{PaymentProvider, Request};
use kontor_domain::payment::{Operation, Progress};
use kontor_domain::{Currency, Money, PaymentId};
use kontor_local::{Need, Servers};
use std::sync::Arc;
use std::time::Duration;
use support::migrate;
use support::payments::{Process, capture, new_attempt, pence, refund, void};
use uuid::Uuid;

async fn servers() -> Arc<Servers> {
    let servers = Arc::new(Servers::start(&[Need::Postgres]).await.expect("Postgres starts"));
    migrate(&servers).await;
    servers
}

#[actix_web::test]
async fn a_payment_is_authorised_captured_in_parts_and_refunded_in_parts() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    let (payment, attempt) = process.request("tok_success").await;
    assert_eq!(process.settle(payment, attempt).await, Progress::Done);
    for amount in [300, 45] {
        assert_eq!(process.then(payment, capture(amount)).await, Progress::Done);
    }
    for amount in [5, 340] {
        assert_eq!(process.then(payment, refund(amount)).await, Progress::Done);
    }
    let account = process.payments.load(payment).await.expect("the log can be read").account().cloned();
    let account = account.expect("it was requested");
    assert_eq!((account.captured, account.refunded), (pence(345), pence(345)));
    assert_eq!(account.reference.map(|reference| reference.to_string()), Some(format!("sim_{payment}")));
    assert!(process.agrees_with_the_ledger(payment).await);
}

#[actix_web::test]
async fn each_token_does_what_it_stands_for() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    for (token, expected) in [
        ("tok_success", Progress::Done),
        ("tok_decline", Progress::Failed),
        ("tok_insufficient_funds", Progress::Failed),
        ("tok_timeout_after_charge", Progress::Unknown),
        ("tok_timeout_after_capture", Progress::Done),
        ("tok_timeout_after_refund", Progress::Done),
        ("tok_async", Progress::Pending),
        ("tok_async_decline", Progress::Pending),
        ("tok_async_refund", Progress::Done),
        ("tok_duplicate_webhooks", Progress::Pending),
        ("tok_out_of_order_webhooks", Progress::Pending),
        ("tok_expires", Progress::Done),
        ("tok_capture_fails", Progress::Done),
        ("tok_void_fails", Progress::Done),
        ("tok_refund_fails", Progress::Done),
        ("pm_card_visa", Progress::Failed),
    ] {
        let (payment, attempt) = process.request(token).await;
        assert_eq!(process.settle(payment, attempt).await, expected, "{token}");
        if expected != Progress::Done {
            continue;
        }
        let captured = match token {
            "tok_capture_fails" => Progress::Failed,
            "tok_timeout_after_capture" => Progress::Unknown,
            "tok_void_fails" => {
                assert_eq!(process.then(payment, void).await, Progress::Failed);
                Progress::Done
            }
            _ => Progress::Done,
        };
        assert_eq!(process.then(payment, capture(345)).await, captured, "{token}");
        let refunded = match token {
            "tok_capture_fails" | "tok_timeout_after_capture" => continue,
            "tok_refund_fails" => Progress::Failed,
            "tok_timeout_after_refund" => Progress::Unknown,
            "tok_async_refund" => Progress::Pending,
            _ => Progress::Done,
        };
        assert_eq!(process.then(payment, refund(345)).await, refunded, "{token}");
    }
}

#[actix_web::test]
async fn a_lost_answer_is_found_by_asking_and_nothing_is_charged_again() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    let (payment, attempt) = process.request("tok_timeout_after_charge").await;
    assert_eq!(process.settle(payment, attempt).await, Progress::Unknown);
    assert_eq!(process.settle(payment, attempt).await, Progress::Done);
    assert_eq!(process.settle(payment, attempt).await, Progress::Done, "what is closed is left alone");
    assert_eq!(process.ledger().await.len(), 1);
    assert!(process.agrees_with_the_ledger(payment).await);
}

#[actix_web::test]
async fn fifty_who_settle_one_attempt_at_once_charge_once() {
    let servers = servers().await;
    let processes = [Process::start(&servers).await, Process::start(&servers).await];
    for token in ["tok_success", "tok_timeout_after_charge"] {
        let (payment, attempt) = processes[0].request(token).await;
        let settles = (0..50).map(|n| processes[n % 2].ask(payment, attempt));
        for settled in join_all(settles).await {
            settled.expect("each is told");
        }
        assert_eq!(processes[0].settle(payment, attempt).await, Progress::Done, "{token}");
        assert!(processes[0].agrees_with_the_ledger(payment).await, "{token}");
    }
    let events = event_types(&servers).await;
    let authorised = events.iter().filter(|kind| *kind == "Authorised").count();
    assert_eq!((processes[0].ledger().await.len(), authorised), (2, 2));
}

/// Types of all events of payments.
async fn event_types(servers: &Servers) -> Vec<String> {
    let log = support::log_reader(servers).await.read(0, 1_000_000).await.expect("the log");
    log.into_iter().map(|event| event.event_type.to_string()).collect()
}

#[actix_web::test]
async fn a_process_that_dies_between_charge_and_record_is_made_good_by_the_next() {
    let servers = servers().await;
    let dying = Process::start(&servers).await;
    let (payment, attempt) = dying.request("tok_success").await;
    // 1. The provider has charged, and nobody was there to record it.
    let state = dying.payments.load(payment).await.expect("the log can be read");
    let request = Request::of(payment, &state, attempt).expect("it was requested");
    dying.payments.simulator().perform(&request).await;
    drop(dying);
    // 2. The next process finds the attempt requested, and asks under its key.
    let next = Process::start(&servers).await;
    assert_eq!(next.progress(payment, attempt).await, Progress::Requested);
    assert_eq!(next.settle(payment, attempt).await, Progress::Done);
    assert_eq!(next.ledger().await.len(), 1);
    assert!(next.agrees_with_the_ledger(payment).await);
}

#[actix_web::test]
async fn whatever_is_cut_off_half_way_is_settled_in_the_end() {
    let servers = servers().await;
    let process = Arc::new(Process::start(&servers).await);
    let mut payments = Vec::new();
    for n in 0..60 {
        let token = ["tok_success", "tok_timeout_after_charge", "tok_decline"][n % 3];
        payments.push(process.request(token).await);
    }
    // 1. Each is cut off after another while.
    for (n, &(payment, attempt)) in (0_u64..).zip(&payments) {
        let process = process.clone();
        let settling = tokio::spawn(async move { process.ask(payment, attempt).await });
        tokio::time::sleep(Duration::from_micros(n * 150)).await;
        settling.abort();
    }
    drop(process);
    // 2. Another process settles what is open: at most one question each.
    let next = Process::start(&servers).await;
    for (payment, attempt) in payments {
        while next.settle(payment, attempt).await.is_open() {}
        assert!(next.agrees_with_the_ledger(payment).await);
    }
    assert_eq!(next.ledger().await.len(), 60);
}

#[actix_web::test]
async fn the_provider_refuses_what_its_own_ledger_does_not_allow() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    let (payment, attempt) = process.request("tok_success").await;
    process.settle(payment, attempt).await;
    let state = process.payments.load(payment).await.expect("the log can be read");
    let authorised = Request::of(payment, &state, attempt).expect("it was requested");
    let ask = |operation, amount| Request { attempt: new_attempt(), operation, amount, ..authorised.clone() };
    let simulator = process.payments.simulator();
    let refused = async |request: Request, code: &str| {
        assert_eq!(simulator.perform(&request).await, request.refused(code), "{:?}", request.operation);
    };
    refused(ask(Operation::Authorise, pence(345)), "authorised_by_another_attempt").await;
    refused(ask(Operation::Capture, pence(346)), "amount_too_large").await;
    refused(ask(Operation::Refund, pence(1)), "amount_too_large").await;
    let euro = Currency::from_code("EUR").expect("EUR is in ISO 4217");
    refused(ask(Operation::Capture, Money::new(1, euro)), "other_currency").await;
    simulator.perform(&ask(Operation::Capture, pence(100))).await;
    refused(ask(Operation::Void, pence(345)), "already_captured").await;
    let unknown = Request { payment_id: PaymentId(Uuid::now_v7()), ..ask(Operation::Capture, pence(1)) };
    refused(unknown, "no_such_payment").await;

    let (voided, attempt) = process.request("tok_success").await;
    process.settle(voided, attempt).await;
    assert_eq!(process.then(voided, void).await, Progress::Done);
    refused(Request { payment_id: voided, ..ask(Operation::Capture, pence(1)) }, "voided").await;
}

#[actix_web::test]
async fn a_refused_attempt_is_refused_whenever_it_is_asked_for() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    let (payment, attempt) = process.request("tok_decline").await;
    let state = process.payments.load(payment).await.expect("the log can be read");
    let request = Request::of(payment, &state, attempt).expect("it was requested");
    let simulator = process.payments.simulator();
    for _ in 0..2 {
        assert_eq!(simulator.perform(&request).await, request.refused("card_declined"));
        assert_eq!(simulator.ask(&request).await, request.refused("card_declined"));
    }
}

#[actix_web::test]
async fn a_settled_attempt_that_nobody_requested_is_refused() {
    let servers = servers().await;
    let process = Process::start(&servers).await;
    let error = process.ask(PaymentId(Uuid::now_v7()), new_attempt()).await.expect_err("no such payment");
    assert_eq!(error.to_string(), "no payment has this id");
    let (payment, _) = process.request("tok_success").await;
    let attempt = new_attempt();
    let error = process.ask(payment, attempt).await.expect_err("no such attempt");
    assert_eq!(error.to_string(), format!("the payment knows no attempt {attempt}"));
}
