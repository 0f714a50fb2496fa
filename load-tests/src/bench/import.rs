//! `import`: the real data through the whole platform, from nothing to visible and equal, with what each process costs.

use super::report::Report;
use super::{cpu, start_platform};
use crate::import::slice;
use crate::table::{Table, grouped};
use anyhow::{Context, bail};
use kontor_identity::Role;
use kontor_local::{Folder, Platform, PlatformProcess};
use serde::Deserialize;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

/// Invoices of the data that a quick run takes.
const QUICK_INVOICES: usize = 4_000;
/// After the start, until memory is at rest.
const SETTLE: Duration = Duration::from_secs(3);
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
const TIERS: [&str; 3] = ["kontor-command", "kontor-projector", "kontor-query"];

/// What the importer says at its end.
#[derive(Debug, Deserialize)]
struct Imported {
    invoices: u64,
    lines: u64,
    seconds: f64,
    sent_in_seconds: f64,
    equal: bool,
}

/// Imports the files in `folder`; `quick`, only their beginning.
pub async fn run(folder: &Path, quick: bool) -> anyhow::Result<Report> {
    let own = Folder::temporary("import")?;
    let beginning = own.path().join("files");
    if quick {
        slice::beginning(folder, &beginning, QUICK_INVOICES)?;
    }
    let files = if quick { &beginning } else { folder };
    let platform = start_platform(&own).await?;
    tokio::time::sleep(SETTLE).await;
    let processes = platform.processes();
    let idle = Memory::now(&processes);
    let cpu_before = cpu::of_platform(&processes);
    let cpu_of_children = cpu::of_ended_children();

    let mut importer = start_importer(files, &platform)?;
    let (imported, memory) = watch(&mut importer, &processes).await?;
    let cpu_after = cpu::of_platform(&processes);
    let importer_cpu = cpu::of_ended_children() - cpu_of_children;
    if !imported.equal {
        bail!("what came out of the query API is not what the files hold: run infra/import to see where");
    }

    let mut report = Report::new("import");
    report.figure("import.orders", imported.invoices as f64 / imported.seconds, "1/s");
    report.figure("import.lines", imported.lines as f64 / imported.seconds, "1/s");
    report.figure("import.seconds", imported.seconds, "s");
    report.figure("memory.idle_mb", idle.sum_mb(), "MB");

    let mut text = format!(
        "{} invoices with {} lines: the last answered after {:.1} s, all visible and equal after {:.1} s\n\n",
        grouped(imported.invoices as f64),
        grouped(imported.lines as f64),
        imported.sent_in_seconds,
        imported.seconds,
    );
    let mut table = Table::new(&["CPU by process", "seconds", "cores"]);
    let mut row = |name: &str, seconds: f64| {
        table.row(vec![name.to_owned(), format!("{seconds:.1}"), format!("{:.2}", seconds / imported.seconds)]);
    };
    for ((process, before), after) in processes.iter().zip(&cpu_before).zip(&cpu_after) {
        row(process.name, after - before);
    }
    row("importer", importer_cpu);
    let all = cpu_after.iter().sum::<f64>() - cpu_before.iter().sum::<f64>() + importer_cpu;
    row("all", all);
    text.push_str(&format!("{table}\n{}", memory_table(&idle, &memory)));
    report.text = text;
    platform.stop(&mut |_| {}).await?;
    Ok(report)
}

fn start_importer(files: &Path, platform: &Platform) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["import", "online-retail", "--json"]).arg(files);
    command.args(["--command-url", &platform.command_url(), "--query-url", &platform.query_url()]);
    command.env("KONTOR_TOKEN", platform.identity().token("importer", Role::Staff, None));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn().context("cannot start the importer")
}

/// Waits for the importer's end and looks at the tiers' memory meanwhile.
async fn watch(importer: &mut Child, processes: &[PlatformProcess]) -> anyhow::Result<(Imported, Vec<Memory>)> {
    let mut stdout = importer.stdout.take().context("the importer has no output")?;
    let started = Instant::now();
    let mut told = String::new();
    let mut memory = Vec::new();
    let mut sample = tokio::time::interval(SAMPLE_EVERY);
    let read = tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut told);
    tokio::pin!(read);
    loop {
        tokio::select! {
            done = &mut read => {
                done?;
                break;
            }
            _ = sample.tick() => memory.push(Memory { at: started.elapsed(), ..Memory::now(processes) }),
        }
    }
    memory.push(Memory { at: started.elapsed(), ..Memory::now(processes) });
    let status = importer.wait().await?;
    match serde_json::from_str(&told) {
        Ok(imported) => Ok((imported, memory)),
        Err(_) => bail!("the importer failed ({status})"),
    }
}

/// Resident memory of the three tiers, in bytes.
#[derive(Debug, Clone, Copy)]
struct Memory {
    at: Duration,
    tiers: [u64; 3],
}

impl Memory {
    fn now(processes: &[PlatformProcess]) -> Self {
        let of = |name| processes.iter().find(|process| process.name == name).and_then(|process| process.pid);
        Self { at: Duration::ZERO, tiers: TIERS.map(|name| of(name).map_or(0, cpu::resident)) }
    }

    fn sum_mb(&self) -> f64 {
        self.tiers.iter().sum::<u64>() as f64 / 1e6
    }
}

/// Idle, then five moments of the import, then the most of each: flat when the columns are.
fn memory_table(idle: &Memory, during: &[Memory]) -> Table {
    let at = |fifth: usize| during[(during.len() - 1) * fifth / 4];
    let moments = [0, 1, 2, 3, 4].map(at);
    let headings = moments.map(|memory| format!("{:.0} s", memory.at.as_secs_f64()));
    let mut names = vec!["resident MB", "idle"];
    names.extend(headings.iter().map(String::as_str));
    names.push("most");
    let mut table = Table::new(&names);
    let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    for (tier, name) in TIERS.iter().enumerate() {
        let most = during.iter().map(|memory| memory.tiers[tier]).max().unwrap_or(0);
        let cells = [idle.tiers[tier]].into_iter().chain(moments.map(|memory| memory.tiers[tier])).chain([most]);
        table.row([(*name).to_owned()].into_iter().chain(cells.map(mb)).collect());
    }
    let sum = |memory: &Memory| memory.tiers.iter().sum::<u64>();
    let most = during.iter().map(sum).max().unwrap_or(0);
    let cells = [sum(idle)].into_iter().chain(moments.iter().map(sum)).chain([most]);
    table.row(["all".to_owned()].into_iter().chain(cells.map(mb)).collect());
    table
}
