//! `replay`: events a second that `kontor events replay` writes into a pipe, whose other end counts lines, and that `kontor events
//! export` writes as files of each format.

use super::cpu;
use super::report::{Report, median};
use super::shop::{Size, filler};
use super::stage::Stage;
use crate::table::{Table, grouped};
use anyhow::{Context, Result, ensure};
use std::process::{Command, Stdio};
use std::time::Instant;

const REPLAYS: usize = 3;
const FORMATS: [&str; 3] = ["parquet", "ndjson", "csv"];

/// What came of one run.
struct Run {
    what: &'static str,
    events: i64,
    bytes: u64,
    /// From the start of the command until its end, and that of whoever reads.
    seconds: f64,
    /// Processor seconds of the command, with whoever reads, and of Postgres.
    cpu: [f64; 2],
}

impl Run {
    fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// Measures; `quick` on a smaller log.
pub async fn run(quick: bool) -> Result<Report> {
    let size = Size::of(quick);
    let stage = Stage::start().await?;
    let events = filler::fill(&stage, size).await?;
    stage.tidy().await?;

    let mut runs = Vec::new();
    for _ in 0..REPLAYS {
        runs.push(measure(&stage, "replay", events, || replay(&stage, events))?);
    }
    for format in FORMATS {
        runs.push(measure(&stage, format, events, || export(&stage, format, events))?);
    }
    stage.stop().await;

    let mut report = Report::new("replay");
    let replays = runs.iter().filter(|run| run.what == "replay").map(Run::rate);
    report.figure("replay.events", median(replays.collect()), "1/s");
    for run in runs.iter().filter(|run| run.what != "replay") {
        report.figure(format!("export.{}", run.what), run.rate(), "1/s");
    }
    report.text = table(&runs).to_string();
    Ok(report)
}

/// `task` returns the bytes that it made.
fn measure(stage: &Stage, what: &'static str, events: i64, task: impl FnOnce() -> Result<u64>) -> Result<Run> {
    let postgres = stage.postgres().pid().context("Postgres does not run")?;
    let spent = || [cpu::of_ended_children(), cpu::of_tree(postgres)];
    let (before, started) = (spent(), Instant::now());
    let bytes = task()?;
    let seconds = started.elapsed().as_secs_f64();
    let [command, database] = spent();
    let run = Run { what, events, bytes, seconds, cpu: [command - before[0], database - before[1]] };
    eprintln!("{what}: {} events/s", grouped(run.rate()));
    Ok(run)
}

/// Tells all of the log to `wc`.
fn replay(stage: &Stage, events: i64) -> Result<u64> {
    let mut replay = stage.kontor(&["events", "replay"])?.stdout(Stdio::piped()).spawn()?;
    let lines = replay.stdout.take().context("it has a pipe")?;
    let counted = Command::new("wc").args(["-l", "-c"]).stdin(lines).output()?;
    let status = replay.wait()?;
    ensure!(status.success(), "kontor events replay ended ({status})");
    let counted = String::from_utf8_lossy(&counted.stdout).into_owned();
    let counts: Vec<u64> = counted.split_whitespace().filter_map(|count| count.parse().ok()).collect();
    let [lines, bytes] = counts[..] else { anyhow::bail!("wc says {counted}") };
    ensure!(lines == events.unsigned_abs(), "{lines} events of {events} were told");
    Ok(bytes)
}

fn export(stage: &Stage, format: &str, events: i64) -> Result<u64> {
    let folder = stage.folder().join("export").join(format);
    let mut command = stage.kontor(&["events", "export", "--format", format, "--json", "--output"])?;
    let output = command.arg(&folder).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "kontor events export ended ({})", output.status);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).context("it says what it has done")?;
    ensure!(told["events"] == events, "{} events of {events} were exported", told["events"]);
    std::fs::remove_dir_all(&folder)?;
    told["bytes"].as_u64().context("it says how many bytes")
}

fn table(runs: &[Run]) -> Table {
    let mut table = Table::new(&["", "events", "MB", "seconds", "events/s", "CPU s: kontor", "Postgres"]);
    for run in runs {
        let Run { what, events, bytes, seconds, cpu: [command, database] } = run;
        table.row(vec![
            (*what).to_owned(),
            grouped(*events as f64),
            format!("{:.0}", *bytes as f64 / 1e6),
            format!("{seconds:.2}"),
            grouped(run.rate()),
            format!("{command:.2}"),
            format!("{database:.2}"),
        ]);
    }
    table
}
