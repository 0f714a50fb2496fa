//! What customers may want next, learnt from what was sold. Pure: no clock, no files, no network, no chance.
//!
//! - [`trade`]: what was sold to whom when, which is all that is learnt from; [`goods`]: what of it is no goods.
//! - [`history`]: what one customer has bought.
//! - [`model`]: answers what is similar, bought together, for you, to buy again, trending.
//! - [`stored`]: a model as bytes.
//! - [`mod@evaluate`]: how good it is.
//!
//! Inside, from bottom to top: `demand` (what sells), `affinity` (who has this has that), `neighbours` (what those buy of late who buy
//! alike), `baskets` (what is ordered together) and `words` (what is called alike) are the `knowledge` of one moment; `leaning` and
//! `pair` say what of it speaks for an item, and a `blend` what that is worth; `train` makes a model of these. The reasons are in
//! `docs`.

mod affinity;
mod baskets;
mod blend;
mod demand;
pub mod evaluate;
pub mod goods;
pub mod history;
mod knowledge;
mod leaning;
pub mod model;
mod neighbours;
mod pair;
mod sparse;
pub mod stored;
pub mod trade;
mod train;
mod vectors;
mod words;

pub use history::{Bought, History};
pub use model::{Choice, Model, Recommended};
pub use stored::StoredError;
pub use trade::{Product, Trade};
