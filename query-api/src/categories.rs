//! The tree of categories.

use crate::consistency::POSITION;
use crate::openapi::{AsOfParameter, MinPositionHeader, Refused};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::view::{AS_OF, View};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::HashMap;
use utoipa::ToSchema;

/// All categories.
#[derive(Debug, Serialize, ToSchema)]
pub struct CategoryTree {
    /// The position of the log up to which the tree is true.
    pub position: i64,
    /// Those at the top, by name.
    pub categories: Vec<Category>,
}

/// A category with those below it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Category {
    pub category: String,
    pub name: String,
    pub slug: String,
    /// Right below it, by name.
    #[schema(no_recursion)]
    pub categories: Vec<Category>,
}

#[utoipa::path(
    get,
    path = "/v1/categories",
    params(AsOfParameter, MinPositionHeader),
    responses((status = 200, body = CategoryTree, headers(("Kontor-Position" = i64))), Refused)
)]
/// The tree of categories, whole.
pub async fn tree(request: HttpRequest, view: View) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[AS_OF])?;
    let (position, categories) = find(&view).await?;
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(CategoryTree { position, categories }))
}

/// Those at the top, each with those below it.
pub async fn find(view: &View) -> Result<(i64, Vec<Category>), Problem> {
    let statement = "select coalesce(c.position, 0) as reached, t.category, t.name, t.slug, t.parent
         from (select 1) as always
         left join checkpoints c on c.projection = 'catalogue'
         left join categories t on true
         order by t.name, t.category";
    let read = |rows: &[PgRow]| {
        let mut below: HashMap<Option<String>, Vec<Category>> = HashMap::new();
        for row in rows {
            if let Some(category) = row.try_get("category")? {
                let (name, slug) = (row.try_get("name")?, row.try_get("slug")?);
                let category = Category { category, name, slug, categories: vec![] };
                below.entry(row.try_get("parent")?).or_default().push(category);
            }
        }
        Ok((rows[0].try_get("reached")?, under(None, &mut below)))
    };
    view.rows("catalogue", || sqlx::query(statement), read).await
}

/// Takes the categories under `parent` out of `below`, each with those under it.
fn under(parent: Option<String>, below: &mut HashMap<Option<String>, Vec<Category>>) -> Vec<Category> {
    let mut categories = below.remove(&parent).unwrap_or_default();
    for category in &mut categories {
        category.categories = under(Some(category.category.clone()), below);
    }
    categories
}
