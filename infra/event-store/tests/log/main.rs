//! The log against a real Postgres: one file a story, each test with servers of its own.

mod append;
mod batches;
mod crashes;
mod failover;
mod keys;
mod model;
mod races;
mod reading;
mod roles;
mod snapshots;
mod support;
