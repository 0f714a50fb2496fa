//! `rebuild`: how fast read models are built anew, what queries notice of it, how fast a projector catches up, and whether it
//! grows with the log.
//!
//! 1. A projector follows while the log grows, and is weighed when it has seen the first events: young.
//! 2. Each read model is built anew by `kontor projections rebuild`, while orders and lists are asked for at a steady rate.
//! 3. Trade goes on, and the projector is weighed again: old.
//! 4. It is stopped, misses some trade, and catches up.

mod queries;

use super::checkout::ms;
use super::cpu;
use super::report::Report;
use super::shop::Size;
use super::shop::filler::Filler;
use super::stage::{Followed, Stage};
use crate::table::{Table, grouped};
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use kontor_local::Process;
use kontor_local::process::ProcessSignal;
use kontor_projection_services::projections::names;
use queries::{Answered, Queries};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How much there is to do.
struct Plan {
    size: Size,
    /// Events that a projector has followed when it is weighed.
    young: i64,
    old: i64,
    /// Events that it misses.
    missed: i64,
    /// How long queries are watched before the rebuilds.
    quiet: Duration,
}

impl Plan {
    fn of(quick: bool) -> Self {
        let (size, seconds) = (Size::of(quick), Duration::from_secs);
        match quick {
            true => Self { size, young: 40_000, old: 400_000, missed: 40_000, quiet: seconds(3) },
            false => Self { size, young: 1_000_000, old: 10_000_000, missed: 500_000, quiet: seconds(15) },
        }
    }
}

/// A projector that has followed so many events.
struct Weighed {
    events: i64,
    /// Resident bytes at rest, and the most until then.
    resident: u64,
    resident_max: u64,
}

/// A read model that was built anew.
struct Rebuilt {
    projection: &'static str,
    store: String,
    /// All of the log: those that it does not fold are passed over.
    events: i64,
    seconds: f64,
    queries: Answered,
    /// Processor seconds by process, the builder's last.
    cpu: Vec<(&'static str, f64)>,
}

impl Rebuilt {
    fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// What came of it all.
struct Measured {
    weighed: [Weighed; 2],
    before: Answered,
    rebuilt: Vec<Rebuilt>,
    followed: Followed,
}

/// Measures; `quick` in a smaller shop.
pub async fn run(quick: bool) -> Result<Report> {
    let plan = Plan::of(quick);
    let mut stage = Stage::start().await?;
    let mut filler = Filler::open(&stage, plan.size).await?;
    stage.start_projector(&[])?;
    let young = grow(&stage, &mut filler, plan.young).await?;

    filler.complete().await?;
    stage.follow(&names(), filler.events()).await?;
    stage.tidy().await?;
    stage.start_query().await?;
    let queries = Queries::make(&stage, plan.size).await?;
    queries.during(sleep(WARM_UP)).await?;
    let (_, before) = queries.during(sleep(plan.quiet)).await?;
    let mut rebuilt = Vec::new();
    for projection in names() {
        let built = rebuild(&stage, &queries, projection, filler.events()).await?;
        eprintln!("{projection}: {} events/s", grouped(built.rate()));
        rebuilt.push(built);
    }

    let old = grow(&stage, &mut filler, plan.old).await?;
    stage.stop_projector().await;
    filler.up_to(filler.events() + plan.missed).await?;
    let postgres: Vec<_> =
        rebuilt.iter().filter(|built| built.store == POSTGRES).map(|built| built.projection).collect();
    stage.start_projector(&postgres)?;
    let followed = stage.follow(&postgres, filler.events()).await?;
    filler.close().await;
    stage.stop().await;

    let measured = Measured { weighed: [young, old], before, rebuilt, followed };
    let wrong: Vec<_> = measured.answered().flat_map(|answered| &answered.wrong).collect();
    ensure!(wrong.is_empty(), "{} queries were not answered, or not rightly, such as: {}", wrong.len(), wrong[0]);
    Ok(measured.report(&plan))
}

const POSTGRES: &str = "postgres";
const REDIS: &str = "redis";
const TANTIVY: &str = "tantivy";
/// Connections, caches and plans are made before queries count.
const WARM_UP: Duration = Duration::from_secs(1);
/// A projector that has nothing to do for so long is at rest.
const REST: Duration = Duration::from_secs(2);

/// Lets trade go on up to so many events, with the projector behind it, and weighs that.
async fn grow(stage: &Stage, filler: &mut Filler, events: i64) -> Result<Weighed> {
    filler.up_to(events).await?;
    stage.follow(&names(), filler.events()).await?;
    sleep(REST).await;
    let pid = stage.projector_pid();
    let weighed =
        Weighed { events: filler.events(), resident: cpu::resident(pid), resident_max: cpu::resident_max(pid) };
    eprintln!("After {} events the projector has {:.0} MB", grouped(weighed.events as f64), mb(weighed.resident));
    Ok(weighed)
}

/// Builds a read model anew, as an operator does, while queries are asked.
async fn rebuild(stage: &Stage, queries: &Queries, projection: &'static str, events: i64) -> Result<Rebuilt> {
    let (before, store) = stage.live(projection).await?;
    let command = stage.kontor(&["projections", "rebuild", projection])?;
    let processes = stage.processes();
    let spent = || processes.iter().map(|(_, pid)| cpu::of_tree(*pid)).chain([cpu::of_ended_children()]);
    let cpu_before: Vec<f64> = spent().collect();
    let build = async {
        let started = Instant::now();
        let builder = Process::spawn("kontor", command, &stage.folder().join("kontor.log"), ProcessSignal::KILL)?;
        let status = builder.ended().await;
        ensure!(status.success(), "kontor projections rebuild {projection} ended ({status}): {}", builder.log_tail(5));
        Ok(started.elapsed().as_secs_f64())
    };
    let (seconds, answered) = queries.during(build).await?;
    let seconds = seconds?;
    let (after, _) = stage.live(projection).await?;
    ensure!(after > before, "queries see generation {after} of {projection}, as before");
    let names = processes.iter().map(|(name, _)| *name).chain(["kontor"]);
    let cpu = names.zip(spent().zip(cpu_before).map(|(after, before)| after - before)).collect();
    Ok(Rebuilt { projection, store, events, seconds, queries: answered, cpu })
}

impl Measured {
    fn answered(&self) -> impl Iterator<Item = &Answered> {
        [&self.before].into_iter().chain(self.rebuilt.iter().map(|built| &built.queries))
    }

