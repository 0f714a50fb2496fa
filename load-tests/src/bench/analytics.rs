//! `analytics`: typical reports a second over 8 connections, how long one takes, and how fast their read model is built anew.
//!
//! 1. A shop is generated, and a projector follows.
//! 2. Totals are compared with what the shop was made of.
//! 3. All kinds of reports are asked for at once, then each alone.
//! 4. The read model is built anew by `kontor projections rebuild`.

use super::checkout::ms;
use super::read::crowd;
use super::report::Report;
use super::shop::order::{Order, opened};
use super::shop::product::{Product, categories};
use super::shop::{self, Opened, Size};
use super::stage::Stage;
use crate::connection::{Connection, Request};
use crate::dice::Dice;
use crate::table::{Table, grouped};
use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hdrhistogram::Histogram;
use kontor_local::Process;
use kontor_local::process::ProcessSignal;
use kontor_projection_services::projections::analytics::Resolution;
use serde_json::Value;
use std::time::{Duration, Instant};

const PROJECTION: &str = "analytics";
const CONNECTIONS: usize = 8;
/// Connections, caches and plans are made before it counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Different ones of each kind.
const QUESTIONS: usize = 200;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Orders, sales and their average in the hours of a day.
    Day,
    /// Sales, cancellations and returns by country in the days of a month.
    Month,
    /// Sales by category in the months of a quarter.
    Categories,
    /// The 20 SKUs that sold most in a month.
    Top,
    /// One SKU in the days of a quarter.
    Product,
    /// The SKUs that sold more in a week than in the week before.
    Movers,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Day, Kind::Month, Kind::Categories, Kind::Top, Kind::Product, Kind::Movers];

    fn name(self) -> &'static str {
        match self {
            Kind::Day => "hours of a day",
            Kind::Month => "days of a month by country",
            Kind::Categories => "months of a quarter by category",
            Kind::Top => "top 20 of a month",
            Kind::Product => "days of a quarter of one SKU",
            Kind::Movers => "movers of a week",
        }
    }

    /// One of its reports, somewhere in the shop's history.
    fn path(self, size: Size, dice: &mut Dice) -> String {
        let at = Order { number: dice.roll(size.orders), size }.placed_at();
        let (day, month) = (Resolution::Day.floor(at), Resolution::Month.floor(at));
        let window = |from, to| format!("from={}&to={}", time(from), time(to));
        let quarter = window(month, Resolution::Month.next(Resolution::Month.next(Resolution::Month.next(month))));
        let whole_month = window(month, Resolution::Month.next(month));
        let report =
            |metrics: &str, rest: &str, window: &str| format!("/v1/analytics?metrics={metrics}&{rest}&{window}");
        match self {
            Kind::Day => {
                let window = window(day, Resolution::Day.next(day));
                report("orders,sales_minor,average_order_minor,conversion", "bucket=hour", &window)
            }
            Kind::Month => {
                let metrics = "orders,net_sales_minor,cancelled_minor,returned_minor,new_customers";
                report(metrics, "dimensions=country&bucket=day", &whole_month)
            }
            Kind::Categories => {
                let categories = categories();
                let category = &categories[dice.roll(categories.len())];
                let rest = format!("dimensions=category&bucket=month&category={category}");
                report("orders,units,sales_minor", &rest, &quarter)
            }
            Kind::Top => report("units,orders", "dimensions=product&top=20", &whole_month),
            Kind::Product => {
                let (sku, _) = Product(dice.roll(size.products)).skus().swap_remove(0);
                report("units,sales_minor", &format!("dimensions=product&bucket=day&product={sku}"), &quarter)
            }
            Kind::Movers => format!("/v1/analytics/movers?{}", window(day - TimeDelta::days(7), day)),
        }
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// What came of a time of asking.
struct Run {
    name: &'static str,
    seconds: f64,
    answered: u64,
    /// Bytes of all bodies.
    bytes: u64,
    /// Microseconds from the intended start of a request until its answer.
    times: Histogram<u64>,
}

impl Run {
    fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }
}

/// Measures; `quick` in a smaller shop, for a few seconds.
pub async fn run(quick: bool) -> Result<Report> {
    let size = Size::of(quick);
    let (all, each) = if quick { (4, 1) } else { (20, 5) };
    let Opened { mut stage, events, .. } = shop::open(size, &[PROJECTION]).await?;
    stage.start_query().await?;
    check_totals(&stage, size).await?;

    let mut runs = Vec::new();
    let kinds = std::iter::once(("all of them", &Kind::ALL[..], all));
    for (name, kinds, seconds) in
        kinds.chain(Kind::ALL.iter().map(|kind| (kind.name(), std::slice::from_ref(kind), each)))
    {
        let run = ask(&stage, size, name, kinds, Duration::from_secs(seconds)).await?;
        eprintln!("{name}: {} reports/s", grouped(run.rate()));
        runs.push(run);
    }
    let rebuilt = rebuild(&stage, events).await?;
    stage.stop().await;
    Ok(report(&runs, size, events, rebuilt))
}

