//! What customers may want next, learnt from what was sold. Pure: no clock, no files, no network, no chance.
//!
//! - [`trade`]: what was sold to whom when, which is all that is learnt from.
//! - [`history`]: what one customer has bought.
//! - [`model`]: learns, and answers what is similar, bought together, for you, to buy again, trending.
//! - [`stored`]: a model as bytes.

pub mod goods;
pub mod history;
pub mod model;
pub mod stored;
pub mod trade;

pub use history::{Bought, History};
pub use model::{Choice, Model, Recommended};
pub use stored::StoredError;
pub use trade::{Product, Trade};
