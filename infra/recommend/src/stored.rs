//! A model as bytes: what a trainer stores and queries load.

use crate::knowledge::Knowledge;
use crate::model::Model;
use crate::train::Blends;
use chrono::{DateTime, Utc};
use kontor_domain::Sku;

/// Raised when the bytes of old are no more understood: a model is trained anew then.
const FORMAT: u32 = 2;

/// Why bytes are no model.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error("the model is of format {found}, this is {FORMAT}: train it again")]
    Format { found: u32 },
    #[error("the model cannot be read: {0}")]
    Unreadable(#[from] postcard::Error),
    #[error("the model contradicts itself: its parts are not about the same {items} items")]
    Unsound { items: usize },
}

impl Model {
    /// The whole model; [`Self::from_bytes`] makes the same of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { version, trained_at, skus, knowledge, blends, .. } = self;
        let stored = (FORMAT, version, trained_at, skus, knowledge, blends);
        postcard::to_allocvec(&stored).expect("numbers and text can be written to memory")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredError> {
        let (found, rest) = postcard::take_from_bytes::<u32>(bytes)?;
        if found != FORMAT {
            return Err(StoredError::Format { found });
        }
        let (version, trained_at, skus, knowledge, blends): (u64, DateTime<Utc>, Vec<Sku>, Knowledge, Blends) =
            postcard::from_bytes(rest)?;
        if !knowledge.is_sound(skus.len()) || !blends.is_sound() {
            return Err(StoredError::Unsound { items: skus.len() });
        }
        Ok(Self::of(version, trained_at, skus, knowledge, blends))
    }
}
