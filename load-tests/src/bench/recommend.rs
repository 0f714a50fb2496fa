//! `recommend`: how long a model is learnt, and how many recommendations are answered a second: all kinds by turns, of any product
//! and any customer.
//!
//! 1. The shop is filled, and a projector follows.
//! 2. `kontor recommend train` learns a model, and the query API loads it.
//! 3. A steady 500 questions a second, each at its time (an open loop: who is late keeps nobody else from asking).
//! 4. As many as 32 connections can ask, each without pause.
//! 5. With a folder of real orders, `kontor recommend evaluate` says how good the lists are.

mod steady;

use super::checkout::ms;
use super::read::crowd::{self, Answers};
use super::report::Report;
use super::shop::product::Product;
use super::shop::{self, Opened, Size, buyer};
use super::stage::Stage;
use crate::connection::{Connection, Reply, Request};
use crate::dice::Dice;
use crate::table::{Table, grouped};
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The read models that it takes: what is learnt from, and what is shown.
const ASKED: [&str; 3] = ["catalogue", "product-cards", "recommendations"];
/// A second, when it is measured how long an answer takes.
const RATE: u32 = 500;
const CONNECTIONS: usize = 32;
/// Connections, caches and plans are made before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
const QUESTIONS: usize = 20_000;
/// Those whose answers are read.
const CHECKED: usize = 200;
const PATIENCE: Duration = Duration::from_secs(120);
/// Figures of the model, and where `kontor recommend evaluate --json` has them: of the last window, the first method.
const FIGURES: [(&str, &str); 3] = [
    ("ndcg20_new", "/0/methods/0/new/ndcg20"),
    ("ndcg20_all", "/0/methods/0/all/ndcg20"),
    ("recall10_together", "/0/methods/0/recall10_together"),
];

