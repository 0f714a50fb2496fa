//! Schemas of Postgres that the command tier keeps beside the log, each with migrations of its own.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};

/// Brings `schema` up to date. `options` are those of a role that owns the database.
///
/// # Errors
/// The connection's, and those of a migration that fails or was edited after its release.
pub async fn migrate(options: PgConnectOptions, schema: &str, migrations: &Migrator) -> Result<(), MigrateError> {
    // The migrator's own table goes where the search path points, so that no other migrator mistakes it.
    let mut connection = options.options([("search_path", schema)]).connect().await?;
    connection.execute(format!("create schema if not exists {schema}").as_str()).await?;
    migrations.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
