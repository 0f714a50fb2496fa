//! Webhooks of the simulator: late, twice, in the wrong order, forged, to a shop that is away.

mod support;

use chrono::{TimeDelta, Utc};
use kontor_command_services::payments::signature;
use kontor_command_services::payments::simulator::SIGNATURE;
use kontor_command_services::payments::simulator::ledger::{Entry, State};
use kontor_command_services::payments::simulator::webhooks::Webhook;
use kontor_command_services::service::Role;
use kontor_command_services::settings::Settings;
use kontor_domain::payment::{Progress, ProviderEventId};
use kontor_domain::{AttemptId, PaymentId};
use kontor_local::{Need, Servers};
use kontor_settings::Secret;
use reqwest::RequestBuilder;
use serde_json::json;
use std::time::Duration;
use support::payments::{Process, capture, pence, refund};
use support::{Answer, App, client, join, problem, send, spawn};
use uuid::Uuid;

const PATH: &str = "/v1/payments/webhooks/simulator";

fn secret() -> Secret {
    Secret::new("simulated")
}

/// A simulator in a hurry.
fn hurry(settings: &mut Settings) {
    settings.simulator.webhook_secret = Some(secret());
    settings.simulator.webhook_poll_interval_ms = 10;
    settings.simulator.webhook_retry_after_ms = 10;
}

/// A shop with an API, and a process that settles payments beside it.
async fn shop() -> (App, Process) {
    let app = spawn(&[Need::Postgres], &[Role::Commands], hurry).await;
    let process = Process::start(&app.servers).await;
    (app, process)
}

/// Waits until nothing is left to deliver.
async fn all_are_delivered(servers: &Servers) {
    let left = "select count(*) from simulator.webhooks where delivered_at is null";
    while servers.postgres().sql(left).await.expect("it can be asked") != "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn event_types(app: &App) -> Vec<String> {
    app.log().await.into_iter().map(|event| event.event_type.to_string()).collect()
}

#[actix_web::test]
async fn each_story_ends_as_its_token_says() {
    let (app, process) = shop().await;
    for (token, expected, events) in [
        ("tok_async", Progress::Done, vec!["AuthorisationRequested", "Pending", "Authorised"]),
        ("tok_async_decline", Progress::Failed, vec!["AuthorisationRequested", "Pending", "Declined"]),
        ("tok_duplicate_webhooks", Progress::Done, vec!["AuthorisationRequested", "Pending", "Authorised"]),
        ("tok_out_of_order_webhooks", Progress::Done, vec!["AuthorisationRequested", "Pending", "Authorised"]),
        ("tok_expires", Progress::Expired, vec!["AuthorisationRequested", "Authorised", "Expired"]),
    ] {
        let before = event_types(&app).await.len();
        let (payment, attempt) = process.request(token).await;
        process.settle(payment, attempt).await;
        all_are_delivered(&app.servers).await;
        assert_eq!(process.progress(payment, attempt).await, expected, "{token}");
        assert_eq!(event_types(&app).await[before..], events, "{token}");
        assert!(process.agrees_with_the_ledger(payment).await, "{token}");
    }
}

#[actix_web::test]
async fn a_refund_that_is_pending_is_done_by_webhook() {
    let (app, process) = shop().await;
    let (payment, attempt) = process.request("tok_async_refund").await;
    process.settle(payment, attempt).await;
    process.then(payment, capture(345)).await;
    assert_eq!(process.then(payment, refund(300)).await, Progress::Pending);
    all_are_delivered(&app.servers).await;
    let account = process.payments.load(payment).await.expect("the log can be read").account().cloned();
    assert_eq!(account.expect("it was requested").refunded, pence(300));
    assert!(process.agrees_with_the_ledger(payment).await);
}

#[actix_web::test]
async fn a_refund_that_was_done_is_sent_back_and_can_be_made_again() {
    let (app, process) = shop().await;
    let (payment, attempt) = process.request("tok_refund_bounces").await;
    process.settle(payment, attempt).await;
    process.then(payment, capture(345)).await;
    for _ in 0..2 {
        assert_eq!(process.then(payment, refund(345)).await, Progress::Done, "all of it is there to refund");
        all_are_delivered(&app.servers).await;
        let account = process.payments.load(payment).await.expect("the log can be read").account().cloned();
        assert_eq!(account.expect("it was requested").refunded, pence(0));
        assert!(process.agrees_with_the_ledger(payment).await);
    }
    let events = event_types(&app).await;
    assert_eq!(events[4..], ["RefundRequested", "Refunded", "RefundBounced"].repeat(2));
}

#[actix_web::test]
async fn two_processes_deliver_each_webhook_once_and_many_find_their_way() {
    let patient = |settings: &mut Settings| {
        hurry(settings);
        settings.simulator.webhook_retry_after_ms = 60_000; // So that nothing is taken again because it is still under way.
    };
    let app = spawn(&[Need::Postgres], &[Role::Commands], patient).await;
    let _other = join(app.servers.clone(), &[Role::Commands], patient).await;
    let process = Process::start(&app.servers).await;
    let mut asked = Vec::new();
    for _ in 0..40 {
        asked.push(process.request("tok_async").await);
    }
    for &(payment, attempt) in &asked {
        process.ask(payment, attempt).await.expect("it is asked");
    }
    all_are_delivered(&app.servers).await;
    for (payment, attempt) in asked {
        assert_eq!(process.progress(payment, attempt).await, Progress::Done);
        assert!(process.agrees_with_the_ledger(payment).await);
    }
    let tries = app.servers.postgres().sql("select max(tries) from simulator.webhooks").await;
    assert_eq!(tries.expect("it can be asked"), "1");
}

