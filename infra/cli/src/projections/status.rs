//! `kontor projections status`.

use super::open_all;
use crate::Said;
use crate::database::Database;
use clap::Args;
use kontor_projection_services::runtime::Means;
use kontor_projection_services::runtime::generation::State;
use kontor_projection_services::runtime::operations::{Status, status as look};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const RATE_OVER: Duration = Duration::from_millis(500);
const WATCH_EVERY: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct StatusOptions {
    /// Only these projections
    #[arg(value_name = "NAME")]
    projections: Vec<String>,
    /// Look again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    database: Database,
    /// Print JSON; with --watch a list a line
    #[arg(long)]
    json: bool,
}

/// Generations, and the events/s of each since the look before.
struct Look {
    at: Instant,
    found: Vec<Status>,
}

pub async fn status(StatusOptions { projections, watch, database, json }: StatusOptions) -> anyhow::Result<Said> {
    let (means, kept) = open_all(database, &projections, 1).await?;
    let names: Vec<_> = kept.iter().map(|kept| kept.projection.name()).collect();
    let mut before = Look::take(&means, &names).await?;
    sleep(RATE_OVER).await;
    loop {
        let now = Look::take(&means, &names).await?;
        let text = if json { Value::from(now.json(&before)).to_string() } else { now.table(&before) };
        if !watch {
            return Ok(Said { text, code: now.code() });
        }
        let mut out = std::io::stdout().lock();
        // Over the last one, where somebody looks on.
        let clear = if !json && out.is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        if writeln!(out, "{clear}{text}").is_err() {
            return Ok(Said { text: String::new(), code: ExitCode::SUCCESS }); // Whoever reads has had enough.
        }
        drop(out);
        before = now;
        tokio::select! {
            () = sleep(WATCH_EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Said { text: String::new(), code: ExitCode::SUCCESS }),
        }
    }
}

impl Look {
    async fn take(means: &Means, names: &[&str]) -> anyhow::Result<Self> {
        Ok(Look { at: Instant::now(), found: look(&means.control, names).await? })
    }

    /// Events/s that `of` has applied since the look `before`.
    fn rate(&self, of: &Status, before: &Look) -> f64 {
        let key = |status: &Status| (status.generation.projection.clone(), status.generation.generation);
        let earlier = before.found.iter().find(|status| key(status) == key(of));
        let moved = earlier.map_or(0, |earlier| of.generation.position - earlier.generation.position);
        (moved as f64 / (self.at - before.at).as_secs_f64()).round()
    }

    fn json(&self, before: &Look) -> Vec<Value> {
        let told = |status: &Status| {
            let mut told = json!(status);
            told["rate"] = json!(self.rate(status, before));
            told
        };
        self.found.iter().map(told).collect()
    }

    fn table(&self, before: &Look) -> String {
        let row = |cells: [&str; 9]| {
            let [projection, generation, state, position, lag, seconds, rate, letters, kept] = cells;
            format!(
                "{projection:<15}  {generation:>10}  {state:<20}  {position:>12}  {lag:>10}  {seconds:>8}  {rate:>8}  \
                 {letters:>12}  {kept}"
            )
            .trim_end()
            .to_owned()
        };
        let titles =
            ["PROJECTION", "GENERATION", "STATE", "POSITION", "LAG", "LAG/S", "RATE/S", "DEAD LETTERS", "KEPT"];
        let mut rows = vec![row(titles)];
        rows.extend(self.found.iter().map(|status| {
            let generation = &status.generation;
            let mut state = generation.state.name().to_owned();
            if let Some(name) = &generation.name {
                state = format!("{state} {name}");
            }
            if generation.paused {
                state.push_str(", paused");
            }
            row([
                &generation.projection,
                &generation.generation.to_string(),
                &state,
                &generation.position.to_string(),
                &status.lag_events.to_string(),
                &format!("{:.1}", status.lag_seconds),
                &self.rate(status, before).to_string(),
                &status.dead_letters.to_string(),
                if status.kept { "yes" } else { "no" },
            ])
        }));
        rows.join("\n")
    }

    fn code(&self) -> ExitCode {
        let is_left_alone =
            |status: &Status| status.generation.state == State::Live && !status.generation.paused && !status.kept;
        if self.found.iter().any(is_left_alone) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
