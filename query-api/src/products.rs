//! Products. [`listing`] tells of lists of them, [`filters`] of what is wanted of those, [`past`] of what they were.

pub mod filters;
pub mod listing;
mod past;

use crate::callers::Asker;
use crate::consistency::POSITION;
use crate::etag;
use crate::openapi::{AsOfParameter, IfNoneMatchHeader, MinPositionHeader, MomentParameters, PageParameters, Refused};
use crate::paging::{AfterSku, Asked, CURSOR, LIMIT, Page};
use crate::parameters::Parameters;
use crate::past::{AT, Moment, Streams, VERSION};
use crate::problem::Problem;
use crate::view::{AS_OF, View};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use kontor_domain::Sku;
use kontor_identity::{Caller, Permission};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Decode, Postgres, Row, Type};
use std::collections::{BTreeMap, HashMap};
use utoipa::ToSchema;

const PROJECTION: &str = "catalogue";

/// An amount in minor units (pence, cents) of an ISO 4217 currency.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
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

/// What a list shows of the product `p`, with [`STOCK`], in the order in which it is [read](product).
const IN_LIST: &str = "p.sku, p.name, p.description, p.price_minor, p.currency, p.prices, p.withdrawn, p.draft, p.slug,
    p.categories, p.variants as variant_count,
    case when p.variants = 0 then p.on_hand else coalesce(v.on_hand, 0) end as on_hand,
    case when p.variants = 0 then p.available else coalesce(v.available, 0) end as available,
    greatest(p.product_position, p.stock_position, p.category_position, v.position) as changed_at";

/// The stock of all variants of the product `p` together. Most products have none: then nothing is looked for.
const STOCK: &str = "left join lateral (
        select sum(s.on_hand)::bigint as on_hand, sum(s.available)::bigint as available, max(s.stock_position) as position
        from variants v join products s on s.sku = v.sku
        where p.variants > 0 and v.product = p.sku
    ) v on true";

/// What there is besides, with [`VARIANTS`] in place of [`STOCK`].
const IN_DETAIL: &str = "p.withdrawal_reason, p.tax_class, p.attributes::text as attributes, p.media::text as media,
    coalesce(v.list, '[]') as variants";

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

fn status(withdrawn: bool, draft: bool) -> &'static str {
    match (withdrawn, draft) {
        (true, _) => "withdrawn",
        (false, true) => "draft",
        (false, false) => "published",
    }
}

fn prices(prices: BTreeMap<String, i64>) -> Vec<Price> {
    prices.into_iter().map(|(currency, amount_minor)| Price { amount_minor, currency }).collect()
}

/// The columns of a row one after another. Looking each up by its name takes longer than reading it.
struct Columns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Columns<'r> {
    fn from(row: &'r PgRow, first: usize) -> Self {
        Columns { row, next: first }
    }

    fn read<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> sqlx::Result<T> {
        self.next += 1;
        self.row.try_get(self.next - 1)
    }
}

/// What [`IN_LIST`] says of a product, with the position of the last event in it. `None`: the row has no product.
fn product(mut columns: Columns) -> sqlx::Result<Option<(Product, i64)>> {
    let (Some(sku), Some(name)) = (columns.read()?, columns.read()?) else { return Ok(None) };
    let description = columns.read()?;
    let price = match (columns.read()?, columns.read()?) {
        (Some(amount_minor), Some(currency)) => Some(Price { amount_minor, currency }),
        _ => None, // The table has both or neither.
    };
    let Json(in_each): Json<BTreeMap<String, i64>> = columns.read()?;
    let (withdrawn, draft) = (columns.read()?, columns.read()?);
    let product = Product {
        sku,
        name,
        description,
        status: status(withdrawn, draft),
        withdrawn,
        slug: columns.read()?,
        price,
        prices: prices(in_each),
        categories: columns.read()?,
        variant_count: columns.read()?,
        on_hand: columns.read()?,
        available: columns.read()?,
    };
    Ok(Some((product, columns.read()?)))
}

