//! Personal data, sealed with a key per subject, so that erasing somebody is destroying a key.
//!
//! - `subject_key`: one subject's key: how a text is sealed and opened. The format is described there.
//! - [`master_key`]: what the subjects' keys are wrapped with, from a file.
//! - [`keyring`]: seals and opens with the keys in Postgres, and remembers them for a while.
//! - [`erase`](mod@erase): destroys a subject's key.
//! - [`rewrap`](mod@rewrap): wraps all keys with another master key.

pub mod erase;
pub mod keyring;
pub mod master_key;
mod migrate;
pub mod rewrap;
mod settings;
mod subject_key;

pub use erase::{Erasure, erase};
pub use keyring::{Keyring, PrivacyError};
pub use master_key::{MasterKey, MasterKeyError};
pub use migrate::migrate;
pub use rewrap::rewrap;
pub use settings::PrivacySettings;
pub use subject_key::Unreadable;
