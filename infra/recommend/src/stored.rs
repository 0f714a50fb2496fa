//! A model as bytes: what a trainer stores and queries load.

use crate::model::Model;
use chrono::{DateTime, Utc};
use kontor_domain::Sku;
use serde::{Deserialize, Serialize};

/// Raised when the bytes of old are no more understood: a model is trained anew then.
const FORMAT: u32 = 1;

/// Why bytes are no model.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error("the model is of format {found}, this is {FORMAT}: train it again")]
    Format { found: u32 },
    #[error("the model cannot be read: {0}")]
    Unreadable(#[from] postcard::Error),
    #[error("the model has {found} numbers in {what}, not {expected}")]
    Length { what: &'static str, found: usize, expected: usize },
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u64,
    trained_at: DateTime<Utc>,
    skus: Vec<Sku>,
    demand: Vec<f32>,
    dimensions: usize,
    vectors: Vec<f32>,
}

impl Model {
    /// The whole model; [`Self::from_bytes`] makes the same of it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { version, trained_at, skus, demand, dimensions, vectors, item_of: _ } = self.clone();
        let stored = Stored { version, trained_at, skus, demand, dimensions, vectors };
        postcard::to_allocvec(&(FORMAT, stored)).expect("numbers and text can be written to memory")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StoredError> {
        let (format, rest) = postcard::take_from_bytes::<u32>(bytes)?;
        if format != FORMAT {
            return Err(StoredError::Format { found: format });
        }
        let Stored { version, trained_at, skus, demand, dimensions, vectors } = postcard::from_bytes(rest)?;
        let lengths = [("demand", demand.len(), skus.len()), ("vectors", vectors.len(), skus.len() * dimensions)];
        if let Some((what, found, expected)) = lengths.into_iter().find(|(_, found, expected)| found != expected) {
            return Err(StoredError::Length { what, found, expected });
        }
        let item_of = (0..).zip(&skus).map(|(item, sku)| (sku.clone(), item)).collect();
        Ok(Self { version, trained_at, skus, item_of, demand, dimensions, vectors })
    }
}
