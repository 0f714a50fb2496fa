//! The cards that Redis lacks, from the catalogue in Postgres.

use kontor_domain::product::{Medium, Options};
use kontor_redis::card::{Kept, Prices};
use kontor_redis::{Card, Status};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, Row};

/// The position of the catalogue, and the cards of these SKUs or, `by_slug`, of the products whose pages are there; in their
/// order.
pub async fn find(replica: &PgPool, by_slug: bool, names: &[&str]) -> sqlx::Result<(i64, Vec<Option<Kept>>)> {
    let sku = match by_slug {
        true => "(select sku from products where slug = a.name and name is not null limit 1)",
        false => "(select a.name as sku)",
    };
    let statement = format!(
        "select coalesce(c.position, 0) as reached, k.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'catalogue'
         left join (
             select a.n, asked.sku, p.sku as product, p.name, p.slug, p.withdrawn, p.draft, p.prices, p.media,
                 p.categories, p.variants as variant_count, v.options, v.prices as own_prices,
                 case when v.sku is not null then coalesce(s.available, 0)
                     when p.variants = 0 then p.available
                     else (select coalesce(sum(o.available), 0)::bigint
                           from variants w join products o on o.sku = w.sku where w.product = p.sku)
                 end as available
             from unnest($1::text[]) with ordinality as a (name, n)
             cross join lateral {sku} asked
             left join lateral (select * from variants w where w.sku = asked.sku limit 1) v on true
             join products p on p.sku = coalesce(v.product, asked.sku) and p.name is not null
             left join products s on s.sku = v.sku
         ) k on true"
    );
    let rows = sqlx::query(&statement).bind(names).fetch_all(replica).await?;
    let mut cards = vec![None; names.len()];
    for row in &rows {
        let Some(n) = row.try_get::<Option<i64>, _>("n")? else { continue };
        cards[n as usize - 1] = Some(card(row)?);
    }
    Ok((rows[0].try_get("reached")?, cards))
}

fn card(row: &PgRow) -> sqlx::Result<Kept> {
    let Json(mut prices): Json<Prices> = row.try_get("prices")?;
    if let Some(Json(own)) = row.try_get::<Option<Json<Prices>>, _>("own_prices")? {
        prices.extend(own);
    }
    let options: Option<Json<Options>> = row.try_get("options")?;
    let Json(media): Json<Vec<Medium>> = row.try_get("media")?;
    let categories: Vec<String> = row.try_get("categories")?;
    let variant_count: i64 = row.try_get("variant_count")?;
    let card = Card {
        sku: row.try_get("sku")?,
        product: row.try_get("product")?,
        name: row.try_get("name")?,
        slug: row.try_get("slug")?,
        status: Status::of(row.try_get("draft")?, row.try_get("withdrawn")?),
        options: options.as_deref(),
        prices,
        medium: media.first(),
        categories: categories.iter().map(String::as_str).collect(),
        variant_count: variant_count as usize,
        available: row.try_get("available")?,
    };
    Ok(card.kept())
}