/// A product in full, with the position of the last event in it: of `reached`, [`IN_LIST`] and [`IN_DETAIL`].
fn detail(row: &PgRow) -> sqlx::Result<Option<(ProductDetail, i64)>> {
    let Some((product, changed_at)) = product(Columns::from(row, 1))? else { return Ok(None) };
    let json = |column| RawValue::from_string(row.try_get(column)?).map_err(|error| sqlx::Error::Decode(error.into()));
    let detail = ProductDetail {
        product,
        withdrawal_reason: row.try_get("withdrawal_reason")?,
        tax_class: row.try_get("tax_class")?,
        attributes: json("attributes")?,
        media: json("media")?,
        variants: json("variants")?,
    };
    Ok(Some((detail, changed_at)))
}

#[utoipa::path(
    get,
    path = "/v1/products/{sku}",
    params(("sku" = String, Path), MomentParameters, AsOfParameter, MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = ProductDetail, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The row is the one that If-None-Match names"),
        (status = 404, description = "unknown-product, unknown-version or unknown-generation", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// One product with its variants; with `version` or `at` what it was, for those who look after the shop. 304 with
/// `If-None-Match`; 404 `unknown-product`.
pub async fn one(
    request: HttpRequest,
    Asker(caller): Asker,
    sku: Path<String>,
    view: View,
    streams: Data<Streams>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[VERSION, AT, AS_OF])?;
    let Some(moment) = Moment::of(&parameters)? else {
        return answer("sku", &sku, &request, &caller, &view).await;
    };
    let known: Sku = sku.parse().map_err(|error| Problem::parameter("sku", error))?;
    let (position, found) = past::product(&streams, &view, &known, moment).await?;
    let seen = found.filter(|found| found.product.status != "draft" || sees_drafts(&caller));
    let mut product = seen.ok_or_else(|| Problem::not_found("product", &sku, position))?;
    product.withdrawal_reason.take_if(|_| !sees_drafts(&caller));
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(product))
}

#[utoipa::path(
    get,
    path = "/v1/products/by-slug/{slug}",
    params(("slug" = String, Path), AsOfParameter, MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = ProductDetail, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The row is the one that If-None-Match names"),
        (status = 404, description = "unknown-product or unknown-generation", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// The product whose page has this address. 304 with `If-None-Match`; 404 `unknown-product`.
pub async fn by_slug(
    request: HttpRequest,
    Asker(caller): Asker,
    slug: Path<String>,
    view: View,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[AS_OF])?;
    answer("slug", &slug, &request, &caller, &view).await
}

async fn answer(
    column: &'static str,
    value: &str,
    request: &HttpRequest,
    caller: &Caller,
    view: &View,
) -> Result<HttpResponse, Problem> {
    let (position, found) = find(column, value, caller, view).await?;
    let (mut product, changed_at) = found.ok_or_else(|| Problem::not_found("product", value, position))?;
    product.withdrawal_reason.take_if(|_| !sees_drafts(caller));
    Ok(etag::answer(request, caller, (position, etag::of(changed_at)), &product))
}

/// The product with `value` in `column`, as far as the caller may see it, with the position of the last event in it.
pub async fn find(
    column: &'static str,
    value: &str,
    caller: &Caller,
    view: &View,
) -> Result<(i64, Option<(ProductDetail, i64)>), Problem> {
    // One statement, hence one snapshot: the position is that of the data. No row in `products` leaves nulls.
    let statement = format!(
        "select coalesce(c.position, 0) as reached, {IN_LIST}, {IN_DETAIL}
         from (select 1) as always
         left join checkpoints c on c.projection = 'catalogue'
         left join products p on p.{column} = $1 and (not p.draft or $2)
         {VARIANTS}"
    );
    let query = || sqlx::query(&statement).bind(value).bind(sees_drafts(caller));
    view.rows(PROJECTION, query, |rows| Ok((rows[0].try_get("reached")?, detail(&rows[0])?))).await
}

/// Those of these products that the caller may see, in full.
pub async fn details(skus: &[String], caller: &Caller, view: &View) -> Result<(i64, Vec<ProductDetail>), Problem> {
    let statement = format!(
        "select coalesce(c.position, 0) as reached, p.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'catalogue'
         left join (
             select {IN_LIST}, {IN_DETAIL} from products p {VARIANTS}
             where p.sku = any($1) and p.name is not null and (not p.draft or $2)
         ) p on true"
    );
    let query = || sqlx::query(&statement).bind(skus).bind(sees_drafts(caller));
    view.rows(PROJECTION, query, in_full_of).await
}

fn in_full_of(rows: &[PgRow]) -> sqlx::Result<(i64, Vec<ProductDetail>)> {
    let found: sqlx::Result<Vec<_>> = rows.iter().filter_map(|row| detail(row).transpose()).collect();
    Ok((rows[0].try_get("reached")?, found?.into_iter().map(|(detail, _)| detail).collect()))
}

/// The products that are sold under these SKUs, their own or those of variants of theirs, as far as the caller may see them.
pub async fn sold(skus: &[String], caller: &Caller, view: &View) -> Result<(i64, Vec<(String, Product)>), Problem> {
    let statement = format!(
        "select coalesce(c.position, 0) as reached, p.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'catalogue'
         left join (
             select s.sku as sold_as, {IN_LIST} from unnest($1::text[]) as s (sku)
             left join lateral (select product from variants where sku = s.sku order by product limit 1) o on true
             join products p on p.sku = coalesce(o.product, s.sku) and p.name is not null and (not p.draft or $2)
             {STOCK}
         ) p on true"
    );
    let query = || sqlx::query(&statement).bind(skus).bind(sees_drafts(caller));
    let read = |rows: &[PgRow]| {
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some((product, _)) = product(Columns::from(row, 2))? {
                // After `reached` and `sold_as`.
                found.push((row.try_get("sold_as")?, product));
            }
        }
        Ok((rows[0].try_get("reached")?, found))
    };
    view.rows(PROJECTION, query, read).await
}

