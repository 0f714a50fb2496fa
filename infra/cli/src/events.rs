//! `kontor events`.

mod export;
mod replay;

use crate::Said;
use crate::database::Database;
use crate::moment::Moment;
use anyhow::{Context, ensure};
use chrono::TimeDelta;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use kontor_event_schemas::registry::AGGREGATES;
use kontor_event_schemas::{schemas, subject, upcast};
use kontor_event_store::pages::PAGES_AHEAD;
use kontor_event_store::{LogReader, Selection};
use kontor_export::Table;
use kontor_local::Role;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;
use std::time::Duration;

pub const EXPORT_EXAMPLES: &str = "Examples:
  kontor events export --output events
  kontor events export --output events --format csv --aggregate order --aggregate payment
  kontor events export --output november --from 2026-11-01 --to 2026-12-01
  kontor events export --output s3://analysts/kontor --endpoint http://127.0.0.1:9000
  duckdb -c \"select * from 'events/order.placed.1.0/*/*.parquet'\"

Files are EVENT.VERSION/date=YYYY-MM-DD/FIRST-LAST.FORMAT: the day is that of recording, FIRST and LAST are positions of the log, and
EVENT.VERSION/_schema.json has the columns. A file is there whole or not at all. Interrupted, by whatever, the same command goes
on where it was, and nothing is there twice; done, it adds what the log has got since. Personal data stays sealed.
Of S3, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and so on say who asks.

With --json it prints {\"outcome\", \"output\", \"format\", \"from\", \"to\", \"position\", \"events\", \"files\", \"bytes\", \"seconds\"}: what
this run has added, up to position; outcome is exported or interrupted. Exit code 0 when all is exported, 1 when it failed, 130 when
it was interrupted.";

pub const REPLAY_EXAMPLES: &str = "Examples:
  kontor events replay > events.ndjson
  kontor events replay --from 2026-11-24 --event order.placed | jq .payload.Placed.total
  kontor events replay --from 4711 --aggregate stock --id 85123A --follow

A line is {\"position\", \"aggregate_type\", \"aggregate_id\", \"sequence\", \"event_type\", \"event_version\", \"recorded_at\",
\"metadata\", \"payload\"}, the last two as they are stored. With --follow, what comes after the history is told within a moment of
its commit: nothing is left out, nothing told twice. Exit code 0 when all is told or nobody reads any more, 1 when it failed, 130
after Ctrl-C, which leaves no line unfinished and says where to go on.";

pub const SCHEMA_EXAMPLES: &str = "Examples:
  kontor events schema                   # which events there are
  kontor events schema order.placed      # the columns of its table, and the JSON Schema of its payload

Exit code 0.";

/// A database that cannot be reached for so long is away.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Subcommand)]
pub enum EventsTask {
    /// Write the log as files, to a folder or an S3-compatible store.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(export::ExportOptions),
    /// Write the log to standard output, a line of JSON an event, and go on with what is new.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(replay::ReplayOptions),
    /// Show which events there are, or the form of one.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema {
        /// The event, such as stock.shipped
        #[arg(value_parser = PossibleValuesParser::new(schemas::events()), hide_possible_values = true)]
        event: Option<String>,
    },
}

/// Which events.
#[derive(Args)]
struct Chosen {
    /// All events of this type of aggregate. May be given several times
    #[arg(long = "aggregate", value_name = "TYPE", value_parser = PossibleValuesParser::new(AGGREGATES))]
    aggregates: Vec<String>,
    /// This event, as `kontor events schema` lists it, besides. May be given several times
    #[arg(long = "event", value_name = "EVENT", hide_possible_values = true,
        value_parser = PossibleValuesParser::new(schemas::events()))]
    events: Vec<String>,
}

impl Chosen {
    fn selection(self, ids: Vec<String>) -> Selection {
        let of_subject = |event: &String| {
            let subject = format!("kontor.v1.{event}");
            subject::parse(&subject).map(|(aggregate, event)| (aggregate.to_owned(), event))
        };
        Selection { events: self.events.iter().filter_map(of_subject).collect(), aggregates: self.aggregates, ids }
    }
}

pub fn events(task: EventsTask) -> anyhow::Result<Said> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match task {
        EventsTask::Export(options) => runtime.block_on(export::export(options)),
        EventsTask::Replay(options) => runtime.block_on(replay::replay(options)),
        EventsTask::Schema { event } => Ok(schema(event).into()),
    }
}

fn schema(event: Option<String>) -> String {
    let Some(event) = event else { return schemas::events().join("\n") };
    let is_of_event = |name: &&str| name.strip_prefix(&event).is_some_and(|version| version.starts_with('.'));
    // The last is of the version that is stored now.
    let name = schemas::SCHEMAS.iter().map(|(name, _)| *name).rfind(is_of_event);
    Table::of(name.unwrap_or(&event)).described().trim_end().to_owned()
}

/// The log, read as an auditor does: who may change nothing.
async fn open(database: Database) -> anyhow::Result<LogReader> {
    let options = database.options(Role::Auditor)?;
    let pool = PgPoolOptions::new().max_connections(PAGES_AHEAD as u32 + 1).acquire_timeout(PATIENCE);
    let log = pool.connect_with(options).await;
    Ok(LogReader::new(log.context("the database cannot be reached")?, Arc::new(upcast::released())))
}

/// The position before `from`, which the log must have reached.
async fn after(log: &LogReader, from: Moment) -> anyhow::Result<i64> {
    let head = log.head().await.context("the log cannot be read")?;
    match from {
        Moment::Position(position) => {
            ensure!(position >= 1, "--from must be a position, the first of which is 1, not {position}");
            ensure!(position <= head + 1, "--from: position {position} is not in the log, whose last is {head}");
            Ok(position - 1)
        }
        Moment::Time(_) => before(log, from).await,
    }
}

/// The position itself, or the last that was recorded before the time.
async fn before(log: &LogReader, moment: Moment) -> anyhow::Result<i64> {
    match moment {
        Moment::Position(position) => Ok(position),
        Moment::Time(time) => {
            // Times of the log are whole microseconds.
            let just_before = time - TimeDelta::microseconds(1);
            log.position_at(just_before).await.context("the log cannot be read")
        }
    }
}
