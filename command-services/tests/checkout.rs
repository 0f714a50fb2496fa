//! Check-out from the cart to the settled order: the process managers, the simulator and the log together.

mod support;

use kontor_command_services::payments::ProviderChoice;
use kontor_command_services::service::Role;
use kontor_local::Need;
use serde_json::{Value, json};
use std::time::Duration;
use support::shop::{Shopper, address, stocked};
use support::stripe::FakeStripe;
use support::{App, problem, send, spawn};

const ALL: &[Role] = &[Role::Commands, Role::Processes];

async fn shop() -> App {
    let app = spawn(&[Need::Postgres], ALL, |_| {}).await;
    stocked(&app, "MUG", 10).await;
    app
}

/// What the log says happened, by type of event, in order.
async fn story(app: &App) -> Vec<String> {
    let log = app.log().await;
    let about = ["order", "payment", "timer", "stock"];
    log.into_iter()
        .filter(|event| about.contains(&event.aggregate_type.as_str()))
        .map(|event| format!("{} {}", event.aggregate_type, event.event_type))
        .collect()
}

#[actix_web::test]
async fn a_guest_buys_and_the_order_is_confirmed() {
    let app = shop().await;
    let shopper = Shopper::guest(&app).await;
    shopper.take(&app, "MUG", 2).await;
    shopper.address(&app).await;
    let cart = shopper.cart(&app).await;
    assert_eq!(cart.body["breakdown"]["total"], json!({"amount_minor": 2 * 1250 + 495, "currency": "GBP"}), "{cart:?}");
    assert_eq!(cart.body["email"], "ada@example.com");
    let order = shopper.buy(&app, "tok_success").await;
    assert_eq!((order.status, &order.body["status"]), (200, &json!("confirmed")), "{order:?}");
    assert_eq!(order.body["due"]["amount_minor"], 2 * 1250 + 495);
    let expected = [
        "stock Received",
        "order Placed",
        "payment AuthorisationRequested",
        "stock Reserved",
        "timer Set",
        "payment Authorised",
        "order Authorised",
        "order Confirmed",
        "stock Confirmed",
    ];
    assert_eq!(story(&app).await, expected);
    // Whoever checks out again, under another key, has bought once.
    let again = shopper.buy(&app, "tok_success").await;
    assert_eq!((again.status, &again.body["status"]), (200, &json!("confirmed")), "{again:?}");
    assert_eq!(story(&app).await.len(), expected.len());
}

#[actix_web::test]
async fn a_cart_is_opened_with_lines_and_told_all_details_at_once() {
    let app = shop().await;
    let shopper = Shopper::guest(&app).await;
    let open = json!({"currency": "GBP", "lines": [{"sku": "MUG", "quantity": 2}]});
    let opened = shopper.post(&app, "/v1/carts", open).await;
    assert_eq!((opened.status, &opened.body["version"]), (201, &json!(2)), "{opened:?}");
    let shopper = Shopper { cart_id: opened.body["id"].as_str().expect("an id").to_owned(), ..shopper };
    let details = json!({"email": "ada@example.com", "shipping_address": address(), "shipping_method": "standard"});
    shopper.change(&app, "details", details.clone()).await;
    shopper.change(&app, "details", json!({"shipping_method": "express"})).await; // What is not named stays.
    let order = shopper.buy(&app, "tok_success").await;
    assert_eq!(
        (&order.body["status"], &order.body["due"]["amount_minor"]),
        (&json!("confirmed"), &json!(2 * 1250 + 995))
    );
    let late = shopper.post(&app, &format!("/v1/carts/{}/details", shopper.cart_id), details).await;
    assert_eq!(problem(&late), "cart-checked-out");
}

