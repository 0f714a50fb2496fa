//! How far an export is: a file beside its parts, which readers of data pass over because of the `_`.

use crate::destination::Destination;
use crate::export::{ExportError, Plan};
use crate::format::Format;
use kontor_event_store::Selection;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const FILE: &str = "_export.json";

/// What has been exported, and what is being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub format: Format,
    pub selection: Selection,
    /// The export begins after this position.
    pub after: i64,
    /// Every selected event up to here is in a part.
    pub position: i64,
    /// Of the event at `position`, so that a log that has lost commits is noticed. `None` at position 0.
    pub event_id: Option<Uuid>,
    /// Parts up to here are being written. Whoever goes on after a crash writes these again, under the same names.
    pub writing_up_to: Option<i64>,
    pub events: u64,
    pub parts: u64,
    pub bytes: u64,
}

impl State {
    /// Of an export that was begun before, and has to be the same; `None`: none was.
    pub async fn find(destination: &Destination, plan: &Plan) -> Result<Option<Self>, ExportError> {
        let Some(found) = destination.get(FILE).await? else { return Ok(None) };
        let state: State = serde_json::from_slice(&found)
            .map_err(|error| ExportError::Foreign { destination: destination.to_string(), error })?;
        let differs = |option, there: &dyn ToString, wanted: &dyn ToString| {
            let (there, wanted) = (there.to_string(), wanted.to_string());
            if there == wanted { Ok(()) } else { Err(ExportError::Begun { option, there, wanted }) }
        };
        differs("format", &state.format.name(), &plan.format.name())?;
        differs("from", &(state.after + 1), &(plan.after + 1))?;
        differs("aggregate and event", &named(&state.selection), &named(&plan.selection))?;
        Ok(Some(state))
    }

    /// Of one that begins.
    pub fn begin(plan: &Plan, event_id: Option<Uuid>) -> Self {
        let (format, selection, after) = (plan.format, plan.selection.clone(), plan.after);
        Self { format, selection, after, position: after, event_id, writing_up_to: None, events: 0, parts: 0, bytes: 0 }
    }

    pub async fn save(&self, destination: &Destination) -> Result<(), ExportError> {
        Ok(destination.put(FILE, serde_json::to_vec_pretty(self)?).await?)
    }
}

fn named(selection: &Selection) -> String {
    let events = selection.events.iter().map(|(aggregate, event)| format!("{aggregate} {event}"));
    let named: Vec<_> = selection.aggregates.iter().cloned().chain(events).collect();
    if named.is_empty() { "all".to_owned() } else { named.join(", ") }
}
