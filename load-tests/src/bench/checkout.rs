//! `checkout`: how many purchases a second, from opening the cart to the confirmed order, how long one takes, and where
//! the time goes.
//!
//! A closed loop: each of a fixed number of shoppers means to begin the next purchase when the one before is settled. Such
//! a loop hides stalls, since shoppers who are kept waiting ask for nothing: a second in which nothing happens would be one
//! slow purchase for each of them, among thousands of fast ones (coordinated omission). So each purchase counts from its
//! intended start: one that took as long as ten usual ones has kept its shopper from nine others, which are counted with
//! what was left of the wait when they were to begin ([`Histogram::clone_correct`], with the median as the usual time).

mod crowd;

use super::append::histogram;
use super::report::Report;
use super::start_platform;
use crate::books::Books;
use crate::shopper::Step;
use crate::table::{Table, grouped};
use crowd::Shop;
use hdrhistogram::Histogram;
use kontor_local::Folder;
use std::time::Duration;

const SHOPPERS: [usize; 3] = [1, 16, 64];
/// So many shoppers, when it is told what an order costs.
const USUAL: usize = 16;

/// What came of so many shoppers.
struct Run {
    shoppers: usize,
    seconds: f64,
    /// Orders that were confirmed meanwhile.
    orders: u64,
    /// Microseconds from the intended start of a purchase until its order was confirmed.
    purchases: Histogram<u64>,
    /// Microseconds of each request, in the order of [`Step::ALL`].
    steps: Vec<Histogram<u64>>,
    /// Microseconds between two events of the order; its payment is authorised in between.
    placed_to_confirmed: Histogram<u64>,
    /// Processor seconds by process, the load generator's last.
    cpu: Vec<(&'static str, f64)>,
}

impl Run {
    fn rate(&self) -> f64 {
        self.orders as f64 / self.seconds
    }

    /// Milliseconds of processor time for one order.
    fn ms_per_order(&self, seconds: f64) -> f64 {
        seconds * 1_000.0 / self.orders.max(1) as f64
    }

    /// Processor seconds of the platform alone.
    fn platform_cpu(&self) -> f64 {
        self.cpu.iter().filter(|(name, _)| *name != crowd::LOAD_GENERATOR).map(|(_, seconds)| seconds).sum()
    }
}

/// Measures; `quick` for a few seconds each.
pub async fn run(quick: bool) -> anyhow::Result<Report> {
    let length = Duration::from_secs(if quick { 4 } else { 15 });
    let folder = Folder::temporary("checkout")?;
    let platform = start_platform(&folder).await?;
    let shop = Shop::open(&platform).await?;
    let mut runs = Vec::new();
    for shoppers in SHOPPERS {
        let run = shop.measure(shoppers, length).await?;
        eprintln!("{shoppers:>3} shoppers: {:>6} orders/s", grouped(run.rate()));
        runs.push(run);
    }
    // Speed counts for nothing if it was not right.
    Books::open(platform.postgres()).await?.check().await?;
    platform.stop(&mut |_| {}).await?;
    Ok(report(&runs))
}

fn report(runs: &[Run]) -> Report {
    let mut report = Report::new("checkout");
    let mut table = Table::new(&["shoppers", "orders/s", "p50 ms", "p95 ms", "p99 ms", "longest ms"]);
    for run in runs {
        report.figure(format!("checkout.settled.{}", run.shoppers), run.rate(), "1/s");
        table.row(vec![
            run.shoppers.to_string(),
            grouped(run.rate()),
            ms(&run.purchases, 0.5),
            ms(&run.purchases, 0.95),
            ms(&run.purchases, 0.99),
            ms(&run.purchases, 1.0),
        ]);
    }
    for (name, quantile) in [("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)] {
        for run in runs {
            let us = run.purchases.value_at_quantile(quantile);
            report.figure(format!("checkout.{name}.{}", run.shoppers), us as f64 / 1_000.0, "ms");
        }
    }
    for run in runs.iter().filter(|run| run.shoppers == USUAL) {
        report.figure("checkout.cpu_ms_per_order", run.ms_per_order(run.platform_cpu()), "ms");
    }
    report.text = format!("{table}\n{}\n{}", times(runs), costs(runs));
    report
}

/// Where the time goes: each request, and what happens in the log while the check-out waits.
fn times(runs: &[Run]) -> Table {
    let mut headings = vec!["ms with so many shoppers".to_owned()];
    headings.extend(runs.iter().flat_map(|run| [format!("{}: p50", run.shoppers), "p99".to_owned()]));
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    let mut row = |name: String, of: &dyn Fn(&Run) -> [String; 2]| {
        table.row([name].into_iter().chain(runs.iter().flat_map(of)).collect());
    };
    for (place, step) in Step::ALL.into_iter().enumerate() {
        row(step.name().to_owned(), &|run| [ms(&run.steps[place], 0.5), ms(&run.steps[place], 0.99)]);
    }
    row("  of it from placed to confirmed".to_owned(), &|run| {
        [ms(&run.placed_to_confirmed, 0.5), ms(&run.placed_to_confirmed, 0.99)]
    });
    table
}

/// Processor time by process.
fn costs(runs: &[Run]) -> Table {
    let mut headings = vec!["CPU with so many shoppers".to_owned()];
    headings.extend(runs.iter().flat_map(|run| [format!("{}: s", run.shoppers), "ms an order".to_owned()]));
    let mut table = Table::new(&headings.iter().map(String::as_str).collect::<Vec<_>>());
    let mut row = |name: &str, seconds: &dyn Fn(&Run) -> f64| {
        let cells = |run| [format!("{:.2}", seconds(run)), format!("{:.2}", run.ms_per_order(seconds(run)))];
        table.row([name.to_owned()].into_iter().chain(runs.iter().flat_map(cells)).collect());
    };
    for (place, (name, _)) in runs[0].cpu.iter().enumerate() {
        row(name, &|run| run.cpu[place].1);
    }
    row("all but the load generator", &Run::platform_cpu);
    table
}

/// Milliseconds, for people.
pub(super) fn ms(times: &Histogram<u64>, quantile: f64) -> String {
    format!("{:.2}", times.value_at_quantile(quantile) as f64 / 1_000.0)
}

pub(super) fn in_us(durations: impl Iterator<Item = Duration>) -> Histogram<u64> {
    histogram(durations.map(|duration| duration.as_micros().try_into().unwrap_or(u64::MAX)))
}

/// Purchases as if each had begun when it was to.
pub(super) fn from_intended_start(purchases: &Histogram<u64>) -> Histogram<u64> {
    purchases.clone_correct(purchases.value_at_quantile(0.5).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_for_every_purchase_that_it_kept_from_beginning() {
        let ms = |n| Duration::from_millis(n);
        let purchases = in_us([ms(10); 99].into_iter().chain([ms(1_000)]));
        let corrected = from_intended_start(&purchases);
        // The one of a second, and those that were to begin 10, 20, 30 ... ms after it.
        assert!((99 + 95..=99 + 100).contains(&corrected.len()), "{}", corrected.len());
        assert!(purchases.value_at_quantile(0.95) < 11_000 && corrected.value_at_quantile(0.95) > 850_000);
    }
}
