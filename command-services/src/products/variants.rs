//! Variants: added to a product and taken out, each with the claim on its SKU in the same append.

use super::handle;
use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::product::{Options, Product, ProductCommand};
use kontor_domain::sku::{SkuClaim, SkuCommand};
use kontor_domain::{Currency, Sku};
use schemars::JsonSchema;
use serde::Deserialize;

/// Adds a variant to the product, with a SKU of its own. Its first variant takes the place of the product's code.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddVariant {
    sku: Sku,
    variant: Sku,
    options: Options,
}

/// Takes a variant out of the product. Its SKU is free again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveVariant {
    sku: Sku,
    variant: Sku,
}

/// Takes a variant's own price in one currency away: it costs what the product does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveVariantPrice {
    sku: Sku,
    variant: Sku,
    currency: Currency,
}

impl Decision for AddVariant {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        hold(unit, &self.sku, &self.variant).await?;
        if add(unit, &self.sku, &self.variant, &self.options).await? {
            claim_for(unit, &self.sku, &self.variant).await?;
        }
        Ok(())
    }
}

impl Decision for RemoveVariant {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let remove = ProductCommand::RemoveVariant { sku: self.variant.clone() };
        if handle(unit, &self.sku, remove).await?.is_unchanged() {
            return Ok(());
        }
        claim(unit, &self.variant, SkuCommand::Release { product: self.sku.clone() }).await
    }
}

impl Decision for RemoveVariantPrice {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let remove = ProductCommand::RemoveVariantPrice { sku: self.variant.clone(), currency: self.currency };
        handle(unit, &self.sku, remove).await.map(drop)
    }
}

/// Looks at a product and at the one that is perhaps called like its variant, in the order in which they must be held.
pub(super) async fn hold(unit: &mut Unit<'_>, product: &Sku, variant: &Sku) -> Result<(), Stop> {
    let mut codes = [product, variant];
    codes.sort();
    for code in codes {
        unit.state::<Product>(code.as_str()).await?;
    }
    Ok(())
}

/// Adds a variant to a product, both of which are held. `false`: it was there.
pub(super) async fn add(unit: &mut Unit<'_>, product: &Sku, variant: &Sku, options: &Options) -> Result<bool, Stop> {
    let add = ProductCommand::AddVariant { sku: variant.clone(), options: options.clone() };
    Ok(!handle(unit, product, add).await?.is_unchanged())
}

/// Claims a SKU for the product that it is a new variant of. Both are held.
pub(super) async fn claim_for(unit: &mut Unit<'_>, product: &Sku, variant: &Sku) -> Result<(), Stop> {
    let is_code = unit.state::<Product>(variant.as_str()).await?.described().is_some();
    claim(unit, variant, SkuCommand::Claim { product: product.clone(), is_code }).await
}

/// The part in a command of the claim on a SKU; its refusals name the SKU.
async fn claim(unit: &mut Unit<'_>, sku: &Sku, command: SkuCommand) -> Result<(), Stop> {
    let refusal = |error| Refusal::Sku { sku: sku.clone(), error };
    unit.handle::<SkuClaim>(sku.as_str(), command).await.map_err(|refused| refused.or(refusal))?;
    Ok(())
}

/// That a new product's code is nobody's variant. It hardly ever is: then the claim's stream need not be read.
pub(super) async fn keep_free(unit: &mut Unit<'_>, sku: &Sku) -> Result<(), Stop> {
    let refusal = |error| Refusal::Sku { sku: sku.clone(), error };
    let kept = unit.create::<SkuClaim>(sku.as_str(), SkuCommand::KeepFree).await;
    kept.map_err(|refused| refused.or(refusal))?;
    Ok(())
}
