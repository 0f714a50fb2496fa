//! Benchmarks: never timed tests. Each starts what it needs in a folder of its own and reports figures with dotted names.
//!
//! - [`append`]: the log against a plain INSERT and stock postgres-es.
//! - [`relay`]: from the log to NATS, and from a commit to the read model.
//! - [`import`]: real data through the whole platform.
//! - [`checkout`]: purchases, from the open cart to the confirmed order.
//! - [`flash_sale`]: many buyers for few units, at two command processes.
//! - [`mails`]: mails to customers, from the log to the mail server.
//! - [`read`]: queries for products and orders.
//! - [`rebuild`]: read models built anew, and what queries notice of it.
//! - [`replay`]: the log as lines and as files.
//! - [`analytics`]: reports, and how their read model is built anew.
//! - [`recommend`]: recommendations, from the training to the answer.
//! - [`search`]: words with facets, over many products.
//! - [`shop`]: the generated products and orders that the others ask for; [`stage`]: the servers and tiers that they need.
//! - [`report`]: what they found, for people and as JSON.
//! - [`cpu`]: processor time and memory by process, for machines where others work too.

pub mod analytics;
pub mod append;
pub mod checkout;
pub mod cpu;
pub mod flash_sale;
pub mod import;
mod log;
pub mod mails;
mod questions;
pub mod read;
pub mod rebuild;
pub mod recommend;
pub mod relay;
pub mod replay;
pub mod report;
pub mod search;
pub mod shop;
pub mod stage;
mod visible;

use kontor_local::{Folder, Platform, PlatformPorts, Step};

/// A platform of a benchmark's own, in `folder`.
async fn start_platform(folder: &Folder) -> anyhow::Result<Platform> {
    eprintln!("Starting the platform in a folder of its own");
    let mut tell = |step: Step<'_>| {
        if let Step::Begins(what) = step {
            eprintln!("  {what}");
        }
    };
    Ok(Platform::start(folder.path(), PlatformPorts::free(), &mut tell).await?)
}
