//! An order is confirmed in the append that records its authorisation; if it cannot be, the authorisation is recorded alone.

mod support;

use kontor_command_services::processes::orders::Orders;
use kontor_command_services::processes::reactions::{Carried, Origin, carry_out};
use kontor_command_services::service::Role;
use kontor_domain::OrderId;
use kontor_domain::processes::{Instruction, Reaction};
use kontor_local::Need;
use serde_json::json;
use support::payments::Process;
use support::shop::{Shopper, stocked};
use support::{App, spawn};

/// A shop in which nobody acts but us, and an order that waits for its payment.
struct Scene {
    app: App,
    order_id: OrderId,
    /// Of events when it was placed.
    placed: usize,
}

impl Scene {
    async fn new() -> Self {
        let app = spawn(&[Need::Postgres], &[Role::Commands], |_| {}).await;
        stocked(&app, "MUG", 10).await;
        let shopper = Shopper::guest(&app).await;
        shopper.take(&app, "MUG", 2).await;
        shopper.address(&app).await;
        let path = format!("/v1/carts/{}/check-out", shopper.cart_id);
        let ordered = shopper.post(&app, &path, json!({"payment_method": "tok_success"})).await;
        assert_eq!(ordered.status, 202, "{ordered:?}");
        let order_id = OrderId(shopper.cart_id.parse().expect("an id"));
        let placed = app.log().await.len();
        Scene { app, order_id, placed }
    }

    /// What the processes want, as `process` reads the log.
    async fn wanted(&self, process: &Process) -> Vec<Instruction> {
        let mut orders = Orders::default();
        orders.read(&process.executor, self.order_id).await.expect("the log can be read");
        orders.to_do(true).into_iter().map(|work| work.instruction).collect()
    }

    async fn question(&self, process: &Process) -> Instruction {
        let mut wanted = self.wanted(process).await;
        wanted.retain(|instruction| matches!(instruction.reaction, Reaction::AskProvider { .. }));
        wanted.pop().expect("the provider is to be asked")
    }

    /// What has happened since it was placed, each with the command that it comes of.
    async fn since(&self) -> Vec<(String, uuid::Uuid)> {
        let events = self.app.log().await.split_off(self.placed);
        let told = events.iter().map(|event| {
            let metadata = event.metadata().expect("metadata");
            (format!("{} {}", event.aggregate_type, event.event_type), metadata.causation_id)
        });
        told.collect()
    }
}

async fn ask(process: &Process, question: Instruction) {
    let carried = carry_out(&process.executor, &process.payments, Origin::time(), question).await;
    assert!(matches!(carried, Ok(Carried::Out)), "{carried:?}");
}

const CONFIRMED: [&str; 4] = ["payment Authorised", "order Authorised", "order Confirmed", "stock Confirmed"];

#[actix_web::test]
async fn an_authorisation_confirms_the_order_in_one_append() {
    let scene = Scene::new().await;
    let process = Process::start(&scene.app.servers).await;
    let question = scene.question(&process).await;
    let command_id = question.command_id;
    ask(&process, question.clone()).await;
    let expected = CONFIRMED.map(|event| (event.to_owned(), command_id));
    assert_eq!(scene.since().await, expected);
    ask(&process, question).await;
    assert_eq!(scene.since().await, expected, "what is settled is left alone");
}

/// Step 1: the provider is to be asked. Step 2: the order is cancelled. Step 3: the provider authorises the payment, which is
/// recorded. Step 4: it is to be let go of.
#[actix_web::test]
async fn an_authorisation_of_an_order_that_was_cancelled_is_recorded_alone() {
    let scene = Scene::new().await;
    let process = Process::start(&scene.app.servers).await;
    // 1
    let question = scene.question(&process).await;
    // 2
    let path = format!("/v1/orders/{}/cancel", scene.order_id);
    scene.app.done(&path, "cancel", json!({"reason": "changed their mind"})).await;
    // 3
    ask(&process, question).await;
    let events: Vec<_> = scene.since().await.into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, ["order Cancelled", "stock Released", "payment Authorised"]);
    // 4
    let wanted = scene.wanted(&process).await;
    assert!(matches!(wanted[..], [Instruction { reaction: Reaction::VoidPayment { .. }, .. }]), "{wanted:?}");
}

#[actix_web::test]
async fn two_processes_that_ask_at_once_confirm_once() {
    let scene = Scene::new().await;
    let (one, other) = (Process::start(&scene.app.servers).await, Process::start(&scene.app.servers).await);
    let (ours, theirs) = (scene.question(&one).await, scene.question(&other).await);
    assert_eq!(ours, theirs);
    tokio::join!(ask(&one, ours), ask(&other, theirs));
    let events: Vec<_> = scene.since().await.into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, CONFIRMED);
}

/// Step 1: the order is cancelled. Step 2: the provider authorises the payment all the same. Step 3: the order is read anew, from one
/// stream after the other.
#[actix_web::test]
async fn what_is_done_for_an_order_comes_of_the_newest_of_its_events() {
    let scene = Scene::new().await;
    let process = Process::start(&scene.app.servers).await;
    let question = scene.question(&process).await;
    // 1
    let path = format!("/v1/orders/{}/cancel", scene.order_id);
    scene.app.done(&path, "cancel", json!({"reason": "changed their mind"})).await;
    // 2
    let origin = Origin::time();
    carry_out(&process.executor, &process.payments, origin, question).await.expect("it is asked");
    // 3
    let mut orders = Orders::default();
    orders.read(&process.executor, scene.order_id).await.expect("the log can be read");
    let origins: Vec<_> = orders.to_do(true).into_iter().map(|work| work.origin.correlation_id).collect();
    assert_eq!(origins, [origin.correlation_id], "not that of the check-out, which set the timer");
}
