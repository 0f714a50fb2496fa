//! What every projection needs: the log's events in order and each once, batches, checkpoints, generations, and workers that
//! neither die nor lie silently.
//!
//! - [`source`]: the events, from the KONTOR stream, and from the log wherever the stream has a hole;
//!   `portions`: the log, in portions.
//! - [`delivery`]: an event on its way, undecoded; `window`: the latest of them, shared by the workers of a process.
//! - [`projection`]: what a projection must say of itself.
//! - [`store`]: where its rows are.
//! - [`generation`]: each complete build of it; [`switch`]: which one queries see.
//! - [`lease`]: who writes a generation; [`lanes`]: what may be written at the same time, and how far that has come.
//! - [`applier`]: applies events to a generation; [`dead_letters`]: those that it passes over.
//! - [`worker`]: keeps one generation; `watcher`: has a worker for each one that needs one.
//! - [`rebuild`], [`verify`], [`operations`]: what operators do; `fill`: at the speed of the log.
//! - [`metrics`]: what is measured of them.

pub mod applier;
pub mod dead_letters;
pub mod delivery;
mod fill;
pub mod generation;
pub mod lanes;
pub mod lease;
pub mod metrics;
pub mod operations;
mod portions;
pub mod projection;
pub mod rebuild;
pub mod source;
pub mod store;
mod stream;
pub mod switch;
pub mod verify;
pub(crate) mod watcher;
mod window;
pub mod worker;

pub use applier::{Kept, Means};
pub use fill::{Filled, Tell};
pub use projection::{ApplyError, Event, Projection};
pub use source::Source;
pub use store::postgres::{PostgresProjection, PostgresStore};
pub use store::redis::{RedisProjection, RedisStore, View};
pub use store::search::{SearchProjection, SearchStore, SearchView};
