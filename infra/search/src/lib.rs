//! Products as they are searched for: an index in a folder (tantivy), or a Typesense, behind one trait.
//!
//! A search store holds nothing that cannot be built anew from the log. Each generation of the read model is a *collection* of
//! its own, which has its checkpoint beside its documents; an *alias* says which of them is searched ([`engine`]). What a
//! product is found by is in its [`document`], what is wanted in a [`query`], what was found in an [`answer`].

pub mod analysis;
pub mod answer;
pub mod document;
pub mod embedded;
pub mod engine;
mod html;
pub mod query;
pub mod settings;
pub mod synonyms;
pub mod typesense;

pub use answer::{Answer, Band, Facets, Hit, Value};
pub use document::{Category, Document};
pub use embedded::Embedded;
pub use engine::{Batch, Checkpoint, Engine, SearchError};
pub use query::{Order, Query};
pub use settings::SearchSettings;
pub use synonyms::Synonym;
pub use typesense::Typesense;
