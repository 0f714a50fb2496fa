//! The log as lines of NDJSON: from any position on, without a gap, and if wanted without end.

use crate::line;
use futures::StreamExt;
use kontor_event_store::log_reader::ReadError;
use kontor_event_store::{LogReader, Selection};
use std::io::{self, Write};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How long to wait before the log is asked again for its head.
const POLL: Duration = Duration::from_millis(100);
/// While who follows cannot reach the log.
const RETRY: Duration = Duration::from_secs(1);

/// What is to be told.
#[derive(Debug, Clone)]
pub struct Replay {
    pub selection: Selection,
    /// The first event is the one after this position.
    pub after: i64,
    /// The last is at this one. `None`: what the log has, without end if it is followed.
    pub until: Option<i64>,
    /// Whether to wait for what the log does not have yet.
    pub follow: bool,
}

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// Every selected event up to this position was.
    pub position: i64,
    pub events: u64,
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the lines cannot be written: {0}")]
    Write(#[from] io::Error),
    #[error("the log ends at position {head}, {position} was told already: it has lost commits")]
    LostCommits { position: i64, head: i64 },
}

/// Writes the selected events, a [`line`](crate::line) each, until all are told, `ending` is cancelled, or nobody reads any
/// more, none of which is an error. History and present are one: positions have no gaps and become visible in order, so the
/// log is simply asked for what comes after the last. Who follows outlasts a database that is away; `trouble` hears of it.
pub async fn replay(
    log: &LogReader,
    plan: Replay,
    to: impl Write + Send + 'static,
    ending: &CancellationToken,
    trouble: &(dyn Fn(&sqlx::Error) + Send + Sync),
) -> Result<Replayed, ReplayError> {
    // One page is written while the next is put into lines, and those after it are read.
    let (lines, written) = mpsc::channel(1);
    let writing = spawn_blocking(move || write(written, to));
    let mut teller = Teller::of(log, plan, lines);
    let told = teller.tell(ending, trouble).await;
    let Teller { told: Replayed { position, events }, lines, .. } = teller;
    drop(lines);
    match writing.await.expect("a writer neither panics nor is cancelled") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written?,
    }
    told.map(|()| Replayed { position, events })
}

fn write(mut lines: mpsc::Receiver<Vec<u8>>, mut to: impl Write) -> io::Result<()> {
    while let Some(lines) = lines.blocking_recv() {
        to.write_all(&lines)?;
        to.flush()?;
    }
    Ok(())
}

struct Teller<'a> {
    log: &'a LogReader,
    selection: Arc<Selection>,
    until: Option<i64>,
    follow: bool,
    lines: mpsc::Sender<Vec<u8>>,
    told: Replayed,
}

impl<'a> Teller<'a> {
    fn of(log: &'a LogReader, plan: Replay, lines: mpsc::Sender<Vec<u8>>) -> Self {
        let Replay { selection, after, until, follow } = plan;
        let told = Replayed { position: after, events: 0 };
        Self { log, selection: Arc::new(selection), until, follow, lines, told }
    }

    async fn tell(
        &mut self,
        ending: &CancellationToken,
        trouble: &(dyn Fn(&sqlx::Error) + Send + Sync),
    ) -> Result<(), ReplayError> {
        let (mut has_read, mut is_well) = (false, true);
        while let Some(told) = ending.run_until_cancelled(self.tell_present()).await {
            let pause = match told {
                Ok(goes_on) => {
                    (has_read, is_well) = (true, true);
                    if !goes_on || !self.follow {
                        break;
                    }
                    POLL
                }
                Err(ReplayError::Read(ReadError::Database(error))) if self.follow && has_read => {
                    if std::mem::replace(&mut is_well, false) {
                        trouble(&error);
                    }
                    RETRY
                }
                Err(error) => return Err(error),
            };
            if ending.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Tells what the log has by now; returns whether there may be more. Given up at any moment, what was told is known: a page
    /// is counted as soon as the writer has it.
    async fn tell_present(&mut self) -> Result<bool, ReplayError> {
        let head = self.log.head().await.map_err(ReadError::from)?;
        let position = self.told.position;
        if head < position {
            return Err(ReplayError::LostCommits { position, head });
        }
        let up_to = self.until.map_or(head, |until| until.min(head));
        let mut pages = pin!(self.log.pages(self.selection.clone(), position, up_to));
        while let Some(page) = pages.next().await {
            let page = page?;
            let mut text = Vec::new();
            page.events.iter().try_for_each(|event| line::write(event, &mut text))?;
            if !text.is_empty() && self.lines.send(text).await.is_err() {
                return Ok(false); // Whoever reads has had enough.
            }
            self.told = Replayed { position: page.up_to, events: self.told.events + page.events.len() as u64 };
        }
        Ok(!self.lines.is_closed() && self.until.is_none_or(|until| self.told.position < until))
    }
}
