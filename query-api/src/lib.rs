//! Queries over the read models: products, categories, stock, orders, customers, reports. Reads a replica of the database and
//! Redis, and never the log.
//!
//! Every answer says up to which position of the log it is true, and a client that has just written can ask for an answer
//! that reflects it: see [`consistency`].

mod cache;
mod callers;
pub mod categories;
mod consistency;
pub mod customers;
mod etag;
mod openapi;
pub mod orders;
pub mod paging;
mod parameters;
mod positions;
pub mod problem;
pub mod product_cards;
pub mod products;
mod replica;
pub mod reports;
pub mod service;
pub mod settings;
pub mod stock;

pub use service::Service;
pub use settings::QuerySettings;
