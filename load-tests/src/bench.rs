//! Benchmarks: never timed tests. Each starts what it needs in a folder of its own and reports figures with dotted names.
//!
//! - [`append`]: the log against a plain INSERT and stock postgres-es.
//! - [`report`]: figures and tables, for people and as JSON.
//! - [`cpu`]: processor time by process, for machines where others work too.

pub mod append;
pub mod cpu;
pub mod report;