#[actix_web::test]
async fn a_variant_is_bought_at_its_own_price_and_the_code_of_its_product_not_at_all() {
    let app = shop().await;
    let variant = json!({"variant": "MUG-L", "options": {"size": "L"}});
    app.done("/v1/products/MUG/variants", "add", variant).await;
    let price = json!({"variant": "MUG-L", "price": {"amount_minor": 1500, "currency": "GBP"}});
    app.done("/v1/products/MUG/price", "price", price).await;
    app.done("/v1/stock/MUG-L/receive", "receive", json!({"quantity": 2})).await;
    let shopper = Shopper::guest(&app).await;
    shopper.take(&app, "MUG-L", 2).await;
    shopper.address(&app).await;
    let order = shopper.buy(&app, "tok_success").await;
    assert_eq!(
        (&order.body["status"], &order.body["due"]["amount_minor"]),
        (&json!("confirmed"), &json!(2 * 1500 + 495))
    );
    let other = Shopper::guest(&app).await;
    other.take(&app, "MUG", 1).await;
    other.address(&app).await;
    let refused = other.buy(&app, "tok_success").await;
    assert_eq!((problem(&refused), &refused.body["sku"]), ("not-on-sale", &json!("MUG")));
}

#[actix_web::test]
async fn a_declined_payment_cancels_the_order_and_gives_the_goods_back() {
    let app = shop().await;
    let shopper = Shopper::customer(&app, "17").await;
    shopper.take(&app, "MUG", 10).await;
    shopper.address(&app).await;
    let order = shopper.buy(&app, "tok_decline").await;
    assert_eq!((order.status, &order.body["status"]), (200, &json!("cancelled")), "{order:?}");
    assert_eq!(order.body["reason"], "the payment was not authorised");
    // All ten are on sale again.
    let other = Shopper::customer(&app, "18").await;
    other.take(&app, "MUG", 10).await;
    other.address(&app).await;
    assert_eq!(other.buy(&app, "tok_success").await.body["status"], "confirmed");
}

#[actix_web::test]
async fn a_charge_whose_answer_was_lost_is_found_and_not_repeated() {
    let app = spawn(&[Need::Postgres], ALL, |settings| settings.payments.timeout_ms = 300).await;
    stocked(&app, "MUG", 1).await;
    let shopper = Shopper::guest(&app).await;
    shopper.take(&app, "MUG", 1).await;
    shopper.address(&app).await;
    let order = shopper.buy(&app, "tok_timeout_after_charge").await;
    assert_eq!(order.body["status"], "confirmed", "{order:?}");
    let authorised = story(&app).await.iter().filter(|event| *event == "payment Authorised").count();
    assert_eq!(authorised, 1);
}

#[actix_web::test]
async fn what_is_missing_for_a_check_out_is_named_and_nothing_is_stored() {
    let app = shop().await;
    let shopper = Shopper::guest(&app).await;
    assert_eq!(problem(&shopper.buy(&app, "tok_success").await), "cart-incomplete");
    shopper.change(&app, "shipping-address", address()).await;
    assert_eq!(problem(&shopper.buy(&app, "tok_success").await), "cart-empty");
    shopper.take(&app, "MUG", 11).await;
    let no_email = shopper.buy(&app, "tok_success").await;
    assert_eq!((problem(&no_email), &no_email.body["missing"]), ("cart-incomplete", &json!("email")));
    shopper.address(&app).await;
    let sold_out = shopper.buy(&app, "tok_success").await;
    assert_eq!((problem(&sold_out), &sold_out.body["available"]), ("insufficient-stock", &json!(10)));
    assert_eq!(story(&app).await, ["stock Received"]);
    // The cart is as it was, and can be bought with fewer.
    shopper.take(&app, "MUG", 1).await;
    assert_eq!(shopper.buy(&app, "tok_success").await.body["status"], "confirmed");
}

