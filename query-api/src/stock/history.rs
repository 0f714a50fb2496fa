//! The stock of one SKU as it was, from its own stream.

use crate::consistency::POSITION;
use crate::openapi::{MinPositionHeader, MomentParameters, PageParameters, Refused};
use crate::paging::{Asked, CURSOR, LIMIT, Page};
use crate::parameters::Parameters;
use crate::past::{AT, COLUMNS, Moment, Streams, VERSION, by, decoded};
use crate::problem::Problem;
use crate::view::View;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use kontor_domain::Sku;
use kontor_domain::stock::Stock;
use kontor_event_schemas::{Fact, RecordedEvent, subject};
use kontor_projection_services::projections::catalogue::past;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The stock of a SKU at one version, and what made it so.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockVersion {
    pub version: i64,
    /// Of the event in the log.
    pub position: i64,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// Such as `received`, `reserved` or `back-orders-limited`.
    pub what: String,
    /// `guest`, `staff`, which may be a customer, or `system`.
    pub by: &'static str,
    /// Units in the building.
    pub on_hand: i64,
    /// Units of them that no order holds.
    pub available: i64,
}

/// Position in the history of a SKU.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterVersion {
    version: i64,
}

#[utoipa::path(
    get,
    path = "/v1/stock/{sku}/history",
    params(("sku" = String, Path), MomentParameters, PageParameters, MinPositionHeader),
    responses(
        (status = 200, body = Page<StockVersion>, headers(("Kontor-Position" = i64))),
        (status = 404, description = "unknown-stock: there was none; unknown-version", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// What the stock of a SKU was, the last version first: from now, or from `version` or `at` on back. With `limit=1` it is what
/// the stock was then. For those who look after the shop.
pub async fn history(
    request: HttpRequest,
    sku: Path<String>,
    view: View,
    streams: Data<Streams>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[VERSION, AT, LIMIT, CURSOR])?;
    let sku: Sku = sku.parse().map_err(|error| Problem::parameter("sku", error))?;
    let (moment, asked) = (Moment::of(&parameters)?, Asked::<AfterVersion>::of(&parameters)?);
    let stream = (Stock::TYPE, "stock", sku.as_str());
    let reach = streams.reach(&view.positions, view.min, stream, moment).await?;
    if reach.version == 0 {
        return Err(Problem::not_found("stock", sku.as_str(), reach.position));
    }
    let last = asked.after.as_ref().map_or(reach.version, |after| reach.version.min(after.version - 1));
    let versions = versions(&streams, &sku, last, asked.rows()).await?;
    let page = Page::of(reach.position, versions, &asked, |entry| AfterVersion { version: entry.version });
    Ok(HttpResponse::Ok().insert_header((POSITION, page.position)).json(page))
}

/// Up to `most` versions from `last` on back.
async fn versions(streams: &Streams, sku: &Sku, last: i64, most: i64) -> sqlx::Result<Vec<StockVersion>> {
    // With the one before that says what was on hand.
    let rows = sqlx::query(&format!(
        "select * from (
             (select {COLUMNS} from public.events e
              where aggregate_type = $1 and aggregate_id = $2 and sequence <= $3 and sequence > $3 - $4)
             union all
             (select {COLUMNS} from public.events e
              where aggregate_type = $1 and aggregate_id = $2 and sequence <= $3 - $4 and event_type = any($5)
              order by sequence desc limit 1)
         ) e order by sequence"
    ))
    .bind(Stock::TYPE)
    .bind(sku.as_str())
    .bind(last)
    .bind(most)
    .bind(past::COUNTS_ON_HAND)
    .fetch_all(streams.replica())
    .await?;
    let mut on_hand = 0;
    let mut versions = Vec::with_capacity(rows.len());
    for event in streams.recorded(&rows)? {
        let Fact::Stock(_, change) = decoded(&event)?.fact else { continue };
        let (counted, available) = past::stock(&change);
        on_hand = counted.unwrap_or(on_hand);
        if event.sequence > last - most {
            versions.push(version(&event, on_hand, available)?);
        }
    }
    versions.reverse();
    Ok(versions)
}

fn version(event: &RecordedEvent, on_hand: i64, available: i64) -> sqlx::Result<StockVersion> {
    let subject = subject::subject(&event.aggregate_type, &event.event_type);
    Ok(StockVersion {
        version: event.sequence,
        position: event.position,
        at: event.recorded_at,
        what: subject.rsplit('.').next().unwrap_or_default().to_owned(),
        by: by(event, None)?,
        on_hand,
        available,
    })
}
