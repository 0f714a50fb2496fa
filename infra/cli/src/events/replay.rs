//! `kontor events replay`.

use super::{Chosen, after, before, open};
use crate::Said;
use crate::database::Database;
use crate::interruption::{INTERRUPTED, ended_by_ctrl_c};
use crate::moment::Moment;
use anyhow::{Context, ensure};
use chrono::Utc;
use clap::Args;
use kontor_event_store::LogReader;
use kontor_export::{Replay, Replayed};
use std::io::stdout;
use std::process::ExitCode;

#[derive(Args)]
pub struct ReplayOptions {
    /// The first event: a position, or the first that was recorded at this time or later
    #[arg(long, value_name = "POSITION|TIME", default_value = "1")]
    from: Moment,
    /// The last event: a position, or the last that was recorded before this time [default: the last there is]
    #[arg(long, value_name = "POSITION|TIME")]
    until: Option<Moment>,
    /// Go on with what is appended from now on; up to --until, if that is a position to come
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    chosen: Chosen,
    /// Only events of this aggregate: a SKU, an order's id and so on. May be given several times
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    database: Database,
}

pub async fn replay(options: ReplayOptions) -> anyhow::Result<Said> {
    let ReplayOptions { from, until, follow, chosen, ids, database } = options;
    let log = open(database).await?;
    let after = after(&log, from).await?;
    let until = match until {
        Some(until) => Some(last(&log, until, after, follow).await?),
        None => None,
    };
    let plan = Replay { selection: chosen.selection(ids), after, until, follow };
    let ending = ended_by_ctrl_c();
    let told = kontor_export::replay(&log, plan, stdout(), &ending, &|error| {
        eprintln!("kontor: the log cannot be read, and is asked again every second: {error}");
    });
    let Replayed { position, events } = told.await?;
    if !ending.is_cancelled() {
        return Ok(String::new().into());
    }
    eprintln!("Told {events} events, up to position {position}: --from {} goes on", position + 1);
    Ok(Said { text: String::new(), code: ExitCode::from(INTERRUPTED) })
}

async fn last(log: &LogReader, until: Moment, after: i64, follow: bool) -> anyhow::Result<i64> {
    if let Moment::Time(time) = until {
        ensure!(!follow || time <= Utc::now(), "--until must be a position, or a time gone by, with --follow");
    }
    let position = before(log, until).await?;
    let head = log.head().await.context("the log cannot be read")?;
    ensure!(follow || position <= head, "--until: position {position} is not in the log, whose last is {head}");
    ensure!(position >= after, "--until must not lie before --from, which is position {}", after + 1);
    Ok(position)
}
