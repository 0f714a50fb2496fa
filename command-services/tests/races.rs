//! Several command processes on one log: the log decides, nobody oversells, nothing is lost or doubled.

mod support;

use futures::future::{join_all, pending};
use kontor_command_services::executor::{Context, Decision, Executor, Expects, Failure, Stop, Unit};
use kontor_command_services::refusal::Refusal;
use kontor_command_services::service::{Role, open_shop};
use kontor_command_services::stock;
use kontor_domain::stock::{Stock, StockCommand};
use kontor_domain::{OrderId, Quantity};
use kontor_event_schemas::upcast;
use kontor_event_store::{Key, Log, LogSettings};
use kontor_identity::{Caller as Who, Role as Caller};
use kontor_local::{Need, Role as DbRole, Servers, Tier};
use kontor_telemetry::TraceParent;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use support::{App, client, join, migrate, problem, process, send, spawn};
use tokio::time::timeout;
use uuid::Uuid;

async fn two_processes() -> [App; 2] {
    let one = spawn(&[Need::Postgres], &[Role::Commands], |_| {}).await;
    let two = join(one.servers.clone(), &[Role::Commands], |_| {}).await;
    [one, two]
}

#[actix_web::test]
async fn two_processes_sell_exactly_what_is_there() {
    let processes = two_processes().await;
    processes[0].done("/v1/stock/HOT/receive", "stock", json!({"quantity": 40})).await;
    // 1. 200 buyers ask for one unit each, every other one at the other process.
    let buyers = (0..200).map(|n| {
        let process = &processes[n % 2];
        async move {
            let body = json!({"order_id": Uuid::now_v7(), "quantity": 1});
            process.post("/v1/stock/HOT/reserve", &format!("buyer-{n}"), body).await
        }
    });
    let answers = join_all(buyers).await;
    // 2. 40 have it, the others were told that there is not enough.
    let reserved = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| problem(answer) == "insufficient-stock").count();
    assert_eq!((reserved, refused), (40, 160), "{:?}", answers.iter().find(|a| a.status != 201 && a.status != 409));
    // 3. The log is dense, and at no position is stock negative.
    let log = processes[0].log().await;
    assert_eq!(log.len(), 41);
    for (n, event) in (1..).zip(&log) {
        assert_eq!((event.position, event.sequence), (n, n));
    }
    let left: Vec<u64> = log
        .iter()
        .map(|event| serde_json::from_str::<serde_json::Value>(&event.payload).expect("JSON"))
        .map(|event| event.as_object().and_then(|o| o.values().next()?["available_after"].as_u64()).expect("units"))
        .collect();
    assert_eq!(left, (0..=40).rev().collect::<Vec<_>>());
}

#[actix_web::test]
async fn a_process_with_a_stale_cache_decides_again() {
    let [one, two] = two_processes().await;
    one.done("/v1/stock/MUG/receive", "a", json!({"quantity": 1})).await;
    two.done("/v1/stock/MUG/receive", "b", json!({"quantity": 1})).await;
    // The first still remembers one unit; that there are two it learns from the log, not from a refusal.
    one.done("/v1/stock/MUG/reserve", "c", json!({"order_id": Uuid::now_v7(), "quantity": 2})).await;
    // The second remembers two free units; a refusal rests on what is really there.
    one.done("/v1/stock/MUG/receive", "d", json!({"quantity": 3})).await;
    let answer = two.post("/v1/stock/MUG/reserve", "e", json!({"order_id": Uuid::now_v7(), "quantity": 4})).await;
    assert_eq!((answer.status, &answer.body["available"]), (409, &json!(3)));
}

#[actix_web::test]
async fn one_key_at_two_processes_is_one_command() {
    let processes = two_processes().await;
    for round in 0..20 {
        let key = format!("delivery-{round}");
        let posts = processes.iter().map(|process| process.post("/v1/stock/MUG/receive", &key, json!({"quantity": 1})));
        let answers = join_all(posts).await;
        assert_eq!(answers[0].body["position"], answers[1].body["position"], "{answers:?}");
    }
    assert_eq!(processes[0].log().await.len(), 20);
}

#[actix_web::test]
async fn orders_for_the_same_goods_in_any_order_do_not_wait_on_each_other() {
    let processes = two_processes().await;
    for sku in ["A", "B", "C"] {
        processes[0].done(&format!("/v1/stock/{sku}/receive"), sku, json!({"quantity": 30})).await;
    }
    let line = |sku| json!({"sku": sku, "quantity": 1, "unit_price": {"amount_minor": 1, "currency": "GBP"}});
    let orders = (0..60).map(|n| {
        let process = &processes[n % 2];
        let mut lines = ["A", "B", "C"].map(line);
        lines.rotate_left(n % 3);
        async move { process.post("/v1/orders", &format!("o{n}"), json!({"country": "EIRE", "lines": lines})).await }
    });
    let answers = tokio::time::timeout(Duration::from_secs(60), join_all(orders)).await.expect("nobody waits for ever");
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 30);
    assert_eq!(answers.iter().filter(|answer| answer.status == 409).count(), 30);
    let mut by_stream = BTreeMap::<_, Vec<i64>>::new();
    for event in processes[0].log().await {
        by_stream.entry((event.aggregate_type, event.aggregate_id)).or_default().push(event.sequence);
    }
    for (stream, sequences) in by_stream {
        assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>(), "{stream:?}");
    }
}

