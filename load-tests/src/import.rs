//! `import online-retail`: two years of a real shop's trade through the HTTP commands, compared to the penny with what comes
//! out of the query API.
//!
//! - [`trade`]: what they hold, as commands.
//! - [`totals`]: what they come to, and the comparison.
//! - [`outcome`]: what is told at the end.
//! - [`slice`]: files of the same form, generated, for tests and for who has not got the real ones.

pub mod outcome;
pub mod slice;
pub mod totals;
mod trade;

use crate::bulk::Sender;
use crate::client::{Api, ApiError};
use crate::progress::Progress;
use anyhow::{Context, bail};
use kontor_online_retail::{Invoices, Product};
use outcome::{Outcome, Stock};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use totals::{Figures, Totals, compare};

/// For so long the query API may show no progress before we give up.
const BEHIND_MAX: Duration = Duration::from_secs(60);
/// Products a request; the most that the query API gives.
const PAGE: u32 = 100;

/// Imports the files in `folder`. What an earlier run has done already is not done again.
pub async fn run(folder: &Path, commands: &Api, queries: &Api) -> anyhow::Result<Outcome> {
    eprintln!("Reading {}", folder.display());
    let (products, totals) = tokio::task::spawn_blocking({
        let folder = folder.to_owned();
        move || read(&folder)
    })
    .await??;

    let started = Instant::now();
    let sender = Sender::new(commands.clone());
    send(&sender, folder.to_owned(), products, &totals).await?;
    let sent_in = started.elapsed();
    let position = sender.sent().position.load(Ordering::Relaxed);

    until_visible(queries, position).await?;
    let countries = compare(&report(queries, "country", position).await?, &totals.by_country);
    let months = compare(&report(queries, "month", position).await?, &totals.by_month);
    let stock = compare_stock(&stock(queries, position).await?, &totals);
    Ok(Outcome {
        totals: totals.all,
        replayed: sender.sent().replayed.load(Ordering::Relaxed),
        position,
        sent_in,
        seconds: started.elapsed().as_secs_f64(),
        countries,
        months,
        stock,
    })
}

/// One pass over the files, before anything is sent: what they hold, and whether all of it can be read.
fn read(folder: &Path) -> anyhow::Result<(Vec<Product>, Totals)> {
    let products = kontor_online_retail::products(folder)?;
    let mut totals = Totals::default();
    for invoice in Invoices::open(folder)? {
        totals.add(&invoice?);
    }
    let known: std::collections::HashSet<&str> = products.iter().map(|product| &*product.sku).collect();
    match totals.units.keys().find(|sku| !known.contains(sku.as_str())) {
        Some(sku) => bail!("orders.csv.gz sells {sku}, which is not in products.csv.gz"),
        None => Ok((products, totals)),
    }
}

/// A product must be there before its price, and stock before it is sold: so one kind after the other. Invoices may overtake
/// each other, since the opening stock covers them all.
async fn send(sender: &Sender, folder: PathBuf, products: Vec<Product>, totals: &Totals) -> anyhow::Result<()> {
    let registrations: Vec<_> = products.iter().map(trade::registration).collect();
    let mut offers: Vec<_> = products.iter().map(trade::price).collect();
    offers.extend(totals.units.iter().filter_map(|(sku, units)| trade::opening_stock(sku, units.sold)));
    for (what, commands) in [("products", registrations), ("prices, stock", offers)] {
        let progress = Progress::new(what, commands.len() as u64);
        sender.send(progress, |batches| commands.into_iter().try_for_each(|command| batches.push(command))).await?;
    }
    let invoices = move |batches: &mut crate::bulk::Batches| {
        for invoice in Invoices::open(&folder)? {
            batches.push(trade::invoice(&invoice?)?)?;
        }
        Ok(())
    };
    sender.send(Progress::new("invoices", totals.invoices()), invoices).await
}

/// Waits until every projection that the query API reads from has applied `position`.
pub async fn until_visible(queries: &Api, position: i64) -> anyhow::Result<()> {
    let (mut last, mut moved_at, mut told_at) = (None, Instant::now(), Instant::now());
    loop {
        let reason = match queries.get::<BTreeMap<String, i64>>("v1/positions", None).await {
            Ok(answer) => {
                let at = answer.body.values().copied().min().context("the query API has no projections")?;
                if at >= position {
                    return Ok(());
                }
                if last != Some(at) {
                    (last, moved_at) = (Some(at), Instant::now());
                }
                format!("it is at position {at} of {position}")
            }
            Err(ApiError::Unavailable { reason, .. }) => reason,
            Err(error) => return Err(error.into()),
        };
        if moved_at.elapsed() > BEHIND_MAX {
            bail!("the query API has not moved for {} s: {reason}", BEHIND_MAX.as_secs());
        }
        if told_at.elapsed() > Duration::from_secs(3) {
            eprintln!("Waiting for the query API: {reason}");
            told_at = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks for what is true at `position` or later, again and again while the API cannot answer.
async fn ask<T: DeserializeOwned>(queries: &Api, path: &str, position: i64) -> anyhow::Result<T> {
    let since = Instant::now();
    loop {
        match queries.get(path, Some(position)).await {
            Ok(answer) => return Ok(answer.body),
            Err(ApiError::Unavailable { retry_after, .. }) if since.elapsed() < BEHIND_MAX => {
                tokio::time::sleep(retry_after.unwrap_or(Duration::from_millis(200))).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sales `by` country or month.
async fn report(queries: &Api, by: &str, position: i64) -> anyhow::Result<BTreeMap<String, Figures>> {
    #[derive(Deserialize)]
    struct Report {
        rows: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        key: String,
        currency: String,
        #[serde(flatten)]
        figures: Figures,
    }
    let report: Report = ask(queries, &format!("v1/reports/sales?by={by}"), position).await?;
    // The files are all in pounds: anything else did not come from them.
    let key =
        |row: &Row| if row.currency == "GBP" { row.key.clone() } else { format!("{} ({})", row.key, row.currency) };
    Ok(report.rows.into_iter().map(|row| (key(&row), row.figures)).collect())
}

/// Units in the building, by SKU.
async fn stock(queries: &Api, position: i64) -> anyhow::Result<BTreeMap<String, i64>> {
    #[derive(Deserialize)]
    struct Page {
        items: Vec<Item>,
        next_cursor: Option<String>,
    }
    #[derive(Deserialize)]
    struct Item {
        sku: String,
        on_hand: i64,
    }
    let mut stock = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &PAGE.to_string());
        if let Some(cursor) = &cursor {
            query.append_pair("cursor", cursor);
        }
        let page: Page = ask(queries, &format!("v1/products?{}", query.finish()), position).await?;
        stock.extend(page.items.into_iter().map(|item| (item.sku, item.on_hand)));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(stock);
        }
    }
}

/// The opening stock was all that is sold, so what is left is what came back. Returns those that differ.
fn compare_stock(kontor: &BTreeMap<String, i64>, totals: &Totals) -> Stock {
    let differing = |(sku, units): (&String, &totals::Units)| {
        let on_hand = kontor.get(sku).copied();
        (on_hand != Some(units.cancelled)).then(|| (sku.clone(), on_hand, units.cancelled))
    };
    Stock { skus: totals.units.len(), different: totals.units.iter().filter_map(differing).collect() }
}
