//! What products are called: orders and carts know them by their SKU.

use kontor_domain::Sku;
use kontor_domain::product::Product;
use kontor_domain::sku::SkuClaim;
use kontor_event_store::Log;
use kontor_event_store::stream::StreamError;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CACHED_MAX: usize = 10_000;
/// A product that was renamed has its old name in mails for so long.
const CACHED_FOR: Duration = Duration::from_secs(60);

/// The names of products, remembered for a while: a busy shop sells the same ones again and again.
pub struct Names {
    log: Arc<Log>,
    cache: Cache<Sku, (String, Instant)>,
}

impl Names {
    pub fn new(log: Arc<Log>) -> Self {
        Self { log, cache: Cache::new(CACHED_MAX) }
    }

    /// The name of the product, and what tells the variant from the others; of one that the catalogue does not know, its SKU.
    pub async fn of(&self, sku: &Sku) -> Result<String, StreamError> {
        if let Some((name, read_at)) = self.cache.get(sku)
            && read_at.elapsed() < CACHED_FOR
        {
            return Ok(name);
        }
        let claim = self.log.load::<SkuClaim>(sku.as_str()).await?.aggregate;
        let code = claim.product().unwrap_or(sku); // A product without variants is its own.
        let product = self.log.load::<Product>(code.as_str()).await?.aggregate;
        // The code of a product that has variants since is called like the product.
        let name = product.line_name(sku).or_else(|| product.described().map(|(name, _)| name.to_string()));
        let name = name.unwrap_or_else(|| sku.to_string());
        self.cache.insert(sku.clone(), (name.clone(), Instant::now()));
        Ok(name)
    }
}