#[actix_web::test]
async fn a_killed_process_leaves_each_command_done_once_or_not_at_all() {
    let servers = Arc::new(Servers::start(&[Need::Postgres]).await.expect("the servers start"));
    migrate(&servers).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = client(Some(&servers.identity().token("test", Caller::Staff, None)));
    let post = async |api: u16, n: u32| {
        let request = client.post(format!("http://127.0.0.1:{api}/v1/stock/S{}/receive", n % 10));
        request.header("Idempotency-Key", format!("k{n}")).json(&json!({"quantity": 1})).send().await
    };
    let mut acknowledged = HashSet::new();
    for run in 0..3_u32 {
        // 1. A process takes commands from 300 clients at once.
        let (plan, api) = process(&servers, &["commands"], &format!("command-{run}"));
        let tier = Tier::start(&plan, |_, _| {}).await.expect("the tier starts");
        let commands = join_all((run * 300..(run + 1) * 300).map(async |n| {
            let done = post(api, n).await.is_ok_and(|answer| answer.status() == 201);
            done.then_some(n)
        }));
        // 2. It is killed while it answers them.
        let kill = async {
            tokio::time::sleep(Duration::from_millis(u64::from(20 + run * 30))).await;
            tier.kill().await
        };
        let (answered, _) = futures::future::join(commands, kill).await;
        acknowledged.extend(answered.into_iter().flatten());
    }
    // 3. Another process takes all of them again, under their keys.
    let (plan, api) = process(&servers, &["commands"], "command-3");
    let _tier = Tier::start(&plan, |_, _| {}).await.expect("the tier starts");
    for n in 0..900 {
        let request = client.post(format!("http://127.0.0.1:{api}/v1/stock/S{}/receive", n % 10));
        let answer = send(request.header("Idempotency-Key", format!("k{n}")).json(&json!({"quantity": 1}))).await;
        assert!(answer.status == 201 || answer.body["replayed"] == true, "{n}: {answer:?}");
        assert!(!acknowledged.contains(&n) || answer.body["replayed"] == true, "{n} was acknowledged and is not there");
    }
    // 4. Each is in the log once.
    let log = support::log_reader(&servers).await.read(0, 10_000).await.expect("the log");
    assert_eq!(log.len(), 900);
}

/// What a bulk's commands hold while they are decided again, its next line may need.
#[actix_web::test]
async fn a_bulk_whose_commands_are_decided_again_goes_on() {
    // 1. A process that forgets each aggregate at once, and reads streams one at a time: most commands find that what they
    //    read does not know of those on their way, and read again.
    let app = spawn(&[Need::Postgres], &[Role::Commands], |settings| {
        settings.executor.cached_aggregates_max = 1;
        settings.log.readers_max = 1;
    })
    .await;
    let line = |n: usize| {
        let sku = format!("SKU-{}", n % 2);
        json!({"command": "receive-stock", "key": format!("line-{n}"), "sku": sku, "quantity": 1}).to_string()
    };
    let lines: Vec<_> = (0..700).map(line).collect();
    // 2. Every line is carried out.
    let results = app.bulk(&lines.join("\n")).await;
    let failed = results.iter().find(|result| result["status"] != 200 && result["status"] != 201);
    assert!(results.len() == 700 && failed.is_none(), "{} results, {failed:?}", results.len());
    // 3. Once.
    let log = app.log().await;
    assert_eq!(log.len(), 700);
    assert_eq!(log.iter().filter(|event| event.aggregate_id == "SKU-1").count(), 350);
}

/// A buyer of mugs. One who hesitates holds them in this process's mind, and asks for nothing.
struct Buyer {
    units: u64,
    hesitates: bool,
}

impl Decision for Buyer {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let quantity = Quantity::new(self.units).expect("few units");
        let reserve = StockCommand::Reserve { order_id: OrderId(Uuid::now_v7()), quantity, expires_at: None };
        stock::handle(unit, &"MUG".parse().expect("a SKU"), reserve).await?;
        if self.hesitates { pending().await } else { Ok(()) }
    }
}

/// Its client has hung up, or the process managers begin anew: a command ends between two of its aggregates.
#[actix_web::test]
async fn a_command_that_ends_half_decided_leaves_nothing_to_decide_on() {
    let servers = Arc::new(Servers::start(&[Need::Postgres]).await.expect("the servers start"));
    migrate(&servers).await;
    let settings = support::settings(&servers);
    let url = servers.postgres().url(DbRole::Command);
    let process = async || {
        let log = Log::open(url.parse().expect("a URL"), LogSettings::default(), upcast::released()).await;
        let shop = open_shop(&settings).expect("the shop opens");
        Executor::new(log.expect("the log opens"), shop, settings.executor.clone()).serving::<Stock>()
    };
    let [one, two] = [process().await, process().await];
    let buy = async |process: &Executor, buyer| {
        let context = Context {
            key: Key::unique(),
            correlation_id: Uuid::now_v7(),
            causation_id: Uuid::now_v7(),
            caller: Who::internal("test"),
            expects: Expects::Anything,
            trace: TraceParent::new_root(false),
        };
        process.execute(context, buyer).await
    };
    let app = join(servers.clone(), &[Role::Commands], |_| {}).await;
    app.done("/v1/stock/MUG/receive", "goods", json!({"quantity": 4})).await;
    // 1. In one process somebody is about to have one of four mugs, and goes away.
    let gone = buy(&one, Buyer { units: 1, hesitates: true });
    timeout(Duration::from_secs(1), gone).await.expect_err("it never ends");
    // 2. In another process all four are sold: with an event in the place where the first had its own in mind.
    buy(&two, Buyer { units: 4, hesitates: false }).await.expect("there are four");
    // 3. In the first process there is none left either.
    let late = buy(&one, Buyer { units: 1, hesitates: false }).await;
    assert!(matches!(late, Err(Failure::Refused(Refusal::Stock { .. }))), "{late:?}");
}
