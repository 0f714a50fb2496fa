//! What many fields of one query ask for, each for itself, asked for together.

use super::{Reached, catalogue, error};
use crate::problem::Problem;
use crate::products::{self, Product, ProductDetail};
use crate::view::View;
use async_graphql::dataloader::{DataLoader, Loader};
use kontor_identity::Caller;
use std::collections::HashMap;
use std::sync::Arc;

/// Of one request, as its caller may see it.
pub struct Loaders {
    pub details: DataLoader<Details>,
    pub sold: DataLoader<Sold>,
}

#[derive(Clone)]
struct Asking {
    view: View,
    caller: Caller,
    reached: Arc<Reached>,
}

impl Loaders {
    pub(super) fn new(view: &View, caller: &Caller, reached: &Arc<Reached>) -> Self {
        let asking = Asking { view: view.clone(), caller: caller.clone(), reached: reached.clone() };
        let details = DataLoader::new(Details(asking.clone()), tokio::spawn);
        Loaders { details, sold: DataLoader::new(Sold(asking), tokio::spawn) }
    }
}

/// All that is said of products, by SKU.
pub struct Details(Asking);

impl Loader<String> for Details {
    type Value = Arc<ProductDetail>;
    type Error = Problem;

    async fn load(&self, skus: &[String]) -> Result<HashMap<String, Self::Value>, Problem> {
        let (position, found) = products::details(skus, &self.0.caller, &self.0.view).await?;
        self.0.reached.at(position);
        Ok(found.into_iter().map(|detail| (detail.product.sku.clone(), Arc::new(detail))).collect())
    }
}

/// The product that is sold under a SKU: its own, or that of a variant of it.
pub struct Sold(Asking);

impl Loader<String> for Sold {
    type Value = Arc<Product>;
    type Error = Problem;

    async fn load(&self, skus: &[String]) -> Result<HashMap<String, Self::Value>, Problem> {
        let (position, found) = products::sold(skus, &self.0.caller, &self.0.view).await?;
        self.0.reached.at(position);
        Ok(found.into_iter().map(|(sku, product)| (sku, Arc::new(product))).collect())
    }
}

impl Loaders {
    /// The details of a product that is there.
    pub async fn detail(&self, sku: &str) -> async_graphql::Result<Arc<ProductDetail>> {
        let found = self.details.load_one(sku.to_owned()).await.map_err(error)?;
        found.ok_or_else(|| error(Problem::not_found("product", sku, 0)))
    }

    pub async fn product(&self, sku: &str) -> async_graphql::Result<Option<catalogue::ProductNode>> {
        let found = self.sold.load_one(sku.to_owned()).await.map_err(error)?;
        Ok(found.map(catalogue::ProductNode))
    }
}
