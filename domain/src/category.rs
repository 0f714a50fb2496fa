//! The categories of the shop: one tree, whose rules are about all of it, so one aggregate.

use crate::text::Name;
use crate::{CategoryId, Slug};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// The most categories of the tree.
pub const CATEGORIES_MAX: usize = 2_000;
/// The most levels of the tree.
pub const DEPTH_MAX: usize = 8;

/// What has happened to the tree. Stored and published: a field may be added, none renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CategoryEvent {
    /// The category exists from now on, under `parent`; `None`: at the top.
    Created { category: CategoryId, name: Name, slug: Slug, parent: Option<CategoryId> },
    /// Name and slug are now these.
    Renamed { category: CategoryId, name: Name, slug: Slug },
    /// The category, with all below it, is under `parent` now; `None`: at the top.
    Moved { category: CategoryId, parent: Option<CategoryId>, previous: Option<CategoryId> },
    /// The category is no more, and no product is in it.
    Removed { category: CategoryId },
}

impl DomainEvent for CategoryEvent {
    fn event_type(&self) -> String {
        match self {
            CategoryEvent::Created { .. } => "Created",
            CategoryEvent::Renamed { .. } => "Renamed",
            CategoryEvent::Moved { .. } => "Moved",
            CategoryEvent::Removed { .. } => "Removed",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum CategoryCommand {
    Create { category: CategoryId, name: Name, slug: Slug, parent: Option<CategoryId> },
    Rename { category: CategoryId, name: Name, slug: Slug },
    Move { category: CategoryId, parent: Option<CategoryId> },
    Remove { category: CategoryId },
}

/// Why a category command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CategoryError {
    #[error("there is no category {category}")]
    Unknown { category: CategoryId },
    #[error("there is no category {parent} to be under")]
    UnknownParent { parent: CategoryId },
    #[error("{category} already is the category \"{name}\"")]
    CreatedDifferently { category: CategoryId, name: Name },
    #[error("the category {category} has the slug {slug}")]
    SlugTaken { slug: Slug, category: CategoryId },
    #[error("there may be {CATEGORIES_MAX} categories, and there are")]
    TooMany,
    #[error("the tree may have {DEPTH_MAX} levels, this would make {levels}")]
    TooDeep { levels: usize },
    #[error("{category} cannot be under {parent}, which is the same or below it")]
    UnderItself { category: CategoryId, parent: CategoryId },
    #[error("{children} categories are under {category}")]
    HasChildren { category: CategoryId, children: usize },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CategoryTree {
    // Shares its parts with its copies: one is made for each command.
    categories: OrdMap<CategoryId, Category>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Category {
    name: Name,
    slug: Slug,
    parent: Option<CategoryId>,
}

impl CategoryTree {
    /// Whether a product may be in these: all of them exist.
    pub fn check<'a>(&self, categories: impl IntoIterator<Item = &'a CategoryId>) -> Result<(), CategoryError> {
        match categories.into_iter().find(|category| !self.categories.contains_key(*category)) {
            Some(category) => Err(CategoryError::Unknown { category: category.clone() }),
            None => Ok(()),
        }
    }

    /// Name and slug; `None`: there is no such category.
    pub fn words(&self, category: &CategoryId) -> Option<(&Name, &Slug)> {
        self.categories.get(category).map(|held| (&held.name, &held.slug))
    }

    fn decide(&self, command: CategoryCommand) -> Result<Option<CategoryEvent>, CategoryError> {
        match command {
            CategoryCommand::Create { category, name, slug, parent } => self.create(category, name, slug, parent),
            CategoryCommand::Rename { category, name, slug } => self.rename(category, name, slug),
            CategoryCommand::Move { category, parent } => self.put_under(category, parent),
            CategoryCommand::Remove { category } => self.remove(category),
        }
    }

    /// Adds a category. `None`: it is there, and like this.
    fn create(
        &self,
        category: CategoryId,
        name: Name,
        slug: Slug,
        parent: Option<CategoryId>,
    ) -> Result<Option<CategoryEvent>, CategoryError> {
        match self.categories.get(&category) {
            Some(held) if held.name == name && held.slug == slug && held.parent == parent => return Ok(None),
            Some(held) => return Err(CategoryError::CreatedDifferently { category, name: held.name.clone() }),
            None => {}
        }
        if self.categories.len() >= CATEGORIES_MAX {
            return Err(CategoryError::TooMany);
        }
        self.slug_is_free(&category, &slug)?;
        self.has_room(parent.as_ref(), 1)?;
        Ok(Some(CategoryEvent::Created { category, name, slug, parent }))
    }

    /// Changes name and slug. `None`: they already are these.
    fn rename(&self, category: CategoryId, name: Name, slug: Slug) -> Result<Option<CategoryEvent>, CategoryError> {
        let held = self.get(&category)?;
        if held.name == name && held.slug == slug {
            return Ok(None);
        }
        self.slug_is_free(&category, &slug)?;
        Ok(Some(CategoryEvent::Renamed { category, name, slug }))
    }

    /// Puts a category, with all below it, under another or at the top. `None`: it is there.
    fn put_under(
        &self,
        category: CategoryId,
        parent: Option<CategoryId>,
    ) -> Result<Option<CategoryEvent>, CategoryError> {
        let previous = self.get(&category)?.parent.clone();
        if previous == parent {
            return Ok(None);
        }
        if let Some(parent) = &parent
            && self.with_those_above(parent).any(|above| *above == category)
        {
            return Err(CategoryError::UnderItself { category, parent: parent.clone() });
        }
        self.has_room(parent.as_ref(), self.levels_from(&category))?;
        Ok(Some(CategoryEvent::Moved { category, parent, previous }))
    }

    /// Takes a category out that has none below it. `None`: it is not there.
    fn remove(&self, category: CategoryId) -> Result<Option<CategoryEvent>, CategoryError> {
        if !self.categories.contains_key(&category) {
            return Ok(None);
        }
        let children = self.categories.values().filter(|other| other.parent.as_ref() == Some(&category)).count();
        if children > 0 {
            return Err(CategoryError::HasChildren { category, children });
        }
        Ok(Some(CategoryEvent::Removed { category }))
    }

    fn get(&self, category: &CategoryId) -> Result<&Category, CategoryError> {
        self.categories.get(category).ok_or_else(|| CategoryError::Unknown { category: category.clone() })
    }

    fn slug_is_free(&self, category: &CategoryId, slug: &Slug) -> Result<(), CategoryError> {
        match self.categories.iter().find(|(other, held)| held.slug == *slug && *other != category) {
            Some((other, _)) => Err(CategoryError::SlugTaken { slug: slug.clone(), category: other.clone() }),
            None => Ok(()),
        }
    }

    /// Whether so many `levels` can be put under `parent`.
    fn has_room(&self, parent: Option<&CategoryId>, levels: usize) -> Result<(), CategoryError> {
        let above = match parent {
            Some(parent) if !self.categories.contains_key(parent) => {
                return Err(CategoryError::UnknownParent { parent: parent.clone() });
            }
            Some(parent) => self.with_those_above(parent).count(),
            None => 0,
        };
        match above + levels {
            ..=DEPTH_MAX => Ok(()),
            levels => Err(CategoryError::TooDeep { levels }),
        }
    }

    /// The category, its parent, and so on up to the top.
    fn with_those_above<'a>(&'a self, category: &'a CategoryId) -> impl Iterator<Item = &'a CategoryId> {
        std::iter::successors(Some(category), |category| self.categories.get(*category)?.parent.as_ref())
    }

    /// Levels of the category and what is below it. At least 1.
    fn levels_from(&self, category: &CategoryId) -> usize {
        let below = |other| self.with_those_above(other).position(|above| above == category);
        self.categories.keys().filter_map(below).max().map_or(1, |deepest| deepest + 1)
    }
}

impl Aggregate for CategoryTree {
    const TYPE: &'static str = "category-tree";
    type Command = CategoryCommand;
    type Event = CategoryEvent;
    type Error = CategoryError;
    type Services = ();

    async fn handle(&mut self, command: CategoryCommand, _: &(), sink: &EventSink<Self>) -> Result<(), CategoryError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CategoryEvent) {
        match event {
            CategoryEvent::Created { category, name, slug, parent } => {
                self.categories.insert(category, Category { name, slug, parent });
            }
            CategoryEvent::Renamed { category, name, slug } => {
                if let Some(held) = self.categories.get_mut(&category) {
                    (held.name, held.slug) = (name, slug);
                }
            }
            CategoryEvent::Moved { category, parent, .. } => {
                if let Some(held) = self.categories.get_mut(&category) {
                    held.parent = parent;
                }
            }
            CategoryEvent::Removed { category } => drop(self.categories.remove(&category)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{given, handle, state};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn id(text: &str) -> CategoryId {
        text.parse().expect("a valid id")
    }

    fn slug(text: &str) -> Slug {
        text.to_lowercase().parse().expect("a valid slug")
    }

    fn name(text: &str) -> Name {
        Name::new(text).expect("a valid name")
    }

    /// Name and slug are those of the id.
    fn created(text: &str, parent: Option<&str>) -> CategoryEvent {
        CategoryEvent::Created { category: id(text), name: name(text), slug: slug(text), parent: parent.map(id) }
    }

    fn create(text: &str, parent: Option<&str>) -> CategoryCommand {
        CategoryCommand::Create { category: id(text), name: name(text), slug: slug(text), parent: parent.map(id) }
    }

    fn rename(text: &str, to: &str) -> CategoryCommand {
        CategoryCommand::Rename { category: id(text), name: name(to), slug: slug(to) }
    }

    fn put(text: &str, parent: Option<&str>) -> CategoryCommand {
        CategoryCommand::Move { category: id(text), parent: parent.map(id) }
    }

    fn remove(text: &str) -> CategoryCommand {
        CategoryCommand::Remove { category: id(text) }
    }

    /// C0, under it C1, and so on.
    fn chain(prefix: &str, levels: usize) -> Vec<CategoryEvent> {
        let of = |n: usize| format!("{prefix}{n}");
        (0..levels).map(|n| created(&of(n), n.checked_sub(1).map(of).as_deref())).collect()
    }

    #[test]
    fn a_category_is_created_once_under_one_that_is_there() {
        given::<CategoryTree>([]).when(create("HOME", None)).then(created("HOME", None));
        given::<CategoryTree>([created("HOME", None)])
            .when(create("MUGS", Some("HOME")))
            .then(created("MUGS", Some("HOME")));
        given::<CategoryTree>([created("HOME", None)]).when(create("HOME", None)).then_nothing();
        given::<CategoryTree>([created("HOME", None), created("MUGS", None)])
            .when(create("MUGS", Some("HOME")))
            .then_refused(CategoryError::CreatedDifferently { category: id("MUGS"), name: name("MUGS") });
        given::<CategoryTree>([])
            .when(create("MUGS", Some("HOME")))
            .then_refused(CategoryError::UnknownParent { parent: id("HOME") });
    }

    #[test]
    fn no_two_categories_have_the_same_slug() {
        let refusal = || CategoryError::SlugTaken { slug: slug("home"), category: id("HOME") };
        given::<CategoryTree>([created("HOME", None)]).when(create("home", None)).then_refused(refusal());
        given::<CategoryTree>([created("HOME", None), created("MUGS", None)])
            .when(rename("MUGS", "HOME"))
            .then_refused(refusal());
    }

    #[test]
    fn a_category_is_renamed() {
        let renamed = CategoryEvent::Renamed { category: id("HOME"), name: name("House"), slug: slug("house") };
        given::<CategoryTree>([created("HOME", None)]).when(rename("HOME", "House")).then(renamed.clone());
        given::<CategoryTree>([created("HOME", None), renamed]).when(rename("HOME", "House")).then_nothing();
        given::<CategoryTree>([])
            .when(rename("HOME", "House"))
            .then_refused(CategoryError::Unknown { category: id("HOME") });
    }

    #[test]
    fn a_category_is_moved_but_never_under_itself() {
        let events = || [created("A", None), created("B", Some("A")), created("C", Some("B"))];
        let moved = |parent: Option<&str>, previous: Option<&str>| CategoryEvent::Moved {
            category: id("C"),
            parent: parent.map(id),
            previous: previous.map(id),
        };
        given::<CategoryTree>(events()).when(put("C", None)).then(moved(None, Some("B")));
        given::<CategoryTree>(events()).when(put("C", Some("A"))).then(moved(Some("A"), Some("B")));
        given::<CategoryTree>(events()).when(put("C", Some("B"))).then_nothing();
        for parent in ["A", "C"] {
            given::<CategoryTree>(events())
                .when(put("A", Some(parent)))
                .then_refused(CategoryError::UnderItself { category: id("A"), parent: id(parent) });
        }
        given::<CategoryTree>(events())
            .when(put("A", Some("X")))
            .then_refused(CategoryError::UnknownParent { parent: id("X") });
        given::<CategoryTree>(events()).when(put("X", None)).then_refused(CategoryError::Unknown { category: id("X") });
    }

    #[test]
    fn depth_and_number_are_bounded() {
        given::<CategoryTree>(chain("C", DEPTH_MAX))
            .when(create("X", Some(&format!("C{}", DEPTH_MAX - 1))))
            .then_refused(CategoryError::TooDeep { levels: DEPTH_MAX + 1 });
        given::<CategoryTree>(chain("C", DEPTH_MAX - 1).into_iter().chain(chain("D", 2)))
            .when(put("D0", Some(&format!("C{}", DEPTH_MAX - 2))))
            .then_refused(CategoryError::TooDeep { levels: DEPTH_MAX + 1 });
        let all = (0..CATEGORIES_MAX).map(|n| created(&format!("C{n}"), None));
        given::<CategoryTree>(all).when(create("X", None)).then_refused(CategoryError::TooMany);
    }

    #[test]
    fn a_category_with_others_below_it_stays() {
        let events = || [created("A", None), created("B", Some("A"))];
        let removed = CategoryEvent::Removed { category: id("B") };
        given::<CategoryTree>(events())
            .when(remove("A"))
            .then_refused(CategoryError::HasChildren { category: id("A"), children: 1 });
        given::<CategoryTree>(events()).when(remove("B")).then(removed.clone());
        given::<CategoryTree>(events().into_iter().chain([removed])).when(remove("B")).then_nothing();
    }

    #[test]
    fn a_product_is_in_categories_that_exist() {
        let tree: CategoryTree = state([created("A", None)]);
        assert_eq!(tree.check(&[id("A")]), Ok(()));
        assert_eq!(tree.check(&[id("A"), id("B")]), Err(CategoryError::Unknown { category: id("B") }));
    }

    fn any_command() -> impl Strategy<Value = CategoryCommand> {
        let parent = || prop::option::of("[A-F]");
        prop_oneof![
            4 => ("[A-F]", parent()).prop_map(|(text, parent)| create(&text, parent.as_deref())),
            1 => ("[A-F]", "[A-H]").prop_map(|(text, to)| rename(&text, &to)),
            3 => ("[A-F]", parent()).prop_map(|(text, parent)| put(&text, parent.as_deref())),
            1 => "[A-F]".prop_map(|text| remove(&text)),
        ]
    }

    /// Checks what must hold after every event.
    fn holds(tree: &CategoryTree) -> Result<(), TestCaseError> {
        let slugs: BTreeSet<_> = tree.categories.values().map(|category| &category.slug).collect();
        prop_assert_eq!(slugs.len(), tree.categories.len());
        for (category, held) in &tree.categories {
            prop_assert!(held.parent.as_ref().is_none_or(|parent| tree.categories.contains_key(parent)));
            prop_assert!(tree.with_those_above(category).take(DEPTH_MAX + 1).count() <= DEPTH_MAX);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn it_stays_a_tree(commands in prop::collection::vec(any_command(), 0..40)) {
            let mut tree = CategoryTree::default();
            for command in commands {
                let before = tree.clone();
                match handle(&mut tree, command.clone()) {
                    Err(_) => prop_assert_eq!(&tree, &before),
                    Ok(_) => {
                        holds(&tree)?;
                        let after = tree.clone();
                        prop_assert_eq!(handle(&mut tree, command), Ok(vec![]));
                        prop_assert_eq!(&tree, &after);
                    }
                }
            }
        }
    }
}