/// What came of it all.
struct Measured {
    size: Size,
    events: i64,
    /// The model, as `kontor recommend train` prints it.
    model: Value,
    /// Microseconds from when a question was due until its answer.
    steady: Histogram<u64>,
    /// Answers a second over all connections.
    rate: f64,
    /// Microseconds over all connections.
    crowded: Histogram<u64>,
    quality: Vec<(&'static str, f64)>,
}

/// Measures; `quick` in a smaller shop, for a few seconds each.
pub async fn run(folder: Option<&Path>, quick: bool) -> Result<Report> {
    let size = Size::of(quick);
    let length = Duration::from_secs(if quick { 4 } else { 20 });
    let Opened { mut stage, events, .. } = shop::open(size, &ASKED).await?;

    eprintln!("A model is learnt");
    let model = kontor(&stage, &["recommend", "train", "--json"]).await?;
    stage.follow(&ASKED, events).await?; // The replica has the model, too.
    stage.start_query().await?;
    let token = stage.token();
    let paths = paths(size);
    until_answered(&stage, &token, &model).await?;
    check_some(&stage, &token, &paths).await?;

    let written: Arc<[Vec<u8>]> = paths.iter().map(|path| request(path, &token).written()).collect();
    eprintln!("{RATE} questions a second");
    let steady = steady::ask(stage.query_address(), written.clone(), RATE, WARM_UP, length).await?;
    let from = Instant::now() + WARM_UP;
    let Answers { times, refused, .. } =
        crowd::ask(stage.query_address(), written, CONNECTIONS, from, from + length).await?;
    ensure!(refused == 0, "{refused} answers were other than 200");
    let rate = times.len() as f64 / length.as_secs_f64();
    eprintln!("{} answers a second", grouped(rate));
    let crowded = crowd::from_intended_start(times);
    let quality = match folder {
        Some(folder) => evaluate(&stage, folder).await?,
        None => Vec::new(),
    };
    stage.stop().await;
    Ok(Measured { size, events, model, steady, rate, crowded, quality }.report())
}

/// All kinds by turns.
fn paths(size: Size) -> Vec<String> {
    let mut dice = Dice::new(5);
    let product = |dice: &mut Dice| Product(dice.roll(size.products)).code();
    let customer = |dice: &mut Dice| buyer::customer_id(dice.roll(size.buyers()));
    let path = |kind: usize| match kind % 5 {
        0 => format!("similar?sku={}", product(&mut dice)),
        1 => format!("together?sku={}&sku={}", product(&mut dice), product(&mut dice)),
        2 => format!("for-you?customer_id={}", customer(&mut dice)),
        3 => format!("buy-again?customer_id={}", customer(&mut dice)),
        _ => "trending".to_owned(),
    };
    (0..QUESTIONS).map(path).map(|rest| format!("/v1/recommendations/{rest}")).collect()
}

fn request<'a>(path: &'a str, token: &'a str) -> Request<'a> {
    Request { path, token: Some(token), wait_s: None, post: None }
}

/// Until the query API answers from this model.
async fn until_answered(stage: &Stage, token: &str, model: &Value) -> Result<()> {
    let mut connection = Connection::open(stage.query_address()).await?;
    let begun = Instant::now();
    loop {
        let answer = read(&connection.send(&request("/v1/recommendations/trending", token)).await?)?;
        if answer["model"]["version"] == model["version"] {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "the model was not loaded: {answer}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Asks some of them: each has something to recommend, of what there is, and nothing twice.
async fn check_some(stage: &Stage, token: &str, paths: &[String]) -> Result<()> {
    let mut connection = Connection::open(stage.query_address()).await?;
    for path in paths.iter().step_by((paths.len() / CHECKED).max(1)) {
        let answer = read(&connection.send(&request(path, token)).await?).with_context(|| path.clone())?;
        let items = answer["items"].as_array().context("no items")?;
        let mut skus: Vec<_> = items.iter().filter_map(|item| item["product"]["sku"].as_str()).collect();
        skus.sort();
        skus.dedup();
        ensure!(skus.len() == items.len() && !skus.is_empty(), "{path} was answered with {answer}");
        ensure!(answer["degraded"] == false, "{path} was answered with {answer}");
        ensure!(skus.iter().all(|sku| Product::called(sku).is_some()), "{path} was answered with {answer}");
    }
    Ok(())
}

fn read(reply: &Reply) -> Result<Value> {
    let text = String::from_utf8_lossy(&reply.body);
    ensure!(reply.status == 200, "the answer was {}: {text}", reply.status);
    serde_json::from_str(&text).with_context(|| format!("the answer was {text}"))
}

/// What a task of the operators' tool prints as JSON.
async fn kontor(stage: &Stage, arguments: &[&str]) -> Result<Value> {
    let mut command = tokio::process::Command::from(stage.kontor(arguments)?);
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "kontor {} ended ({})", arguments.join(" "), output.status);
    serde_json::from_slice(&output.stdout).context("what kontor prints is no JSON")
}

/// How good the lists are, on the developers' split of real orders.
async fn evaluate(stage: &Stage, folder: &Path) -> Result<Vec<(&'static str, f64)>> {
    eprintln!("Lists are compared with what was bought");
    let folder = folder.to_str().context("the folder's name is no text")?;
    let told = kontor(stage, &["recommend", "evaluate", folder, "--json"]).await?;
    let figure = |(name, place)| {
        let value = told.pointer(place).and_then(Value::as_f64);
        Ok((name, value.with_context(|| format!("there is no {place} in {told}"))?))
    };
    FIGURES.into_iter().map(figure).collect()
}

impl Measured {
    fn report(&self) -> Report {
        let Measured { size: Size { products, orders }, events, model, steady, rate, crowded, quality } = self;
        let mut report = Report::new("recommend");
        report.figure("recommend.queries", *rate, "1/s");
        report.figure("recommend.p99_ms", steady.value_at_quantile(0.99) as f64 / 1_000.0, "ms");
        report.figure("recommend.train_s", model["seconds"].as_f64().unwrap_or_default(), "s");
        for (name, value) in quality {
            report.figure(format!("recommend.{name}"), *value, "1");
        }
        let mut table = Table::new(&["recommendations", "answers/s", "p50 ms", "p99 ms", "longest ms"]);
        for (how, rate, times) in
            [("one every 2 ms", f64::from(RATE), steady), ("32 connections without pause", *rate, crowded)]
        {
            table.row(vec![how.to_owned(), grouped(rate), ms(times, 0.5), ms(times, 0.99), ms(times, 1.0)]);
        }
        let [products, orders, events] = [*products as f64, *orders as f64, *events as f64].map(grouped);
        let of_model = |what: &str| grouped(model[what].as_f64().unwrap_or_default());
        let [documents, points] = ["documents", "points"].map(of_model);
        report.text = format!(
            "{products} products and {orders} orders, {events} events; learnt from {documents} documents, {points} vectors\n\n{table}"
        );
        report
    }
}