/// Units of each SKU that no order holds.
pub async fn available(skus: &[String], view: &View) -> Result<(i64, HashMap<String, i64>), Problem> {
    let statement = "select coalesce(c.position, 0) as reached, p.sku, p.available
         from (select 1) as always
         left join checkpoints c on c.projection = 'catalogue'
         left join products p on p.sku = any($1)";
    let read = |rows: &[PgRow]| {
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            if let Some(sku) = row.try_get("sku")? {
                found.insert(sku, row.try_get("available")?);
            }
        }
        Ok((rows[0].try_get("reached")?, found))
    };
    view.rows(PROJECTION, || sqlx::query(statement).bind(skus), read).await
}

#[utoipa::path(
    get,
    path = "/v1/catalogue",
    params(PageParameters, AsOfParameter, MinPositionHeader),
    responses((status = 200, body = Page<ProductDetail>, headers(("Kontor-Position" = i64))), Refused)
)]
/// A page of the products in full, drafts too, in the order of their SKUs: for those who edit the catalogue.
pub async fn in_full(request: HttpRequest, view: View) -> Result<HttpResponse, Problem> {
    let asked = Asked::<AfterSku>::of(&Parameters::of(&request, &[LIMIT, CURSOR, AS_OF])?)?;
    let rows = asked.rows(); // Written out: see `listing`.
    let statement = format!(
        "select coalesce(c.position, 0) as reached, p.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'catalogue'
         left join (
             select {IN_LIST}, {IN_DETAIL} from (
                 select * from products where sku > $1 and name is not null order by sku limit {rows}
             ) p {VARIANTS}
         ) p on true
         order by p.sku"
    );
    let after = asked.after.as_ref().map_or("", |after| &after.sku);
    let query = || sqlx::query(&statement).bind(after);
    let (position, found) = view.rows(PROJECTION, query, in_full_of).await?;
    let page = Page::of(position, found, &asked, |detail: &ProductDetail| AfterSku { sku: detail.product.sku.clone() });
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(page))
}
