//! `read`: queries a second, each [`Kind`] over 32 connections that are kept, how long one takes, and what it costs.
//!
//! A closed loop, in which stalls count as in [`checkout`](super::checkout): an answer that took as long as ten usual ones
//! has kept its connection from nine others.

pub(super) mod crowd;

use super::checkout::ms;
use super::cpu;
use super::questions::{Kind, Questions};
use super::report::Report;
use super::shop::{self, Opened, Size};
use super::stage::Stage;
use crate::table::{Table, grouped};
use anyhow::{Result, ensure};
use crowd::Answers;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const CONNECTIONS: usize = 32;
/// Connections, caches and plans are made before it counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// What came of questions of one kind.
pub(super) struct Run {
    name: &'static str,
    seconds: f64,
    answered: u64,
    /// Answers other than 200.
    pub refused: u64,
    /// Bytes of all bodies.
    bytes: u64,
    /// Microseconds from the intended start of a request until its answer.
    times: Histogram<u64>,
    /// Processor seconds by process, the load generator's last.
    cpu: Vec<(&'static str, f64)>,
}

impl Run {
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    pub fn p99_ms(&self) -> f64 {
        self.times.value_at_quantile(0.99) as f64 / 1_000.0
    }

    /// Microseconds of processor time for one request.
    fn us_per_request(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.answered.max(1) as f64
    }
}

/// The read models that are asked.
const ASKED: [&str; 3] = ["catalogue", "orders", "product-cards"];

/// Measures; `quick` in a smaller shop, for a few seconds each.
pub async fn run(quick: bool) -> Result<Report> {
    let size = Size::of(quick);
    let length = Duration::from_secs(if quick { 3 } else { 15 });
    let Opened { mut stage, events, .. } = shop::open(size, &ASKED).await?;
    stage.start_query().await?;

    let mut runs = Vec::new();
    for kind in Kind::ALL {
        let questions = Questions::make(kind, &stage, size).await?;
        questions.check_some(&stage).await?;
        runs.push(measure(&stage, kind.name(), questions.written().into(), length).await?);
    }
    stage.stop().await;
    let refused: u64 = runs.iter().map(|run| run.refused).sum();
    ensure!(refused == 0, "{refused} answers were other than 200");
    Ok(report(&runs, size, events))
}

/// Asks any of `questions` after the other, over 32 connections.
pub(super) async fn measure(
    stage: &Stage,
    name: &'static str,
    questions: Arc<[Vec<u8>]>,
    length: Duration,
) -> Result<Run> {
    let from = Instant::now() + WARM_UP;
    let until = from + length;
    let address = stage.query_address();
    // On a thread of its own: one that serves nothing else costs the least.
    let asking = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(crowd::ask(address, questions, CONNECTIONS, from.into_std(), until.into_std()))
    });
    let processes = stage.processes();
    let own = std::process::id();
    let spent =
        || -> Vec<f64> { processes.iter().map(|(_, pid)| cpu::of_tree(*pid)).chain([cpu::of_process(own)]).collect() };
    sleep_until(from).await;
    let before = spent();
    sleep_until(until).await;
    let after = spent();
    let Answers { times, refused, bytes } = asking.await??;
    let names = processes.iter().map(|(name, _)| *name).chain(["load generator"]);
    let run = Run {
        name,
        seconds: length.as_secs_f64(),
        answered: times.len() as u64,
        refused,
        bytes,
        times: crowd::from_intended_start(times),
        cpu: names.zip(after.iter().zip(before).map(|(after, before)| after - before)).collect(),
    };
    eprintln!("{name:>6}: {:>7} requests/s", grouped(run.rate()));
    Ok(run)
}

fn report(runs: &[Run], Size { products, orders }: Size, events: i64) -> Report {
    let mut report = Report::new("read");
    for run in runs {
        report.figure(format!("read.{}", run.name), run.rate(), "1/s");
        report.figure(format!("read.{}_p99_ms", run.name), run.p99_ms(), "ms");
    }
    let [products, orders, events] = [products as f64, orders as f64, events as f64].map(grouped);
    let (times, costs) = (times(runs), costs(runs));
    report.text = format!("{products} products and {orders} orders, {events} events\n\n{times}\n{costs}");
    report
}

/// How many were answered, and how fast.
pub(super) fn times(runs: &[Run]) -> Table {
    let mut table =
        Table::new(&["32 connections", "requests/s", "p50 ms", "p99 ms", "longest ms", "not 200 %", "bytes an answer"]);
    for run in runs {
        let share = |part: u64| part as f64 / run.answered.max(1) as f64;
        table.row(vec![
            run.name.to_owned(),
            grouped(run.rate()),
            ms(&run.times, 0.5),
            ms(&run.times, 0.99),
            ms(&run.times, 1.0),
            format!("{:.3}", 100.0 * share(run.refused)),
            grouped(share(run.bytes)),
        ]);
    }
    table
}

/// Processor time by process.
pub(super) fn costs(runs: &[Run]) -> Table {
    let headings: Vec<_> = ["CPU, us a request"].into_iter().chain(runs.iter().map(|run| run.name)).collect();
    let mut table = Table::new(&headings);
    for (place, (name, _)) in runs[0].cpu.iter().enumerate() {
        let cells = runs.iter().map(|run| format!("{:.1}", run.us_per_request(run.cpu[place].1)));
        table.row([(*name).to_owned()].into_iter().chain(cells).collect());
    }
    table
}
