//! Whether a long log is as fast as a short one.

use super::Streams;
use super::arena::Arena;
use super::drive::Appender;
use super::kontor::{self, Writer};
use crate::bench::log::open_log;
use crate::bench::report::median;
use crate::table::grouped;
use kontor_event_store::Log;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

const SHORT: i64 = 100_000;
const LONG: i64 = 5_000_000;
const APPENDERS: usize = 64;
const FILLERS: i64 = 256;
const DATABASE: &str = "growth";

/// Appends a second by 64 appenders to new streams.
pub struct Growth {
    /// At 100 thousand events.
    short: f64,
    /// At 5 million.
    long: f64,
}

impl Growth {
    pub fn ratio(&self) -> f64 {
        self.long / self.short
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (short, long) = (grouped(self.short), grouped(self.long));
        write!(f, "{APPENDERS} to new streams at 0.1 million events: {short}/s, at 5 million: {long}/s")
    }
}

/// On a log of its own, which is gone afterwards.
pub async fn measure(arena: &Arena) -> anyhow::Result<Growth> {
    let server = arena.server();
    server.sql(&format!("create database {DATABASE} owner kontor_migrator")).await?;
    let log = open_log(server, DATABASE).await?;
    fill(&log, SHORT).await?;
    let short = rate(arena, &log).await?;
    eprintln!(
        "At {} events: {}/s; filling the log up to {}",
        grouped(SHORT as f64),
        grouped(short),
        grouped(LONG as f64)
    );
    fill(&log, LONG).await?;
    let long = rate(arena, &log).await?;
    eprintln!("At {} events: {}/s", grouped(LONG as f64), grouped(long));
    log.close().await;
    server.sql(&format!("drop database {DATABASE} (force)")).await?;
    Ok(Growth { short, long })
}

/// One event an append, as it will be: then the idempotency keys grow along.
async fn fill(log: &Arc<Log>, events: i64) -> anyhow::Result<()> {
    let left = Arc::new(AtomicI64::new(events - *log.appended().borrow()));
    let mut fillers = JoinSet::new();
    for _ in 0..FILLERS {
        let (mut writer, left) = (Writer::new(log.clone(), Streams::New), left.clone());
        fillers.spawn(async move {
            while left.fetch_sub(1, Ordering::Relaxed) > 0 {
                writer.append().await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = fillers.join_next().await {
        done??;
    }
    Ok(())
}

/// The housekeeping that the filling caused is done first, and the pages that follow a checkpoint are written in a run that
/// does not count: what is compared is the size, not who of the two happens to meet a checkpoint.
async fn rate(arena: &Arena, log: &Arc<Log>) -> anyhow::Result<f64> {
    arena
        .server()
        .sql(&format!("\\connect {DATABASE}\nvacuum (analyze) events, idempotency_keys;\ncheckpoint;"))
        .await?;
    let server_pid = arena.server_pid()?;
    let run = |seconds| kontor::run(log, Streams::New, APPENDERS, Duration::from_secs(seconds), server_pid);
    run(2).await?;
    let mut rates = Vec::new();
    for _ in 0..3 {
        rates.push(run(2).await?.rate());
    }
    Ok(median(rates))
}
