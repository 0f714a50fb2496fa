//! Reports: sums over orders and cancellations.

use crate::consistency::{MinPosition, POSITION, Positions};
use crate::openapi::{MinPositionHeader, Refused};
use crate::parameters::Parameters;
use crate::problem::Problem;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use sqlx::{PgPool, Row};
use utoipa::ToSchema;

const BY: &str = "by";

/// What was sold and taken back, by `country` or by `month` of business time in UTC.
#[derive(Debug, Serialize, ToSchema)]
pub struct SalesReport {
    /// The position of the log up to which the report is true.
    pub position: i64,
    pub by: &'static str,
    pub rows: Vec<SalesRow>,
}

/// One country or month, in one currency. Amounts are minor units.
///
/// An order that was cancelled is no sale: it counts as a cancellation, at the time of its cancellation.
#[derive(Debug, Serialize, sqlx::FromRow, ToSchema)]
pub struct SalesRow {
    /// The country in the shop's own words, or the month as `YYYY-MM`.
    pub key: String,
    pub currency: String,
    pub orders: i64,
    pub order_lines: i64,
    pub units: i64,
    pub sales_minor: i64,
    pub cancellations: i64,
    pub cancellation_lines: i64,
    pub cancelled_units: i64,
    pub cancelled_minor: i64,
}

/// The two ways to divide the sums: its name, and what a sale and a cancellation are counted under.
const DIVISIONS: [(&str, &str, &str); 2] = [
    ("country", "country", "country"),
    (
        "month",
        "to_char(placed_at at time zone 'UTC', 'YYYY-MM')",
        "to_char(cancelled_at at time zone 'UTC', 'YYYY-MM')",
    ),
];

#[utoipa::path(
    get,
    path = "/v1/reports/sales",
    params(("by" = String, Query, description = "country or month"), MinPositionHeader),
    responses((status = 200, body = SalesReport, headers(("Kontor-Position" = i64))), Refused)
)]
/// Sales by country or month.
pub async fn sales(
    request: HttpRequest,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &[BY])?;
    let wanted = parameters.needed(BY)?;
    let division = DIVISIONS.into_iter().find(|(name, ..)| *name == wanted);
    let (by, sold_under, cancelled_under) =
        division.ok_or_else(|| Problem::parameter(BY, "must be country or month"))?;
    let statement = statement(sold_under, cancelled_under);
    let find = async || {
        let rows = sqlx::query(&statement).fetch_all(&**replica).await?;
        let reached = rows[0].try_get("reached")?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            if row.try_get::<Option<&str>, _>("key")?.is_some() {
                found.push(sqlx::FromRow::from_row(row)?);
            }
        }
        Ok((reached, found))
    };
    let (position, rows) = positions.reflect("orders", min, find).await?;
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(SalesReport { position, by, rows }))
}

/// One statement, hence one snapshot. Sums of bigint are numeric in Postgres, so they cannot overflow before they are cast
/// back, which refuses what does not fit.
fn statement(sold_under: &str, cancelled_under: &str) -> String {
    format!(
        "with sold as (
             select {sold_under} as key, currency, count(*) as orders, sum(order_lines) as order_lines,
                 sum(units) as units, sum(total_minor) as minor
             from orders where status <> 'cancelled' group by 1, 2
         ), cancelled as (
             select key, currency, count(*) as cancellations, sum(lines) as lines, sum(units) as units,
                 sum(total_minor) as minor
             from (
                 select {cancelled_under} as key, currency, order_lines as lines, units, total_minor
                 from orders where status = 'cancelled'
                 union all
                 select {cancelled_under}, currency, cancellation_lines, units, total_minor
                 from cancellations
             ) as each_cancellation group by 1, 2
         )
         select coalesce(c.position, 0) as reached, r.*
         from (select 1) as always
         left join checkpoints c on c.projection = 'orders'
         left join (
             select key collate \"C\" as key, currency, coalesce(s.orders, 0) as orders,
                 coalesce(s.order_lines, 0)::bigint as order_lines, coalesce(s.units, 0)::bigint as units,
                 coalesce(s.minor, 0)::bigint as sales_minor, coalesce(b.cancellations, 0) as cancellations,
                 coalesce(b.lines, 0)::bigint as cancellation_lines,
                 coalesce(b.units, 0)::bigint as cancelled_units, coalesce(b.minor, 0)::bigint as cancelled_minor
             from sold s full join cancelled b using (key, currency)
         ) r on true
         order by r.key, r.currency"
    )
}
