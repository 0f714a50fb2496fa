//! The log for analysts: as files, each event once, and as lines, from any position on.
//!
//! - [`export`](mod@export): files of some format, partitioned by event and day, gone on with where it was interrupted.
//! - [`destination`]: a folder, or a bucket of an S3-compatible store.
//! - `state`: how far an export is, kept beside its files.
//! - [`table`]: the columns of one event, from its JSON Schema; `shape` takes payloads apart.
//! - [`format`](mod@format): how a part of a table is written; `parquet` and `csv` are the two with columns.
//! - [`line`]: an event as a line of NDJSON, as it is stored.
//! - [`replay`](mod@replay): lines, without end if wanted.

mod csv;
pub mod destination;
pub mod export;
pub mod format;
pub mod line;
mod parquet;
pub mod replay;
mod shape;
mod state;
pub mod table;

pub use destination::Destination;
pub use export::{ExportError, Exported, Plan, export};
pub use format::Format;
pub use replay::{Replay, ReplayError, Replayed, replay};
pub use table::Table;
