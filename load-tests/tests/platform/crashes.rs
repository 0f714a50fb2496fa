//! Processes that are killed while shoppers check out: tiers and servers, one by one and all at once.

use crate::{Running, start};
use kontor_load_tests::books::Books;
use kontor_load_tests::client::{Api, ApiError};
use kontor_load_tests::dice::Dice;
use kontor_load_tests::goods::put_on_sale;
use kontor_load_tests::import::until_visible;
use kontor_load_tests::shopper::{Ending, Shopper};
use kontor_local::Tier;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const SHOPPERS: usize = 16;
/// At least so many purchases each: more than a hundred in all.
const PURCHASES_MIN: usize = 8;
const SKUS: [&str; 3] = ["CUP", "MUG", "PLATE"];
const PAYMENTS: [&str; 6] = [
    "tok_success",
    "tok_decline",
    "tok_async",
    "tok_timeout_after_charge",
    "tok_duplicate_webhooks",
    "tok_out_of_order_webhooks",
];

/// What can be killed. Whatever dies, its data stays.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Command,
    AnotherCommand,
    Projector,
    Query,
    Primary,
    Replica,
    Redis,
    Nats,
}

use Victim::*;

/// In the order of a start.
const ALL: &[Victim] = &[Primary, Replica, Redis, Nats, Command, AnotherCommand, Projector, Query];

/// A platform with two command processes.
struct Scene {
    another: Tier,
    running: Running,
}

/// What one shopper lived through.
struct Life {
    confirmed: usize,
    /// Of the confirmed.
    shipped: usize,
    cancelled: usize,
    /// Requests without an answer.
    repeated: usize,
}

#[tokio::test]
async fn every_order_is_settled_once_whichever_command_process_is_killed() {
    survive(&[&[Command], &[AnotherCommand], &[Command], &[AnotherCommand], &[Command], &[AnotherCommand]]).await;
}

#[tokio::test]
async fn every_order_is_settled_once_whichever_server_or_reader_is_killed() {
    survive(&[
        &[Primary],
        &[Nats],
        &[Projector],
        &[Replica],
        &[Query],
        &[Primary, Nats],
        &[Replica, Redis, Projector],
        ALL,
    ])
    .await;
}

/// Step 1: 16 shoppers buy at two command processes, and ask the other under the same key when one does not answer. Somebody
/// looks at the read models all the time. Step 2: meanwhile `rounds` of processes are killed with SIGKILL, those of a round
/// together, at any moment, and started again. Step 3: every purchase has come to an end, and shoppers and log agree on it.
/// Step 4: nothing was charged twice, nothing is lost, no unit is missing, and the provider's ledger is ours. Step 5: for each
/// order there is one mail that it is confirmed, and one when it is shipped, however often they were delivered. Step 6: the stream repeats the log. Step 7: so do the
/// read models on the replica.
async fn survive(rounds: &[&[Victim]]) {
    let running = start().await;
    let (plan, port) = running.platform.another_command();
    let another = Tier::start(&plan, |_, _| {}).await.expect("it starts");
    let mut scene = Scene { another, running };
    let (commands, queries) = scene.running.apis();
    put_on_sale(&commands, &SKUS.map(str::to_owned).into(), 10_000).await.expect("they are on sale");

    // 1
    let calm = Arc::new(AtomicBool::new(false));
    let mut shopping = JoinSet::new();
    for number in 0..SHOPPERS {
        let mut processes = [scene.running.platform.ports().command, port];
        processes.rotate_left(number % 2);
        let mut staff = Shopper::new(&processes);
        staff.token = Some(scene.running.token().into());
        shopping.spawn(live(Shopper::new(&processes), staff, number, calm.clone()));
    }
    let looking = tokio::spawn(look(queries.clone(), calm.clone()));

    // 2
    let mut dice = Dice::new(u64::from(std::process::id()));
    for victims in rounds {
        tokio::time::sleep(Duration::from_millis(100 + dice.roll(500) as u64)).await;
        for victim in victims.iter().rev() {
            scene.kill(*victim).await;
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(300) as u64)).await;
        for victim in *victims {
            scene.restart(*victim).await;
        }
    }
    calm.store(true, Ordering::Relaxed);

    // 3
    let lives: Vec<Life> = shopping.join_all().await;
    let sum = |of: fn(&Life) -> usize| lives.iter().map(of).sum::<usize>();
    assert!(sum(|life| life.repeated) > 0, "nobody noticed that a process was killed");
    let platform = &scene.running.platform;
    let mut books = Books::open(platform.postgres()).await.expect("a log");
    let sums = books.check().await;

    // 4
    let sums = sums.expect("no faults");
    let (confirmed, cancelled) = (sum(|life| life.confirmed), sum(|life| life.cancelled));
    assert_eq!((sums.confirmed, sums.cancelled, sums.shipped), (confirmed, cancelled, sum(|life| life.shipped)));
    assert_eq!(sums.authorised, sums.confirmed);
    assert!(sums.shipped > 0 && sums.cancelled > 0, "{sums:?}");

    // 5
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let (confirmed, shipped) = mails(&platform.mails_url()).await;
        let told = format!("{confirmed} and {shipped} mails for {sums:?}");
        assert!(confirmed <= sums.confirmed && shipped <= sums.shipped, "{told}");
        if (confirmed, shipped) == (sums.confirmed, sums.shipped) {
            break;
        }
        assert!(Instant::now() < patience, "{told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    // 6
    books.compare_with_the_stream(&platform.nats().url()).await.expect("the stream repeats the log");

    // 7
    assert!(looking.await.expect("no answer is an error of its own") > 0, "nobody ever saw the read models");
    until_visible(&queries, books.position()).await.expect("the read models catch up");
    books.compare_with_the_read_models(platform.replica()).await.expect("the read models say what the log says");
}

