//! `flash-sale`: how many buyers a second are settled, confirmed or refused for good, who all want one of a hundred units
//! of one SKU, at two command processes on one log. Everything is checked afterwards; a unit too many is a failure.

use super::append::histogram;
use super::report::Report;
use super::{cpu, start_platform};
use crate::books::Books;
use crate::client::Api;
use crate::flash_sale::{FlashSale, Outcome};
use crate::goods::put_on_sale;
use crate::table::{Table, grouped};
use anyhow::ensure;
use kontor_identity::Role;
use kontor_local::{Folder, PlatformProcess, Tier};
use std::time::Duration;

const SKU: &str = "HOT";
const UNITS: usize = 100;
const BUYERS: usize = 10_000;
const BUYERS_QUICK: usize = 2_000;
/// Check-outs that are under way at once.
const CONNECTIONS: usize = 256;

/// Measures; `quick` with fewer buyers.
pub async fn run(quick: bool) -> anyhow::Result<Report> {
    let buyers = if quick { BUYERS_QUICK } else { BUYERS };
    let folder = Folder::temporary("flash-sale")?;
    let platform = start_platform(&folder).await?;
    let (plan, port) = platform.another_command();
    eprintln!("  another kontor-command");
    let another = Tier::start(&plan, |_, _| {}).await?;
    let staff = platform.identity().token("bench", Role::Staff, None);
    let commands = Api::new(&platform.command_url().parse()?, Some(&staff))?;
    put_on_sale(&commands, &[SKU.to_owned()].into(), UNITS as i64).await?;

    let mut processes = platform.processes();
    let (name, pid, log) = ("kontor-command, another", Some(another.pid()), another.log().to_owned());
    processes.push(PlatformProcess { name, port, pid, log });
    let ports = [platform.ports().command, port];
    // All can pay: a unit that comes back from a declined payment may find nobody left who wants it.
    let pays_with = |_| "tok_success";
    let sale = FlashSale { processes: &ports, sku: SKU, buyers, connections: CONNECTIONS, pays_with };
    eprintln!("Filling {} carts", grouped(buyers as f64));
    let race = sale.fill_carts().await?;
    let cpu_before = cpu::of_platform(&processes);
    let outcome = race.run().await?;
    let cpu_after = cpu::of_platform(&processes);
    eprintln!("Checking every position of the log");
    let sums = Books::open(platform.postgres()).await?.check().await?;
    let expected = [UNITS, 0, buyers - UNITS];
    let became = [outcome.confirmed, outcome.cancelled, outcome.sold_out];
    ensure!(became == expected, "{became:?} buyers were confirmed, cancelled, refused, not {expected:?}");
    ensure!(sums.confirmed == UNITS, "the buyers were told of {UNITS} confirmed orders, the log of {}", sums.confirmed);
    another.stop().await;
    platform.stop(&mut |_| {}).await?;

    let mut report = Report::new("flash-sale");
    report.figure("flash_sale.settled", buyers as f64 / outcome.took.as_secs_f64(), "1/s");
    report.figure("flash_sale.confirmed", outcome.confirmed as f64, "orders");
    let mut costs = Table::new(&["CPU by process", "seconds", "ms a buyer"]);
    for ((process, before), after) in processes.iter().zip(&cpu_before).zip(&cpu_after) {
        let seconds = after - before;
        let ms = seconds * 1_000.0 / buyers as f64;
        costs.row(vec![process.name.to_owned(), format!("{seconds:.2}"), format!("{ms:.3}")]);
    }
    report.text = format!("{}\n{costs}", told(buyers, &outcome));
    Ok(report)
}

fn told(buyers: usize, outcome: &Outcome) -> String {
    let mut times = Table::new(&["ms", "p50", "p99", "longest"]);
    for (name, durations) in
        [("check-out, with 256 under way", &outcome.check_outs), ("since the sale began", &outcome.waited)]
    {
        let of = |duration: &Duration| duration.as_micros().try_into().unwrap_or(u64::MAX);
        let times_us = histogram(durations.iter().map(of));
        let ms = |quantile| format!("{:.2}", times_us.value_at_quantile(quantile) as f64 / 1_000.0);
        times.row(vec![name.to_owned(), ms(0.5), ms(0.99), ms(1.0)]);
    }
    format!(
        "{} buyers for {UNITS} units at two processes: {} confirmed, {} refused, all settled after {:.2} s\n\n{times}",
        grouped(buyers as f64),
        outcome.confirmed,
        grouped(outcome.sold_out as f64),
        outcome.took.as_secs_f64(),
    )
}
