//! The log as files and as lines, against a real Postgres.

mod export;
mod files;
mod log;
mod replay;
