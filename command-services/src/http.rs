//! The HTTP command API. Thin: what comes in becomes a command that cannot be malformed, what comes out is its outcome.

pub mod bulk;
pub mod context;
pub mod endpoints;
pub mod fields;
pub mod notifications;
pub mod openapi;
pub mod payments;
pub mod problem;
pub mod routes;
pub mod shopping;
