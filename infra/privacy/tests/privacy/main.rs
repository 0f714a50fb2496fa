//! The keys against a real Postgres: one file a story, each test with servers of its own.

mod erasing;
mod roles;
mod rotation;
mod sealing;
mod support;
