//! `kontor recommend evaluate`.

use super::{progress, tell};
use anyhow::bail;
use chrono::TimeDelta;
use clap::Args;
use kontor_recommend::evaluate::{self, Evaluation, ListScores, Scores};
use std::path::PathBuf;

const WINDOW: TimeDelta = TimeDelta::days(30);

#[derive(Args)]
pub struct EvaluateOptions {
    /// The folder of products.csv.gz and orders.csv.gz
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// How many windows of 30 days, the last and those before it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=24))]
    windows: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn evaluate(options: &EvaluateOptions) -> anyhow::Result<String> {
    let bar = progress("reading");
    let trade = kontor_online_retail::trade(&options.folder, None, |_| bar.tick())?;
    let windows = evaluate::windows(&trade, WINDOW, options.windows);
    if windows.is_empty() {
        bail!("{} has no sale", options.folder.display());
    }
    bar.set_message("windows");
    let count = windows.len() as f64;
    let evaluated = windows
        .into_iter()
        .zip(0..)
        .map(|(from, at)| evaluate::evaluate(&trade, from, WINDOW, &|done| tell(&bar, (f64::from(at) + done) / count)));
    let evaluated: Vec<_> = evaluated.collect();
    bar.finish_and_clear();
    if options.json {
        return Ok(serde_json::to_string(&evaluated)?);
    }
    Ok(evaluated.iter().map(table).collect::<Vec<_>>().join("\n\n"))
}

fn table(Evaluation { from, until, customers, customers_new, orders, methods }: &Evaluation) -> String {
    let mut lines = vec![
        format!(
            "{} to {}: {customers} customers, {customers_new} of them with something new, {orders} orders",
            from.format("%Y-%m-%d %H:%M"),
            until.format("%Y-%m-%d %H:%M")
        ),
        format!("{:<22} {:^29}   {:^29}   {:^9}", "", "NEW ITEMS", "ALL ITEMS", "TOGETHER"),
        format!("{:<22}{}{}   {:>9}", "METHOD", HEADINGS, HEADINGS, "recall@10"),
    ];
    lines.extend(methods.iter().map(|Scores { method, new, all, recall10_together, .. }| {
        format!("{method:<22}{}{}   {recall10_together:>9.4}", figures(new), figures(all))
    }));
    lines.join("\n")
}

const HEADINGS: &str = "   recall@20  ndcg@20  coverage";

fn figures(ListScores { recall20, ndcg20, coverage }: &ListScores) -> String {
    format!("   {recall20:>9.4}  {ndcg20:>7.4}  {coverage:>8.4}")
}
