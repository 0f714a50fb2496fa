//! `kontor projections rebuild`, `verify` and `rollback`: what takes its time, and can be interrupted.

use super::{open, open_all};
use crate::Said;
use crate::database::Database;
use crate::interruption::{INTERRUPTED, ended_by_ctrl_c};
use crate::moment::Moment;
use anyhow::{Context, bail};
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use kontor_projection_services::runtime::generation::Generation;
use kontor_projection_services::runtime::rebuild::{self as runtime, AsOf, Outcome};
use kontor_projection_services::runtime::verify::{self, Kind, Verification};
use kontor_projection_services::runtime::{Filled, Kept, Means};
use serde_json::json;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Rows that differ are named on a terminal up to this number.
const NAMED_MAX: usize = 100;

#[derive(Args)]
pub struct RebuildOptions {
    /// The projection, as `list` names it
    #[arg(value_name = "NAME", required_unless_present = "all")]
    projection: Option<String>,
    /// All of them, one after the other
    #[arg(long, conflicts_with_all = ["projection", "until"])]
    all: bool,
    /// Only what the log had then: a position, or a time
    #[arg(long, value_name = "POSITION|TIME", requires = "name")]
    until: Option<Moment>,
    /// What queries ask for it by: letters, digits and -
    #[arg(long = "name", id = "name", value_name = "NAME", requires = "until")]
    as_of: Option<String>,
    /// Transactions at the same time, from 1 to 8: more than one where there are processors to spare, for queries wait for them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    parallel: u8,
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct OneOptions {
    /// The projection, as `list` names it
    #[arg(value_name = "NAME")]
    projection: String,
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl OneOptions {
    pub async fn open(self, writers_max: usize) -> anyhow::Result<(Means, Kept, bool)> {
        let (means, kept) = open(self.database, &self.projection, writers_max).await?;
        Ok((means, kept, self.json))
    }
}

pub async fn rebuild(options: RebuildOptions) -> anyhow::Result<Said> {
    let RebuildOptions { projection, until, as_of, parallel, database, json, .. } = options;
    let names: Vec<_> = projection.into_iter().collect();
    let (means, kept) = open_all(database, &names, usize::from(parallel)).await?;
    let as_of = match until.zip(as_of) {
        None => None,
        Some((moment, name)) => Some(AsOf { position: position(&means, moment).await?, name: checked(name)? }),
    };
    let ending = ended_by_ctrl_c();
    let (mut told, mut code) = (Vec::new(), ExitCode::SUCCESS);
    for kept in &kept {
        let bar = Bar::of(kept);
        let built = runtime::rebuild(&means, kept, as_of.as_ref(), &ending, &|filled| bar.tell(filled)).await;
        let built = built.with_context(|| format!("projection {}", kept.projection.name()))?;
        told.push(bar.outcome(&built, json)?);
        if matches!(built, Outcome::Interrupted(_)) {
            code = ExitCode::from(INTERRUPTED);
            break;
        }
    }
    Ok(Said { text: told.join("\n"), code })
}

pub async fn rollback(options: OneOptions) -> anyhow::Result<Said> {
    let (means, kept, json) = options.open(1).await?;
    let (ending, bar) = (ended_by_ctrl_c(), Bar::of(&kept));
    let shown = runtime::rollback(&means, &kept, &ending, &|filled| bar.tell(filled)).await?;
    let is_done = !matches!(shown, Outcome::Interrupted(_));
    let code = if is_done { ExitCode::SUCCESS } else { ExitCode::from(INTERRUPTED) };
    Ok(Said { text: bar.outcome(&shown, json)?, code })
}

pub async fn verify(options: OneOptions) -> anyhow::Result<Said> {
    let (means, kept, json) = options.open(1).await?;
    let (ending, bar) = (ended_by_ctrl_c(), Bar::of(&kept));
    let verified = verify::verify(&means, &kept, &ending, &|filled| bar.tell(filled)).await?;
    bar.bar.finish_and_clear();
    let Some(verified) = verified else {
        return Ok(Said { text: String::new(), code: ExitCode::from(INTERRUPTED) });
    };
    let code = if verified.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    let text = if json { serde_json::to_string(&verified)? } else { compared(&verified) };
    Ok(Said { text, code })
}

fn compared(Verification { projection, position, rows, differences, .. }: &Verification) -> String {
    let rows = HumanCount(*rows as u64);
    if differences.is_empty() {
        return format!("{projection}: all {rows} rows are those of the log up to position {position}");
    }
    let mut lines = vec![format!(
        "{projection}: of {rows} rows that the log has up to position {position}, {} are not as they should be\n",
        differences.len()
    )];
    lines.extend(differences.iter().take(NAMED_MAX).map(|found| {
        let kind = match found.kind {
            Kind::Missing => "missing",
            Kind::Superfluous => "superfluous",
            Kind::Differs => "differs",
        };
        format!("{kind:<11}  {:<20}  {}", found.table, found.key)
    }));
    if differences.len() > NAMED_MAX {
        lines.push(format!("and {} more, which --json names", differences.len() - NAMED_MAX));
    }
    lines.join("\n")
}

async fn position(means: &Means, moment: Moment) -> anyhow::Result<i64> {
    Ok(match moment {
        Moment::Position(position) => position,
        Moment::Time(time) => means.log.position_at(time).await.context("the log cannot be read")?,
    })
}

fn checked(name: String) -> anyhow::Result<String> {
    let is_valid = |name: &str| name.len() <= 40 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match !name.is_empty() && is_valid(&name) {
        true => Ok(name),
        false => bail!("--name must have 1 to 40 letters, digits and -, to be asked for by queries"),
    }
}

/// How far a build is: a bar on standard error, where that is a terminal.
struct Bar {
    projection: &'static str,
    bar: ProgressBar,
    begun: Instant,
    /// Where this run began.
    first: OnceLock<i64>,
}

impl Bar {
    fn of(kept: &Kept) -> Self {
        let projection = kept.projection.name();
        let bar = ProgressBar::no_length().with_message(projection);
        let template = "{msg:<14} {wide_bar} {human_pos} of {human_len}, {per_sec:.0}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Bar { projection, bar, begun: Instant::now(), first: OnceLock::new() }
    }

    fn tell(&self, Filled { position, until }: Filled) {
        self.bar.set_length(until as u64);
        self.bar.set_position(position as u64);
        if self.first.set(position).is_ok() {
            self.bar.reset_eta(); // What was there before, after an interruption, is not of this run's rate.
        }
    }

    fn outcome(&self, outcome: &Outcome, json: bool) -> anyhow::Result<String> {
        self.bar.finish_and_clear();
        let (word, generation) = match outcome {
            Outcome::Shown(generation) => ("shown", generation),
            Outcome::Named(generation) => ("named", generation),
            Outcome::Interrupted(generation) => ("interrupted", generation),
        };
        let Generation { position, generation: number, .. } = *generation;
        let (events, took) = (position - self.first.get().copied().unwrap_or(position), self.begun.elapsed());
        let seconds = (took.max(Duration::from_millis(1)).as_secs_f64() * 1_000.0).round() / 1_000.0;
        if json {
            let told = json!({"projection": self.projection, "generation": number, "outcome": word,
                "position": position, "events": events, "seconds": seconds});
            return Ok(told.to_string());
        }
        let what = match outcome {
            Outcome::Shown(_) => format!("queries see generation {generation}, which is at position {position}"),
            Outcome::Named(_) => {
                let name = generation.name.as_deref().unwrap_or_default();
                format!("queries can ask for {name}, which is generation {generation} at position {position}")
            }
            Outcome::Interrupted(_) => {
                format!("generation {generation} is at position {position}: the same command goes on from there")
            }
        };
        let rate = HumanCount((events as f64 / seconds) as u64);
        Ok(format!("{}: {what} ({seconds} s, {rate} events/s)", self.projection))
    }
}
