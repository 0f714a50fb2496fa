//! The tables of vectors that are searched in the process: schema `vectors`, apart from all others.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Brings the schema `vectors` up to date. `options` are those of a role that owns the database.
///
/// # Errors
/// The connection's, and those of a migration that fails or was edited after its release.
pub async fn migrate(options: PgConnectOptions) -> Result<(), MigrateError> {
    // The migrator's own table goes where the search path points, so that no other migrator mistakes it.
    let mut connection = options.options([("search_path", "vectors")]).connect().await?;
    connection.execute("create schema if not exists vectors").await?;
    MIGRATIONS.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
