//! Writes the log as files: `TABLE/date=YYYY-MM-DD/FIRST-LAST.FORMAT`, where TABLE is an event with its version, the date is that
//! of its recording, and the part has that day's events from position FIRST to position LAST.
//!
//! It goes in rounds: events are read until there are enough, then what is about to be written is noted, then every part is
//! written, then how far it is. After a crash the same round is read again, and written under the same names. So at any time each
//! event is in one part at most, and in one exactly when its round is done.

use crate::destination::{Destination, DestinationError};
use crate::format::{Format, Part};
use crate::state::State;
use crate::table::Table;
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use kontor_event_schemas::{RecordedEvent, schemas};
use kontor_event_store::log_reader::ReadError;
use kontor_event_store::{LogReader, Selection};
use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Or so many bytes of payload and metadata: about as much memory is needed.
const ROUND_BYTES: usize = 256 << 20;
/// Parts that are on their way to the destination at the same time.
const PARTS_UNDER_WAY: usize = 8;

/// What is to be exported.
#[derive(Debug, Clone)]
pub struct Plan {
    pub format: Format,
    pub selection: Selection,
    /// The first event is the one after this position.
    pub after: i64,
    /// The last is at this one, which the log must have.
    pub up_to: i64,
    /// A round ends with the page in which it gets so many events.
    pub round_events: usize,
}

/// How far an export is. What is counted was written by this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// The last position whose round is done.
    pub position: i64,
    pub events: u64,
    pub parts: u64,
    pub bytes: u64,
}

/// Why an export failed. What is done of it stays.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the log cannot be read: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error("an export was begun there with {option} {there}, not {wanted}: choose another place for this one")]
    Begun { option: &'static str, there: String, wanted: String },
    #[error("_export.json in {destination} was not written by this release: {error}")]
    Foreign { destination: String, error: serde_json::Error },
    #[error("the event at position {0} is not the one that was exported: the log has lost commits, or is another")]
    OtherLog(i64),
    #[error("the event at position {position} is not JSON: {error}")]
    Unreadable { position: i64, error: serde_json::Error },
    #[error("a part cannot be written: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error("a part cannot be written: {0}")]
    Csv(#[from] csv::Error),
    #[error("a part cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a part cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

/// Writes what is not there yet of `plan`, and calls `tell` after each page with the position that has been read. Ends early, and
/// with a round that is done, when `ending` is cancelled.
pub async fn export(
    log: &LogReader,
    destination: &Destination,
    plan: &Plan,
    ending: &CancellationToken,
    tell: &(dyn Fn(i64) + Send + Sync),
) -> Result<Exported, ExportError> {
    let mut state = match State::find(destination, plan).await? {
        Some(state) if state.event_id == log.event_id(state.position).await? => state,
        Some(state) => return Err(ExportError::OtherLog(state.position)),
        None => State::begin(plan, log.event_id(plan.after).await?),
    };
    let selection = Arc::new(plan.selection.clone());
    let mut tables = Tables::default();
    let mut exported = Exported { position: state.position, ..Exported::default() };
    tell(state.position);
    loop {
        let until = state.writing_up_to.unwrap_or(plan.up_to);
        if state.position >= until || ending.is_cancelled() {
            return Ok(exported);
        }
        let mut round = Round::after(state.position);
        let mut pages = pin!(log.pages(selection.clone(), state.position, until));
        while let Some(page) = pages.next().await {
            let page = page?;
            for event in &page.events {
                round.add(event, plan.format, &mut tables)?;
            }
            round.last = page.up_to;
            tell(round.last);
            let is_enough = round.events >= plan.round_events || round.bytes >= ROUND_BYTES || ending.is_cancelled();
            // A round that was interrupted is written as it was noted.
            if is_enough && state.writing_up_to.is_none() {
                break;
            }
        }
        state.writing_up_to = Some(round.last);
        state.save(destination).await?;
        let (last, events) = (round.last, round.events as u64);
        let (parts, bytes) = round.write(destination, plan.format, &mut tables).await?;
        state = State {
            position: last,
            event_id: log.event_id(last).await?,
            writing_up_to: None,
            events: state.events + events,
            parts: state.parts + parts,
            bytes: state.bytes + bytes,
            ..state
        };
        state.save(destination).await?;
        exported.position = last;
        exported.events += events;
        exported.parts += parts;
        exported.bytes += bytes;
    }
}

/// The tables that events have been of, by their names.
#[derive(Default)]
struct Tables(HashMap<String, (Arc<Table>, bool)>);

impl Tables {
    fn of(&mut self, name: &str) -> Arc<Table> {
        match self.0.get(name) {
            Some((table, _)) => table.clone(),
            None => {
                let table = Arc::new(Table::of(name));
                self.0.insert(name.to_owned(), (table.clone(), false));
                table
            }
        }
    }

    /// Those of which readers have not been told yet.
    async fn tell(&mut self, destination: &Destination) -> Result<(), DestinationError> {
        for (name, (table, is_told)) in &mut self.0 {
            if !*is_told {
                destination.put(&format!("{name}/_schema.json"), table.described()).await?;
                *is_told = true;
            }
        }
        Ok(())
    }
}

/// Parts that are written together.
struct Round {
    after: i64,
    last: i64,
    events: usize,
    bytes: usize,
    /// By table and day.
    parts: BTreeMap<(String, NaiveDate), Box<dyn Part>>,
}

impl Round {
    fn after(position: i64) -> Self {
        Self { after: position, last: position, events: 0, bytes: 0, parts: BTreeMap::new() }
    }

    fn add(&mut self, event: &RecordedEvent, format: Format, tables: &mut Tables) -> Result<(), ExportError> {
        let name = schemas::name(&event.aggregate_type, &event.event_type, &event.event_version);
        let key = (name, event.recorded_at.date_naive());
        let part = match self.parts.get_mut(&key) {
            Some(part) => part,
            None => {
                let part = format.part(&tables.of(&key.0))?;
                self.parts.entry(key).or_insert(part)
            }
        };
        part.write(event)?;
        self.events += 1;
        self.bytes += event.payload.len() + event.metadata.len();
        Ok(())
    }

    /// Returns how many parts there were, and their bytes.
    async fn write(
        self,
        destination: &Destination,
        format: Format,
        tables: &mut Tables,
    ) -> Result<(u64, u64), ExportError> {
        tables.tell(destination).await?;
        let (first, last) = (self.after + 1, self.last);
        let parts = self.parts.into_iter().map(|((table, date), part)| async move {
            let content = part.finish()?;
            let bytes = content.len() as u64;
            // As many digits as any position has, so that names are in the order of positions.
            let name = format!("{table}/date={date}/{first:019}-{last:019}.{}", format.name());
            destination.put(&name, content).await?;
            Ok::<_, ExportError>(bytes)
        });
        let written = stream::iter(parts).buffer_unordered(PARTS_UNDER_WAY);
        written.try_fold((0, 0), async |(parts, bytes), more| Ok((parts + 1, bytes + more))).await
    }
}