#[actix_web::test]
async fn a_shop_that_was_away_is_told_when_it_is_back() {
    let (app, process) = shop().await;
    let servers = app.servers.clone();
    app.service.stop().await;
    // 1. Nobody is there to deliver, or to be told.
    let (payment, attempt) = process.request("tok_async").await;
    assert_eq!(process.settle(payment, attempt).await, Progress::Pending);
    // 2. A process delivers to an address where nobody listens.
    let nowhere = format!("http://127.0.0.1:{}{PATH}", kontor_local::ports::free());
    let elsewhere = join(servers.clone(), &[Role::Commands], |settings| {
        hurry(settings);
        settings.simulator.webhook_url = Some(nowhere);
    })
    .await;
    while servers
        .postgres()
        .sql("select coalesce(max(tries), 0) >= 2 from simulator.webhooks")
        .await
        .expect("an answer")
        != "t"
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    elsewhere.service.stop().await;
    assert_eq!(process.progress(payment, attempt).await, Progress::Pending);
    // 3. The shop is back.
    let _back = join(servers.clone(), &[Role::Commands], hurry).await;
    all_are_delivered(&servers).await;
    assert_eq!(process.progress(payment, attempt).await, Progress::Done);
}

/// A webhook that says that `attempt` is done.
fn told(event: &str, payment_id: PaymentId, attempt: AttemptId, entry: Entry) -> Vec<u8> {
    let event = ProviderEventId::new(event).expect("a short id");
    let entry = Entry { payment_id, attempt, state: State::Done, ..entry };
    serde_json::to_vec(&Webhook { event, entry }).expect("it has a JSON form")
}

impl App {
    fn webhook(&self, signature: &str, body: Vec<u8>) -> RequestBuilder {
        client(None).post(self.url(PATH)).header(SIGNATURE, signature).body(body)
    }

    async fn tell(&self, body: Vec<u8>) -> Answer {
        send(self.webhook(&signature::sign(&secret(), Utc::now(), &body), body)).await
    }
}

#[actix_web::test]
async fn a_webhook_is_believed_for_its_signature_alone() {
    let (app, process) = shop().await;
    let (payment, attempt) = process.request("tok_timeout_after_charge").await;
    process.settle(payment, attempt).await;
    let entry = process.ledger().await.remove(0);
    let body = told("evt_1", payment, attempt, entry);
    let forged = [
        (signature::sign(&Secret::new("guessed"), Utc::now(), &body), "forged-webhook"),
        (signature::sign(&secret(), Utc::now() - TimeDelta::seconds(301), &body), "stale-webhook"),
        (signature::sign(&secret(), Utc::now(), b"{}"), "forged-webhook"),
        ("nonsense".to_owned(), "unsigned-webhook"),
    ];
    for (signature, expected) in forged {
        let answer = send(app.webhook(&signature, body.clone())).await;
        assert_eq!((answer.status, problem(&answer)), (400, expected), "{answer:?}");
    }
    let unsigned = send(client(None).post(app.url(PATH)).body(body.clone())).await;
    assert_eq!((unsigned.status, problem(&unsigned)), (400, "unsigned-webhook"));
    assert_eq!(process.progress(payment, attempt).await, Progress::Unknown, "nothing was believed");
    let first = app.tell(body.clone()).await;
    assert_eq!((first.status, &first.body["outcome"]), (200, &json!("recorded")));
    let again = app.tell(body).await;
    assert_eq!((again.status, &again.body["outcome"]), (200, &json!("known")));
    assert_eq!(process.progress(payment, attempt).await, Progress::Done);
}

#[actix_web::test]
async fn what_concerns_no_payment_of_ours_is_ignored() {
    let (app, process) = shop().await;
    let (payment, attempt) = process.request("tok_success").await;
    process.settle(payment, attempt).await;
    let entry = || async { process.ledger().await.remove(0) };
    let events = app.log().await.len();
    let strangers = told("evt_1", PaymentId(Uuid::now_v7()), attempt, entry().await);
    let unknown_attempt = told("evt_2", payment, AttemptId(Uuid::now_v7()), entry().await);
    for body in [strangers, unknown_attempt] {
        let answer = app.tell(body).await;
        assert_eq!((answer.status, &answer.body["outcome"]), (200, &json!("ignored")));
    }
    let malformed = app.tell(b"{\"event\":1}".to_vec()).await;
    assert_eq!((malformed.status, problem(&malformed)), (400, "malformed-json"));
    let nobody = send(client(None).post(app.url("/v1/payments/webhooks/paypal")).body("{}")).await;
    assert_eq!((nobody.status, problem(&nobody)), (404, "unknown-provider"));
    let not_set_up = send(client(None).post(app.url("/v1/payments/webhooks/stripe")).body("{}")).await;
    assert_eq!((not_set_up.status, problem(&not_set_up)), (404, "unknown-provider"));
    assert_eq!(app.log().await.len(), events);
}
