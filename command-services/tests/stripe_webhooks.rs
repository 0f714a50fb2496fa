//! A shop whose payments are Stripe's: from the request to the refund, and what Stripe tells meanwhile.

mod support;

use chrono::{TimeDelta, Utc};
use kontor_command_services::payments::{ProviderChoice, signature};
use kontor_command_services::service::Role;
use kontor_command_services::settings::Settings;
use kontor_domain::PaymentId;
use kontor_domain::payment::Progress;
use kontor_local::Need;
use kontor_settings::Secret;
use serde_json::{Value, json};
use support::payments::{Process, capture, refund, void};
use support::stripe::{self, FakeStripe, WEBHOOK_SECRET};
use support::{Answer, App, client, problem, send, spawn};

struct Shop {
    app: App,
    process: Process,
    stripe: FakeStripe,
}

impl Shop {
    async fn open() -> Self {
        let stripe = FakeStripe::start();
        let adjust = |settings: &mut Settings| {
            settings.payments.provider = ProviderChoice::Stripe;
            settings.stripe = stripe::settings(&stripe.url);
        };
        let app = spawn(&[Need::Postgres], &[Role::Commands], adjust).await;
        let process = Process::start_with(&app.servers, app.settings.clone()).await;
        Self { app, process, stripe }
    }

    /// Stripe tells of `object`, signed with `secret` so many seconds ago.
    async fn tell_signed(&self, event: &str, kind: &str, object: &Value, secret: &str, age_s: i64) -> Answer {
        let body = json!({ "id": event, "object": "event", "type": kind, "data": { "object": object } });
        let body = serde_json::to_vec(&body).expect("JSON");
        let signature = signature::sign(&Secret::new(secret), Utc::now() - TimeDelta::seconds(age_s), &body);
        let request = client(None).post(self.app.url("/v1/payments/webhooks/stripe"));
        send(request.header("Stripe-Signature", signature).body(body)).await
    }

    /// What became of what Stripe tells.
    async fn tell(&self, event: &str, kind: &str, object: &Value) -> Value {
        let answer = self.tell_signed(event, kind, object, WEBHOOK_SECRET, 0).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body["outcome"].clone()
    }

    async fn event_types(&self) -> Vec<String> {
        self.app.log().await.into_iter().map(|event| event.event_type.to_string()).collect()
    }

    async fn paid(&self) -> PaymentId {
        let (payment, attempt) = self.process.request("pm_card_multicapture").await;
        assert_eq!(self.process.settle(payment, attempt).await, Progress::Done);
        payment
    }
}

#[actix_web::test]
async fn a_payment_is_authorised_captured_and_refunded_at_stripe() {
    let shop = Shop::open().await;
    let payment = shop.paid().await;
    assert_eq!(shop.process.then(payment, capture(300)).await, Progress::Done);
    assert_eq!(shop.process.then(payment, capture(45)).await, Progress::Done);
    assert_eq!(shop.process.then(payment, refund(5)).await, Progress::Done);
    let account = shop.process.payments.load(payment).await.expect("the log can be read").account().cloned();
    let account = account.expect("it was requested");
    assert_eq!((account.provider.as_str(), account.reference.expect("it is known").as_str()), ("stripe", "pi_1"));
    assert_eq!(shop.stripe.refunds()[0]["amount"], 5);
    let voided = shop.paid().await;
    assert_eq!(shop.process.then(voided, void).await, Progress::Done);
    assert_eq!(shop.process.ledger().await.len(), 0, "the simulator has nothing to do with it");
}

/// 1. Refunded at once. 2. The bank sends it back, of which Stripe tells twice; the news that it was done comes late. 3. Refunded
/// again, under another attempt.
#[actix_web::test]
async fn a_refund_that_stripe_reports_as_failed_later_is_owed_again() {
    let shop = Shop::open().await;
    let payment = shop.paid().await;
    shop.process.then(payment, capture(345)).await;
    let account = async || {
        let payment = shop.process.payments.load(payment).await.expect("the log can be read");
        payment.account().expect("it was requested").refunded.amount_minor
    };
    assert_eq!(shop.process.then(payment, refund(300)).await, Progress::Done);
    let done = shop.stripe.refunds().remove(0);
    assert_eq!(account().await, 300);

    shop.stripe.change("re_1", "status", json!("failed"));
    shop.stripe.change("re_1", "failure_reason", json!("lost_or_stolen_card"));
    let failed = shop.stripe.refunds().remove(0);
    assert_eq!(shop.tell("evt_2", "refund.failed", &failed).await, "recorded");
    assert_eq!(shop.tell("evt_3", "charge.refund.updated", &failed).await, "known");
    assert_eq!(shop.tell("evt_1", "refund.created", &done).await, "known", "it is older");
    assert_eq!(account().await, 0);
    let log = shop.app.log().await;
    let bounced: Value = serde_json::from_str(&log.last().expect("an event").payload).expect("JSON");
    assert_eq!(bounced["RefundBounced"]["code"], "lost_or_stolen_card");
    assert_eq!(bounced["RefundBounced"]["provider_event"], "evt_2");

    assert_eq!(shop.process.then(payment, refund(345)).await, Progress::Done);
    assert_eq!((account().await, shop.stripe.refunds().len()), (345, 2));
}

