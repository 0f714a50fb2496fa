//! `kontor projections`.

mod build;
mod dead_letters;
mod status;

use crate::Said;
use crate::database::Database;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kontor_event_schemas::upcast;
use kontor_event_store::LogReader;
use kontor_local::Role;
use kontor_projection_services::projections;
use kontor_projection_services::runtime::generation::{self, Generation, State};
use kontor_projection_services::runtime::operations::{pause, remove};
use kontor_projection_services::runtime::store::StoreOptions;
use kontor_projection_services::runtime::{Kept, Means};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;

/// Of what gives way to everything else.
const NICE: i32 = 10;

pub const STATUS_EXAMPLES: &str = "Examples:
  kontor projections status
  kontor projections status orders --watch
  kontor projections status --json | jq '.[] | select(.state == \"live\") | {projection, lag_events}'

With --json it prints a list, a generation each, of {\"projection\", \"generation\", \"version\", \"store\", \"state\", \"automatic\",
\"paused\", \"name\", \"until_position\", \"position\", \"event_id\", \"log_epoch\", \"written_at\", \"worker\", \"fence\", \"lease_until\",
\"created_at\", \"switched_at\", \"head\", \"lag_events\", \"lag_seconds\", \"dead_letters\", \"kept\", \"rate\"}; rate is in events/s.
Exit code 0; 1 if something live is neither paused nor kept by a projector.";

pub const REBUILD_EXAMPLES: &str = "Examples:
  kontor projections rebuild orders
  kontor projections rebuild --all --parallel 2
  kontor projections rebuild catalogue --until 2026-11-24T12:00:00Z --name noon   # for queries with ?as_of=noon

Queries see the old read model until the new one has all that it has; then, all at once, the new one. The old one is kept for a
rollback. After Ctrl-C the same command goes on where it was. Nothing but read models is written: no mail is sent again.
With --json it prints {\"projection\", \"generation\", \"outcome\", \"position\", \"events\", \"seconds\"} a projection, a line each;
outcome is shown, named or interrupted. Exit code 0 when it is done, 1 when it failed, 130 when it was interrupted.";

pub const VERIFY_EXAMPLES: &str = "Examples:
  kontor projections verify orders
  kontor projections verify products --json | jq '.differences[].key'

With --json it prints {\"projection\", \"generation\", \"position\", \"rows\", \"differences\": [{\"table\", \"key\", \"kind\"}]}; kind is
missing, superfluous or differs. Exit code 0 when all rows are those of the log, 1 when some are not or it failed, 130 when it
was interrupted.";

pub const ROLLBACK_EXAMPLES: &str = "Example:
  kontor projections rollback orders

Shows the generation that queries saw before, after it was brought up to date. With --json as `rebuild`, and its exit codes.";

pub const LETTERS_EXAMPLES: &str = "Examples:
  kontor projections dead-letters list
  kontor projections dead-letters show orders 4711
  kontor projections dead-letters retry orders 4711     # with the others of its aggregate, in order
  kontor projections dead-letters retry orders --all
  kontor projections dead-letters drop orders 4711

With --json, list, retry and drop print a list of {\"projection\", \"generation\", \"position\", \"event_id\", \"aggregate_type\",
\"aggregate_id\", \"error\", \"attempts\", \"set_aside_at\", \"dropped_at\"}; an error of null waits behind one that failed. Exit code 0;
1 if one is not known, or fails again.";

pub const OTHER_EXAMPLES: &str = "Examples:
  kontor projections pause orders
  kontor projections resume orders
  kontor projections drop orders 3        # a generation that queries do not see

With --json it prints the generation, as `status` does. Exit code 0 when it is done, 1 otherwise.";

#[derive(Subcommand)]
pub enum ProjectionsTask {
    /// Show which projections there are.
    #[command(after_help = "Example:\n  kontor projections list --json\n\nExit code 0.")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show how far each generation has come.
    #[command(after_help = STATUS_EXAMPLES)]
    Status(status::StatusOptions),
    /// Build read models anew, beside those that queries see.
    #[command(after_help = REBUILD_EXAMPLES)]
    Rebuild(build::RebuildOptions),
    /// Compare each row with a fresh fold of the log.
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(build::OneOptions),
    /// Show queries what they saw before the last rebuild.
    #[command(after_help = ROLLBACK_EXAMPLES)]
    Rollback(build::OneOptions),
    /// Events that could not be applied.
    #[command(after_help = LETTERS_EXAMPLES)]
    DeadLetters {
        #[command(subcommand)]
        task: dead_letters::LettersTask,
    },
    /// Leave a read model as it is: its projector does not follow the log.
    #[command(after_help = OTHER_EXAMPLES)]
    Pause(build::OneOptions),
    /// Let a projector follow the log again.
    #[command(after_help = OTHER_EXAMPLES)]
    Resume(build::OneOptions),
    /// Remove a generation that queries do not see, with its rows.
    #[command(after_help = OTHER_EXAMPLES)]
    Drop(DropOptions),
}

#[derive(Args)]
pub struct DropOptions {
    /// The projection, as `list` names it
    projection: String,
    /// Its generation, as `status` numbers it
    generation: i32,
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn projections(task: ProjectionsTask) -> anyhow::Result<Said> {
    if let ProjectionsTask::Rebuild(_) | ProjectionsTask::Verify(_) | ProjectionsTask::Rollback(_) = task {
        // What takes its time gives way to the shop on the same machine. Before there are threads, which inherit it.
        let _ = rustix::process::nice(NICE);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match task {
            ProjectionsTask::List { json } => Ok(list(json)?.into()),
            ProjectionsTask::Status(options) => status::status(options).await,
            ProjectionsTask::Rebuild(options) => build::rebuild(options).await,
            ProjectionsTask::Verify(options) => build::verify(options).await,
            ProjectionsTask::Rollback(options) => build::rollback(options).await,
            ProjectionsTask::DeadLetters { task } => dead_letters::dead_letters(task).await.map(Said::from),
            ProjectionsTask::Pause(options) => set_paused(options, true).await.map(Said::from),
            ProjectionsTask::Resume(options) => set_paused(options, false).await.map(Said::from),
            ProjectionsTask::Drop(options) => drop_generation(options).await.map(Said::from),
        }
    })
}

fn list(json: bool) -> anyhow::Result<String> {
    let all = projections::all();
    if json {
        let told: Vec<_> = all
            .iter()
            .map(|projection| {
                serde_json::json!({"projection": projection.name(), "version": projection.version(),
                    "aggregate_types": projection.aggregate_types()})
            })
            .collect();
        return Ok(serde_json::to_string(&told)?);
    }
    let mut rows = vec![format!("{:<16}  {:>7}  FROM", "PROJECTION", "VERSION")];
    rows.extend(all.iter().map(|projection| {
        format!("{:<16}  {:>7}  {}", projection.name(), projection.version(), projection.aggregate_types().join(", "))
    }));
    Ok(rows.join("\n"))
}

async fn set_paused(options: build::OneOptions, paused: bool) -> anyhow::Result<String> {
    let (means, kept, json) = options.open(1).await?;
    let generation = pause(&means, &kept, paused).await?;
    if json {
        return Ok(serde_json::to_string(&generation)?);
    }
    let told = if paused { "is paused" } else { "goes on" };
    Ok(format!("{} {told} at position {}", generation.projection, generation.position))
}

async fn drop_generation(options: DropOptions) -> anyhow::Result<String> {
    let DropOptions { projection, generation, database, json } = options;
    let (means, kept) = open(database, &projection, 1).await?;
    let found = generation::find(&means.control, &projection, generation).await?;
    let Some(found) = found else { bail!("projection {projection} has no generation {generation}") };
    remove(&means, &kept, &found).await?;
    if json {
        return Ok(serde_json::to_string(&found)?);
    }
    Ok(format!("Generation {found} is gone"))
}

/// What a task works with, and the projection of that name.
async fn open(database: Database, projection: &str, writers_max: usize) -> anyhow::Result<(Means, Kept)> {
    let (means, mut kept) = open_all(database, &[projection.to_owned()], writers_max).await?;
    Ok((means, kept.remove(0)))
}

/// As above, and these projections; all if none is named.
async fn open_all(database: Database, names: &[String], writers_max: usize) -> anyhow::Result<(Means, Vec<Kept>)> {
    let chosen = projections::chosen(names)?;
    let (redis, search) = (database.redis()?, database.search()?);
    let postgres = database.options(Role::Projector)?.options([("synchronous_commit", "local")]);
    let control = PgPoolOptions::new().max_connections(4).connect_with(postgres.clone()).await;
    let control = control.context("the database cannot be reached")?;
    let log = LogReader::new(control.clone(), Arc::new(upcast::released()));
    let stores = StoreOptions { postgres, redis, search, writers_max };
    let mut kept = Vec::new();
    for projection in chosen {
        if let Some(settings) = projection.lacks(&stores) {
            if names.iter().any(|name| name == projection.name()) {
                bail!(
                    "projection {} is not in Postgres: say where with {settings}, or as --help says",
                    projection.name()
                );
            }
            continue;
        }
        let projection = Kept::new(projection, &stores);
        refuse_other_store(&control, &projection).await?;
        kept.push(projection);
    }
    Ok((Means { control, log, writers_max }, kept))
}

/// What queries see elsewhere would be missed there.
async fn refuse_other_store(control: &PgPool, kept: &Kept) -> anyhow::Result<()> {
    let (name, store) = (kept.projection.name(), kept.store.kind());
    let there = generation::of(control, name).await?;
    match there.iter().find(|generation| generation.state == State::Live && generation.store != store) {
        Some(live) => bail!("projection {name} is in {}, not in {store}: say where, as --help says", live.store),
        None => Ok(()),
    }
}

/// The generation of `kept` that queries see.
async fn live(means: &Means, kept: &Kept) -> anyhow::Result<Generation> {
    let live = find_live(means, kept).await?;
    live.with_context(|| format!("nothing is live of projection {}", kept.projection.name()))
}

/// The same. `None`: no projector has kept it yet.
async fn find_live(means: &Means, kept: &Kept) -> anyhow::Result<Option<Generation>> {
    let there = generation::of(&means.control, kept.projection.name()).await?;
    Ok(there.into_iter().find(|generation| generation.state == State::Live))
}