#[actix_web::test]
async fn shipping_captures_and_returning_restocks_and_refunds() {
    let app = shop().await;
    let shopper = Shopper::customer(&app, "17").await;
    shopper.take(&app, "MUG", 3).await;
    shopper.address(&app).await;
    let order = shopper.buy(&app, "tok_success").await;
    let id = order.body["order_id"].as_str().expect("an id").to_owned();
    app.done(&format!("/v1/orders/{id}/ship"), "ship-1", json!({"lines": [{"line": 1, "quantity": 1}]})).await;
    app.done(&format!("/v1/orders/{id}/ship"), "ship-2", json!({"tracking": "RM123456785GB"})).await;
    let lines = json!([{"line": 1, "quantity": 2}]);
    let body = json!({"return_id": "01890a5d-ac96-774b-bcce-b302099a8057", "lines": lines, "reason": "too many"});
    let request = shopper.post(&app, &format!("/v1/orders/{id}/returns"), body).await;
    assert_eq!(request.status, 201, "{request:?}");
    until_booked(&app, 3 * 1250 + 495).await; // Before that there is not so much to refund.
    let received = json!({"return_id": "01890a5d-ac96-774b-bcce-b302099a8057"});
    app.done(&format!("/v1/orders/{id}/returns/receive"), "receive", received).await;
    until(&app, "order Refunded", 1).await;
    until(&app, "order Restocked", 1).await;
    until(&app, "stock Returned", 1).await;
    let log = app.log().await;
    let amount = |kind: &str| -> i64 {
        let of_kind = log.iter().filter(|event| event.aggregate_type == "payment" && event.event_type == kind);
        let payload = of_kind.map(|event| serde_json::from_str::<Value>(&event.payload).expect("JSON"));
        payload.map(|payload| payload[kind]["amount"]["amount_minor"].as_i64().expect("an amount")).sum()
    };
    assert_eq!((amount("Captured"), amount("Refunded")), (3 * 1250 + 495, 2 * 1250));
}

#[actix_web::test]
async fn a_payment_that_can_be_captured_once_is_captured_when_the_last_of_the_order_has_left() {
    let app = shop().await;
    let shopper = Shopper::guest(&app).await;
    shopper.take(&app, "MUG", 3).await;
    shopper.address(&app).await;
    let order = shopper.buy(&app, "tok_captures_once").await;
    let id = order.body["order_id"].as_str().expect("an id").to_owned();
    app.done(&format!("/v1/orders/{id}/ship"), "ship-1", json!({"lines": [{"line": 1, "quantity": 1}]})).await;
    until(&app, "timer Set", 2).await;
    assert!(!story(&app).await.contains(&"payment CaptureRequested".to_owned()));
    app.done(&format!("/v1/orders/{id}/ship"), "ship-2", json!({})).await;
    until_booked(&app, 3 * 1250 + 495).await;
    assert_eq!(story(&app).await.iter().filter(|event| *event == "payment CaptureRequested").count(), 1);
}

/// As most cards are at Stripe.
#[actix_web::test]
async fn a_card_without_several_captures_pays_for_all_shipments() {
    let stripe = FakeStripe::start();
    let app = spawn(&[Need::Postgres], ALL, |settings| {
        settings.payments.provider = ProviderChoice::Stripe;
        settings.stripe = support::stripe::settings(&stripe.url);
    })
    .await;
    stocked(&app, "MUG", 2).await;
    let shopper = Shopper::guest(&app).await;
    shopper.take(&app, "MUG", 2).await;
    shopper.address(&app).await;
    let order = shopper.buy(&app, "pm_card_visa").await;
    let id = order.body["order_id"].as_str().expect("an id").to_owned();
    app.done(&format!("/v1/orders/{id}/ship"), "ship-1", json!({"lines": [{"line": 1, "quantity": 1}]})).await;
    app.done(&format!("/v1/orders/{id}/ship"), "ship-2", json!({})).await;
    until_booked(&app, 2 * 1250 + 495).await;
    let captures: Vec<_> = stripe.seen().into_iter().filter(|seen| seen.path.ends_with("/capture")).collect();
    let amounts: Vec<_> = captures.iter().map(|seen| seen.form["amount_to_capture"].as_str()).collect();
    assert_eq!(amounts, ["2995"], "the rest would have been let go of with a first part");
}

