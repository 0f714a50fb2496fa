//! The published contract: what an event looks like in the log and on the KONTOR stream, and how old ones are read.
//!
//! - [`envelope`]: an event with its place in the log and its metadata.
//! - [`subject`]: the KONTOR stream, its subjects and headers.
//! - [`registry`]: every event type there is, and its decoding.
//! - [`schemas`]: the JSON Schema of each event.
//! - [`upcast`]: old event versions, read as the new ones.

pub mod envelope;
pub mod registry;
pub mod schemas;
pub mod subject;
pub mod upcast;

pub use envelope::{Metadata, RecordedEvent};
pub use registry::Fact;