async fn ask(stage: &Stage, size: Size, name: &'static str, kinds: &[Kind], length: Duration) -> Result<Run> {
    let mut dice = Dice::new(kinds[0] as u64);
    let paths = (0..QUESTIONS).flat_map(|_| kinds).map(|kind| kind.path(size, &mut dice)).collect::<Vec<_>>();
    let token = stage.token();
    let questions: Vec<_> = paths.iter().map(|path| request(path, &token).written()).collect();
    let address = stage.query_address();
    let from = Instant::now() + WARM_UP;
    let until = from + length;
    let asking = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(crowd::ask(address, questions.into(), CONNECTIONS, from, until))
    });
    let crowd::Answers { times, refused, bytes } = asking.await??;
    ensure!(refused == 0, "{refused} answers about the {name} were other than 200");
    let (seconds, answered) = (length.as_secs_f64(), times.len() as u64);
    Ok(Run { name, seconds, answered, bytes, times: crowd::from_intended_start(times) })
}

fn request<'a>(path: &'a str, token: &'a str) -> Request<'a> {
    Request { path, token: Some(token), wait_s: None, post: None }
}

/// Compares all of the shop's time with what the shop was made of.
async fn check_totals(stage: &Stage, size: Size) -> Result<()> {
    let (mut lines, mut units, mut sales) = (0, 0, 0);
    for order in (0..size.orders).map(|number| Order { number, size }) {
        for wanted in order.wanted() {
            lines += 1;
            units += wanted.line.quantity.units();
        }
        sales += order.total().amount_minor;
    }
    let from = Resolution::Month.floor(opened());
    let to = Resolution::Day.next(Resolution::Day.floor(Order { number: size.orders, size }.placed_at()));
    let metrics = "orders,order_lines,units,sales_minor";
    let path = format!("/v1/analytics?metrics={metrics}&from={}&to={}", time(from), time(to));
    let token = stage.token();
    let reply = Connection::open(stage.query_address()).await?.send(&request(&path, &token)).await?;
    let text = String::from_utf8_lossy(&reply.body);
    ensure!(reply.status == 200, "the answer was {}: {text}", reply.status);
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("the answer was {text}"))?;
    let expected = serde_json::json!([{"currency": "GBP", "orders": size.orders, "order_lines": lines, "units": units,
        "sales_minor": sales}]);
    ensure!(answer["rows"] == expected, "the totals are {}, not {expected}", answer["rows"]);
    Ok(())
}

/// Builds the read model anew, as an operator does: events of the log a second.
async fn rebuild(stage: &Stage, events: i64) -> Result<f64> {
    let command = stage.kontor(&["projections", "rebuild", PROJECTION])?;
    let started = Instant::now();
    let builder = Process::spawn("kontor", command, &stage.folder().join("kontor.log"), ProcessSignal::KILL)?;
    let status = builder.ended().await;
    ensure!(status.success(), "kontor projections rebuild ended ({status}): {}", builder.log_tail(5));
    Ok(events as f64 / started.elapsed().as_secs_f64())
}

fn report(runs: &[Run], Size { products, orders }: Size, events: i64, rebuilt: f64) -> Report {
    let mut report = Report::new("analytics");
    report.figure("analytics.queries", runs[0].rate(), "1/s");
    report.figure("analytics.p99_ms", runs[0].times.value_at_quantile(0.99) as f64 / 1_000.0, "ms");
    report.figure("analytics.rebuild", rebuilt, "1/s");
    let mut table = Table::new(&["8 connections", "reports/s", "p50 ms", "p99 ms", "longest ms", "bytes an answer"]);
    for run in runs {
        table.row(vec![
            run.name.to_owned(),
            grouped(run.rate()),
            ms(&run.times, 0.5),
            ms(&run.times, 0.99),
            ms(&run.times, 1.0),
            grouped(run.bytes as f64 / run.answered.max(1) as f64),
        ]);
    }
    let [products, orders, events] = [products as f64, orders as f64, events as f64].map(grouped);
    report.text = format!("{products} products and {orders} orders, {events} events\n\n{table}");
    report
}
