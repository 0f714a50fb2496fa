//! What lists of products are made from: which list each is in, by what it is sorted there, and what it is found by.

use kontor_domain::Sku;
use kontor_domain::product::Attributes;
use sqlx::PgConnection;

/// Longer values are not searched for: they are prose.
pub const ATTRIBUTE_CHARACTERS_MAX: usize = 200;

/// Takes these products from the lists of categories that they are not in any more.
pub async fn unlist(view: &mut PgConnection, skus: &[&str]) -> sqlx::Result<()> {
    for table in ["listed", "listed_prices"] {
        let statement = format!(
            "delete from {table} l using products p
             where l.sku = any($1) and p.sku = l.sku and l.category <> '' and l.category <> all(p.categories)"
        );
        execute(view, &statement, skus).await?;
    }
    Ok(())
}

/// Lists these products, which have their rows already, by what those rows say of their names and ages.
pub async fn list(view: &mut PgConnection, skus: &[&str]) -> sqlx::Result<()> {
    let statement = "insert into listed as l (category, sku, name_key, shown_position)
         select c, sku, lower(name), shown_position from products cross join unnest(categories || '{\"\"}') as c
         where sku = any($1) and name is not null
         order by c, sku
         on conflict (category, sku) do update set name_key = excluded.name_key, shown_position = excluded.shown_position
         where (l.name_key, l.shown_position) <> (excluded.name_key, excluded.shown_position)";
    execute(view, statement, skus).await
}

/// The same by what they say of their prices.
pub async fn list_prices(view: &mut PgConnection, skus: &[&str]) -> sqlx::Result<()> {
    let statement = "insert into listed_prices as l (category, currency, sku, price_minor)
         select c, key, sku, value::bigint
         from products cross join unnest(categories || '{\"\"}') as c cross join jsonb_each_text(prices)
         where sku = any($1) and name is not null
         order by c, key, sku
         on conflict (category, currency, sku) do update set price_minor = excluded.price_minor
         where l.price_minor <> excluded.price_minor";
    execute(view, statement, skus).await
}

/// A batch of prices alone does without the statements for anything else.
async fn execute(view: &mut PgConnection, statement: &str, skus: &[&str]) -> sqlx::Result<()> {
    if !skus.is_empty() {
        sqlx::query(statement).bind(skus).execute(view).await?;
    }
    Ok(())
}

/// Writes by which attributes each of these products is found now.
pub async fn write_attributes(view: &mut PgConnection, products: &[(&Sku, &Attributes)]) -> sqlx::Result<()> {
    if products.is_empty() {
        return Ok(());
    }
    let (mut skus, mut attributes) = (Vec::new(), Vec::new());
    for (sku, of_product) in products {
        for (name, value) in *of_product {
            let value = value.to_string();
            if value.chars().count() <= ATTRIBUTE_CHARACTERS_MAX {
                skus.push(sku.as_str());
                attributes.push(format!("{name}:{value}"));
            }
        }
    }
    let all: Vec<_> = products.iter().map(|(sku, _)| sku.as_str()).collect();
    sqlx::query("delete from product_attributes where sku = any($1)").bind(all).execute(&mut *view).await?;
    sqlx::query(
        "insert into product_attributes (attribute, sku)
         select * from unnest($1::text[], $2::text[]) order by 1, 2",
    )
    .bind(attributes)
    .bind(skus)
    .execute(view)
    .await?;
    Ok(())
}
