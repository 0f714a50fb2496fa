//! `kontor customers`.

use crate::database::{Database, written};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kontor_domain::SubjectId;
use kontor_local::Role;
use kontor_privacy::{Erasure, PrivacySettings, erase as destroy_key};
use serde_json::json;
use sqlx::{ConnectOptions, Connection};
use std::io::{self, IsTerminal, Write};

pub const ERASE_EXAMPLES: &str = "Examples:
  kontor customers erase 17850
  kontor customers erase 17850 --yes --json               # for a script
  kontor customers erase 17850 --data /tmp/kontor         # of a platform with its data elsewhere
  KONTOR_DATABASE_URL=postgres://kontor_command:...@db/kontor kontor customers erase 17850

With --json it prints {\"subject\", \"outcome\", \"created_at\", \"erased_at\"}: the outcome is destroyed, or already-erased; the
times (RFC 3339) are those of the key. Exit code 0 when the key is destroyed, now or before; 1 otherwise.";

#[derive(Subcommand)]
pub enum CustomersTask {
    /// Destroy the key of a customer's personal data: nobody can read it any more, in the log or any copy.
    #[command(after_help = ERASE_EXAMPLES)]
    Erase(EraseOptions),
}

#[derive(Args)]
pub struct EraseOptions {
    /// The customer, or the subject of a guest's purchase
    #[arg(value_name = "ID")]
    subject: SubjectId,
    #[command(flatten)]
    database: Database,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn customers(task: CustomersTask) -> anyhow::Result<String> {
    match task {
        CustomersTask::Erase(options) => erase(options),
    }
}

fn erase(EraseOptions { subject, database, json, yes }: EraseOptions) -> anyhow::Result<String> {
    let database = database.options(Role::Command)?;
    if !yes && !confirmed(&subject)? {
        bail!("nothing was erased");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let erasure = runtime.block_on(async {
        let mut connection = database.connect().await.context("the database cannot be reached")?;
        let erasure = destroy_key(&mut connection, &subject)
            .await
            .with_context(|| format!("it is not known whether the key of {subject} is destroyed: do it again"))?;
        connection.close().await?;
        anyhow::Ok(erasure)
    })?;
    let (outcome, created_at, erased_at) = match erasure {
        Erasure::Destroyed { created_at, erased_at } => ("destroyed", created_at, erased_at),
        Erasure::Already { created_at, erased_at } => ("already-erased", created_at, erased_at),
        Erasure::NoSuchSubject => bail!("there is no {subject} with personal data: nothing was erased"),
    };
    if json {
        let told = json!({
            "subject": subject,
            "outcome": outcome,
            "created_at": written(created_at),
            "erased_at": written(erased_at),
        });
        return Ok(told.to_string());
    }
    let (created, erased) = (written(created_at), written(erased_at));
    Ok(match erasure {
        Erasure::Destroyed { .. } => format!(
            "Destroyed the key of {subject}, made {created}: no name, address, e-mail or telephone number that was sealed \
             with it can be read any more.\nProcesses that run have forgotten it after privacy.keys_cached_s \
             ({} s unless set). Backups of the database that are older still have it.",
            PrivacySettings::default().keys_cached_s
        ),
        _ => {
            format!("The key of {subject}, made {created}, was destroyed before, at {erased}: nothing was left to do.")
        }
    })
}

/// Asks on the terminal; there must be one.
fn confirmed(subject: &SubjectId) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to ask on: say --yes to erase {subject} without being asked");
    }
    eprint!("Erase the personal data of {subject} for ever? This cannot be undone. [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_a_yes_is_one() {
        assert!(["y\n", "Y", " yes \n", "YES"].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "no", "yess", "17850"].into_iter().any(is_yes));
    }
}
