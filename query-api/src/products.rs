//! Products with their stock.

use crate::consistency::{MinPosition, POSITION, Positions};
use crate::etag;
use crate::openapi::{IfNoneMatchHeader, MinPositionHeader, PageParameters, Refused};
use crate::paging::{AfterSku, Asked, CURSOR, LIMIT, Page};
use crate::parameters::Parameters;
use crate::problem::Problem;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use utoipa::ToSchema;

const PROJECTION: &str = "products";

/// An amount in minor units (pence, cents) of an ISO 4217 currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct Price {
    pub amount_minor: i64,
    pub currency: String,
}

/// A product as customers see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Product {
    pub sku: String,
    pub name: String,
    pub description: Option<String>,
    /// Of one unit; `null`: not priced yet.
    pub price: Option<Price>,
    /// Whether it is no longer sold.
    pub withdrawn: bool,
    /// Units in the building.
    pub on_hand: i64,
    /// Units of them that no order holds.
    pub available: i64,
}

/// A product, with the position of the last event in it.
fn product(row: &PgRow) -> sqlx::Result<Option<(Product, i64)>> {
    let Some(name) = row.try_get("name")? else { return Ok(None) };
    let price = match row.try_get("price_minor")? {
        Some(amount_minor) => Some(Price { amount_minor, currency: row.try_get("currency")? }),
        None => None,
    };
    let product = Product {
        sku: row.try_get("sku")?,
        name,
        description: row.try_get("description")?,
        price,
        withdrawn: row.try_get("withdrawn")?,
        on_hand: row.try_get("on_hand")?,
        available: row.try_get("available")?,
    };
    Ok(Some((product, row.try_get("changed_at")?)))
}

#[utoipa::path(
    get,
    path = "/v1/products/{sku}",
    params(("sku" = String, Path), MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = Product, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The row is the one that If-None-Match names"),
        (status = 404, description = "unknown-product", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// One product. 304 with `If-None-Match`; 404 `unknown-product`.
pub async fn one(
    request: HttpRequest,
    sku: Path<String>,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let find = async || {
        // One statement, hence one snapshot: the position is that of the data. No row in `products` leaves nulls.
        let row = sqlx::query(
            "select coalesce(c.position, 0) as reached, p.sku, p.name, p.description, p.price_minor, p.currency,
                 p.withdrawn, p.on_hand, p.available, greatest(p.product_position, p.stock_position) as changed_at
             from (select 1) as always
             left join projections.checkpoints c on c.projection = 'products'
             left join projections.products p on p.sku = $1",
        )
        .bind(sku.as_str())
        .fetch_one(&**replica)
        .await?;
        Ok((row.try_get("reached")?, product(&row)?))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let (product, changed_at) = found.ok_or_else(|| Problem::not_found("product", &sku, position))?;
    let tag = etag::of(changed_at);
    if etag::is_known(&request, &tag) {
        return Ok(HttpResponse::NotModified().insert_header((POSITION, position)).insert_header(tag).finish());
    }
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).insert_header(tag).json(product))
}

#[utoipa::path(
    get,
    path = "/v1/products",
    params(PageParameters, MinPositionHeader),
    responses((status = 200, body = Page<Product>, headers(("Kontor-Position" = i64))), Refused)
)]
/// A page of the products, in the order of their SKUs.
pub async fn list(
    request: HttpRequest,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::<AfterSku>::of(&Parameters::of(&request, &[LIMIT, CURSOR])?)?;
    let find = async || {
        let rows = sqlx::query(
            "select coalesce(c.position, 0) as reached, p.*
             from (select 1) as always
             left join projections.checkpoints c on c.projection = 'products'
             left join (
                 select sku, name, description, price_minor, currency, withdrawn, on_hand, available,
                     greatest(product_position, stock_position) as changed_at
                 from projections.products where sku > $1 and name is not null order by sku limit $2
             ) p on true
             order by p.sku",
        )
        .bind(asked.after.as_ref().map_or("", |after| &after.sku))
        .bind(asked.rows())
        .fetch_all(&**replica)
        .await?;
        let reached: i64 = rows[0].try_get("reached")?;
        let found: sqlx::Result<Vec<_>> = rows.iter().filter_map(|row| product(row).transpose()).collect();
        Ok((reached, found?.into_iter().map(|(product, _)| product).collect()))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let page = Page::of(position, found, &asked, |product: &Product| AfterSku { sku: product.sku.clone() });
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(page))
}
