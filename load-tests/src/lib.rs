//! Importers of real data and benchmarks.
//!
//! - [`import`]: a real shop's trade, through the HTTP commands and compared with what the query API says.
//! - [`demo`]: a generated shop to look at.
//! - [`bench`]: what `infra/bench` runs.
//! - [`client`], [`bulk`]: the HTTP APIs, and many commands through them.

pub mod bench;
pub mod bulk;
pub mod client;
pub mod demo;
mod dice;
pub mod import;
pub mod progress;
pub mod table;
