//! The Stripe adapter, against a Stripe of the test's own.

mod support;

use chrono::{DateTime, TimeDelta, Utc};
use kontor_command_services::payments::provider::{PaymentProvider, Request};
use kontor_command_services::payments::stripe::{Stripe, StripeSettings};
use kontor_domain::payment::{CustomerAction, Operation, Outcome, ProviderReference};
use kontor_domain::text::PaymentMethod;
use kontor_domain::{AttemptId, Currency, Money, OrderId, PaymentId};
use kontor_settings::Secret;
use serde_json::json;
use std::time::Duration;
use support::stripe::{CAPTURE_BEFORE, FakeStripe, Fault, SECRET_KEY, WEBHOOK_SECRET, settings};
use uuid::Uuid;

/// The adapter's patience: less than the fake's.
const TIMEOUT: Duration = Duration::from_millis(500);

fn stripe(settings: &StripeSettings) -> Stripe {
    Stripe::new(settings, TIMEOUT).expect("a client").expect("it has a key")
}

fn start() -> (FakeStripe, Stripe) {
    let fake = FakeStripe::start();
    let stripe = stripe(&settings(&fake.url));
    (fake, stripe)
}

fn pence(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::GBP)
}

fn authorise(method: &str) -> Request {
    Request {
        payment_id: PaymentId(Uuid::now_v7()),
        order_id: OrderId(Uuid::now_v7()),
        attempt: AttemptId(Uuid::now_v7()),
        operation: Operation::Authorise,
        amount: pence(345),
        method: PaymentMethod::new(method).expect("a token"),
        reference: None,
        requested_at: Utc::now(),
    }
}

/// What follows on an authorisation, which is intent `pi_1`.
fn then(authorised: &Request, operation: Operation, amount: i64) -> Request {
    Request {
        attempt: AttemptId(Uuid::now_v7()),
        operation,
        amount: pence(amount),
        reference: ProviderReference::new("pi_1").ok(),
        ..authorised.clone()
    }
}

fn held(reference: &str) -> Outcome {
    Outcome::Authorised {
        amount: pence(345),
        expires_at: DateTime::from_timestamp(CAPTURE_BEFORE, 0).expect("a time"),
        captures_once: true,
        provider_reference: ProviderReference::new(reference).ok(),
    }
}

#[actix_web::test]
async fn an_authorisation_is_a_confirmed_intent_with_manual_capture() {
    let (fake, stripe) = start();
    let request = authorise("pm_card_visa");
    assert_eq!(stripe.perform(&request).await, held("pi_1"));
    let seen = fake.seen().remove(0);
    assert_eq!((&*seen.path, &seen.key), ("/v1/payment_intents", &request.attempt.to_string()));
    let expected = json!({
        "amount": "345",
        "currency": "gbp",
        "payment_method": "pm_card_visa",
        "capture_method": "manual",
        "confirm": "true",
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
        "payment_method_options[card][request_multicapture]": "if_available",
        "metadata[order]": request.order_id,
        "metadata[payment]": request.payment_id,
        "metadata[attempt]": request.attempt,
        "expand[]": "latest_charge",
    });
    assert_eq!(serde_json::to_value(&seen.form).expect("text fields"), expected);
}

#[actix_web::test]
async fn a_decline_has_the_most_exact_code() {
    let (_fake, stripe) = start();
    for (method, code) in
        [("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"), ("pm_unheard_of", "resource_missing")]
    {
        let request = authorise(method);
        for _ in 0..2 {
            assert_eq!(stripe.perform(&request).await, request.refused(code), "{method}");
        }
        assert_eq!(stripe.ask(&request).await, request.refused(code), "{method}");
    }
}

#[actix_web::test]
async fn a_customer_who_must_go_to_the_bank_is_told_where() {
    let fake = FakeStripe::start();
    let return_url = Some("https://shop.example/paid".to_owned());
    let stripe = stripe(&StripeSettings { return_url, ..settings(&fake.url) });
    let request = authorise("pm_card_authenticationRequired");
    let expected = Outcome::Pending {
        action: CustomerAction::new("https://hooks.stripe.com/redirect/authenticate/1").ok(),
        provider_reference: ProviderReference::new("pi_1").ok(),
    };
    assert_eq!(stripe.perform(&request).await, expected);
    let form = &fake.seen()[0].form;
    assert_eq!(form.get("return_url").map(String::as_str), Some("https://shop.example/paid"));
    assert!(!form.contains_key("automatic_payment_methods[allow_redirects]"));
    // Once the reference is known, the intent itself is asked.
    fake.change("pi_1", "status", json!("requires_capture"));
    let known = Request { reference: ProviderReference::new("pi_1").ok(), ..request };
    assert_eq!(stripe.ask(&known).await, held("pi_1"));
}

