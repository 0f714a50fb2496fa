//! A log to measure on.

use kontor_event_store::{Log, LogSettings};
use kontor_local::{Postgres, Role};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::sync::Arc;

/// Migrates the log of `database` and opens it as the command service does.
pub async fn open_log(server: &Postgres, database: &str) -> anyhow::Result<Arc<Log>> {
    let options = |role| anyhow::Ok(server.url(role).parse::<PgConnectOptions>()?.database(database));
    let migrator = PgPoolOptions::new().max_connections(1).connect_with(options(Role::Migrator)?).await?;
    kontor_event_store::MIGRATIONS.run(&migrator).await?;
    migrator.close().await;
    Ok(Log::open(options(Role::Command)?, LogSettings::default(), Default::default()).await?)
}
