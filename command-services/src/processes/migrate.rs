use crate::schema;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/processes");

/// Brings the schema `processes` up to date. `options` are those of a role that owns the database.
///
/// # Errors
/// The connection's, and those of a migration that fails or was edited after its release.
pub async fn migrate(options: PgConnectOptions) -> Result<(), MigrateError> {
    schema::migrate(options, "processes", &MIGRATIONS).await
}
