//! `kontor events export`.

use super::{Chosen, after, before, open};
use crate::Said;
use crate::database::Database;
use crate::interruption::{INTERRUPTED, ended_by_ctrl_c};
use crate::moment::Moment;
use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use kontor_event_store::LogReader;
use kontor_export::{Destination, Exported, Format, Plan};
use serde_json::json;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use url::Url;

#[derive(Args)]
pub struct ExportOptions {
    /// Where to: a folder, or a bucket of an S3-compatible store
    #[arg(long, value_name = "DIR|s3://BUCKET/PREFIX")]
    output: String,
    /// What the files are
    #[arg(long, default_value = "parquet")]
    format: FileFormat,
    /// The store, if it is not Amazon's
    #[arg(long, value_name = "URL", env = "AWS_ENDPOINT_URL")]
    endpoint: Option<Url>,
    /// The first event: a position, or the first that was recorded at this time or later
    #[arg(long, value_name = "POSITION|TIME", default_value = "1")]
    from: Moment,
    /// The last event: a position, or the last that was recorded before this time [default: the last there is]
    #[arg(long, value_name = "POSITION|TIME")]
    to: Option<Moment>,
    #[command(flatten)]
    chosen: Chosen,
    /// Events between two checkpoints, from 2000: the more, the larger files become, and the more is done again after a crash
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(2_000..))]
    checkpoint_every: u32,
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FileFormat {
    Parquet,
    Ndjson,
    Csv,
}

impl From<FileFormat> for Format {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Parquet => Format::Parquet,
            FileFormat::Ndjson => Format::Ndjson,
            FileFormat::Csv => Format::Csv,
        }
    }
}

pub async fn export(options: ExportOptions) -> anyhow::Result<Said> {
    let ExportOptions { output, format, endpoint, from, to, chosen, checkpoint_every, database, json } = options;
    // What speaks to the store asks for the process's one provider of cryptography; there is one already, or this is it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let destination = Destination::open(&output, endpoint.as_ref()).context("--output")?;
    let log = open(database).await?;
    let after = after(&log, from).await?;
    let up_to = last(&log, to, after).await?;
    let round_events = checkpoint_every as usize;
    let plan = Plan { format: format.into(), selection: chosen.selection(Vec::new()), after, up_to, round_events };
    let (ending, bar, begun) = (ended_by_ctrl_c(), Bar::up_to(up_to), Instant::now());
    let exported = kontor_export::export(&log, &destination, &plan, &ending, &|position| bar.tell(position)).await;
    bar.bar.finish_and_clear();
    let exported = exported?;
    let is_done = exported.position >= up_to;
    let code = if is_done { ExitCode::SUCCESS } else { ExitCode::from(INTERRUPTED) };
    let text = told(&output, &plan, exported, begun.elapsed(), json);
    Ok(Said { text, code })
}

/// Where it ends: a position that the log has.
async fn last(log: &LogReader, to: Option<Moment>, after: i64) -> anyhow::Result<i64> {
    let head = log.head().await.context("the log cannot be read")?;
    let Some(to) = to else { return Ok(head) };
    let up_to = before(log, to).await?;
    ensure!(up_to <= head, "--to: position {up_to} is not in the log, whose last is {head}");
    ensure!(up_to >= after, "--to must not lie before --from, which is position {}", after + 1);
    Ok(up_to)
}

fn told(output: &str, plan: &Plan, exported: Exported, took: Duration, json: bool) -> String {
    let Exported { position, events, parts, bytes } = exported;
    let seconds = (took.max(Duration::from_millis(1)).as_secs_f64() * 1_000.0).round() / 1_000.0;
    let is_done = position >= plan.up_to;
    if json {
        let outcome = if is_done { "exported" } else { "interrupted" };
        let told = json!({"outcome": outcome, "output": output, "format": plan.format, "from": plan.after + 1,
            "to": plan.up_to, "position": position, "events": events, "files": parts, "bytes": bytes,
            "seconds": seconds});
        return told.to_string();
    }
    let (count, rate) = (HumanCount(events), HumanCount((events as f64 / seconds) as u64));
    let size = HumanBytes(bytes);
    let files = HumanCount(parts);
    let mut told =
        format!("Wrote {count} events as {files} files ({size}) to {output}, in {seconds} s ({rate} events/s)");
    if !is_done {
        told += &format!(". It is at position {position} of {}: the same command goes on from there", plan.up_to);
    }
    told
}

/// How far it is: a bar on standard error, where that is a terminal.
struct Bar {
    bar: ProgressBar,
    begun: OnceLock<()>,
}

impl Bar {
    fn up_to(position: i64) -> Self {
        let bar = ProgressBar::new(position.unsigned_abs()).with_message("events");
        let template = "{msg} {wide_bar} {human_pos} of {human_len}, {per_sec:.0}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Bar { bar, begun: OnceLock::new() }
    }

    fn tell(&self, position: i64) {
        self.bar.set_position(position.unsigned_abs());
        if self.begun.set(()).is_ok() {
            self.bar.reset_eta(); // What was there before is not of this run's rate.
        }
    }
}
