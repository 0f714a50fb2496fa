//! The tree of categories, as products are found in it.

use crate::runtime::store::StoreError;
use crate::runtime::{ApplyError, SearchView};
use kontor_domain::CategoryId;
use kontor_domain::category::{CategoryEvent, DEPTH_MAX};
use kontor_domain::text::Name;
use kontor_search::{Category, Document};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Of the document that has it. No product is called so.
const DOCUMENT: &str = ":tree";

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tree(BTreeMap<CategoryId, Branch>);

#[derive(Debug, Serialize, Deserialize)]
struct Branch {
    name: Name,
    parent: Option<CategoryId>,
}

impl Tree {
    pub async fn read(view: &SearchView<'_>) -> Result<Self, StoreError> {
        let Some(document) = view.read(DOCUMENT).await? else { return Ok(Tree::default()) };
        serde_json::from_str(&document.source)
            .map_err(|error| ApplyError::Contradiction(format!("the tree of categories is unreadable: {error}")).into())
    }

    pub fn write(&self, view: &mut SearchView<'_>, position: i64) {
        let source = serde_json::to_string(self).expect("names have a JSON form");
        view.put(Document { product: DOCUMENT.to_owned(), source, position, ..Document::default() });
    }

    pub fn fold(&mut self, event: &CategoryEvent) {
        match event {
            CategoryEvent::Created { category, name, parent, .. } => {
                self.0.insert(category.clone(), Branch { name: name.clone(), parent: parent.clone() });
            }
            CategoryEvent::Renamed { category, name, .. } => {
                if let Some(branch) = self.0.get_mut(category) {
                    branch.name = name.clone();
                }
            }
            CategoryEvent::Moved { category, parent, .. } => {
                if let Some(branch) = self.0.get_mut(category) {
                    branch.parent = parent.clone();
                }
            }
            CategoryEvent::Removed { category } => drop(self.0.remove(category)),
        }
    }

    /// These categories and all above them, sorted by their ids. What is not in the tree is called as its id.
    pub fn with_above(&self, categories: &BTreeSet<CategoryId>) -> Vec<Category> {
        let mut all = BTreeSet::new();
        for category in categories {
            let above = |id: &&CategoryId| self.0.get(*id)?.parent.as_ref();
            let path = std::iter::successors(Some(category), above).take(DEPTH_MAX);
            all.extend(path);
        }
        let named = |id: &CategoryId| {
            let name = self.0.get(id).map_or_else(|| id.to_string(), |branch| branch.name.to_string());
            Category { id: id.to_string(), name }
        };
        all.into_iter().map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> CategoryId {
        text.parse().expect("a valid id")
    }

    fn created(category: &str, parent: Option<&str>) -> CategoryEvent {
        let name = Name::new(&category.to_uppercase()).expect("a valid name");
        CategoryEvent::Created {
            category: id(category),
            name,
            slug: category.parse().expect("a slug"),
            parent: parent.map(id),
        }
    }

    #[test]
    fn a_product_is_in_those_above_its_categories_too() {
        let mut tree = Tree::default();
        for event in [created("home", None), created("cups", Some("home")), created("pots", Some("home"))] {
            tree.fold(&event);
        }
        let found = |tree: &Tree, own: &[&str]| {
            let found = tree.with_above(&own.iter().map(|own| id(own)).collect());
            found.into_iter().map(|category| format!("{}={}", category.id, category.name)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(found(&tree, &["cups", "pots"]), "cups=CUPS home=HOME pots=POTS");
        tree.fold(&CategoryEvent::Moved { category: id("cups"), parent: None, previous: Some(id("home")) });
        assert_eq!(found(&tree, &["cups"]), "cups=CUPS");
        assert_eq!(found(&tree, &["unknown"]), "unknown=unknown");
    }
}
