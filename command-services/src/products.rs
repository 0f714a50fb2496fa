//! Products: register, describe, price, publish, withdraw.

mod import;
mod listing;
mod variants;

pub use import::ImportProduct;
pub use listing::{CategoriseProduct, SetAttributes, SetMedia, SetSlug, SetTaxClass};
pub use variants::{AddVariant, RemoveVariant, RemoveVariantPrice};

use crate::executor::{Decision, Effect, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::product::{Product, ProductCommand};
use kontor_domain::text::{Description, Name, Reason};
use kontor_domain::{Money, Sku};
use schemars::JsonSchema;
use serde::Deserialize;

/// Puts a product under its SKU, without a price. A `draft` is not on sale until it is published.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterProduct {
    sku: Sku,
    name: Name,
    description: Option<Description>,
    #[serde(default)]
    draft: bool,
}

/// Gives the product another name and description. Without `description` it has none any more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DescribeProduct {
    sku: Sku,
    name: Name,
    description: Option<Description>,
}

/// Sets what one unit costs in one currency.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceProduct {
    sku: Sku,
    price: Money,
    /// The variant whose own price it is; absent: that of all variants without one.
    variant: Option<Sku>,
}

/// Puts a draft on sale.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishProduct {
    sku: Sku,
}

/// Takes the product out of the catalogue, for good.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawProduct {
    sku: Sku,
    reason: Reason,
}

impl Decision for RegisterProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (name, description) = (self.name.clone(), self.description.clone());
        let register = ProductCommand::Register { name, description, draft: self.draft };
        let registered = unit.create::<Product>(self.sku.as_str(), register).await;
        if registered.map_err(|refused| refused.or(Refusal::Product))?.is_unchanged() {
            return Ok(());
        }
        variants::keep_free(unit, &self.sku).await
    }
}

impl Decision for DescribeProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (name, description) = (self.name.clone(), self.description.clone());
        handle(unit, &self.sku, ProductCommand::Describe { name, description }).await.map(drop)
    }
}

impl Decision for PriceProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let price = self.price;
        let command = match &self.variant {
            Some(variant) => ProductCommand::PriceVariant { sku: variant.clone(), price },
            None => ProductCommand::Price { price },
        };
        handle(unit, &self.sku, command).await.map(drop)
    }
}

impl Decision for PublishProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, ProductCommand::Publish).await.map(drop)
    }
}

impl Decision for WithdrawProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, ProductCommand::Withdraw { reason: self.reason.clone() }).await.map(drop)
    }
}

/// A product's part in a command.
async fn handle(unit: &mut Unit<'_>, sku: &Sku, command: ProductCommand) -> Result<Effect, Stop> {
    unit.handle::<Product>(sku.as_str(), command).await.map_err(|refused| refused.or(Refusal::Product))
}
