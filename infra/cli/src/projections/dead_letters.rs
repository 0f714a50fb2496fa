//! `kontor projections dead-letters`.

use super::{find_live, live, open, open_all};
use crate::database::{Database, written};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kontor_projection_services::runtime::dead_letters::{self, DeadLetter};
use kontor_projection_services::runtime::rebuild::LASTS;
use serde_json::json;

#[derive(Subcommand)]
pub enum LettersTask {
    /// Show what was set aside of what queries see, in the order of the log.
    List {
        /// Only of these projections
        #[arg(value_name = "NAME")]
        projections: Vec<String>,
        #[command(flatten)]
        database: Database,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one with its event, as the log has it.
    Show {
        /// The projection, as `list` names it
        projection: String,
        /// The event's position in the log
        position: i64,
        #[command(flatten)]
        database: Database,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Apply events with all that wait with them, each aggregate's in order.
    Retry(ChangeOptions),
    /// See to it that events are never applied.
    Drop(ChangeOptions),
}

#[derive(Args)]
pub struct ChangeOptions {
    /// The projection, as `list` names it
    projection: String,
    /// The events' positions in the log
    #[arg(value_name = "POSITION", required_unless_present = "all")]
    positions: Vec<i64>,
    /// All that wait
    #[arg(long, conflicts_with = "positions")]
    all: bool,
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn dead_letters(task: LettersTask) -> anyhow::Result<String> {
    match task {
        LettersTask::List { projections, database, json } => {
            let (means, kept) = open_all(database, &projections, 1).await?;
            let mut letters = Vec::new();
            for kept in &kept {
                let live = match projections.is_empty() {
                    true => find_live(&means, kept).await?,
                    false => Some(live(&means, kept).await?),
                };
                if let Some(live) = live {
                    letters.extend(dead_letters::list(&means.control, &live).await?);
                }
            }
            shown(&letters, json)
        }
        LettersTask::Show { projection, position, database, json } => {
            let (means, kept) = open(database, &projection, 1).await?;
            let letters = dead_letters::list(&means.control, &live(&means, &kept).await?).await?;
            let letter = letters.into_iter().find(|letter| letter.position == position);
            let letter = letter.with_context(|| format!("{projection} has no dead letter {position}"))?;
            let event = dead_letters::show(&means, &letter).await?;
            let (payload, metadata): (serde_json::Value, serde_json::Value) =
                (serde_json::from_str(&event.payload)?, serde_json::from_str(&event.metadata)?);
            if json {
                return Ok(
                    json!({"letter": letter, "event_type": event.event_type, "event_version": event.event_version,
                    "payload": payload, "metadata": metadata})
                    .to_string(),
                );
            }
            let state = match (&letter.error, letter.dropped_at) {
                (_, Some(at)) => format!("dropped {}", written(at)),
                (Some(error), None) => format!("failed {} times: {error}", letter.attempts),
                (None, None) => "waits behind an event that failed".to_owned(),
            };
            Ok(format!(
                "{} of {} {}, recorded {}\nset aside {}; {state}\n{payload:#}",
                event.event_type,
                letter.aggregate_type,
                letter.aggregate_id,
                written(event.recorded_at),
                written(letter.set_aside_at),
            ))
        }
        LettersTask::Retry(options) => change(options, Change::Retry).await,
        LettersTask::Drop(options) => change(options, Change::Drop).await,
    }
}

/// What becomes of a letter.
enum Change {
    Retry,
    Drop,
}

async fn change(options: ChangeOptions, change: Change) -> anyhow::Result<String> {
    let ChangeOptions { projection, positions, all, database, json } = options;
    let (means, kept) = open(database, &projection, 1).await?;
    let live = live(&means, &kept).await?;
    let there = dead_letters::list(&means.control, &live).await?;
    let waiting = there.iter().filter(|letter| letter.dropped_at.is_none()).map(|letter| letter.position);
    let positions = if all { waiting.collect() } else { positions };
    let changed = match change {
        Change::Retry => dead_letters::retry(&means, &kept, &live, &positions, LASTS).await?,
        Change::Drop => {
            let mut transaction = means.control.begin().await?;
            let dropped = dead_letters::drop_letters(&mut transaction, &live, &positions).await?;
            transaction.commit().await?;
            dropped
        }
    };
    if changed.is_empty() && !all {
        bail!("nothing was changed");
    }
    shown(&changed, json)
}

fn shown(letters: &[DeadLetter], json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(serde_json::to_string(letters)?);
    }
    if letters.is_empty() {
        return Ok("There are none.".to_owned());
    }
    let row = |projection: &str, position: &str, aggregate: &str, at: &str, error: &str| {
        format!("{projection:<14}  {position:>10}  {aggregate:<50}  {at:<27}  {error}").trim_end().to_owned()
    };
    let mut rows = vec![row("PROJECTION", "POSITION", "AGGREGATE", "SET ASIDE", "ERROR")];
    rows.extend(letters.iter().map(|letter| {
        let DeadLetter { projection, position, aggregate_type, aggregate_id, error, set_aside_at, .. } = letter;
        let error = match letter.dropped_at {
            Some(at) => format!("dropped {}", written(at)),
            None => error.clone().unwrap_or_else(|| "waits behind it".to_owned()),
        };
        let aggregate = format!("{aggregate_type} {aggregate_id}");
        row(projection, &position.to_string(), &aggregate, &written(*set_aside_at), &error)
    }));
    Ok(rows.join("\n"))
}
