//! The files `products.csv.gz` and `orders.csv.gz` of a real shop, *Online Retail II*, whose form the importer's README
//! gives.
//!
//! - [`files`]: as they are.
//! - [`mod@trade`]: as trade to learn from.

pub mod files;
pub mod trade;

pub use files::{Invoice, InvoiceLine, Invoices, ORDER_COLUMNS, PRODUCT_COLUMNS, Product, products};
pub use trade::trade;
