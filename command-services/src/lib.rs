//! Commands over HTTP, their execution against the log, and the relay to JetStream.
//!
//! The way of a command: [`http`] reads it, [`command`] knows its form, the noun's file ([`products`], [`stock`],
//! [`carts`], [`orders`]) tells what it does, the [`executor`] decides and appends it, the [`relay`] publishes its events,
//! the [`processes`] do what follows from them, and [`payments`] ask the providers.

pub mod carts;
pub mod command;
pub mod executor;
pub mod http;
mod leader;
pub mod orders;
pub mod payments;
pub mod prices;
pub mod processes;
pub mod products;
pub mod refusal;
pub mod relay;
pub mod service;
pub mod settings;
pub mod shop;
pub mod stock;
