//! Questions at a steady rate, each at its time.

use crate::bench::checkout::in_us;
use crate::connection::Connection;
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Enough that none is busy when its turn comes, unless answers take a tenth of a second.
const CONNECTIONS: u32 = 50;

/// Microseconds from when each question was due until its answer: so many a second, for `length` after a warm-up.
pub async fn ask(
    address: SocketAddr,
    questions: Arc<[Vec<u8>]>,
    rate: u32,
    warm_up: Duration,
    length: Duration,
) -> Result<Histogram<u64>> {
    let begun = Instant::now();
    let mut asking = JoinSet::new();
    for number in 0..CONNECTIONS {
        let turn = Turn {
            first: begun + Duration::from_secs(1) / rate * number,
            every: Duration::from_secs(1) / rate * CONNECTIONS,
            counts_from: begun + warm_up,
            until: begun + warm_up + length,
        };
        asking.spawn(ask_in_turn(address, questions.clone(), number as usize, turn));
    }
    let mut times = Vec::new();
    while let Some(asked) = asking.join_next().await {
        times.extend(asked??);
    }
    Ok(in_us(times.into_iter()))
}

/// When one connection asks.
struct Turn {
    first: Instant,
    every: Duration,
    counts_from: Instant,
    until: Instant,
}

async fn ask_in_turn(
    address: SocketAddr,
    questions: Arc<[Vec<u8>]>,
    number: usize,
    Turn { first, every, counts_from, until }: Turn,
) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(address).await?;
    let (mut times, mut due, mut next) = (Vec::new(), first, number);
    while due < until {
        sleep_until(due).await;
        // That the timer is a millisecond late is not what is measured; that the answer before was late, is.
        let begun = if Instant::now() - due < Duration::from_millis(2) { Instant::now() } else { due };
        let reply = connection.send_written(&questions[next % questions.len()]).await?;
        ensure!(reply.status == 200, "an answer was {}", reply.status);
        if due >= counts_from {
            times.push(begun.elapsed());
        }
        due += every;
        next += CONNECTIONS as usize;
    }
    Ok(times)
}
