//! How a product is found and shown: slug, categories, attributes, media; and how it is taxed.

use super::handle;
use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::category::CategoryTree;
use kontor_domain::product::{Attributes, Medium, Product, ProductCommand};
use kontor_domain::slug::{SlugClaim, SlugCommand};
use kontor_domain::{CategoryId, CategoryTreeId, Sku, Slug, TaxClass};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Gives the product's page an address, which no other product has.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSlug {
    sku: Sku,
    slug: Slug,
}

/// Says how the product is taxed. It is `standard` unless somebody says otherwise.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTaxClass {
    sku: Sku,
    tax_class: TaxClass,
}

/// Says what the product is like. These replace all that were there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAttributes {
    sku: Sku,
    attributes: Attributes,
}

/// Says where pictures, films and documents of the product are, the first to be shown first. These replace all that were there.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetMedia {
    sku: Sku,
    media: Vec<Medium>,
}

/// Puts the product into these categories, all of which exist, and into no other.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CategoriseProduct {
    sku: Sku,
    categories: BTreeSet<CategoryId>,
}

impl Decision for SetSlug {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let claims = set_slug(unit, &self.sku, &self.slug).await?;
        claim_slugs(unit, claims).await
    }
}

impl Decision for SetTaxClass {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, ProductCommand::SetTaxClass { tax_class: self.tax_class.clone() }).await.map(drop)
    }
}

impl Decision for SetAttributes {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, ProductCommand::SetAttributes { attributes: self.attributes.clone() }).await.map(drop)
    }
}

impl Decision for SetMedia {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, &self.sku, ProductCommand::SetMedia { media: self.media.clone() }).await.map(drop)
    }
}

impl Decision for CategoriseProduct {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        check_categories(unit, &self.categories).await?;
        handle(unit, &self.sku, ProductCommand::Categorise { categories: self.categories.clone() }).await.map(drop)
    }
}

/// That they exist, in this very append: the tree is held from here on, so it must come before any product.
pub(super) async fn check_categories(unit: &mut Unit<'_>, categories: &BTreeSet<CategoryId>) -> Result<(), Stop> {
    unit.state::<CategoryTree>(CategoryTreeId::MAIN.as_str()).await?.check(categories)?;
    Ok(())
}

/// Gives a product a slug. Returns what its slugs must be told, in the order in which they must be held.
pub(super) async fn set_slug(unit: &mut Unit<'_>, sku: &Sku, slug: &Slug) -> Result<Vec<(Slug, SlugCommand)>, Stop> {
    let previous = unit.state::<Product>(sku.as_str()).await?.slug().cloned();
    if handle(unit, sku, ProductCommand::SetSlug { slug: slug.clone() }).await?.is_unchanged() {
        return Ok(vec![]);
    }
    let mut claims = vec![(slug.clone(), SlugCommand::Claim { product: sku.clone() })];
    claims.extend(previous.map(|previous| (previous, SlugCommand::Release { product: sku.clone() })));
    claims.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(claims)
}

pub(super) async fn claim_slugs(unit: &mut Unit<'_>, claims: Vec<(Slug, SlugCommand)>) -> Result<(), Stop> {
    for (slug, command) in claims {
        let refusal = |error| Refusal::Slug { slug: slug.clone(), error };
        unit.handle::<SlugClaim>(slug.as_str(), command).await.map_err(|refused| refused.or(refusal))?;
    }
    Ok(())
}