/// 1. Returned and refunded. 2. The customer's bank sends the money back: the order and the payment say so. 3. Staff refund
/// it again, and the order says so.
#[actix_web::test]
async fn a_refund_that_bounces_is_told_to_the_order_and_made_again_by_staff() {
    let app = spawn(&[Need::Postgres], ALL, |settings| settings.simulator.webhook_delay_ms = 50).await;
    stocked(&app, "MUG", 2).await;
    let shopper = Shopper::customer(&app, "17").await;
    shopper.take(&app, "MUG", 2).await;
    shopper.address(&app).await;
    let order = shopper.buy(&app, "tok_refund_bounces").await;
    let id = order.body["order_id"].as_str().expect("an id").to_owned();
    app.done(&format!("/v1/orders/{id}/ship"), "ship", json!({})).await;
    until_booked(&app, 2 * 1250 + 495).await;
    let return_id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let body = json!({"return_id": return_id, "lines": [{"line": 1, "quantity": 2}], "reason": "too many"});
    app.done(&format!("/v1/orders/{id}/returns"), "return", body).await;
    app.done(&format!("/v1/orders/{id}/returns/receive"), "receive", json!({"return_id": return_id})).await;
    until(&app, "order Refunded", 1).await;
    until(&app, "order RefundBounced", 1).await;
    let payments: Vec<_> = app.log().await.into_iter().filter(|event| event.aggregate_type == "payment").collect();
    let payment = payments[0].aggregate_id.to_string();
    let shown = app.get(&format!("/v1/payments/{payment}")).await;
    assert_eq!(shown.body["refunded"]["amount_minor"], 0, "{shown:?}");
    let failed = shown.body["attempts"].as_array().expect("a list").iter().find(|one| one["operation"] == "refund");
    assert_eq!(failed.expect("a refund")["progress"], "failed");
    let refund = json!({"amount": {"amount_minor": 2 * 1250, "currency": "GBP"}, "return_id": return_id});
    app.done(&format!("/v1/payments/{payment}/refund"), "again", refund).await;
    until(&app, "order Refunded", 2).await;
}

#[actix_web::test]
async fn an_order_that_is_not_paid_in_time_is_cancelled_by_its_timer() {
    let app = spawn(&[Need::Postgres], ALL, |settings| {
        settings.shop.pay_within_s = 1;
        settings.simulator.webhook_delay_ms = 60_000;
    })
    .await;
    stocked(&app, "MUG", 1).await;
    let shopper = Shopper::guest(&app).await;
    shopper.take(&app, "MUG", 1).await;
    shopper.address(&app).await;
    // The provider will tell later than that.
    let order = shopper.buy(&app, "tok_async").await;
    assert_eq!((&order.body["status"], &order.body["reason"]), (&json!("cancelled"), &json!("not paid in time")));
    until(&app, "stock Released", 1).await;
    until(&app, "timer Fired", 1).await;
}

