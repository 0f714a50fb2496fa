//! Which categories a SKU is in: those of its product, and all above them.

use kontor_domain::category::CategoryEvent;
use kontor_domain::product::ProductEvent;
use kontor_domain::{CategoryId, Sku};
use kontor_event_schemas::Fact;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a stretch of events changes, each row once.
#[derive(Debug, Default, PartialEq)]
pub struct CatalogueChanges<'a> {
    /// To their products.
    skus: BTreeMap<&'a Sku, &'a Sku>,
    categorised: BTreeMap<&'a Sku, BTreeSet<&'a CategoryId>>,
    /// To what is above them.
    tree: BTreeMap<&'a CategoryId, Option<&'a CategoryId>>,
    /// Products are not in them any more.
    removed: BTreeSet<&'a CategoryId>,
}

pub fn moves_product(event: &ProductEvent) -> bool {
    match event {
        ProductEvent::Registered { .. } | ProductEvent::VariantAdded { .. } | ProductEvent::Categorised { .. } => true,
        ProductEvent::Described { .. }
        | ProductEvent::Priced { .. }
        | ProductEvent::Published { .. }
        | ProductEvent::Withdrawn { .. }
        | ProductEvent::VariantRemoved { .. } // What comes back of it still is of its product.
        | ProductEvent::VariantPriced { .. }
        | ProductEvent::VariantPriceRemoved { .. }
        | ProductEvent::SlugSet { .. }
        | ProductEvent::TaxClassSet { .. }
        | ProductEvent::AttributesSet { .. }
        | ProductEvent::MediaSet { .. } => false,
    }
}

pub fn moves_category(event: &CategoryEvent) -> bool {
    match event {
        CategoryEvent::Created { .. } | CategoryEvent::Moved { .. } | CategoryEvent::Removed { .. } => true,
        CategoryEvent::Renamed { .. } => false, // It is told by its id.
    }
}

impl<'a> CatalogueChanges<'a> {
    pub fn of(facts: &[&'a Fact]) -> Self {
        let mut changes = CatalogueChanges::default();
        for fact in facts {
            match fact {
                Fact::Product(sku, event) => changes.fold_product(sku, event),
                Fact::Category(_, event) => changes.fold_category(event),
                _ => {} // Not of the catalogue.
            }
        }
        changes
    }

    fn fold_product(&mut self, product: &'a Sku, event: &'a ProductEvent) {
        match event {
            ProductEvent::Registered { .. } => drop(self.skus.insert(product, product)),
            ProductEvent::VariantAdded { sku, .. } => drop(self.skus.insert(sku, product)),
            ProductEvent::Categorised { categories } => {
                self.categorised.insert(product, categories.iter().collect());
            }
            _ => {} // See `moves_product`.
        }
    }

    fn fold_category(&mut self, event: &'a CategoryEvent) {
        match event {
            CategoryEvent::Created { category, parent, .. } | CategoryEvent::Moved { category, parent, .. } => {
                self.tree.insert(category, parent.as_ref());
            }
            CategoryEvent::Removed { category } => {
                self.removed.insert(category);
                for categories in self.categorised.values_mut() {
                    categories.remove(category);
                }
            }
            CategoryEvent::Renamed { .. } => {} // It is told by its id.
        }
    }

    pub async fn write(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        if !self.removed.is_empty() {
            // Before products are put into categories that were made anew.
            sqlx::query(
                "update analytics_categorised
                 set categories = array(select c from unnest(categories) c where c <> all($1) order by c)
                 where categories && $1",
            )
            .bind(self.removed.iter().map(|category| category.as_str()).collect::<Vec<_>>())
            .execute(&mut *view)
            .await?;
        }
        if !self.tree.is_empty() {
            sqlx::query(
                "insert into analytics_tree (category, parent) select * from unnest($1::text[], $2::text[])
                 on conflict (category) do update set parent = excluded.parent",
            )
            .bind(self.tree.keys().map(|category| category.as_str()).collect::<Vec<_>>())
            .bind(self.tree.values().map(|parent| parent.map(CategoryId::as_str)).collect::<Vec<_>>())
            .execute(&mut *view)
            .await?;
        }
        if !self.skus.is_empty() {
            sqlx::query(
                "insert into analytics_skus (sku, product) select * from unnest($1::text[], $2::text[])
                 on conflict (sku) do update set product = excluded.product",
            )
            .bind(self.skus.keys().map(|sku| sku.as_str()).collect::<Vec<_>>())
            .bind(self.skus.values().map(|product| product.as_str()).collect::<Vec<_>>())
            .execute(&mut *view)
            .await?;
        }
        if !self.categorised.is_empty() {
            let lists = self.categorised.values().map(|categories| {
                let categories: Vec<_> = categories.iter().map(|category| category.as_str()).collect();
                categories.join(",")
            });
            sqlx::query(
                "insert into analytics_categorised (product, categories)
                 select product, string_to_array(categories, ',')
                 from unnest($1::text[], $2::text[]) as c (product, categories)
                 on conflict (product) do update set categories = excluded.categories",
            )
            .bind(self.categorised.keys().map(|product| product.as_str()).collect::<Vec<_>>())
            .bind(lists.collect::<Vec<_>>())
            .execute(&mut *view)
            .await?;
        }
        Ok(())
    }
}

/// The categories that these SKUs are in, with all above them. One that is in none is left out.
pub async fn categories<'a>(
    view: &mut PgConnection,
    skus: impl Iterator<Item = &'a Sku>,
) -> sqlx::Result<HashMap<String, Vec<String>>> {
    let skus: BTreeSet<_> = skus.map(Sku::as_str).collect();
    if skus.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<(String, Vec<String>)> = sqlx::query_as(
        "with recursive above (sku, category) as (
             select k.sku, c.category
             from analytics_skus k
             join analytics_categorised p on p.product = k.product
             cross join unnest(p.categories) as c (category)
             where k.sku = any($1)
             union
             select a.sku, t.parent from above a join analytics_tree t on t.category = a.category
             where t.parent is not null
         )
         select sku, array_agg(category order by category collate \"C\") from above group by sku",
    )
    .bind(skus.into_iter().collect::<Vec<_>>())
    .fetch_all(view)
    .await?;
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::CategoryTreeId;

    #[test]
    fn a_category_that_is_removed_is_taken_from_the_products_before_and_not_from_those_after() {
        let category = |id: &str| -> CategoryId { id.parse().expect("a category") };
        let categorised = |sku: &str, categories: &[&str]| {
            let categories = categories.iter().map(|id| category(id)).collect();
            Fact::Product(sku.parse().expect("a SKU"), ProductEvent::Categorised { categories })
        };
        let gone = Fact::Category(CategoryTreeId::MAIN, CategoryEvent::Removed { category: category("mugs") });
        let facts = [categorised("A", &["mugs", "tea"]), gone, categorised("B", &["mugs"])];
        let changes = CatalogueChanges::of(&facts.iter().collect::<Vec<_>>());
        let left: Vec<Vec<_>> = changes
            .categorised
            .values()
            .map(|categories| categories.iter().map(|category| category.as_str()).collect())
            .collect();
        assert_eq!(left, [vec!["tea"], vec!["mugs"]]);
    }
}
