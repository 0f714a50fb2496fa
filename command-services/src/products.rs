//! Products: register, describe, price, withdraw.

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::product::{Product, ProductCommand};
use kontor_domain::text::{Description, Name, Reason};
use kontor_domain::{Money, Sku};
use schemars::JsonSchema;
use serde::Deserialize;

/// Puts a product under its SKU. It has no price yet, so it is not on sale.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterProduct {
    sku: Sku,
    name: Name,
    description: Option<Description>,
}

/// Gives the product another name and description. Without `description` it has none any more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DescribeProduct {
    sku: Sku,
    name: Name,
    description: Option<Description>,
}

/// Sets what one unit costs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceProduct {
    sku: Sku,
    price: Money,
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
        let command = ProductCommand::Register { name, description };
        unit.create::<Product>(self.sku.as_str(), command).await.map_err(|refused| refused.or(Refusal::Product))?;
        Ok(())
    }
}

impl Decision for DescribeProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (name, description) = (self.name.clone(), self.description.clone());
        handle(unit, &self.sku, ProductCommand::Describe { name, description }).await
    }
}

impl Decision for PriceProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, ProductCommand::Price { price: self.price }).await
    }
}

impl Decision for WithdrawProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, ProductCommand::Withdraw { reason: self.reason.clone() }).await
    }
}

async fn handle(unit: &mut Unit<'_>, sku: &Sku, command: ProductCommand) -> Result<(), Stop> {
    unit.handle::<Product>(sku.as_str(), command).await.map_err(|refused| refused.or(Refusal::Product))?;
    Ok(())
}
