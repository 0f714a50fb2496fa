//! `append`: how many appends a second, and how that holds while the log grows.
//!
//! Three contenders on one Postgres, with the same bytes, in turns:
//! - `kontor`: [`kontor_event_store::Log::append`], each append with an idempotency key of its own;
//! - `pgbench`: one INSERT a transaction into a table with the definition, partitions and indexes of ours;
//! - `postgres_es`: stock cqrs-es with stock postgres-es on their stock table.
//!
//! `new`: each append begins a stream. `old`: it goes on one until that has ten events.

mod arena;
mod drive;
mod growth;
mod kontor;
mod pgbench;
mod postgres_es;

use super::report::{Report, median};
use crate::table::{Table, grouped};
use arena::Arena;
use drive::Measured;
pub(super) use drive::histogram;
use std::collections::HashMap;
use std::time::Duration;

const APPENDERS: [usize; 4] = [1, 16, 64, 256];
const AGGREGATE_TYPE: &str = "bench";
const EVENT_TYPE: &str = "Shipped";

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Contender {
    Kontor,
    Pgbench,
    PostgresEs,
}

impl Contender {
    /// In the order of their turns.
    const ALL: [Contender; 3] = [Contender::Kontor, Contender::Pgbench, Contender::PostgresEs];

    fn name(self) -> &'static str {
        match self {
            Contender::Kontor => "kontor",
            Contender::Pgbench => "pgbench",
            Contender::PostgresEs => "postgres_es",
        }
    }
}

/// To which streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Streams {
    New,
    Old,
}

impl Streams {
    const ALL: [Streams; 2] = [Streams::New, Streams::Old];

    fn name(self) -> &'static str {
        match self {
            Streams::New => "new",
            Streams::Old => "old",
        }
    }

    /// Events that a stream gets, one append each.
    fn length(self) -> i64 {
        match self {
            Streams::New => 1,
            Streams::Old => 10,
        }
    }
}

/// Measures; `quick` does one short round and leaves the growth out, which cannot be told from a small log.
pub async fn run(quick: bool) -> anyhow::Result<Report> {
    let (rounds, length) = if quick { (1, Duration::from_millis(700)) } else { (3, Duration::from_secs(4)) };
    eprintln!("Starting Postgres in a folder of its own");
    let arena = Arena::open().await?;
    // Before the contest, whose tables would be vacuumed meanwhile.
    let growth = if quick { None } else { Some(growth::measure(&arena).await?) };
    let mut runs: HashMap<(Contender, Streams, usize), Vec<Measured>> = HashMap::new();
    for round in 1..=rounds {
        for streams in Streams::ALL {
            for appenders in APPENDERS {
                for contender in Contender::ALL {
                    let measured = arena.compete(contender, streams, appenders, length).await?;
                    let (contender_name, streams_name) = (contender.name(), streams.name());
                    eprintln!(
                        "Round {round} of {rounds}: {contender_name:<11} {appenders:>3} appenders, {streams_name} \
                         streams: {:>7}/s",
                        grouped(measured.rate())
                    );
                    runs.entry((contender, streams, appenders)).or_default().push(measured);
                }
            }
        }
    }
    arena.close().await;
    Ok(report(&runs, growth.as_ref()))
}

fn report(runs: &HashMap<(Contender, Streams, usize), Vec<Measured>>, growth: Option<&growth::Growth>) -> Report {
    let mut report = Report::new("append");
    let of = |contender, streams, appenders, value: fn(&Measured) -> f64| {
        median(runs[&(contender, streams, appenders)].iter().map(value).collect())
    };
    let mut table = Table::new(&[
        "appends/s",
        "kontor",
        "pgbench",
        "postgres_es",
        "x pgbench",
        "x postgres_es",
        "p50 ms",
        "p99 ms",
    ]);
    let mut costs = Table::new(&[
        "CPU s per 1,000",
        "kontor",
        "of it client",
        "pgbench",
        "of it client",
        "postgres_es",
        "of it client",
    ]);
    for streams in Streams::ALL {
        for appenders in APPENDERS {
            let rates = Contender::ALL.map(|contender| of(contender, streams, appenders, Measured::rate));
            for (contender, rate) in Contender::ALL.into_iter().zip(rates) {
                report.figure(format!("append.{}.{}.{appenders}", contender.name(), streams.name()), rate, "1/s");
            }
            let [kontor, pgbench, postgres_es] = rates;
            let kontor_ms = |value| of(Contender::Kontor, streams, appenders, value);
            let name = format!("{appenders} to {} streams", streams.name());
            table.row(vec![
                name.clone(),
                grouped(kontor),
                grouped(pgbench),
                grouped(postgres_es),
                format!("{:.2}", kontor / pgbench),
                format!("{:.2}", kontor / postgres_es),
                format!("{:.2}", kontor_ms(Measured::p50_ms)),
                format!("{:.2}", kontor_ms(Measured::p99_ms)),
            ]);
            let cost = |contender| {
                let all = of(contender, streams, appenders, Measured::cpu_per_thousand);
                let client = of(contender, streams, appenders, Measured::client_cpu_per_thousand);
                [format!("{all:.4}"), format!("{client:.4}")]
            };
            costs.row([name].into_iter().chain(Contender::ALL.into_iter().flat_map(cost)).collect());
        }
    }
    for contender in [Contender::Kontor, Contender::Pgbench] {
        let p50_ms = of(contender, Streams::New, 1, Measured::p50_ms);
        report.figure(format!("append.{}.p50_ms.1", contender.name()), p50_ms, "ms");
    }
    report.text = format!("{table}\n{costs}");
    if let Some(growth) = growth {
        report.figure("append.growth_ratio", growth.ratio(), "ratio");
        report.text.push_str(&format!("\n{growth}\n"));
    }
    report
}