#[actix_web::test]
async fn a_customer_comes_back_from_the_bank() {
    let shop = Shop::open().await;
    let (payment, attempt) = shop.process.request("pm_card_authenticationRequired").await;
    assert_eq!(shop.process.settle(payment, attempt).await, Progress::Pending);
    let older = shop.stripe.intents().remove(0);
    shop.stripe.change("pi_1", "status", json!("requires_capture"));
    let intent = shop.stripe.intents().remove(0);
    let kind = "payment_intent.amount_capturable_updated";
    assert_eq!(shop.tell("evt_2", kind, &intent).await, "recorded");
    assert_eq!(shop.tell("evt_2", kind, &intent).await, "known");
    assert_eq!(shop.tell("evt_3", kind, &intent).await, "known");
    assert_eq!(shop.tell("evt_1", "payment_intent.requires_action", &older).await, "known", "it is older");
    assert_eq!(shop.process.progress(payment, attempt).await, Progress::Done);
    assert_eq!(shop.event_types().await, ["AuthorisationRequested", "Pending", "Authorised"]);
}

#[actix_web::test]
async fn a_customer_whom_the_bank_turns_away_is_declined() {
    let shop = Shop::open().await;
    let (payment, attempt) = shop.process.request("pm_card_authenticationRequired").await;
    shop.process.settle(payment, attempt).await;
    shop.stripe.change("pi_1", "status", json!("requires_payment_method"));
    let why = json!({ "type": "card_error", "code": "payment_intent_authentication_failure" });
    shop.stripe.change("pi_1", "last_payment_error", why);
    assert_eq!(shop.tell("evt_1", "payment_intent.payment_failed", &shop.stripe.intents()[0]).await, "recorded");
    let log = shop.app.log().await;
    let declined: Value = serde_json::from_str(&log.last().expect("an event").payload).expect("JSON");
    assert_eq!(declined["Declined"]["code"], "payment_intent_authentication_failure");
    assert_eq!(declined["Declined"]["provider_event"], "evt_1");
}

#[actix_web::test]
async fn an_authorisation_expires_at_stripe_and_one_that_we_let_go_does_not() {
    let shop = Shop::open().await;
    let payment = shop.paid().await;
    shop.stripe.change("pi_1", "status", json!("canceled"));
    for (event, reason, expected) in [
        ("evt_1", json!("requested_by_customer"), "ignored"),
        ("evt_2", json!(null), "ignored"),
        ("evt_3", json!("automatic"), "recorded"),
    ] {
        shop.stripe.change("pi_1", "cancellation_reason", reason);
        assert_eq!(shop.tell(event, "payment_intent.canceled", &shop.stripe.intents()[0]).await, expected);
    }
    let account = shop.process.payments.load(payment).await.expect("the log can be read").account().cloned();
    assert!(account.expect("it was requested").expired);
}

#[actix_web::test]
async fn what_is_no_news_of_ours_is_ignored() {
    let shop = Shop::open().await;
    shop.paid().await;
    let events = shop.event_types().await.len();
    let intent = shop.stripe.intents().remove(0);
    assert_eq!(shop.tell("evt_1", "invoice.paid", &json!({ "id": "in_1" })).await, "ignored");
    let mut others = intent.clone();
    others["metadata"] = json!({});
    assert_eq!(shop.tell("evt_2", "payment_intent.payment_failed", &others).await, "ignored");
    let forged = shop.tell_signed("evt_3", "payment_intent.canceled", &intent, "whsec_guessed", 0).await;
    assert_eq!((forged.status, problem(&forged)), (400, "forged-webhook"));
    let stale = shop.tell_signed("evt_3", "payment_intent.canceled", &intent, WEBHOOK_SECRET, 301).await;
    assert_eq!((stale.status, &stale.body["tolerance_s"]), (400, &json!(300)));
    assert_eq!(shop.event_types().await.len(), events);
}
