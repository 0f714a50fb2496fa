//! `kontor payments`.

use crate::Said;
use crate::database::Database;
use anyhow::Context;
use chrono::TimeDelta;
use clap::{Args, Subcommand};
use kontor_command_services::payments::reconcile::{Difference, Reconciliation, reconcile as compare};
use kontor_domain::Money;
use kontor_local::Role;
use sqlx::{ConnectOptions, Connection};
use std::fmt::Write;
use std::process::ExitCode;

pub const RECONCILE_EXAMPLES: &str = "Examples:
  kontor payments reconcile
  kontor payments reconcile --under-way-s 0               # when nobody buys: every attempt must have ended alike
  kontor payments reconcile --json --data /tmp/kontor     # of a platform with its data elsewhere
  KONTOR_DATABASE_URL=postgres://kontor_auditor:...@db/kontor kontor payments reconcile

Kinds of difference: not-in-ledger (we count on it, the ledger does not know it), not-ours (the ledger has done it, nobody has
asked), other-request (another payment, operation or amount), not-heard (ended in the ledger, open with us), other-end.
With --json it prints {\"attempts\", \"differences\"}. Exit code 0 when both say the same of every attempt; 1 otherwise.";

#[derive(Subcommand)]
pub enum PaymentsTask {
    /// Compare our payments with the payment simulator's ledger, attempt by attempt.
    #[command(after_help = RECONCILE_EXAMPLES)]
    Reconcile(ReconcileOptions),
}

#[derive(Args)]
pub struct ReconcileOptions {
    #[command(flatten)]
    database: Database,
    /// How long after it was asked for an attempt may still be under way, in seconds
    #[arg(long, value_name = "N", default_value_t = 60)]
    under_way_s: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn payments(task: PaymentsTask) -> anyhow::Result<Said> {
    match task {
        PaymentsTask::Reconcile(options) => reconcile(options),
    }
}

fn reconcile(ReconcileOptions { database, under_way_s, json }: ReconcileOptions) -> anyhow::Result<Said> {
    let database = database.options(Role::Auditor)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(async {
        let mut connection = database.connect().await.context("the database cannot be reached")?;
        let found = compare(&mut connection, TimeDelta::seconds(under_way_s.into())).await?;
        connection.close().await?;
        anyhow::Ok(found)
    })?;
    let text = if json { serde_json::to_string(&found)? } else { told(&found) };
    let code = if found.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok(Said { text, code })
}

fn told(Reconciliation { attempts, differences }: &Reconciliation) -> String {
    if differences.is_empty() {
        return format!("{attempts} attempts compared: payments and ledger agree");
    }
    let mut text = format!("{attempts} attempts compared, {} differ\n\n", differences.len());
    let mut row = |cells: [&str; 6]| {
        let [attempt, payment, operation, kind, ours, theirs] = cells;
        let _ = writeln!(text, "{attempt:<36}  {payment:<36}  {operation:<9}  {kind:<13}  {ours:<24}  {theirs}");
    };
    row(["attempt", "payment", "to", "difference", "payment says", "ledger says"]);
    for Difference { attempt, payment_id, operation, kind, ours, theirs } in differences {
        let ours = ours.map(|ours| said(&format!("{:?}", ours.progress).to_lowercase(), ours.amount));
        let theirs = theirs.map(|theirs| said(theirs.state.name(), theirs.amount));
        let nothing = || "nothing".to_owned();
        let (ours, theirs) = (ours.unwrap_or_else(nothing), theirs.unwrap_or_else(nothing));
        row([&attempt.to_string(), &payment_id.to_string(), operation.name(), kind.name(), &ours, &theirs]);
    }
    text.trim_end().to_owned()
}

fn said(state: &str, amount: Money) -> String {
    format!("{state}, {amount}")
}
