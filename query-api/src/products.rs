//! Products.

use crate::callers::Asker;
use crate::consistency::{MinPosition, POSITION, Positions};
use crate::etag;
use crate::openapi::{IfNoneMatchHeader, MinPositionHeader, PageParameters, Refused};
use crate::paging::{AfterSku, Asked, CURSOR, LIMIT, Page};
use crate::parameters::Parameters;
use crate::problem::Problem;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use kontor_identity::{Caller, Permission};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, Row};
use std::collections::BTreeMap;
use utoipa::ToSchema;

const PROJECTION: &str = "products";
const CATEGORY: &str = "category";

/// An amount in minor units (pence, cents) of an ISO 4217 currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct Price {
    pub amount_minor: i64,
    pub currency: String,
}

/// A product as customers see it in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Product {
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    /// `draft`, `published` or `withdrawn`. Drafts are shown to those who edit the catalogue only.
    pub status: &'static str,
    /// Whether it is no longer sold.
    pub withdrawn: bool,
    /// The address of its page.
    pub slug: Option<String>,
    /// Of one unit, as it was set last; `null`: not priced yet.
    pub price: Option<Price>,
    /// Of one unit, in each currency.
    pub prices: Vec<Price>,
    /// That it is in itself, not those above them.
    pub categories: Vec<String>,
    /// How many variants it comes in; 0: its own SKU is what is sold.
    pub variant_count: i64,
    /// Units in the building: of all variants together or, where there are none, under the product's own SKU.
    pub on_hand: i64,
    /// Units of them that no order holds.
    pub available: i64,
}

/// A product with all that is said of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProductDetail {
    #[serde(flatten)]
    pub product: Product,
    /// Why it was withdrawn: told to those who edit the catalogue only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawal_reason: Option<String>,
    pub tax_class: String,
    /// `{name: {type: value}}`, with `text`, `integer`, `decimal` (as text) or `flag` as type.
    #[schema(value_type = Object)]
    pub attributes: Box<RawValue>,
    #[schema(value_type = Vec<Medium>)]
    pub media: Box<RawValue>,
    #[schema(value_type = Vec<Variant>)]
    pub variants: Box<RawValue>,
}

/// A picture, film or document.
#[derive(Debug, ToSchema)]
pub struct Medium {
    /// `image`, `video` or `document`.
    pub kind: String,
    pub url: String,
    pub alternative_text: Option<String>,
}

/// One variant of a product.
#[derive(Debug, ToSchema)]
pub struct Variant {
    pub sku: String,
    /// `{option: value}`.
    #[schema(value_type = Object)]
    pub options: Box<RawValue>,
    /// Its own; in other currencies it costs what the product does.
    pub prices: Vec<Price>,
    pub on_hand: i64,
    pub available: i64,
}

/// What a list shows of the product `p`, with [`STOCK`].
const IN_LIST: &str = "p.sku, p.name, p.description, p.price_minor, p.currency, p.prices, p.withdrawn, p.draft, p.slug,
    p.categories, p.variants as variant_count,
    case when p.variants = 0 then p.on_hand else coalesce(v.on_hand, 0) end as on_hand,
    case when p.variants = 0 then p.available else coalesce(v.available, 0) end as available";

/// The stock of all variants of the product `p` together. Most products have none: then nothing is looked for.
const STOCK: &str = "left join lateral (
        select sum(s.on_hand)::bigint as on_hand, sum(s.available)::bigint as available
        from variants v join products s on s.sku = v.sku
        where p.variants > 0 and v.product = p.sku
    ) v on true";

/// What there is besides, with [`VARIANTS`] in place of [`STOCK`].
const IN_DETAIL: &str = "p.withdrawal_reason, p.tax_class, p.attributes::text as attributes, p.media::text as media,
    coalesce(v.list, '[]') as variants,
    greatest(p.product_position, p.stock_position, p.category_position, v.position) as changed_at";

/// The variants of the product `p`, each with its stock.
const VARIANTS: &str = "left join lateral (
        select json_agg(json_build_object('sku', v.sku, 'options', v.options, 'prices', price_list(v.prices),
                'on_hand', coalesce(s.on_hand, 0), 'available', coalesce(s.available, 0)) order by v.sku)::text as list,
            max(s.stock_position) as position, sum(s.on_hand)::bigint as on_hand, sum(s.available)::bigint as available
        from variants v left join products s on s.sku = v.sku
        where v.product = p.sku
    ) v on true";

