//! Projectors against a real Postgres and NATS: one file a story, each test with servers of its own.

mod analytics;
mod catalogue;
mod crashes;
mod dead_letters;
mod generations;
mod levels;
mod life;
mod operations;
mod program;
mod rebuild;
mod recommendations;
mod redis;
mod search;
mod shop;
mod stream;
mod trade;
mod trouble;
mod views;