#[actix_web::test]
async fn a_lost_answer_is_unknown_and_found_under_the_same_key() {
    let (fake, stripe) = start();
    let request = authorise("pm_card_visa");
    fake.fail_next(Fault::AnswerLost);
    // The search has it already: Stripe's own takes a minute.
    assert_eq!(stripe.perform(&request).await, held("pi_1"));
    assert_eq!(stripe.ask(&request).await, held("pi_1"));
    assert_eq!(fake.intents().len(), 1);
    assert_eq!(fake.seen().iter().map(|seen| seen.replayed).collect::<Vec<_>>(), [false, true]);
}

#[actix_web::test]
async fn what_stripe_does_not_say_is_unknown() {
    let (fake, stripe) = start();
    for status in [409, 429, 500, 503] {
        fake.fail_next(Fault::Instead(status));
        assert_eq!(stripe.perform(&authorise("pm_card_visa")).await, Outcome::Unknown, "{status}");
    }
    let wrong_key = StripeSettings { secret_key: Some(Secret::new("sk_old")), ..settings(&fake.url) };
    let wrong_key = Stripe::new(&wrong_key, TIMEOUT).expect("a client").expect("it has a key");
    assert_eq!(wrong_key.perform(&authorise("pm_card_visa")).await, Outcome::Unknown);
    let nowhere = settings(&format!("http://127.0.0.1:{}", kontor_local::ports::free()));
    let nowhere = Stripe::new(&nowhere, TIMEOUT).expect("a client").expect("it has a key");
    assert_eq!(nowhere.perform(&authorise("pm_card_visa")).await, Outcome::Unknown);
    assert_eq!(fake.intents().len(), 0);
}

#[actix_web::test]
async fn an_attempt_whose_key_was_forgotten_is_looked_for_and_not_sent_again() {
    let (fake, stripe) = start();
    let yesterday = Utc::now() - TimeDelta::hours(25);
    let request = Request { requested_at: yesterday, ..authorise("pm_card_visa") };
    assert_eq!(stripe.ask(&request).await, request.refused("never_received"));
    let sent = authorise("pm_card_visa");
    stripe.perform(&sent).await;
    fake.forget_keys();
    assert_eq!(stripe.ask(&Request { requested_at: yesterday, ..sent }).await, held("pi_1"));
    assert_eq!((fake.intents().len(), fake.seen().len()), (1, 1));
}

#[actix_web::test]
async fn a_card_that_allows_it_is_captured_shipment_by_shipment() {
    let (fake, stripe) = start();
    let request = authorise("pm_card_multicapture");
    stripe.perform(&request).await;
    let first = then(&request, Operation::Capture, 300);
    assert_eq!(stripe.perform(&first).await, Outcome::Captured);
    assert_eq!(stripe.perform(&first).await, Outcome::Captured, "it is marked in the intent");
    assert_eq!(stripe.perform(&then(&request, Operation::Capture, 45)).await, Outcome::Captured);
    let captures: Vec<_> = fake.seen().into_iter().filter(|seen| seen.path.ends_with("/capture")).collect();
    let told = |n: usize, field: &str| captures[n].form.get(field).map(String::as_str);
    assert_eq!(captures.len(), 2);
    assert_eq!((told(0, "amount_to_capture"), told(0, "final_capture")), (Some("300"), Some("false")));
    assert_eq!((told(1, "amount_to_capture"), told(1, "final_capture")), (Some("45"), None));
    assert_eq!(captures[0].key, first.attempt.to_string());
    assert_eq!(fake.intents()[0]["status"], "succeeded");
}

#[actix_web::test]
async fn any_other_card_is_captured_once_and_the_rest_is_let_go() {
    let (fake, stripe) = start();
    let request = authorise("pm_card_visa");
    stripe.perform(&request).await;
    assert_eq!(stripe.perform(&then(&request, Operation::Capture, 300)).await, Outcome::Captured);
    let rest = then(&request, Operation::Capture, 45);
    assert_eq!(stripe.perform(&rest).await, rest.refused("payment_intent_unexpected_state"));
    assert_eq!(fake.intents()[0]["amount_capturable"], 0);
}