    /// Of the read models in a store, the one that takes longest: events a second. `None`: there are none.
    fn slowest(&self, store: &str) -> Option<f64> {
        let of_store = self.rebuilt.iter().filter(|built| built.store == store);
        of_store.map(Rebuilt::rate).min_by(f64::total_cmp)
    }

    /// p99 of all queries during the rebuilds by that before them.
    fn p99_ratio(&self) -> f64 {
        let mut during = Histogram::<u64>::new(3).expect("three digits are possible");
        for built in &self.rebuilt {
            during.add(&built.queries.times).expect("both grow as they must");
        }
        p99(&during) / p99(&self.before.times)
    }

    fn report(&self, plan: &Plan) -> Report {
        let mut report = Report::new("rebuild");
        for store in [POSTGRES, REDIS, TANTIVY] {
            if let Some(rate) = self.slowest(store) {
                report.figure(format!("rebuild.{store}"), rate, "1/s");
            }
        }
        let wrong: usize = self.answered().map(|answered| answered.wrong.len()).sum();
        report.figure("rebuild.query_p99_ratio", self.p99_ratio(), "ratio");
        report.figure("rebuild.query_errors", wrong as f64, "1");
        report.figure("catchup.postgres", self.followed.rate(), "1/s");
        for (name, Weighed { resident, .. }) in ["1m", "10m"].into_iter().zip(&self.weighed) {
            report.figure(format!("projector.rss_mb.{name}"), mb(*resident), "MB");
        }
        let [products, orders] = [plan.size.products as f64, plan.size.orders as f64].map(grouped);
        let Followed { events, seconds } = self.followed;
        report.text = format!(
            "{products} products and {orders} orders\n\n{}\n{}\n{}\n\
             A projector that was stopped caught up with {} events in {seconds:.2} s: {}/s\n",
            self.rebuilds(),
            self.costs(),
            self.weights(),
            grouped(events as f64),
            grouped(self.followed.rate()),
        );
        report
    }

    /// Each rebuild, and the queries meanwhile.
    fn rebuilds(&self) -> Table {
        let mut table =
            Table::new(&["rebuild", "store", "events", "seconds", "events/s", "queries", "p50 ms", "p99 ms"]);
        let queries = |answered: &Answered| {
            [grouped(answered.times.len() as f64), ms(&answered.times, 0.5), ms(&answered.times, 0.99)]
        };
        let nothing = ["none", "", "", "", ""].map(str::to_owned);
        table.row(nothing.into_iter().chain(queries(&self.before)).collect());
        for built in &self.rebuilt {
            let Rebuilt { projection, store, events, seconds, queries: answered, .. } = built;
            let cells = [
                (*projection).to_owned(),
                store.clone(),
                grouped(*events as f64),
                format!("{seconds:.2}"),
                grouped(built.rate()),
            ];
            table.row(cells.into_iter().chain(queries(answered)).collect());
        }
        table
    }

    /// Processor time by process.
    fn costs(&self) -> Table {
        let headings: Vec<_> = ["CPU s"].into_iter().chain(self.rebuilt.iter().map(|built| built.projection)).collect();
        let mut table = Table::new(&headings);
        for (place, (name, _)) in self.rebuilt.first().into_iter().flat_map(|built| built.cpu.iter().enumerate()) {
            let cells = self.rebuilt.iter().map(|built| format!("{:.2}", built.cpu[place].1));
            table.row([(*name).to_owned()].into_iter().chain(cells).collect());
        }
        table
    }

    fn weights(&self) -> Table {
        let mut table = Table::new(&["a projector that has followed", "resident MB", "most MB"]);
        for Weighed { events, resident, resident_max } in &self.weighed {
            let [resident, most] = [resident, resident_max].map(|bytes| format!("{:.1}", mb(*bytes)));
            table.row(vec![format!("{} events", grouped(*events as f64)), resident, most]);
        }
        table
    }
}

/// Microseconds.
fn p99(times: &Histogram<u64>) -> f64 {
    times.value_at_quantile(0.99) as f64
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
