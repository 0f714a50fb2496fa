//! Benchmarks: never timed tests. Each starts what it needs in a folder of its own and reports figures with dotted names.
//!
//! - [`append`]: the log against a plain INSERT and stock postgres-es.
//! - [`relay`]: from the log to NATS, and from a commit to the read model.
//! - [`import`]: real data through the whole platform.
//! - [`report`]: what they found, for people and as JSON.
//! - [`cpu`]: processor time and memory by process, for machines where others work too.

pub mod append;
pub mod cpu;
pub mod import;
mod log;
pub mod relay;
pub mod report;
mod visible;