#[actix_web::test]
async fn a_capture_whose_answer_was_lost_is_not_made_again() {
    let (fake, stripe) = start();
    let request = authorise("pm_card_multicapture");
    stripe.perform(&request).await;
    let capture = then(&request, Operation::Capture, 100);
    fake.fail_next(Fault::AnswerLost);
    assert_eq!(stripe.perform(&capture).await, Outcome::Unknown);
    fake.forget_keys();
    assert_eq!(stripe.ask(&capture).await, Outcome::Captured);
    assert_eq!(fake.intents()[0]["amount_capturable"], 245);
}

#[actix_web::test]
async fn what_is_voided_is_canceled_once() {
    let (fake, stripe) = start();
    let request = authorise("pm_card_visa");
    stripe.perform(&request).await;
    let void = then(&request, Operation::Void, 345);
    fake.fail_next(Fault::AnswerLost);
    assert_eq!(stripe.perform(&void).await, Outcome::Unknown);
    fake.forget_keys();
    assert_eq!(stripe.ask(&void).await, Outcome::Voided, "it is canceled already");
    assert_eq!(fake.intents()[0]["status"], "canceled");
    let capture = then(&request, Operation::Capture, 1);
    assert_eq!(stripe.perform(&capture).await, capture.refused("payment_intent_unexpected_state"));
    assert_eq!(stripe.ask(&authorise_again(&request)).await, request.refused("canceled"));
}

/// The same authorisation, once its reference is known.
fn authorise_again(request: &Request) -> Request {
    Request { reference: ProviderReference::new("pi_1").ok(), ..request.clone() }
}

#[actix_web::test]
async fn what_was_captured_cannot_be_voided() {
    let (_fake, stripe) = start();
    let request = authorise("pm_card_visa");
    stripe.perform(&request).await;
    stripe.perform(&then(&request, Operation::Capture, 345)).await;
    let void = then(&request, Operation::Void, 345);
    assert_eq!(stripe.perform(&void).await, void.refused("payment_intent_unexpected_state"));
}

#[actix_web::test]
async fn each_refund_is_found_by_its_attempt_and_made_once() {
    let (fake, stripe) = start();
    let request = authorise("pm_card_visa");
    stripe.perform(&request).await;
    let early = then(&request, Operation::Refund, 1);
    assert_eq!(stripe.perform(&early).await, early.refused("charge_not_captured"));
    stripe.perform(&then(&request, Operation::Capture, 345)).await;
    let refunds: Vec<_> = (1..=5).map(|amount| then(&request, Operation::Refund, amount)).collect();
    for refund in &refunds {
        assert_eq!(stripe.perform(refund).await, Outcome::Refunded);
    }
    fake.forget_keys();
    for refund in &refunds {
        assert_eq!(stripe.ask(refund).await, Outcome::Refunded);
    }
    assert_eq!(fake.refunds().len(), 5);
    fake.change("re_2", "status", json!("pending"));
    let pending = Outcome::Pending { action: None, provider_reference: ProviderReference::new("re_2").ok() };
    assert_eq!(stripe.ask(&refunds[1]).await, pending);
    fake.change("re_2", "status", json!("failed"));
    fake.change("re_2", "failure_reason", json!("expired_or_canceled_card"));
    assert_eq!(stripe.ask(&refunds[1]).await, refunds[1].refused("expired_or_canceled_card"));
}

#[actix_web::test]
async fn a_currency_that_stripe_counts_otherwise_never_gets_there() {
    let (fake, stripe) = start();
    let crowns = Currency::from_code("ISK").expect("it is in ISO 4217");
    let request = Request { amount: Money::new(100, crowns), ..authorise("pm_card_visa") };
    assert_eq!(stripe.perform(&request).await, request.refused("currency_not_supported"));
    assert_eq!(fake.seen().len(), 0);
}

#[test]
fn the_key_is_never_shown() {
    let settings = settings("https://api.stripe.com");
    let shown = format!("{settings:?} {}", serde_json::to_string(&settings).expect("JSON"));
    assert!(!shown.contains(SECRET_KEY) && !shown.contains(WEBHOOK_SECRET), "{shown}");
}
