//! `kontor catalogue import`.

use super::api::{Api, Patience, Trouble, is_passing};
use super::files::{Numbered, rows};
use super::{ImportOptions, row};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// Commands of one request.
const BATCH_ROWS: usize = 500;
/// Rows that cannot be read and are named; the others are counted.
const NAMED_MAX: usize = 20;

/// What became of one row.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Of the file, from 1.
    line: u64,
    /// The SKU, or the category's id.
    id: String,
    /// `done`, `unchanged`, `replayed` or `refused`.
    outcome: &'static str,
    /// As HTTP has it.
    status: u64,
    #[serde(skip_serializing_if = "Value::is_null")]
    version: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    position: Value,
    /// Of a refused row (RFC 9457).
    #[serde(skip_serializing_if = "Value::is_null")]
    problem: Value,
}

#[derive(Default)]
struct Totals {
    rows: u64,
    refused: u64,
    /// Done by an earlier run.
    replayed: u64,
}

/// Sends the rows in the order of the file, since a variant comes after its product, and that after its categories.
pub async fn run(mut options: ImportOptions) -> anyhow::Result<String> {
    let total = check(&options)?;
    let results = options.results.take().unwrap_or_else(|| {
        let mut name = options.file.clone().into_os_string();
        name.push(".results.ndjson");
        PathBuf::from(name)
    });
    let file = File::create(&results).with_context(|| format!("{} cannot be written", results.display()))?;
    let mut told = Told { results: BufWriter::new(file), json: options.json, totals: Totals::default() };
    let rows = rows(&options)?;
    let ImportOptions { run, command_url, caller, .. } = options;
    let api = caller.api(&command_url)?;
    let bar = progress(total);
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    for row in rows {
        batch.push(row?);
        if batch.len() == BATCH_ROWS {
            send(&api, &run, std::mem::take(&mut batch), &mut told, &bar).await?;
        }
    }
    send(&api, &run, batch, &mut told, &bar).await?;
    bar.finish_and_clear();
    told.results.flush()?;
    let Totals { rows, refused, replayed } = told.totals;
    if refused > 0 {
        bail!("{refused} of {rows} rows were refused: {} says why", results.display());
    }
    let summary = format!("{rows} rows are done, {replayed} of them by an earlier run; {}", results.display());
    Ok(if told.json { String::new() } else { summary })
}

/// Reads the file once without sending anything. Returns the number of its rows, or all that cannot be read.
fn check(options: &ImportOptions) -> anyhow::Result<u64> {
    let (mut count, mut wrong) = (0, Vec::new());
    for row in rows(options)? {
        match row {
            Ok(_) => count += 1,
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    let more = wrong.len().saturating_sub(NAMED_MAX);
    wrong.truncate(NAMED_MAX);
    match (wrong.is_empty(), more) {
        (true, _) => Ok(count),
        (false, 0) => bail!("nothing was sent: {}", wrong.join("\n  ")),
        (false, more) => bail!("nothing was sent: {}\n  and {more} more", wrong.join("\n  ")),
    }
}

/// Sends one batch until each of its rows is done or refused.
async fn send(api: &Api, run: &str, rows: Vec<Numbered>, told: &mut Told, bar: &ProgressBar) -> anyhow::Result<()> {
    let mut left: Vec<_> =
        rows.into_iter().map(|Numbered { line, row }| (line, row.command(run), row.id().to_owned())).collect();
    let mut patience = Patience::new();
    while !left.is_empty() {
        let body: String = left.iter().map(|(_, command, _)| format!("{command}\n")).collect();
        let (results, outcome) = api.bulk(body).await;
        // Only as far as all before are settled: a variant must not overtake the product that has to come again.
        let settled = results.iter().take_while(|result| !is_passing(status(result))).count();
        for ((line, _, id), result) in left.drain(..settled).zip(results) {
            told.tell(line, id, result)?;
            bar.inc(1);
        }
        if settled > 0 {
            patience = Patience::new();
        }
        match outcome {
            Err(Trouble::Lasting(error)) => return Err(error),
            Err(Trouble::Passing(reason)) => patience.lose(&reason).await?,
            Ok(()) if left.is_empty() => {}
            Ok(()) => patience.lose("rows have to come again later").await?,
        }
    }
    Ok(())
}

fn status(result: &Value) -> u64 {
    result["status"].as_u64().unwrap_or_default()
}

/// Where results go: the file, and standard output.
struct Told {
    results: BufWriter<File>,
    json: bool,
    totals: Totals,
}

impl Told {
    fn tell(&mut self, line: u64, id: String, mut result: Value) -> anyhow::Result<()> {
        let status = status(&result);
        let outcome = match (status, result["replayed"].as_bool()) {
            (200 | 201, Some(true)) => "replayed",
            (200, _) => "unchanged",
            (201, _) => "done",
            _ => "refused",
        };
        self.totals.rows += 1;
        self.totals.refused += u64::from(outcome == "refused");
        self.totals.replayed += u64::from(outcome == "replayed");
        let mut take = |member: &str| result.get_mut(member).map(Value::take).unwrap_or_default();
        let (version, position, problem) = (take("version"), take("position"), take("problem"));
        let outcome = Outcome { line, id, outcome, status, version, position, problem };
        let written = row::json(&outcome);
        writeln!(self.results, "{written}")?;
        let mut out = std::io::stdout().lock();
        match self.json {
            true => writeln!(out, "{written}")?,
            false => {
                let why = outcome.problem["detail"].as_str().unwrap_or_default();
                let Outcome { line, id, outcome, .. } = outcome;
                writeln!(out, "{}", format!("{line:>8}  {id:<24}  {outcome:<9}  {why}").trim_end())?;
            }
        }
        Ok(())
    }
}

/// A bar on standard error, where that is a terminal.
fn progress(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "rows {wide_bar} {human_pos} of {human_len}, {per_sec:.0}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
