//! The database that is read, and whether it is fit to be.

use crate::settings::ReplicaSettings;
use kontor_settings::SecretUrl;
use kontor_telemetry::{Check, Metrics};
use prometheus_client::metrics::gauge::Gauge;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::sleep;

/// Of each connection. Lists have many forms.
const STATEMENTS_KEPT: usize = 500;

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where it is, and how it is asked.
#[derive(Clone)]
pub struct Replica {
    connect: PgConnectOptions,
    pool: PgPoolOptions,
}

impl Replica {
    /// An error: the URL is not one of Postgres.
    pub fn of(url: &SecretUrl, settings: &ReplicaSettings) -> sqlx::Result<Self> {
        let connect: PgConnectOptions = url.expose().parse()?;
        let connect = connect.application_name("kontor-query").statement_cache_capacity(STATEMENTS_KEPT).options([
            ("default_transaction_read_only", "on".to_owned()),
            // What queries see; the schema of one generation in its place shows them that.
            ("search_path", "projections".to_owned()),
            // Planning a list took longer than reading it; no statement here wants a plan of its own for each value.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            // Rows are joined by keys that come once: remembering them took a fifth of the time of a list.
            ("enable_memoize", "off".to_owned()),
            ("statement_timeout", format!("{}ms", settings.statement_timeout_ms)),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections_max)
            .acquire_timeout(Duration::from_millis(settings.statement_timeout_ms))
            .test_before_acquire(false); // A round trip for each query otherwise; a dead connection is seen by its error.
        Ok(Replica { connect, pool })
    }

    /// Another pool, without a connection yet. An answer comes to the thread that made its connection: a thread that is to
    /// have its answers itself has a pool of its own.
    pub fn pool(&self) -> PgPool {
        self.pool.clone().connect_lazy_with(self.connect.clone())
    }
}

/// Looks after the replica once a second, for readiness and metrics.
pub struct Watch {
    replica: PgPool,
    check: Check,
    lag_max: f64,
    lag_seconds: Gauge<f64, AtomicU64>,
    streaming: Gauge,
}

impl Watch {
    pub fn new(replica: PgPool, check: Check, settings: &ReplicaSettings, metrics: &Metrics) -> Self {
        Watch {
            replica,
            check,
            lag_max: settings.lag_max_s as f64,
            lag_seconds: metrics.register(
                "kontor_query_replica_lag_seconds",
                "How far the replica is behind what it has received; 0 on a primary",
                Gauge::default(),
            ),
            streaming: metrics.gauge(
                "kontor_query_replica_streaming",
                "1 while the replica receives from its primary, and on a primary",
            ),
        }
    }

    pub async fn run(self) {
        loop {
            match self.look().await {
                Ok(lag) if lag > self.lag_max => {
                    self.check
                        .failing(format!("the replica is {lag:.0} s behind, at most {} are allowed", self.lag_max));
                }
                // A replica whose primary is away still answers, truly if not freshly.
                Ok(_) => self.check.ok(),
                Err(error) => self.check.failing(error.to_string()),
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// The lag in seconds. Also an error if the read models are not there.
    async fn look(&self) -> sqlx::Result<f64> {
        let (lag, streaming, _): (f64, bool, i64) = sqlx::query_as(
            "select case when not pg_is_in_recovery() or pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
                 else coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp()), 0) end::float8,
                 not pg_is_in_recovery() or exists (select from pg_stat_wal_receiver),
                 (select count(*) from checkpoints)",
        )
        .fetch_one(&self.replica)
        .await?;
        self.lag_seconds.set(lag.max(0.0));
        self.streaming.set(i64::from(streaming));
        Ok(lag)
    }
}
