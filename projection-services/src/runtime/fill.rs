//! Fills a generation from the log. With one transaction at a time, reading and writing take turns, so that queries have the
//! other processors to themselves; with several, the next portions are read and decoded while one is written.

use super::applier::{Applier, Interruption, Kept, Means, Read};
use super::portions::Portions;
use super::projection::Projection;
use kontor_event_store::log_reader::ReadError;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The more, the fewer rows are written twice.
const PORTION_EVENTS_MAX: i64 = 20_000;
/// Portions that are read before the one ahead of them is written, if nobody is to be spared.
const AHEAD: usize = 2;
/// Who is this close to the head of the log catches up within a moment.
const NEAR: i64 = 1_000;

/// How far a filling is, for whoever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    pub position: i64,
    pub until: i64,
}

/// Hears where it begins, and of each portion.
pub type Tell<'a> = &'a (dyn Fn(Filled) + Send + Sync);

/// Applies what the log has up to `until`, or until `ending`; which of them, the position tells.
pub async fn fill(
    means: &Means,
    kept: &Kept,
    applier: &mut Applier,
    until: i64,
    ending: &CancellationToken,
    tell: Tell<'_>,
) -> Result<(), Interruption> {
    let turns = if means.writers_max > 1 { 1 + AHEAD } else { 1 };
    let (sender, mut portions) = mpsc::channel(turns);
    let sender = (sender, Arc::new(Semaphore::new(turns)));
    let log = Portions::of(means.log.clone(), PORTION_EVENTS_MAX).only(kept.projection.aggregate_types());
    let reading = read(log, kept.projection.clone(), applier.position(), until, sender);
    let _reader = AbortOnDropHandle::new(tokio::spawn(reading));
    tell(Filled { position: applier.position(), until });
    while applier.position() < until {
        let Some(portion) = ending.run_until_cancelled(portions.recv()).await else { return Ok(()) };
        let Some((portion, _turn)) = portion else { return Err(applier.ahead_of_log().into()) };
        applier.apply(portion?).await?;
        tell(Filled { position: applier.position(), until });
    }
    Ok(())
}

/// Fills until the head of the log, which moves on, is near.
pub async fn catch_up(
    means: &Means,
    kept: &Kept,
    applier: &mut Applier,
    ending: &CancellationToken,
    tell: Tell<'_>,
) -> Result<(), Interruption> {
    loop {
        let head = means.log.head().await?;
        fill(means, kept, applier, head, ending, tell).await?;
        if ending.is_cancelled() || means.log.head().await? - applier.position() <= NEAR {
            return Ok(());
        }
    }
}

/// What was read, and the turn that ends when it is written.
type Portion = (Result<Vec<Read>, ReadError>, OwnedSemaphorePermit);

async fn read(
    mut log: Portions,
    projection: Arc<dyn Projection>,
    mut after: i64,
    until: i64,
    (portions, turns): (mpsc::Sender<Portion>, Arc<Semaphore>),
) {
    while after < until {
        let turn = turns.clone().acquire_owned().await.expect("it is never closed");
        let portion = log.read(after, until - after).await;
        let Some(last) = portion.as_ref().map_or(Some(after), |events| Some(events.last()?.position)) else {
            return; // The log ends here: it has lost what it had.
        };
        after = last;
        let is_over = portion.is_err();
        let read = |events: Vec<_>| events.into_iter().map(|event| Read::of(&*projection, Arc::new(event))).collect();
        if portions.send((portion.map(read), turn)).await.is_err() || is_over {
            return;
        }
    }
}
