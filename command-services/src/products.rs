//! Products: register, describe, price, withdraw.

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::product::{Product, ProductCommand};
use kontor_domain::text::{Description, Name, Reason};
use kontor_domain::{Money, Sku};
use serde::Deserialize;

/// `POST /v1/products`, `register-product`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterProduct {
    sku: Sku,
    name: Name,
    description: Option<Description>,
}

/// `POST /v1/products/{sku}/describe`, `describe-product`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribeProduct {
    sku: Sku,
    name: Name,
    description: Option<Description>,
}

/// `POST /v1/products/{sku}/price`, `price-product`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceProduct {
    sku: Sku,
    price: Money,
}

/// `POST /v1/products/{sku}/withdraw`, `withdraw-product`.
#[derive(Debug, Deserialize)]
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
