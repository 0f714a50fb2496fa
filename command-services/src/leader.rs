//! One of several processes leads: the one that holds an advisory lock. What they write is fenced anyway; the lock keeps
//! them from hindering each other.

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

/// What is led.
#[derive(Debug, Clone, Copy)]
pub enum Led {
    Relay,
    Processes,
    Notifications,
}

impl Led {
    /// Any number that nobody else locks.
    fn lock(self) -> i64 {
        match self {
            Led::Relay => 0x72_65_6c_61_79,      // "relay" in ASCII
            Led::Processes => 0x70_72_6f_63_73,  // "procs"
            Led::Notifications => 0x6d_61_69_6c, // "mail"
        }
    }
}

/// The lock is held as long as this lives and its connection holds.
pub struct Leader(PgConnection);

impl Leader {
    /// `None`: another process leads.
    pub async fn elect(options: &PgConnectOptions, led: Led) -> sqlx::Result<Option<Self>> {
        let mut connection = options.connect().await?;
        let leads: bool =
            sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(led.lock()).fetch_one(&mut connection).await?;
        Ok(leads.then_some(Self(connection)))
    }

    /// Notices that the connection, and with it the lock, is gone.
    pub async fn check(&mut self) -> sqlx::Result<()> {
        sqlx::query("select 1").execute(&mut self.0).await.map(|_| ())
    }

    /// The connection that holds the lock: what is written on it is written by the leader.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
