//! The projector runtime and the read models it keeps.
//!
//! A projection folds the events of the log into rows that queries read. [`runtime`] brings the events, in order and each
//! once, and writes checkpoint and rows in one transaction; [`projections`] has the rules, one file a projection. [`models`] of
//! recommendations are learnt from one of them, on a schedule.

mod migrate;
pub mod models;
pub mod projections;
pub mod projector;
pub mod runtime;
pub mod settings;

pub use migrate::migrate;
pub use projector::Projector;
pub use settings::ProjectorSettings;
