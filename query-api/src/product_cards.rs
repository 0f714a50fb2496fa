//! Product cards: the hot path of a shop. One question to Redis, which has each card as it is sent; what it lacks Postgres
//! answers, in the same bytes.

pub mod postgres;

use crate::cache::{Cache, Kind};
use crate::callers::Asker;
use crate::consistency::{MinPosition, Positions};
use crate::etag;
use crate::openapi::{IfNoneMatchHeader, MinPositionHeader, Refused};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::products::{Medium, Price, sees_drafts};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use kontor_redis::Found;
pub use kontor_redis::card::Kept;
use sqlx::PgPool;
use std::collections::BTreeMap;
use utoipa::ToSchema;

const PROJECTION: &str = "catalogue";
const SKUS: &str = "skus";
const SKUS_MAX: usize = 100;

/// What a shop shows of a SKU: of a product, or of one of its variants.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: cards are answered as they are kept")]
pub struct ProductCard {
    sku: String,
    /// The code of the product that it is, or is a variant of.
    product: String,
    name: String,
    /// The address of the product's page.
    slug: Option<String>,
    /// `draft`, `published` or `withdrawn`. All but published ones are shown to those who edit the catalogue only.
    status: String,
    /// `{option: value}` of a variant; `null`: it is the product.
    options: Option<BTreeMap<String, String>>,
    /// Of one unit, in each currency.
    prices: Vec<Price>,
    /// The first of the product's media.
    medium: Option<Medium>,
    /// That the product is in itself, not those above them.
    categories: Vec<String>,
    /// How many variants the product comes in; 0: its own code is what is sold.
    variant_count: i64,
    /// Units that no order holds: of all variants together if it is a product with variants.
    available: i64,
}

/// Several cards.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub struct ProductCards {
    /// The position of the log up to which all of them are true.
    position: i64,
    /// In the order in which they were asked for.
    items: Vec<ProductCard>,
    /// SKUs of which there is none.
    missing: Vec<String>,
}

/// What answers come from.
pub struct Sources<'a> {
    pub cache: &'a Cache,
    pub replica: &'a PgPool,
    pub positions: &'a Positions,
}

#[utoipa::path(
    get,
    path = "/v1/product-cards/{sku}",
    params(("sku" = String, Path, description = "Of a product or of a variant"), MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = ProductCard, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The card is the one that If-None-Match names"),
        (status = 404, description = "unknown-product", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// The card of a product or variant. 304 with `If-None-Match`; 404 `unknown-product`.
pub async fn one(
    request: HttpRequest,
    asker: Asker,
    sku: Path<String>,
    min: MinPosition,
    cache: Data<Cache>,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let sources = Sources { cache: &cache, replica: &replica, positions: &positions };
    found_by(Kind::Card, &sku, &request, asker, min, sources).await
}

#[utoipa::path(
    get,
    path = "/v1/product-cards/by-slug/{slug}",
    params(("slug" = String, Path), MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = ProductCard, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The card is the one that If-None-Match names"),
        (status = 404, description = "unknown-product", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// The card of the product whose page has this address. 304 with `If-None-Match`; 404 `unknown-product`.
pub async fn by_slug(
    request: HttpRequest,
    asker: Asker,
    slug: Path<String>,
    min: MinPosition,
    cache: Data<Cache>,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let sources = Sources { cache: &cache, replica: &replica, positions: &positions };
    found_by(Kind::CardBySlug, &slug, &request, asker, min, sources).await
}

async fn found_by(
    kind: Kind,
    name: &str,
    request: &HttpRequest,
    Asker(caller): Asker,
    min: MinPosition,
    sources: Sources<'_>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(request, &[])?;
    let (position, cards) = sources.find(kind, &[name], min).await?;
    let sees_all = sees_drafts(&caller);
    let card = cards.into_iter().flatten().find(|card| card.is_public() || sees_all);
    let card = card.ok_or_else(|| Problem::not_found("product", name, position))?;
    Ok(etag::answer_as_kept(request, position, card.json(), sees_all))
}

#[utoipa::path(
    get,
    path = "/v1/product-cards",
    params(
        ("skus" = String, Query, description = "1 to 100 SKUs of products or variants, with commas between them"),
        MinPositionHeader,
        IfNoneMatchHeader,
    ),
    responses(
        (status = 200, body = ProductCards, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The cards are those that If-None-Match names"),
        Refused,
    )
)]
/// Several cards at once. 304 with `If-None-Match`.
pub async fn several(
    request: HttpRequest,
    Asker(caller): Asker,
    min: MinPosition,
    cache: Data<Cache>,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[SKUS])?;
    let skus: Vec<&str> = parameters.needed(SKUS)?.split(',').collect();
    if skus.len() > SKUS_MAX || skus.contains(&"") {
        let rule = format_args!("must be 1 to {SKUS_MAX} SKUs with commas between them");
        return Err(Problem::parameter(SKUS, rule));
    }
    let sources = Sources { cache: &cache, replica: &replica, positions: &positions };
    let (position, cards) = sources.find(Kind::Card, &skus, min).await?;
    let sees_all = sees_drafts(&caller);
    let (mut items, mut missing) = (Vec::new(), Vec::new());
    for (sku, card) in skus.into_iter().zip(cards) {
        match card.filter(|card| card.is_public() || sees_all) {
            Some(card) => {
                if !items.is_empty() {
                    items.push(b',');
                }
                items.extend_from_slice(&card.json());
            }
            None => missing.push(sku),
        }
    }
    let missing = serde_json::to_string(&missing).expect("texts have a JSON form");
    let mut body = format!("{{\"position\":{position},\"items\":[").into_bytes();
    body.append(&mut items);
    body.extend_from_slice(format!("],\"missing\":{missing}}}").as_bytes());
    Ok(etag::answer_as_kept(&request, position, body.into(), sees_all))
}

impl Sources<'_> {
    /// The cards under these names, in their order, and the position at which all of them are true.
    pub async fn find(
        &self,
        kind: Kind,
        names: &[&str],
        MinPosition(min): MinPosition,
    ) -> Result<(i64, Vec<Option<Kept>>), Problem> {
        let found = self.cache.read(kind, names, min).await;
        let mut found = found.unwrap_or_else(|| vec![None; names.len()]);
        let lacking: Vec<usize> = (0..names.len()).filter(|n| found[*n].is_none()).collect();
        let mut position = found.iter().flatten().map(|found| found.position).min();
        if !lacking.is_empty() || names.is_empty() {
            let asked: Vec<&str> = lacking.iter().map(|n| names[*n]).collect();
            let find = async || postgres::find(self.replica, kind == Kind::CardBySlug, &asked).await;
            let (reached, cards) = self.positions.reflect(PROJECTION, MinPosition(min), find).await?;
            position = Some(position.map_or(reached, |position| position.min(reached)));
            for (n, card) in lacking.into_iter().zip(cards) {
                let Some(card) = card else { continue };
                let answered = Found { position: reached, value: card.as_bytes().to_vec() };
                self.cache.heal(kind, names[n], answered.clone());
                found[n] = Some(answered);
            }
        }
        let cards = found.into_iter().map(|found| Kept::read(found?.value)).collect();
        Ok((position.unwrap_or(0), cards))
    }
}
