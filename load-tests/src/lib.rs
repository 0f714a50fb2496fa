//! Importers of real data and benchmarks.
//!
//! - [`bench`]: what `infra/bench` runs.

pub mod bench;
