//! Long stretches of the log, all of it or a selection, in pages that are read ahead.

use crate::LogReader;
use crate::log_reader::{COLUMNS, ReadError, recorded};
use futures::{Stream, StreamExt, stream};
use kontor_event_schemas::RecordedEvent;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Positions of one page: of the whole log, where each is an event, and of a selection, where few may be.
const PAGE_POSITIONS: i64 = 2_000;
const PAGE_POSITIONS_SELECTED: i64 = 50_000;
/// Pages that are read while their reader works on the one before. Each takes a connection.
pub const PAGES_AHEAD: usize = 2;

/// Which events of the log are wanted: those that both `aggregates` with `events`, and `ids`, let through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Types of aggregate whose events are all wanted.
    pub aggregates: Vec<String>,
    /// Types of aggregate and event that are wanted besides. Both lists empty: all types.
    pub events: Vec<(String, String)>,
    /// Ids of aggregates. Empty: all.
    pub ids: Vec<String>,
}

impl Selection {
    /// Whether all events are wanted.
    pub fn is_all(&self) -> bool {
        self.is_of_all_types() && self.ids.is_empty()
    }

    fn is_of_all_types(&self) -> bool {
        self.aggregates.is_empty() && self.events.is_empty()
    }
}

/// What a stretch of the log has.
#[derive(Debug)]
pub struct Page {
    /// In the order of their positions.
    pub events: Vec<RecordedEvent>,
    /// The position that the stretch goes up to.
    pub up_to: i64,
}

impl LogReader {
    /// The selected events after position `after`, page by page, up to position `up_to`, which the log must have. Ends after
    /// the first error.
    pub fn pages(
        &self,
        selection: Arc<Selection>,
        after: i64,
        up_to: i64,
    ) -> impl Stream<Item = Result<Page, ReadError>> + Send + use<> {
        let step = if selection.is_all() { PAGE_POSITIONS } else { PAGE_POSITIONS_SELECTED };
        let starts = (after..up_to).step_by(step as usize);
        let log = self.clone();
        let reads = stream::iter(starts).map(move |after| {
            let (log, selection, up_to) = (log.clone(), selection.clone(), up_to.min(after + step));
            // A task of its own, so that rows are taken apart on another thread than that of their reader.
            let read = tokio::spawn(async move { log.page(&selection, after, up_to).await });
            async move { read.await.expect("a read neither panics nor is cancelled") }
        });
        let mut is_over = false;
        reads.buffered(PAGES_AHEAD).take_while(move |page| {
            let goes_on = !is_over;
            is_over = page.is_err();
            std::future::ready(goes_on)
        })
    }

    /// The selected events after position `after` up to position `up_to`, which the log must have.
    async fn page(&self, selection: &Selection, after: i64, up_to: i64) -> Result<Page, ReadError> {
        if selection.is_all() {
            let events = self.read(after, up_to - after).await?;
            let found = after + events.len() as i64;
            return if found == up_to {
                Ok(Page { events, up_to })
            } else {
                Err(ReadError::Short { expected: up_to, found })
            };
        }
        let (aggregates, types): (Vec<&str>, Vec<&str>) =
            selection.events.iter().map(|(aggregate, event)| (aggregate.as_str(), event.as_str())).unzip();
        let rows = sqlx::query(&format!(
            "select {COLUMNS} from events where position > $1 and position <= $2
                 and ($3 or aggregate_type = any ($4)
                     or (aggregate_type, event_type) in (select * from unnest($5::text[], $6::text[])))
                 and ($7 or aggregate_id = any ($8))
             order by position"
        ))
        .persistent(false) // Planned for these values: what is always true is left out.
        .bind(after)
        .bind(up_to)
        .bind(selection.is_of_all_types())
        .bind(&selection.aggregates)
        .bind(aggregates)
        .bind(types)
        .bind(selection.ids.is_empty())
        .bind(&selection.ids)
        .fetch_all(self.pool())
        .await?;
        let events = rows.iter().map(|row| self.current(recorded(row)?)).collect::<Result<_, ReadError>>()?;
        Ok(Page { events, up_to })
    }
}
