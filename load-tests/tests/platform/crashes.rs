//! Command processes that are killed while shoppers check out.

use crate::start;
use kontor_load_tests::books::Books;
use kontor_load_tests::dice::Dice;
use kontor_load_tests::goods::put_on_sale;
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
const KILLS: usize = 6;
const SKUS: [&str; 3] = ["CUP", "MUG", "PLATE"];
const PAYMENTS: [&str; 6] = [
    "tok_success",
    "tok_decline",
    "tok_async",
    "tok_timeout_after_charge",
    "tok_duplicate_webhooks",
    "tok_out_of_order_webhooks",
];

/// What one shopper lived through.
struct Life {
    confirmed: usize,
    cancelled: usize,
    /// Requests without an answer.
    repeated: usize,
}

/// Step 1: 16 shoppers buy at two command processes, and ask the other under the same key when one does not answer. Step 2:
/// meanwhile one process after the other is killed, at any moment, and started again. Step 3: every purchase has come to an
/// end, and shoppers and log agree on it. Step 4: nothing was charged twice, nothing is lost, no unit is missing. Step 5: for
/// each confirmed order there is one mail, however often it was delivered.
#[tokio::test]
async fn every_order_is_settled_once_whichever_process_is_killed() {
    let mut running = start().await;
    let (plan, port) = running.platform.another_command();
    let mut another = Tier::start(&plan, |_, _| {}).await.expect("it starts");
    put_on_sale(&running.apis().0, &SKUS.map(str::to_owned).into(), 10_000).await.expect("they are on sale");

    // 1
    let calm = Arc::new(AtomicBool::new(false));
    let mut shopping = JoinSet::new();
    for number in 0..SHOPPERS {
        let mut processes = [running.platform.ports().command, port];
        processes.rotate_left(number % 2);
        shopping.spawn(live(Shopper::new(&processes), number, calm.clone()));
    }

    // 2
    let mut dice = Dice::new(u64::from(std::process::id()));
    for kill in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(100 + dice.roll(500) as u64)).await;
        if kill % 2 == 0 {
            running.platform.tiers()[0].kill().await;
            running.platform.restart_command().await.expect("it starts again");
        } else {
            another.kill().await;
            another = Tier::start(&plan, |_, _| {}).await.expect("it starts again");
        }
    }
    calm.store(true, Ordering::Relaxed);

    // 3
    let lives: Vec<Life> = shopping.join_all().await;
    let sum = |of: fn(&Life) -> usize| lives.iter().map(of).sum::<usize>();
    assert!(sum(|life| life.repeated) > 0, "nobody noticed that a process was killed");
    let sums = Books::open(running.platform.postgres()).await.expect("a log").check().await;

    // 4
    let sums = sums.expect("no faults");
    assert_eq!((sums.confirmed, sums.cancelled), (sum(|life| life.confirmed), sum(|life| life.cancelled)));
    assert_eq!(sums.authorised, sums.confirmed);
    assert!(sums.confirmed > 0 && sums.cancelled > 0, "{sums:?}");

    // 5
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let confirmations = confirmations(&running.platform.mails_url()).await;
        assert!(confirmations.len() <= sums.confirmed, "{} mails for {sums:?}", confirmations.len());
        if confirmations.len() == sums.confirmed {
            break;
        }
        assert!(Instant::now() < patience, "{} mails for {sums:?}", confirmations.len());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The Message-IDs of the mails that confirm an order.
async fn confirmations(mails_url: &str) -> BTreeSet<String> {
    let client = reqwest::Client::builder().tls_certs_only([]).build().expect("a client");
    let answer = client.get(format!("{mails_url}/mails?limit=1000000")).send().await.expect("the sink answers");
    let shown: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    let mails = shown["mails"].as_array().expect("a list");
    let confirms = |mail: &&Value| mail["subject"].as_str().is_some_and(|subject| subject.starts_with("Your order "));
    let id = |mail: &Value| mail["message_id"].as_str().expect("a Message-ID").to_owned();
    mails.iter().filter(confirms).map(id).collect()
}

/// Buys, with every kind of payment in turn, until all is calm.
async fn live(mut shopper: Shopper, number: usize, calm: Arc<AtomicBool>) -> Life {
    let mut life = Life { confirmed: 0, cancelled: 0, repeated: 0 };
    for purchase in 0.. {
        if purchase >= PURCHASES_MIN && calm.load(Ordering::Relaxed) {
            break;
        }
        let payment = PAYMENTS[(number + purchase) % PAYMENTS.len()];
        let lines = [(SKUS[number % 3], 1), (SKUS[(number + purchase) % 3], 2)];
        match shopper.buy(&lines, payment).await.expect("it is settled") {
            Ending::Confirmed => life.confirmed += 1,
            Ending::Cancelled => life.cancelled += 1,
            Ending::SoldOut => panic!("there are plenty"),
        }
    }
    Life { repeated: shopper.repeated, ..life }
}
