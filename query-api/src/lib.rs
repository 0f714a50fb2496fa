//! Queries over the read models: products, categories, stock, orders, customers, reports, analytics. Reads Redis and a replica of the
//! database; of the log single streams, for what was and for live updates.
//!
//! Every answer says up to which position of the log it is true, and a client that has just written can ask for an answer
//! that reflects it: see [`consistency`].

pub mod analytics;
mod cache;
mod callers;
pub mod categories;
mod consistency;
pub mod customers;
mod etag;
pub mod graphql;
pub mod live;
mod openapi;
pub mod orders;
pub mod paging;
mod parameters;
mod past;
mod positions;
pub mod problem;
pub mod product_cards;
pub mod product_search;
pub mod products;
pub mod recommendations;
mod replica;
pub mod reports;
pub mod service;
pub mod settings;
pub mod stock;
pub mod view;

pub use service::Service;
pub use settings::QuerySettings;
