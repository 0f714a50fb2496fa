//! A generated shop, the same each time: products with variants, prices, categories and stock, and orders, as the events that
//! the command tier would have appended for them.
//!
//! - [`product`], [`order`]: what the n-th is like, for whoever wants to know what a query must answer.
//! - [`buyer`]: who orders, sealed.
//! - [`stream`]: one aggregate's events, as its rules decide them.
//! - [`history`]: all of it, append by append.
//! - [`filler`]: appends it to a log.

pub mod buyer;
pub mod filler;
pub mod history;
pub mod order;
pub mod product;
pub mod stream;

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

/// What is valid by its making.
fn valid<T, E: std::fmt::Debug>(made: Result<T, E>) -> T {
    made.expect("what is generated is valid")
}
