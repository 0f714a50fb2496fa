//! The local platform: the servers and tiers that infra/up, the tests and the benchmarks start.
//!
//! A test asks for what it needs and gets servers of its own, on free ports, in a temporary folder; all of it is gone when
//! the value is dropped, and also when the test is killed:
//! ```no_run
//! # async fn test() -> Result<(), kontor_local::Error> {
//! use kontor_local::{Need, Role, Servers};
//! let servers = Servers::start(&[Need::Postgres, Need::Nats]).await?;
//! let log_url = servers.postgres().url(Role::Command);
//! let nats_url = servers.nats().url();
//! servers.postgres().kill().await?; // As a power cut would.
//! servers.postgres().restart().await?;
//! # Ok(()) }
//! ```

mod account;
mod error;
mod folder;
mod http;
mod identity;
pub mod mail_sink;
mod nats;
mod platform;
pub mod ports;
mod postgres;
mod privacy;
pub mod process;
mod redis;
mod servers;
mod tier;
mod usual;

pub use account::reachable_by_servers;
pub use error::Error;
pub use folder::Folder;
pub use http::get as http_get;
pub use identity::Identity;
pub use mail_sink::{Behaviour, Mail, MailSink};
pub use nats::Nats;
pub use platform::{Platform, PlatformPorts, PlatformProcess, Step};
pub use postgres::{Postgres, PostgresProfile, Role};
pub use process::{Process, binary};
pub use redis::Redis;
pub use servers::{Need, Servers};
pub use tier::{Tier, TierPlan};
pub use usual::usual_data_folder;
