//! Queries at a steady rate, each at its time, and every answer read: what a shop's visitors would notice.

use crate::bench::checkout::in_us;
use crate::bench::questions::{Kind, Questions};
use crate::bench::shop::Size;
use crate::bench::stage::Stage;
use crate::connection::{Connection, Reply};
use crate::dice::Dice;
use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// A second, of each kind.
const RATE: u32 = 150;
/// Each has its turn with the others.
const CONNECTIONS: u32 = 8;
/// Before a connection that broke is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked: orders and lists.
pub struct Queries {
    address: SocketAddr,
    kinds: Vec<Arc<Asked>>,
}

/// One kind.
struct Asked {
    questions: Questions,
    written: Vec<Vec<u8>>,
    /// The latest position that an answer had: none after it may have an earlier one.
    position: AtomicI64,
}

/// What was answered.
pub struct Answered {
    /// Microseconds, from when it was due until the answer.
    pub times: Histogram<u64>,
    /// What was no answer, or a wrong one: anything but 200, something missing, or older than what was seen before.
    pub wrong: Vec<String>,
}

impl Queries {
    pub async fn make(stage: &Stage, size: Size) -> Result<Self> {
        let mut kinds = Vec::new();
        for kind in [Kind::Order, Kind::List] {
            let questions = Questions::make(kind, stage, size).await?;
            let written = questions.written();
            kinds.push(Arc::new(Asked { questions, written, position: AtomicI64::new(0) }));
        }
        Ok(Self { address: stage.query_address(), kinds })
    }

    /// Asks for as long as `work` takes.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<(T, Answered)> {
        let ended = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let mut asking = JoinSet::new();
        for asked in &self.kinds {
            for number in 0..CONNECTIONS {
                let due = begun + Duration::from_secs(1) / RATE * number;
                asking.spawn(ask(self.address, asked.clone(), Dice::new(number.into()), due, ended.clone()));
            }
        }
        let done = work.await;
        ended.store(true, Ordering::Relaxed);
        let (mut times, mut wrong) = (Vec::new(), Vec::new());
        while let Some(answered) = asking.join_next().await {
            let answered = answered?;
            times.extend(answered.0);
            wrong.extend(answered.1);
        }
        Ok((done, Answered { times: in_us(times.into_iter()), wrong }))
    }
}

async fn ask(
    address: SocketAddr,
    asked: Arc<Asked>,
    mut dice: Dice,
    mut due: Instant,
    ended: Arc<AtomicBool>,
) -> (Vec<Duration>, Vec<String>) {
    let (mut times, mut wrong) = (Vec::new(), Vec::new());
    let mut connection = None;
    while !ended.load(Ordering::Relaxed) {
        sleep_until(due).await;
        // That the timer is a millisecond late is not what is measured; that the answer before was late, is.
        let begun = if Instant::now() - due < Duration::from_millis(2) { Instant::now() } else { due };
        due += Duration::from_secs(1) / RATE * CONNECTIONS;
        match asked.ask(address, &mut connection, &mut dice).await {
            Ok(()) => times.push(begun.elapsed()),
            Err(error) => {
                wrong.push(format!("{error:#}"));
                connection = None;
                sleep(PAUSE).await;
            }
        }
    }
    (times, wrong)
}

impl Asked {
    async fn ask(&self, address: SocketAddr, kept: &mut Option<Connection>, dice: &mut Dice) -> Result<()> {
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(Connection::open(address).await?),
        };
        let seen = self.position.load(Ordering::Relaxed);
        let reply = connection.send_written(&self.written[dice.roll(self.written.len())]).await?;
        self.questions.check(&reply)?;
        let position = position(&reply)?;
        ensure!(position >= seen, "the {} is of position {position}, after {seen}", self.questions.kind().name());
        self.position.fetch_max(position, Ordering::Relaxed);
        Ok(())
    }
}

fn position(reply: &Reply) -> Result<i64> {
    let position = reply.header("Kontor-Position").context("an answer without its position")?;
    position.parse().with_context(|| format!("the position {position}"))
}