/// Whose answers have drafts.
pub fn sees_drafts(caller: &Caller) -> bool {
    caller.may(Permission::EditCatalogue).is_ok()
}

/// `None`: the row has no product.
fn product(row: &PgRow) -> sqlx::Result<Option<Product>> {
    let Some(name) = row.try_get("name")? else { return Ok(None) };
    let price = match row.try_get("price_minor")? {
        Some(amount_minor) => Some(Price { amount_minor, currency: row.try_get("currency")? }),
        None => None,
    };
    let (withdrawn, draft) = (row.try_get("withdrawn")?, row.try_get("draft")?);
    let Json(prices): Json<BTreeMap<String, i64>> = row.try_get("prices")?;
    Ok(Some(Product {
        sku: row.try_get("sku")?,
        name,
        description: row.try_get("description")?,
        status: match (withdrawn, draft) {
            (true, _) => "withdrawn",
            (false, true) => "draft",
            (false, false) => "published",
        },
        withdrawn,
        slug: row.try_get("slug")?,
        price,
        prices: prices.into_iter().map(|(currency, amount_minor)| Price { amount_minor, currency }).collect(),
        categories: row.try_get("categories")?,
        variant_count: row.try_get("variant_count")?,
        on_hand: row.try_get("on_hand")?,
        available: row.try_get("available")?,
    }))
}

/// A product in full, with the position of the last event in it.
fn detail(row: &PgRow) -> sqlx::Result<Option<(ProductDetail, i64)>> {
    let Some(product) = product(row)? else { return Ok(None) };
    let json = |column| RawValue::from_string(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()));
    let detail = ProductDetail {
        product,
        withdrawal_reason: row.try_get("withdrawal_reason")?,
        tax_class: row.try_get("tax_class")?,
        attributes: json("attributes")?,
        media: json("media")?,
        variants: json("variants")?,
    };
    Ok(Some((detail, row.try_get("changed_at")?)))
}

