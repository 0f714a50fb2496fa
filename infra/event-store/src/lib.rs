//! The log: every event, in Postgres, appended once and read for ever.
//!
//! - [`append`]: what is appended, under which expected versions, and what comes of it.
//! - [`batch`]: group commit. Concurrent appends share one round trip and one commit.
//! - `arrays`: a batch as Postgres gets it.
//! - [`lane`]: one connection that appends batches, and what it does when that connection breaks.
//! - [`feed`]: what this process has appended, told within it.
//! - [`stream`]: one aggregate's events, through postgres-es.
//! - [`log_reader`]: the log from a position.
//! - [`pages`]: long stretches of it, or a selection.
//! - [`snapshot`]: the state of long streams, a cache.
//! - [`key`]: idempotency keys.

pub mod append;
mod arrays;
pub mod batch;
pub mod feed;
pub mod key;
mod lane;
pub mod log;
pub mod log_reader;
pub mod pages;
mod seen;
pub mod snapshot;
pub mod stream;

pub use append::{Append, AppendError, Appended, Lineage, NewEvent, StreamAppend, StreamId};
pub use batch::Pending;
pub use key::Key;
pub use log::{Log, LogSettings};
pub use log_reader::LogReader;
pub use pages::{Page, Selection};

/// The tables and functions of the log. Run by a role that owns the database, never by a service.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();
