//! A generated shop, the same each time: products with variants, prices, categories and stock, and orders, as the events that
//! the command tier would have appended for them.
//!
//! - [`product`], [`order`]: what the n-th is like, for whoever wants to know what a query must answer.
//! - [`buyer`]: who orders, sealed.
//! - [`stream`]: one aggregate's events, as its rules decide them.
//! - [`history`]: all of it, append by append.
//! - [`filler`]: appends it to a log.
//! - [`open`]: all of that, with read models beside it.

pub mod buyer;
pub mod filler;
pub mod history;
pub mod order;
pub mod product;
pub mod stream;

use super::stage::{Followed, Stage};
use crate::table::grouped;
use anyhow::Result;

/// How large a shop is. Numbers of products and orders begin at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub products: usize,
    pub orders: usize,
}

impl Size {
    pub const FULL: Size = Size { products: 100_000, orders: 1_000_000 };
    pub const QUICK: Size = Size { products: 10_000, orders: 50_000 };

    pub fn of(quick: bool) -> Self {
        if quick { Self::QUICK } else { Self::FULL }
    }

    /// Who order.
    pub fn buyers(self) -> usize {
        self.products / 10
    }
}

/// A stage with a whole shop in its log, and a projector that has followed all of its events.
pub struct Opened {
    pub stage: Stage,
    pub events: i64,
    pub followed: Followed,
}

/// Fills the log of a new stage, and lets a projector keep `projections`.
pub async fn open(size: Size, projections: &[&str]) -> Result<Opened> {
    let mut stage = Stage::start().await?;
    let events = filler::fill(&stage, size).await?;
    stage.start_projector(projections)?;
    eprintln!("The projector follows {} events", grouped(events as f64));
    let followed = stage.follow(projections, events).await?;
    stage.tidy().await?;
    Ok(Opened { stage, events, followed })
}

/// What is valid by its making.
fn valid<T, E: std::fmt::Debug>(made: Result<T, E>) -> T {
    made.expect("what is generated is valid")
}
