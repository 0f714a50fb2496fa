//! Queries over the read models: products, categories, orders, reports. Reads a replica of the database, and never the log.
//!
//! Every answer says up to which position of the log it is true, and a client that has just written can ask for an answer
//! that reflects it: see [`consistency`].

mod callers;
pub mod categories;
mod consistency;
mod etag;
mod openapi;
pub mod orders;
pub mod paging;
mod parameters;
mod positions;
pub mod problem;
pub mod products;
mod replica;
pub mod reports;
pub mod service;
pub mod settings;

pub use service::Service;
pub use settings::QuerySettings;
