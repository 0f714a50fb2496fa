//! One relay leads: the one that holds an advisory lock. The fence of each batch makes a second leader harmless; the lock
//! keeps the two from hindering each other.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

/// Any number that nobody else locks: "relay" in ASCII.
const LOCK: i64 = 0x72_65_6c_61_79;

/// The lock is held as long as this lives and its connection holds.
pub struct Leader(PgConnection);

impl Leader {
    /// `None`: another relay leads.
    pub async fn elect(options: &PgConnectOptions) -> sqlx::Result<Option<Self>> {
        let mut connection = options.connect().await?;
        let leads: bool =
            sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut connection).await?;
        Ok(leads.then_some(Self(connection)))
    }

    /// Notices that the connection, and with it the lock, is gone.
    pub async fn check(&mut self) -> sqlx::Result<()> {
        sqlx::query("select 1").execute(&mut self.0).await.map(|_| ())
    }
}
