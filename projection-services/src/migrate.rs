//! The tables of the read models: schema `projections`, and `vectors` for those that are searched in the process, apart from the
//! log's tables.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Brings the schemas `projections` and `vectors` up to date. `options` are those of a role that owns the database.
///
/// # Errors
/// The connection's, and those of a migration that fails or was edited after its release.
pub async fn migrate(options: PgConnectOptions) -> Result<(), MigrateError> {
    // The migrator's own table goes where the search path points: beside the read models, so that the log's migrations and
    // these do not mistake each other for their own.
    let mut connection = options.clone().options([("search_path", "projections")]).connect().await?;
    connection.execute("create schema if not exists projections").await?;
    MIGRATIONS.run(&mut connection).await?;
    connection.close().await?;
    kontor_vectors::migrate(options).await
}
