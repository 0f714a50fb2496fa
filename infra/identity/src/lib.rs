//! Who calls, and what they may.
//!
//! A caller proves who they are with a token ([`token`], a JWT signed with Ed25519) and may do what their role is allowed
//! ([`policy`], the one table of it). What no row allows is denied. A customer may see and change what is theirs only.

pub mod caller;
pub mod key;
pub mod policy;
pub mod token;

pub use caller::{Caller, Denied};
pub use key::{KeyError, SigningKey};
pub use policy::{Permission, Role};
pub use token::{IdentitySettings, Issue, Unauthenticated, Verifier};
