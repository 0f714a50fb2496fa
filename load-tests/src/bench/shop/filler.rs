//! Appends a shop's history to a log: through the log's own append, as the command tier does, with so many appends under way
//! that full batches are committed.

use super::Size;
use super::buyer::seal;
use super::history::History;
use super::order::{opened, uuid};
use super::stream::{Decided, Fresh};
use crate::bench::log::open_log;
use crate::bench::stage::Stage;
use crate::progress::Progress;
use kontor_event_schemas::Metadata;
use kontor_event_store::{Append, Key, Lineage, Log, NewEvent, Pending, StreamAppend};
use std::collections::VecDeque;
use std::sync::Arc;

/// Appends under way. A batch takes some hundreds.
const UNDER_WAY: usize = 4_000;

/// Fills the log of `stage` with a whole shop; returns how many events that took.
pub async fn fill(stage: &Stage, size: Size) -> anyhow::Result<i64> {
    let mut filler = Filler::open(stage, size).await?;
    filler.complete().await?;
    let events = filler.events();
    filler.close().await;
    Ok(events)
}

/// The one who writes the log.
pub struct Filler {
    log: Arc<Log>,
    lineage: Lineage,
    history: History,
    /// Events that were submitted, which is where the log will be.
    events: i64,
    under_way: VecDeque<Pending>,
}

impl Filler {
    pub async fn open(stage: &Stage, size: Size) -> anyhow::Result<Self> {
        let buyers = seal(stage, size.buyers()).await?;
        let log = open_log(stage.postgres(), "kontor").await?;
        let (lineage, history, under_way) = (log.new_lineage(), History::new(size, buyers), VecDeque::new());
        Ok(Self { log, lineage, history, events: 0, under_way })
    }

    /// How many events the log has.
    pub fn events(&self) -> i64 {
        self.events
    }

    /// Appends the products and orders that the shop has by its size, all of them settled.
    pub async fn complete(&mut self) -> anyhow::Result<()> {
        let Size { products, orders } = self.history.size();
        let progress = Progress::new("products", products as u64);
        self.go_on(&progress, |history, _| history.told().0 as u64, products as u64).await?;
        let progress = Progress::new("orders", orders as u64);
        self.go_on(&progress, |history, _| history.told().1 as u64, orders as u64).await?;
        while let Some(settled) = self.history.settle().await? {
            self.submit(settled).await?;
        }
        self.on_disk().await
    }

    /// Appends until there are so many events, or a few more.
    pub async fn up_to(&mut self, events: i64) -> anyhow::Result<()> {
        let progress = Progress::new("events", events.unsigned_abs());
        self.go_on(&progress, |_, events| events.unsigned_abs(), events.unsigned_abs()).await?;
        self.on_disk().await
    }

    async fn go_on(&mut self, progress: &Progress, count: fn(&History, i64) -> u64, until: u64) -> anyhow::Result<()> {
        let mut counted = 0;
        loop {
            let reached = count(&self.history, self.events);
            progress.advance(reached - counted);
            counted = reached;
            if reached >= until {
                progress.finish();
                return Ok(());
            }
            let next = self.history.next().await?;
            self.submit(next).await?;
        }
    }

    async fn submit(&mut self, decided: Vec<Decided>) -> anyhow::Result<()> {
        if self.under_way.len() >= UNDER_WAY
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.await?;
        }
        let streams = decided.into_iter().map(|of_stream| self.stream_append(of_stream)).collect();
        self.under_way.push_back(self.log.submit(Append { key: Key::unique(), streams })?);
        Ok(())
    }

    fn stream_append(&mut self, Decided { stream, version, events }: Decided) -> StreamAppend {
        let events = events.into_iter().map(|event| self.new_event(event)).collect();
        StreamAppend { stream, expected_version: version, lineage: self.lineage, events }
    }

    fn new_event(&mut self, Fresh { event_type, event_version, payload }: Fresh) -> NewEvent {
        self.events += 1;
        let event_id = uuid(opened(), 3, self.events.unsigned_abs());
        let metadata = Metadata {
            event_id,
            correlation_id: event_id,
            causation_id: event_id,
            actor: "service:bench".into(),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".into(),
        };
        NewEvent { event_type, event_version, payload, metadata: metadata.to_json() }
    }

    /// Returns when all that was submitted is in the log.
    async fn on_disk(&mut self) -> anyhow::Result<()> {
        for pending in self.under_way.drain(..) {
            pending.await?;
        }
        let head = *self.log.appended().borrow();
        anyhow::ensure!(head == self.events, "the log is at {head}, {} events were appended", self.events);
        Ok(())
    }

    pub async fn close(self) {
        self.log.close().await;
    }
}
