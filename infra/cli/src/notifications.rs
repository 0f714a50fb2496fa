//! `kontor notifications`.

use crate::database::{Database, written};
use anyhow::{Context, bail};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use kontor_command_services::notifications::outbox::{Notification, Outbox, OutboxError, Status, Wanted};
use kontor_domain::OrderId;
use kontor_local::Role;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

pub const LIST_EXAMPLES: &str = "Examples:
  kontor notifications list --status dead
  kontor notifications list --order 01890a5d-ac96-774b-bcce-b302099a8057 --json
  kontor notifications list --limit 100 --before 4711     # the next page: before the last position of this one

With --json it prints a list of {\"id\", \"position\", \"kind\", \"order_id\", \"cart_id\", \"status\", \"attempts\", \"last_error\",
\"queued_at\", \"next_attempt_at\", \"settled_at\"}, the latest event's first.";

pub const CHANGE_EXAMPLES: &str = "Examples:
  kontor notifications retry 0199b6e0-0000-7000-8000-000000000001
  kontor notifications retry --all-dead
  kontor notifications drop 0199b6e0-0000-7000-8000-000000000001 --json

With --json it prints the mails as they are now, as `list` does. Exit code 1 if one is not known, or was sent.";

#[derive(Subcommand)]
pub enum NotificationsTask {
    /// Show mails to customers, the latest event's first.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListOptions),
    /// Send mails again as if they had never been tried.
    #[command(after_help = CHANGE_EXAMPLES)]
    Retry(ChangeOptions),
    /// See to it that mails are not sent any more.
    #[command(after_help = CHANGE_EXAMPLES)]
    Drop(ChangeOptions),
}

#[derive(Args)]
pub struct ListOptions {
    /// Only those in this state
    #[arg(long, value_parser = PossibleValuesParser::new(Status::ALL.map(Status::name)))]
    status: Option<String>,
    /// Only those about this order
    #[arg(long, value_name = "ID")]
    order: Option<OrderId>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
    /// Only those of events before this position
    #[arg(long, value_name = "POSITION")]
    before: Option<i64>,
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct ChangeOptions {
    /// The mails, as `list` names them
    #[arg(value_name = "ID", required_unless_present = "all_dead")]
    ids: Vec<Uuid>,
    /// All that were given up
    #[arg(long, conflicts_with = "ids")]
    all_dead: bool,
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What becomes of a mail.
#[derive(Clone, Copy)]
enum Change {
    Retry,
    Drop,
}

pub fn notifications(task: NotificationsTask) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match task {
            NotificationsTask::List(options) => list(options).await,
            NotificationsTask::Retry(options) => change(options, Change::Retry).await,
            NotificationsTask::Drop(options) => change(options, Change::Drop).await,
        }
    })
}

async fn list(ListOptions { status, order, limit, before, database, json }: ListOptions) -> anyhow::Result<String> {
    let status = status.as_deref().and_then(Status::named);
    let wanted = Wanted { status, order_id: order, before, limit };
    let found = outbox(database).await?.list(&wanted).await.context("the outbox cannot be read")?;
    shown(&found, json)
}

async fn change(
    ChangeOptions { ids, all_dead, database, json }: ChangeOptions,
    change: Change,
) -> anyhow::Result<String> {
    let outbox = outbox(database).await?;
    let ids = if all_dead { all_that_are_dead(&outbox).await? } else { ids };
    let mut changed = Vec::with_capacity(ids.len());
    for id in ids {
        let after = match change {
            Change::Retry => outbox.retry(id).await,
            Change::Drop => outbox.withdraw(id).await,
        };
        match after {
            Ok(mail) => changed.push(mail),
            // Sent by somebody else in the meantime: what was wanted of all that are dead.
            Err(OutboxError::TooLate { .. }) if all_dead => {}
            Err(error) if changed.is_empty() => return Err(error.into()),
            Err(error) => bail!("{error}; {} before it were changed", changed.len()),
        }
    }
    shown(&changed, json)
}

async fn all_that_are_dead(outbox: &Outbox) -> anyhow::Result<Vec<Uuid>> {
    let wanted = Wanted { status: Some(Status::Dead), limit: i64::MAX, ..Wanted::default() };
    let dead = outbox.list(&wanted).await.context("the outbox cannot be read")?;
    Ok(dead.into_iter().map(|mail| mail.id).collect())
}

async fn outbox(database: Database) -> anyhow::Result<Outbox> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(database.options(Role::Command)?).await;
    Ok(Outbox::new(pool.context("the database cannot be reached")?))
}

fn shown(mails: &[Notification], json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(serde_json::to_string(mails)?);
    }
    if mails.is_empty() {
        return Ok("There are none.".to_owned());
    }
    Ok(table(mails))
}

fn table(mails: &[Notification]) -> String {
    let row = |id: &str, kind: &str, status: &str, attempts: &str, at: &str, error: &str| {
        format!("{id:<36}  {kind:<15}  {status:<8}  {attempts:>8}  {at:<27}  {error}").trim_end().to_owned()
    };
    let mut rows = vec![row("ID", "KIND", "STATUS", "ATTEMPTS", "SETTLED OR DUE", "LAST ERROR")];
    rows.extend(mails.iter().map(|mail| {
        let at = written(mail.settled_at.unwrap_or(mail.next_attempt_at));
        let error = mail.last_error.as_deref().unwrap_or_default();
        row(&mail.id.to_string(), mail.kind.name(), mail.status.name(), &mail.attempts.to_string(), &at, error)
    }));
    rows.join("\n")
}
