//! Importers of real data and benchmarks.
//!
//! - [`import`]: a real shop's trade, through the HTTP commands and compared with what the query API says.
//! - [`demo`]: a generated shop to look at.
//! - [`bench`]: what `infra/bench` runs.
//! - [`shopper`], [`flash_sale`]: purchases as the command API sees them, one by one and very many at once.
//! - [`books`]: whether stock, orders and money are right afterwards.
//! - [`client`], [`bulk`], [`goods`]: the HTTP APIs, many commands through them, and goods to sell.
//! - [`relevance`]: how well products are found.
//! - [`connection`]: HTTP where it must cost next to nothing.

pub mod bench;
pub mod books;
pub mod bulk;
pub mod client;
pub mod connection;
pub mod demo;
pub mod dice;
pub mod flash_sale;
pub mod goods;
pub mod import;
pub mod progress;
pub mod relevance;
pub mod shopper;
pub mod table;
