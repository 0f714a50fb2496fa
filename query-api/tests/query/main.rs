//! The query API against a real Postgres primary and its replica: one file a story, each test with servers of its own.

mod analytics;
mod api;
mod callers;
mod cards;
mod catalogue;
mod checkout;
mod consistency;
mod customers;
mod docs;
mod graphql;
mod listing;
mod live;
mod orders;
mod past;
mod products;
mod recommendations;
mod recorder;
mod refusals;
mod reports;
mod search;
mod stock;
mod trade;
mod trouble;