#[utoipa::path(
    get,
    path = "/v1/products/{sku}",
    params(("sku" = String, Path), MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = ProductDetail, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The row is the one that If-None-Match names"),
        (status = 404, description = "unknown-product", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// One product with its variants. 304 with `If-None-Match`; 404 `unknown-product`.
pub async fn one(
    request: HttpRequest,
    asker: Asker,
    sku: Path<String>,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    found_by("sku", &sku, &request, asker, min, &replica, &positions).await
}

#[utoipa::path(
    get,
    path = "/v1/products/by-slug/{slug}",
    params(("slug" = String, Path), MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = ProductDetail, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The row is the one that If-None-Match names"),
        (status = 404, description = "unknown-product", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// The product whose page has this address. 304 with `If-None-Match`; 404 `unknown-product`.
pub async fn by_slug(
    request: HttpRequest,
    asker: Asker,
    slug: Path<String>,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    found_by("slug", &slug, &request, asker, min, &replica, &positions).await
}

/// The product with `value` in `column`.
async fn found_by(
    column: &'static str,
    value: &str,
    request: &HttpRequest,
    Asker(caller): Asker,
    min: MinPosition,
    replica: &PgPool,
    positions: &Positions,
) -> Result<HttpResponse, Problem> {
    Parameters::of(request, &[])?;
    // One statement, hence one snapshot: the position is that of the data. No row in `products` leaves nulls.
    let statement = format!(
        "select coalesce(c.position, 0) as reached, {IN_LIST}, {IN_DETAIL}
         from (select 1) as always
         left join checkpoints c on c.projection = 'products'
         left join products p on p.{column} = $1 and (not p.draft or $2)
         {VARIANTS}"
    );
    let find = async || {
        let row = sqlx::query(&statement).bind(value).bind(sees_drafts(&caller)).fetch_one(replica).await?;
        Ok((row.try_get("reached")?, detail(&row)?))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let (mut product, changed_at) = found.ok_or_else(|| Problem::not_found("product", value, position))?;
    let tag = etag::of(changed_at);
    if etag::is_known(request, &tag) {
        return Ok(HttpResponse::NotModified().insert_header((POSITION, position)).insert_header(tag).finish());
    }
    product.withdrawal_reason.take_if(|_| !sees_drafts(&caller));
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).insert_header(tag).json(product))
}

#[utoipa::path(
    get,
    path = "/v1/products",
    params(
        ("category" = Option<String>, Query, description = "only those in this category, or in one below it"),
        PageParameters,
        MinPositionHeader,
    ),
    responses(
        (status = 200, body = Page<Product>, headers(("Kontor-Position" = i64))),
        (status = 404, description = "unknown-category", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// A page of the products, in the order of their SKUs; of all, or of a category.
pub async fn list(
    request: HttpRequest,
    Asker(caller): Asker,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[CATEGORY, LIMIT, CURSOR])?;
    let category = parameters.text(CATEGORY);
    let asked = Asked::<AfterSku>::of(&parameters)?;
    let statement = if category.is_some() { of_category() } else { of_all() };
    let find = async || {
        let rows = sqlx::query(&statement)
            .bind(asked.after.as_ref().map_or("", |after| &after.sku))
            .bind(asked.rows())
            .bind(sees_drafts(&caller))
            .bind(category)
            .fetch_all(&**replica)
            .await?;
        let (reached, is_there): (i64, bool) = (rows[0].try_get("reached")?, rows[0].try_get("is_there")?);
        let found: sqlx::Result<Vec<_>> = rows.iter().filter_map(|row| product(row).transpose()).collect();
        Ok((reached, is_there.then_some(found?)))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let found = found.ok_or_else(|| Problem::not_found("category", category.unwrap_or_default(), position))?;
    let page = Page::of(position, found, &asked, |product: &Product| AfterSku { sku: product.sku.clone() });
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(page))
}

fn of_all() -> String {
    format!(
        "select coalesce(c.position, 0) as reached, true as is_there, p.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'products'
         left join (
             select {IN_LIST} from products p {STOCK}
             where p.sku > $1 and p.name is not null and (not p.draft or $3) and $4::text is null
             order by p.sku limit $2
         ) p on true
         order by p.sku"
    )
}

/// Takes a page of each category first, so that it costs the same whatever the number of products.
fn of_category() -> String {
    format!(
        "with recursive below as (
             select category from categories where category = $4
             union all
             select t.category from categories t join below b on t.parent = b.category
         )
         select coalesce(c.position, 0) as reached, exists (select from below) as is_there, p.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'products'
         left join (
             select distinct on (p.sku) p.* from below cross join lateral (
                 select {IN_LIST} from product_categories m join products p on p.sku = m.sku
                 {STOCK}
                 where m.category = below.category and m.sku > $1 and (not p.draft or $3)
                 order by m.sku limit $2
             ) p
             order by p.sku limit $2
         ) p on true
         order by p.sku"
    )
}

#[utoipa::path(
    get,
    path = "/v1/catalogue",
    params(PageParameters, MinPositionHeader),
    responses((status = 200, body = Page<ProductDetail>, headers(("Kontor-Position" = i64))), Refused)
)]
/// A page of the products in full, drafts too, in the order of their SKUs: for those who edit the catalogue.
pub async fn in_full(
    request: HttpRequest,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::<AfterSku>::of(&Parameters::of(&request, &[LIMIT, CURSOR])?)?;
    let statement = format!(
        "select coalesce(c.position, 0) as reached, p.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'products'
         left join (
             select {IN_LIST}, {IN_DETAIL} from (
                 select * from products where sku > $1 and name is not null order by sku limit $2
             ) p {VARIANTS}
         ) p on true
         order by p.sku"
    );
    let find = async || {
        let after = asked.after.as_ref().map_or("", |after| &after.sku);
        let rows = sqlx::query(&statement).bind(after).bind(asked.rows()).fetch_all(&**replica).await?;
        let reached: i64 = rows[0].try_get("reached")?;
        let found: sqlx::Result<Vec<_>> = rows.iter().filter_map(|row| detail(row).transpose()).collect();
        Ok((reached, found?.into_iter().map(|(detail, _)| detail).collect()))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let page = Page::of(position, found, &asked, |detail: &ProductDetail| AfterSku { sku: detail.product.sku.clone() });
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(page))
}