/// Step 1: the provider has not said a word when the order's time is over, so it is cancelled. Step 2: a second later it
/// holds the money after all. Step 3: that is voided, in our books and the provider's.
#[actix_web::test]
async fn money_that_is_held_for_an_order_that_was_cancelled_is_let_go() {
    let app = spawn(&[Need::Postgres], ALL, |settings| {
        settings.shop.pay_within_s = 1;
        settings.simulator.webhook_delay_ms = 2_500;
    })
    .await;
    stocked(&app, "MUG", 3).await;
    let shopper = Shopper::customer(&app, "17").await;
    shopper.take(&app, "MUG", 2).await;
    shopper.address(&app).await;
    // 1
    let order = shopper.buy(&app, "tok_async").await;
    assert_eq!((&order.body["status"], &order.body["reason"]), (&json!("cancelled"), &json!("not paid in time")));
    assert_eq!(story(&app).await.iter().filter(|event| *event == "payment Authorised").count(), 0);
    // 2
    until(&app, "payment Voided", 1).await;
    let expected = [
        "stock Received",
        "order Placed",
        "payment AuthorisationRequested",
        "stock Reserved",
        "timer Set",
        "payment Pending",
        "timer Fired",
        "order Cancelled",
        "stock Released",
        "payment Authorised",
        "payment VoidRequested",
        "payment Voided",
    ];
    assert_eq!(story(&app).await, expected);
    // 3
    let due = json!({"amount_minor": 2 * 1250 + 495, "currency": "GBP"});
    let id = order.body["order_id"].as_str().expect("an id");
    let payment = app.get(&format!("/v1/payments/{id}")).await.body;
    let nothing = json!({"amount_minor": 0, "currency": "GBP"});
    assert_eq!((&payment["authorised"], &payment["captured"]), (&due, &nothing), "{payment}");
    let said = |entry: &Value, state: &str| {
        let said = [&entry["attempt"], &entry["operation"], &entry["amount"], &entry[state]];
        said.map(Value::clone)
    };
    let ours: Vec<_> =
        payment["attempts"].as_array().expect("a list").iter().map(|ours| said(ours, "progress")).collect();
    let ledger = ledger(&app).await;
    assert_eq!(ours, ledger.iter().map(|theirs| said(theirs, "state")).collect::<Vec<_>>());
    let done: Vec<_> = ours.iter().map(|[_, operation, amount, state]| (operation, amount, state)).collect();
    let [authorise, void, is_done] = ["authorise", "void", "done"].map(Value::from);
    assert_eq!(done, [(&authorise, &due, &is_done), (&void, &due, &is_done)]);
    let settlement = send(shopper.client.get(app.url(&format!("/v1/orders/{id}/settlement")))).await;
    assert_eq!((settlement.status, &settlement.body["status"]), (200, &json!("cancelled")), "{settlement:?}");
    let all = json!({"order_id": uuid::Uuid::now_v7(), "quantity": 3});
    assert_eq!(app.post("/v1/stock/MUG/reserve", "all", all).await.status, 201);
}

/// The provider's own books, oldest first.
async fn ledger(app: &App) -> Vec<Value> {
    let answer = app.client.get(app.url("/v1/payments/simulator/ledger")).send().await.expect("an answer");
    let text = answer.text().await.expect("lines");
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

#[actix_web::test]
async fn a_cart_that_was_left_behind_is_abandoned_and_taken_up_again() {
    let app = spawn(&[Need::Postgres], ALL, |settings| {
        settings.processes.cart_idle_s = 1;
        settings.processes.checkpoint_every_ms = 100;
    })
    .await;
    stocked(&app, "MUG", 1).await;
    let shopper = Shopper::guest(&app).await;
    shopper.take(&app, "MUG", 1).await;
    for _ in 0..300 {
        if shopper.cart(&app).await.body["status"] == "abandoned" {
            shopper.address(&app).await;
            assert_eq!(shopper.cart(&app).await.body["status"], "open");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the cart was not abandoned: {:?}", shopper.cart(&app).await);
}

/// Waits until the order knows that so much was captured: of two captures it may hear at once.
async fn until_booked(app: &App, total_minor: i64) {
    for _ in 0..400 {
        let log = app.log().await;
        let booked = log.iter().rfind(|event| (&*event.aggregate_type, &*event.event_type) == ("order", "Captured"));
        let total = booked.map(|event| serde_json::from_str::<Value>(&event.payload).expect("JSON"));
        if total.is_some_and(|event| event["Captured"]["captured_total"]["amount_minor"] == total_minor) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{total_minor} were not booked: {:#?}", story(app).await);
}

/// Waits until the log has `count` events of this kind.
async fn until(app: &App, kind: &str, count: usize) {
    for _ in 0..400 {
        if story(app).await.iter().filter(|event| *event == kind).count() >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{kind} did not happen {count} times: {:#?}", story(app).await);
}
