//! Categories: create, rename, move, remove; a row of a catalogue file.

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use kontor_domain::category::{CategoryCommand, CategoryError, CategoryTree};
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

/// Makes a category what a row of a file says: new, or changed. What the row does not say stays as it is; a new one needs its
/// name and slug, and is at the top of the tree unless it has a `parent`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportCategory {
    category: CategoryId,
    name: Option<Name>,
    slug: Option<Slug>,
    parent: Option<CategoryId>,
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

impl Decision for ImportCategory {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let category = self.category.clone();
        let held = unit.state::<CategoryTree>(CategoryTreeId::MAIN.as_str()).await?.words(&category);
        let held = held.map(|(name, slug)| (name.clone(), slug.clone()));
        let is_new = held.is_none();
        let said = self.name.clone().zip(self.slug.clone());
        let (name, slug) = held.or(said).ok_or(CategoryError::Unknown { category: category.clone() })?;
        let (name, slug) = (self.name.clone().unwrap_or(name), self.slug.clone().unwrap_or(slug));
        if is_new {
            return handle(unit, CategoryCommand::Create { category, name, slug, parent: self.parent.clone() }).await;
        }
        handle(unit, CategoryCommand::Rename { category: category.clone(), name, slug }).await?;
        match self.parent.clone() {
            Some(parent) => handle(unit, CategoryCommand::Move { category, parent: Some(parent) }).await,
            None => Ok(()),
        }
    }
}

async fn handle(unit: &mut Unit<'_>, command: CategoryCommand) -> Result<(), Stop> {
    let tree = CategoryTreeId::MAIN;
    unit.handle::<CategoryTree>(tree.as_str(), command).await.map_err(|refused| refused.or(Refusal::Category))?;
    Ok(())
}
