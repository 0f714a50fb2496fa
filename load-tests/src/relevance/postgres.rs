//! What Postgres finds with its own means: full-text search, combined with pg_trgm for what is misspelt.

use super::{Answers, HITS};
use kontor_local::{Folder, Postgres, PostgresProfile};
use kontor_online_retail::Product;
use sqlx::postgres::PgPoolOptions;

/// Words are stemmed and the last may be unfinished; what is like the text, or has a part that is, is found as well. What has
/// all words comes before what is only alike, which is how typing errors cost least; then both measures count. Weights and
/// thresholds are those with which this found most.
const SEARCH: &str = "
    with typed as (
        select lower($1) as text,
            case when numnode(websearch_to_tsquery('english', $1)) > 0
                then (websearch_to_tsquery('english', $1)::text || ':*')::tsquery end as words
    )
    select p.sku
    from products p, typed t
    where p.words @@ t.words or t.text <% p.name or p.name % t.text or lower(p.sku) = t.text
    order by lower(p.sku) = t.text desc,
        coalesce((p.words @@ t.words)::int, 0) + coalesce(ts_rank_cd(p.words, t.words, 1), 0)
            + word_similarity(t.text, p.name) + similarity(t.text, p.name) desc,
        p.sku
    limit $2";

pub async fn answers(products: &[Product], texts: &[&str]) -> anyhow::Result<Answers> {
    let folder = Folder::temporary("relevance")?;
    let server = Postgres::start(&folder.path().join("postgres"), 0, PostgresProfile::Platform).await?;
    let pool = PgPoolOptions::new().max_connections(1).connect(&server.superuser_url()).await?;
    sqlx::raw_sql(
        "create extension pg_trgm;
         create table products (
             sku text primary key,
             name text not null, -- in small letters
             words tsvector generated always as (to_tsvector('english', name)) stored
         );
         set pg_trgm.word_similarity_threshold = 0.5;
         set pg_trgm.similarity_threshold = 0.3",
    )
    .execute(&pool)
    .await?;
    let skus: Vec<_> = products.iter().map(|product| product.sku.as_str()).collect();
    let names: Vec<_> = products.iter().map(|product| product.name.to_lowercase()).collect();
    sqlx::query("insert into products (sku, name) select * from unnest($1::text[], $2::text[])")
        .bind(skus)
        .bind(names)
        .execute(&pool)
        .await?;
    let mut found = Vec::new();
    for &text in texts {
        found.push(sqlx::query_scalar(SEARCH).bind(text).bind(HITS as i64).fetch_all(&pool).await?);
    }
    pool.close().await;
    Ok(Answers { name: "postgres", found })
}
