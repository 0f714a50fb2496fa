//! `kontor recommend export`.

use super::{log, progress, tell};
use crate::database::Database;
use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use kontor_recommend::{Choice, Model, Trade};
use std::fs::File;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct ExportOptions {
    /// Only what was known then counts, business time: 2011-11-09T18:00:00Z
    #[arg(long, value_name = "TIME")]
    at: DateTime<Utc>,
    /// Write customers' lists here
    #[arg(long, value_name = "FILE", required_unless_present = "together")]
    for_you: Option<PathBuf>,
    /// Write here what goes with each item
    #[arg(long, value_name = "FILE")]
    together: Option<PathBuf>,
    /// What customers' lists may have: only what they never bought, or anything
    #[arg(long, value_enum, default_value_t = Kind::New)]
    kind: Kind,
    /// How long lists are
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    most: u16,
    /// Learn from products.csv.gz and orders.csv.gz in this folder, instead of a platform's log
    #[arg(long, value_name = "DIR", conflicts_with = "folder")]
    from: Option<PathBuf>,
    #[command(flatten)]
    database: Database,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    New,
    All,
}

pub fn export(options: ExportOptions) -> anyhow::Result<String> {
    let ExportOptions { at, for_you, together, kind, most, from, database } = options;
    let bar = progress("reading");
    let trade = match from {
        Some(folder) => kontor_online_retail::trade(&folder, Some(at), |_| bar.tick())?,
        None => tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(log::trade(
            database,
            at,
            |done| tell(&bar, done),
        ))?,
    };
    if trade.sold(at).is_empty() {
        bail!("nothing was sold at {at} or before");
    }
    bar.set_message("training");
    let model = Model::train(&trade, at, 0, &|done| tell(&bar, done));
    bar.set_message("writing");
    let choice = Choice::any(usize::from(most));
    let mut told = Vec::new();
    if let Some(path) = for_you {
        told.push(customers(&path, &trade, &model, kind, choice)?);
    }
    if let Some(path) = together {
        told.push(items(&path, &trade, &model, choice)?);
    }
    bar.finish_and_clear();
    Ok(told.join("\n"))
}

fn customers(path: &Path, trade: &Trade, model: &Model, kind: Kind, choice: Choice<'_>) -> anyhow::Result<String> {
    let mut lists = Lists::create(path, ["customer_id", "rank", "sku"])?;
    let at = model.trained_at();
    for (customer, history) in trade.histories(at) {
        let list = match kind {
            Kind::New => model.for_you(&history, at, choice),
            Kind::All => model.next_order(&history, at, choice),
        };
        lists.write(customer.as_str(), list.iter().map(|recommended| recommended.sku.as_str()))?;
    }
    lists.finish("customers")
}

fn items(path: &Path, trade: &Trade, model: &Model, choice: Choice<'_>) -> anyhow::Result<String> {
    let mut lists = Lists::create(path, ["sku", "rank", "other_sku"])?;
    for sku in trade.sold(model.trained_at()) {
        let list = model.together(std::slice::from_ref(sku), choice);
        lists.write(sku.as_str(), list.iter().map(|recommended| recommended.sku.as_str()))?;
    }
    lists.finish("items")
}

/// A CSV file of ranked lists.
struct Lists<'a> {
    path: &'a Path,
    writer: csv::Writer<File>,
    lists: usize,
}

impl<'a> Lists<'a> {
    fn create(path: &'a Path, columns: [&str; 3]) -> anyhow::Result<Self> {
        let writer = csv::Writer::from_path(path).with_context(|| format!("{} cannot be written", path.display()))?;
        let mut lists = Self { path, writer, lists: 0 };
        lists.writer.write_record(columns)?;
        Ok(lists)
    }

    fn write<'b>(&mut self, of: &str, list: impl Iterator<Item = &'b str>) -> anyhow::Result<()> {
        for (sku, rank) in list.zip(1..) {
            self.writer.write_record([of, &i32::to_string(&rank), sku])?;
        }
        self.lists += 1;
        Ok(())
    }

    fn finish(mut self, of: &str) -> anyhow::Result<String> {
        self.writer.flush().with_context(|| format!("{} cannot be written", self.path.display()))?;
        Ok(format!("{}: the lists of {} {of}", self.path.display(), self.lists))
    }
}