impl Scene {
    async fn kill(&self, victim: Victim) {
        let platform = &self.running.platform;
        let [command, projector, query] = platform.tiers();
        match victim {
            Primary => platform.postgres().kill().await.expect("it was running"),
            Replica => platform.replica().kill().await.expect("it was running"),
            Redis => platform.redis().kill().await.expect("it was running"),
            Nats => platform.nats().kill().await.expect("it was running"),
            Command => _ = command.kill().await,
            AnotherCommand => _ = self.another.kill().await,
            Projector => _ = projector.kill().await,
            Query => _ = query.kill().await,
        }
    }

    async fn restart(&mut self, victim: Victim) {
        let platform = &mut self.running.platform;
        let restarted = match victim {
            Primary => platform.postgres().restart().await,
            Replica => platform.replica().restart().await,
            Redis => platform.redis().restart().await,
            Nats => platform.nats().restart().await,
            Command => platform.command_mut().restart().await,
            AnotherCommand => self.another.restart().await,
            Projector => platform.projector_mut().restart().await,
            Query => platform.query_mut().restart().await,
        };
        restarted.unwrap_or_else(|error| panic!("{victim:?} starts again: {error}"));
    }
}

/// Asks for the read models again and again, until all is calm. Returns how often there was an answer.
async fn look(queries: Api, calm: Arc<AtomicBool>) -> usize {
    let mut answers = 0;
    while !calm.load(Ordering::Relaxed) {
        match queries.get::<Value>("v1/products?limit=3", None).await {
            Ok(_) => answers += 1,
            Err(ApiError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answers
}

/// How many mails there are that say that an order is confirmed, and how many that all of it is shipped: by their Message-IDs.
async fn mails(mails_url: &str) -> (usize, usize) {
    let client = reqwest::Client::builder().tls_certs_only([]).build().expect("a client");
    let answer = client.get(format!("{mails_url}/mails?limit=1000000")).send().await.expect("the sink answers");
    let shown: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    let (mut confirmed, mut shipped) = (BTreeSet::new(), BTreeSet::new());
    for mail in shown["mails"].as_array().expect("a list") {
        let id = mail["message_id"].as_str().expect("a Message-ID");
        match mail["subject"].as_str() {
            Some(subject) if subject.ends_with(" is on its way") => shipped.insert(id),
            Some(subject) if subject.starts_with("Your order ") => confirmed.insert(id),
            _ => false,
        };
    }
    (confirmed.len(), shipped.len())
}

/// Buys, with every kind of payment in turn, until all is calm. The staff ships every other order.
async fn live(mut shopper: Shopper, mut staff: Shopper, number: usize, calm: Arc<AtomicBool>) -> Life {
    let mut life = Life { confirmed: 0, shipped: 0, cancelled: 0, repeated: 0 };
    for purchase in 0.. {
        if purchase >= PURCHASES_MIN && calm.load(Ordering::Relaxed) {
            break;
        }
        let payment = PAYMENTS[(number + purchase) % PAYMENTS.len()];
        let lines = [(SKUS[number % 3], 1), (SKUS[(number + purchase) % 3], 2)];
        let id = shopper.fill(&lines).await.expect("a cart");
        match shopper.check_out(id, payment).await.expect("it is settled") {
            Ending::Confirmed => {
                life.confirmed += 1;
                if life.confirmed.is_multiple_of(2) {
                    staff.ship(id).await.expect("it is shipped");
                    life.shipped += 1;
                }
            }
            Ending::Cancelled => life.cancelled += 1,
            Ending::SoldOut => panic!("there are plenty"),
        }
    }
    Life { repeated: shopper.repeated + staff.repeated, ..life }
}
