//! Mail to customers, with a real database and a real SMTP server: each once, whatever breaks.

mod crashes;
mod encryption;
mod failures;
mod mails;
mod shop;
#[path = "../support/mod.rs"]
mod support;
