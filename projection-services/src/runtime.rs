//! What every projection needs: the log's events in order and each once, batches, checkpoints, and a worker that neither
//! dies nor lies silently.
//!
//! - [`source`]: the events, from the KONTOR stream, and from the log wherever the stream has a hole.
//! - [`delivery`]: an event on its way, undecoded; [`window`]: the latest of them, shared by the workers of a process.
//! - [`projection`]: what a projection must say of itself.
//! - [`checkpoint`]: how far it has come, and who has brought it there.
//! - [`worker`]: keeps one projection.
//! - [`metrics`]: what is measured of them.

pub mod checkpoint;
pub mod delivery;
pub mod metrics;
pub mod projection;
pub mod source;
mod stream;
mod window;
pub mod worker;

pub use projection::{ApplyError, Event, Projection};
pub use source::Source;
pub use worker::Worker;
