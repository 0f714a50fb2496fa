//! Search without the index: products whose name has each word somewhere, in the lists of the catalogue.
//!
//! It reads all products that there are, which takes some hundredths of a second for 100,000 of them: good enough for the time that an
//! index is away, and no index of Postgres has to be kept up to date for it.

use crate::product_cards;
use kontor_search::{Answer, Hit, Order, Query};
use sqlx::types::Json;
use sqlx::{PgPool, Row};

pub const PROJECTION: &str = "catalogue";

/// The position of the catalogue, and a page of what is found in it, without facets and highlights. Prices are those of
/// products, whatever their variants cost; what sells best is not known.
pub async fn find(replica: &PgPool, query: &Query) -> sqlx::Result<(i64, Answer)> {
    let statement = statement(query);
    let words: Vec<String> = query.text.to_lowercase().split_whitespace().map(like).collect();
    let begins = words.first().map(|word| word[1..].to_owned());
    let attributes: Vec<Vec<String>> = query
        .attributes
        .iter()
        .map(|(name, values)| values.iter().map(|value| format!("{name}:{value}")).collect())
        .collect();
    let rows = sqlx::query(&statement)
        .bind(words)
        .bind(begins)
        .bind(query.text.trim())
        .bind(query.hidden)
        .bind(&query.categories)
        .bind(query.currency.as_deref())
        .bind(query.price_min)
        .bind(query.price_max)
        .bind(Json(attributes))
        .fetch_all(replica)
        .await?;
    let (reached, total): (i64, i64) = (rows[0].try_get("reached")?, rows[0].try_get("total")?);
    let skus: Vec<Option<&str>> = rows.iter().map(|row| row.try_get("sku")).collect::<sqlx::Result<_>>()?;
    let skus: Vec<&str> = skus.into_iter().flatten().collect();
    let (at, cards) = product_cards::postgres::find(replica, false, &skus).await?;
    let hit = |(sku, card): (&str, Option<product_cards::Kept>)| {
        // One that has been withdrawn in between is not shown.
        let card = card.filter(|card| card.is_public() || query.hidden)?.json();
        Some(Hit { product: sku.to_owned(), card: String::from_utf8_lossy(&card).into(), ..Hit::default() })
    };
    let hits = skus.iter().copied().zip(cards).filter_map(hit).collect();
    let answer = Answer { hits, total: total as usize, ..Answer::default() };
    Ok((reached.min(at), answer))
}

/// A pattern for texts that have this word somewhere.
fn like(word: &str) -> String {
    let mut pattern = String::from("%");
    for letter in word.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// $1: a pattern for each word; $2: one for names that begin with the first; $3: all of the text, as it may be a SKU; $4:
/// drafts and what was withdrawn, too; $5: categories; $6: currency; $7 and $8: price; $9: attributes, a list of alternatives for each
/// name.
fn statement(query: &Query) -> String {
    let price = "(p.prices ->> $6)::bigint";
    let order = match query.order {
        Order::Relevance | Order::BestSelling => "(l.name_key like $2) desc nulls last, length(l.name_key)".to_owned(),
        Order::Price => format!("{price} nulls last"),
        Order::PriceDescending => format!("{price} desc nulls last"),
        Order::Newest => "l.shown_position desc".to_owned(),
    };
    let (limit, offset) = (query.limit, query.offset);
    format!(
        "with recursive below as (
             select category from categories where category = any($5)
             union
             select t.category from categories t join below b on t.parent = b.category
         ), found as (
             select p.sku, row_number() over (order by {order}, p.sku) as place
             from listed l join products p on p.sku = l.sku
             where l.category = '' and (l.name_key like all($1) or p.sku in ($3, upper($3)))
                 and ($4 or not p.draft and not p.withdrawn)
                 and (cardinality($5::text[]) = 0 or p.categories && array(select category from below))
                 and ($6::text is null or p.prices ? $6)
                 and ($7::bigint is null or {price} >= $7) and ($8::bigint is null or {price} <= $8)
                 and ({any_stock} or p.available > 0 or p.variants > 0 and exists (
                     select from variants v join products s on s.sku = v.sku where v.product = p.sku and s.available > 0))
                 and not exists (
                     select from jsonb_array_elements($9) as wanted
                     where not exists (select from product_attributes a where a.sku = p.sku and wanted ? a.attribute))
         )
         select coalesce(c.position, 0) as reached, (select count(*) from found) as total, f.sku
         from (select 1) as always
         left join checkpoints c on c.projection = '{PROJECTION}'
         left join (select * from found where place > {offset} order by place limit {limit}) f on true
         order by f.place",
        any_stock = !query.in_stock,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_looked_for_as_it_is() {
        assert_eq!(like("50%_off\\"), "%50\\%\\_off\\\\%");
    }
}
