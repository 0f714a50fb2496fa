//! Connections that ask without pause.

use crate::bench::checkout::in_us;
use crate::connection::Connection;
use crate::dice::Dice;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What was answered while it counted.
#[derive(Default)]
pub struct Answers {
    pub times: Vec<Duration>,
    /// Other than 200.
    pub refused: u64,
    /// Of the bodies.
    pub bytes: u64,
}

/// Asks, over so many connections, any of `questions` after the other until `until`; counts from `from` on.
pub async fn ask(
    address: SocketAddr,
    questions: Arc<[Vec<u8>]>,
    connections: usize,
    from: Instant,
    until: Instant,
) -> Result<Answers> {
    let mut asking = JoinSet::new();
    for number in 0..connections {
        asking.spawn(ask_alone(address, questions.clone(), Dice::new(number as u64), from, until));
    }
    let mut all = Answers::default();
    while let Some(answers) = asking.join_next().await {
        let Answers { times, refused, bytes } = answers?.context("a query had no answer")?;
        all.times.extend(times);
        all.refused += refused;
        all.bytes += bytes;
    }
    Ok(all)
}

async fn ask_alone(
    address: SocketAddr,
    questions: Arc<[Vec<u8>]>,
    mut dice: Dice,
    from: Instant,
    until: Instant,
) -> std::io::Result<Answers> {
    let mut connection = Connection::open(address).await?;
    let mut answers = Answers::default();
    let mut begun = Instant::now();
    loop {
        let reply = connection.send_written(&questions[dice.roll(questions.len())]).await?;
        let answered = Instant::now();
        if answered >= until {
            return Ok(answers);
        }
        if answered >= from {
            answers.times.push(answered - begun);
            answers.refused += u64::from(reply.status != 200);
            answers.bytes += reply.body.len() as u64;
        }
        begun = answered;
    }
}

/// Microseconds, as if each request had begun when it was to.
pub fn from_intended_start(times: Vec<Duration>) -> Histogram<u64> {
    crate::bench::checkout::from_intended_start(&in_us(times.into_iter()))
}
