//! What Redis holds and how it is reached: for the tier that writes it and the one that reads it.
//!
//! Redis holds nothing that cannot be built anew. Each generation of a read model has a prefix of its own, and one key says
//! which of them queries see ([`keys`]). What is answered is kept as it is sent ([`card`]).

pub mod card;
pub mod keys;
pub mod reader;
pub mod settings;

pub use card::{Availability, Card, Status};
pub use reader::{Found, Reader};
pub use settings::{Redis, RedisSettings};

pub use redis::{RedisError, RedisResult};
