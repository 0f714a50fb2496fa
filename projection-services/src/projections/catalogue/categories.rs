//! The tree of categories.

use kontor_domain::category::CategoryEvent;
use kontor_domain::text::Name;
use kontor_domain::{CategoryId, Slug};
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// What a batch changes of one category. `None`: left as it is.
#[derive(Debug, Default, PartialEq)]
struct CategoryChange<'a> {
    words: Option<(&'a Name, &'a Slug)>,
    parent: Option<Option<&'a CategoryId>>,
}

/// What a batch changes of the tree. Those that are gone go first: what follows may have created them anew.
#[derive(Debug, Default, PartialEq)]
pub struct CategoryChanges<'a> {
    gone: BTreeMap<&'a CategoryId, i64>,
    categories: BTreeMap<&'a CategoryId, CategoryChange<'a>>,
}

impl<'a> CategoryChanges<'a> {
    /// Returns the category that is no more, if that is what the event says.
    pub fn fold(&mut self, event: &'a CategoryEvent, position: i64) -> Option<&'a CategoryId> {
        match event {
            CategoryEvent::Created { category, name, slug, parent } => {
                let change = CategoryChange { words: Some((name, slug)), parent: Some(parent.as_ref()) };
                self.categories.insert(category, change);
            }
            CategoryEvent::Renamed { category, name, slug } => {
                self.categories.entry(category).or_default().words = Some((name, slug));
            }
            CategoryEvent::Moved { category, parent, .. } => {
                self.categories.entry(category).or_default().parent = Some(parent.as_ref());
            }
            CategoryEvent::Removed { category } => {
                self.categories.remove(category);
                self.gone.insert(category, position);
                return Some(category);
            }
        }
        None
    }

    pub async fn write(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        if !self.gone.is_empty() {
            self.remove(view).await?;
        }
        if self.categories.is_empty() {
            return Ok(());
        }
        let changes = || self.categories.values();
        let ids: Vec<_> = self.categories.keys().map(|category| category.as_str()).collect();
        let names: Vec<_> = changes().map(|change| change.words.map(|(name, _)| name.as_str())).collect();
        let slugs: Vec<_> = changes().map(|change| change.words.map(|(_, slug)| slug.as_str())).collect();
        let moved: Vec<_> = changes().map(|change| change.parent.is_some()).collect();
        let parents: Vec<_> = changes().map(|change| change.parent.flatten().map(CategoryId::as_str)).collect();
        sqlx::query(
            "with changes as (
                 select * from unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::text[])
                     as c (category, name, slug, moved, parent)
             ), updated as (
                 update categories as t set name = coalesce(c.name, t.name),
                     slug = coalesce(c.slug, t.slug), parent = case when c.moved then c.parent else t.parent end
                 from changes c where t.category = c.category returning t.category
             )
             insert into categories (category, name, slug, parent)
             select category, name, slug, parent from changes where category not in (select category from updated)",
        )
        .bind(ids)
        .bind(names)
        .bind(slugs)
        .bind(moved)
        .bind(parents)
        .execute(view)
        .await?;
        Ok(())
    }

    async fn remove(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        let gone: Vec<_> = self.gone.keys().map(|category| category.as_str()).collect();
        let positions: Vec<_> = self.gone.values().copied().collect();
        // A product in several of them loses them all in one update, at the position of the last.
        sqlx::query(
            "with left_by as (
                 delete from listed l
                 using unnest($1::text[], $2::bigint[]) as g (category, position)
                 where l.category = g.category returning l.sku, g.position
             ), unpriced as (
                 delete from listed_prices where category = any($1)
             )
             update products as p
             set categories = array(select c from unnest(p.categories) with ordinality u (c, n)
                                    where c <> all($1) order by n),
                 category_position = l.position
             from (select sku, max(position) as position from left_by group by sku) l where p.sku = l.sku",
        )
        .bind(&gone)
        .bind(positions)
        .execute(&mut *view)
        .await?;
        sqlx::query("delete from categories where category = any($1)").bind(gone).execute(view).await?;
        Ok(())
    }
}
