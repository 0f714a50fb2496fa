//! Process managers at work: what follows from what has happened to an order is done, once, whatever breaks.
//!
//! - [`follower`]: hears every event of the log in order, for this process's caches, waiters and process managers.
//! - [`settlements`]: tells those who wait for an order how it was settled.
//! - [`orders`]: the orders that something is to be done about, as the rules of `kontor_domain::processes` see them.
//! - [`reactions`]: what a reaction does: a command, or a question to the payment provider.
//! - [`carts`]: which carts were left behind.
//! - [`checkpoint`]: how far the log was heard, and what was open then, so that a restart begins there.
//!
//! Every process follows the log; one of them leads and acts. What it does has an idempotency key that comes of the event
//! it answers, so that whoever leads next may do it again.

pub mod carts;
pub mod checkpoint;
pub mod follower;
mod migrate;
pub mod orders;
pub mod reactions;
pub mod settlements;

pub use follower::Follower;
pub use migrate::migrate;
pub use settlements::Settlements;

use kontor_settings::{Check, Rule, at_least};
use serde::{Deserialize, Serialize};
use std::sync::atomic::AtomicI64;

/// Process managers: section `processes`, or `KONTOR_PROCESSES__IN_FLIGHT_MAX` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessesSettings {
    /// Reactions that are carried out at once. At least 1.
    pub in_flight_max: usize,
    /// How long to wait before a reaction that could not be carried out is tried again, at first, in milliseconds; twice
    /// as long each time. At least 1.
    pub retry_first_ms: u64,
    /// The longest such wait, in milliseconds. At least 1.
    pub retry_max_ms: u64,
    /// After how long the provider is asked about a payment of which it was to tell by itself, in seconds. At least 1.
    pub ask_pending_after_s: u64,
    /// How often it is written down how far the log was heard, in milliseconds. At least 1.
    pub checkpoint_every_ms: u64,
    /// How long to wait before asking an idle log again, in milliseconds. At least 1. Appends of the same process wake it.
    pub poll_interval_ms: u64,
    /// After how long without a change a cart counts as abandoned, in seconds. At least 1.
    pub cart_idle_s: u64,
}

impl Default for ProcessesSettings {
    fn default() -> Self {
        Self {
            in_flight_max: 256,
            retry_first_ms: 50,
            retry_max_ms: 10_000,
            ask_pending_after_s: 60,
            checkpoint_every_ms: 1_000,
            poll_interval_ms: 20,
            cart_idle_s: 24 * 3_600,
        }
    }
}

impl Check for ProcessesSettings {
    fn check(&self) -> Result<(), Rule> {
        at_least("in_flight_max", self.in_flight_max, 1)?;
        at_least("retry_first_ms", self.retry_first_ms, 1)?;
        at_least("retry_max_ms", self.retry_max_ms, 1)?;
        at_least("ask_pending_after_s", self.ask_pending_after_s, 1)?;
        at_least("checkpoint_every_ms", self.checkpoint_every_ms, 1)?;
        at_least("poll_interval_ms", self.poll_interval_ms, 1)?;
        at_least("cart_idle_s", self.cart_idle_s, 1)
    }
}

/// What the process managers are at, for `/metrics`.
#[derive(Debug, Default)]
pub struct ProcessCounts {
    /// Last position heard.
    pub position: AtomicI64,
    /// Orders that something is to be done about.
    pub orders: AtomicI64,
    /// Reactions under way.
    pub in_flight: AtomicI64,
    /// 1 while this process acts.
    pub leading: AtomicI64,
}
