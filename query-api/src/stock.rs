//! Stock: how much is available of a SKU and, for those who move it, where it is, and what it was.

pub mod history;

use crate::cache::{Cache, Kind};
use crate::callers::Asker;
use crate::consistency::{MinPosition, Positions};
use crate::etag;
use crate::openapi::{IfNoneMatchHeader, MinPositionHeader, Refused};
use crate::parameters::{Parameters, from_path};
use crate::problem::Problem;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use kontor_domain::Sku;
use kontor_identity::Permission;
use kontor_redis::{Availability, Found};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{FromRow, PgPool};
use std::collections::BTreeMap;
use utoipa::ToSchema;

const PROJECTION: &str = "stock";

/// The stock of a SKU. What is not for everybody is left out for others than those who look after the goods.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stock {
    pub sku: String,
    /// Units that no order holds.
    pub available: i64,
    /// Units that may still be ordered beyond those, and are waited for.
    pub back_orders_left: i64,
    #[serde(flatten)]
    pub detail: StockDetail,
}

/// Not for everybody.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockDetail {
    /// Units in the building.
    pub on_hand: i64,
    /// Units of them that orders hold.
    pub reserved: i64,
    /// Units that orders wait for.
    pub back_ordered: i64,
    /// Units that orders may wait for.
    pub back_orders_max: i64,
    /// Every location that ever had any.
    pub locations: Vec<Location>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Location {
    pub location: String,
    pub on_hand: i64,
    pub reserved: i64,
    pub available: i64,
}

#[derive(Debug, Deserialize)]
struct Place {
    on_hand: i64,
    available: i64,
}

#[derive(FromRow)]
struct StockRow {
    reached: i64,
    on_hand: Option<i64>,
    available: Option<i64>,
    back_ordered: Option<i64>,
    back_orders_max: Option<i64>,
    locations: Option<Json<BTreeMap<String, Place>>>,
    position: Option<i64>,
}

impl StockRow {
    /// `None`: the row has no stock.
    fn stock(self, sku: &Sku) -> Option<(Stock, i64)> {
        let (on_hand, available) = (self.on_hand?, self.available?);
        let (back_ordered, back_orders_max) = (self.back_ordered?, self.back_orders_max?);
        let locations = self.locations?.0.into_iter().map(|(location, Place { on_hand, available })| Location {
            location,
            on_hand,
            reserved: on_hand - available,
            available,
        });
        let detail = StockDetail {
            on_hand,
            reserved: on_hand - available,
            back_ordered,
            back_orders_max,
            locations: locations.collect(),
        };
        let back_orders_left = (back_orders_max - back_ordered).max(0);
        Some((Stock { sku: sku.to_string(), available, back_orders_left, detail }, self.position?))
    }
}

#[utoipa::path(
    get,
    path = "/v1/stock/{sku}",
    params(("sku" = String, Path, description = "What is sold: a variant or a product without any"), MinPositionHeader,
        IfNoneMatchHeader),
    responses(
        (status = 200, body = Stock, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "It is as If-None-Match says"),
        (status = 404, description = "unknown-stock: there never was any", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// How much is available of a SKU; for those who look after the goods, all that is known of its stock. 304 with
/// `If-None-Match`; 404 `unknown-stock`.
pub async fn one(
    request: HttpRequest,
    Asker(caller): Asker,
    sku: Path<String>,
    MinPosition(min): MinPosition,
    cache: Data<Cache>,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let sku: Sku = from_path("sku", &sku, "must be 1 to 64 letters, digits, '.', '_' or '-'")?;
    let sees_all = caller.may(Permission::ReadStock).is_ok();
    if !sees_all
        && let Some(found) = cache.read(Kind::Availability, &[sku.as_str()], min).await
        && let Some(Found { position, value }) = found.into_iter().flatten().next()
    {
        return Ok(etag::answer_as_kept(&request, position, value.into(), false));
    }
    let find = async || {
        let row: StockRow = sqlx::query_as(
            "select coalesce(c.position, 0) as reached, s.on_hand, s.available, s.back_ordered, s.back_orders_max,
                 s.locations, s.position
             from (select 1) as always
             left join checkpoints c on c.projection = 'stock'
             left join stock s on s.sku = $1",
        )
        .bind(sku.as_str())
        .fetch_one(&**replica)
        .await?;
        Ok((row.reached, row.stock(&sku)))
    };
    let (position, found) = positions.reflect(PROJECTION, MinPosition(min), find).await?;
    let (stock, changed_at) = found.ok_or_else(|| Problem::not_found("stock", sku.as_str(), position))?;
    if !sees_all {
        let units = |units: i64| u64::try_from(units).unwrap_or_default();
        let (available, back_orders_left) = (units(stock.available), units(stock.back_orders_left));
        let availability = Availability { sku: &sku, available, back_orders_left };
        let value = serde_json::to_vec(&availability).expect("it has a JSON form");
        cache.heal(Kind::Availability, sku.as_str(), Found { position, value: value.clone() });
        return Ok(etag::answer_as_kept(&request, position, value.into(), false));
    }
    Ok(etag::answer_in_confidence(&request, position, etag::of(changed_at), &stock))
}
