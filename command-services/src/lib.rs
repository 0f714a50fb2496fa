//! Commands over HTTP, their execution against the log, and the relay to JetStream.
//!
//! The way of a command: [`http`] reads it, [`command`] knows its form, the noun's file ([`products`], [`stock`],
//! [`orders`]) tells what it does, the [`executor`] decides and appends it, the [`relay`] publishes its events. What is asked of
//! a payment provider, [`payments`] carry out.

pub mod command;
pub mod executor;
pub mod http;
pub mod orders;
pub mod payments;
pub mod products;
pub mod refusal;
pub mod relay;
pub mod service;
pub mod settings;
pub mod stock;
