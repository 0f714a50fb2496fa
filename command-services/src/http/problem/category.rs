//! Why a command about the tree of categories was refused.

use super::Problem;
use super::kind::problems;
use kontor_domain::category::{CATEGORIES_MAX, CategoryError, DEPTH_MAX};

problems! {
    /// No category has this id: create it first.
    UNKNOWN_CATEGORY = 404 "unknown-category", "There is no such category", [category];
    /// A category is under one that exists: create that first.
    UNKNOWN_PARENT = 422 "unknown-parent", "There is no such category to be under", [parent];
    /// A category is created once. To change it, rename or move it.
    CATEGORY_CREATED_DIFFERENTLY = 409 "category-created-differently", "The id belongs to another category", [category, name];
    /// No two categories have the same slug.
    CATEGORY_SLUG_TAKEN = 409 "category-slug-taken", "Another category has the slug", [slug, category];
    /// The number of categories is bounded.
    CATEGORY_TREE_FULL = 409 "category-tree-full", "There are as many categories as there may be", [max];
    /// The levels of the tree are bounded.
    CATEGORY_TOO_DEEP = 409 "category-too-deep", "The tree would be too deep", [levels, max];
    /// The categories are a tree: none is below itself.
    CATEGORY_UNDER_ITSELF = 409 "category-under-itself", "A category cannot be below itself", [category, parent];
    /// A category with others below it stays. Move or remove those first.
    CATEGORY_HAS_CHILDREN = 409 "category-has-children", "Other categories are below it", [category, children];
}

pub fn problem(error: CategoryError, detail: String) -> Problem {
    match error {
        CategoryError::Unknown { category } => UNKNOWN_CATEGORY.problem(detail).with("category", category),
        CategoryError::UnknownParent { parent } => UNKNOWN_PARENT.problem(detail).with("parent", parent),
        CategoryError::CreatedDifferently { category, name } => {
            CATEGORY_CREATED_DIFFERENTLY.problem(detail).with("category", category).with("name", name)
        }
        CategoryError::SlugTaken { slug, category } => {
            CATEGORY_SLUG_TAKEN.problem(detail).with("slug", slug).with("category", category)
        }
        CategoryError::TooMany => CATEGORY_TREE_FULL.problem(detail).with("max", CATEGORIES_MAX),
        CategoryError::TooDeep { levels } => {
            CATEGORY_TOO_DEEP.problem(detail).with("levels", levels).with("max", DEPTH_MAX)
        }
        CategoryError::UnderItself { category, parent } => {
            CATEGORY_UNDER_ITSELF.problem(detail).with("category", category).with("parent", parent)
        }
        CategoryError::HasChildren { category, children } => {
            CATEGORY_HAS_CHILDREN.problem(detail).with("category", category).with("children", children)
        }
    }
}
