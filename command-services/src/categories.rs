//! Categories: create, rename, move, remove.

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::category::{CategoryCommand, CategoryTree};
use kontor_domain::text::Name;
use kontor_domain::{CategoryId, CategoryTreeId, Slug};
use schemars::JsonSchema;
use serde::Deserialize;

/// Adds a category under `parent`, or at the top of the tree.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCategory {
    category: CategoryId,
    name: Name,
    slug: Slug,
    parent: Option<CategoryId>,
}

/// Gives the category another name and slug.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameCategory {
    category: CategoryId,
    name: Name,
    slug: Slug,
}

/// Puts the category, with all below it, under `parent`, or at the top of the tree.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveCategory {
    category: CategoryId,
    parent: Option<CategoryId>,
}

/// Takes the category out of the tree; no other is below it. No product is in it any more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveCategory {
    category: CategoryId,
}

impl Decision for CreateCategory {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { category, name, slug, parent } = self;
        let (category, name, slug, parent) = (category.clone(), name.clone(), slug.clone(), parent.clone());
        handle(unit, CategoryCommand::Create { category, name, slug, parent }).await
    }
}

impl Decision for RenameCategory {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (category, name, slug) = (self.category.clone(), self.name.clone(), self.slug.clone());
        handle(unit, CategoryCommand::Rename { category, name, slug }).await
    }
}

impl Decision for MoveCategory {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let (category, parent) = (self.category.clone(), self.parent.clone());
        handle(unit, CategoryCommand::Move { category, parent }).await
    }
}

impl Decision for RemoveCategory {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        handle(unit, CategoryCommand::Remove { category: self.category.clone() }).await
    }
}

async fn handle(unit: &mut Unit<'_>, command: CategoryCommand) -> Result<(), Stop> {
    let tree = CategoryTreeId::MAIN;
    unit.handle::<CategoryTree>(tree.as_str(), command).await.map_err(|refused| refused.or(Refusal::Category))?;
    Ok(())
}
