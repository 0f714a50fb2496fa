//! Commands over HTTP, their execution against the log, the relay to JetStream, and mail to customers.
//!
//! The way of a command: [`http`] reads it, [`command`] knows its form, the noun's file ([`products`], [`stock`],
//! [`carts`], [`orders`]) tells what it does, the [`executor`] decides and appends it, the [`relay`] publishes its events,
//! the [`processes`] do what follows from them, [`payments`] ask the providers, and [`notifications`] mail the customer.

pub mod carts;
pub mod categories;
pub mod command;
pub mod executor;
pub mod http;
mod leader;
pub mod notifications;
pub mod orders;
pub mod payments;
pub mod prices;
pub mod processes;
pub mod products;
pub mod refusal;
pub mod relay;
mod schema;
pub mod service;
pub mod settings;
pub mod shop;
pub mod stock;
