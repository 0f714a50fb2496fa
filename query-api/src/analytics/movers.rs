//! Top movers: which SKUs sell more units, or fewer, than in the time of the same length before.

use super::PROJECTION;
use super::question::{self, COUNTRY, Dimension};
use super::report::{are_known, position, snapshot, timed};
use super::window::{FROM, Piece, TO, Window};
use crate::consistency::{MinPosition, POSITION, Positions};
use crate::openapi::{MinPositionHeader, Refused};
use crate::parameters::Parameters;
use crate::problem::Problem;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use kontor_projection_services::projections::analytics::{Cube, Resolution};
use serde::Serialize;
use sqlx::{FromRow, PgPool};
use utoipa::{IntoParams, ToSchema};

const DIRECTION: &str = "direction";
const LIMIT: &str = "limit";
const LIMIT_DEFAULT: i64 = 20;
const LIMIT_MAX: i64 = 100;

/// Which SKUs move.
#[derive(Debug, Serialize, ToSchema)]
pub struct Movers {
    /// The position of the log up to which it is true.
    pub position: i64,
    /// Where the time before begins, which ends at `from`.
    pub before: DateTime<Utc>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// The one that moves most first.
    pub rows: Vec<Mover>,
}

/// Units that were ordered of a SKU.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Mover {
    pub sku: String,
    pub units: i64,
    pub units_before: i64,
    /// `units` less `units_before`.
    pub change: i64,
}

/// Of which time.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct MoversParameters {
    /// Business time in UTC: the beginning of an hour.
    from: String,
    /// Where the time ends, not part of it.
    to: String,
    /// Only in this country; may be given several times.
    country: Option<String>,
    /// `up`, the default, or `down`.
    direction: Option<String>,
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
}

#[utoipa::path(
    get,
    path = "/v1/analytics/movers",
    params(MoversParameters, MinPositionHeader),
    responses((status = 200, body = Movers, headers(("Kontor-Position" = i64))), Refused)
)]
/// The SKUs that sell more units, or fewer, than in the time of the same length before.
pub async fn movers(
    request: HttpRequest,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of_which_repeat(&request, &[FROM, TO, COUNTRY, DIRECTION, LIMIT], COUNTRY)?;
    let window = Window::of(&parameters, Resolution::Hour)?;
    let rule = format!("must be a number from 1 to {LIMIT_MAX}");
    let limit = match parameters.value(LIMIT, &rule)?.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => limit,
        _ => return Err(Problem::parameter(LIMIT, rule)),
    };
    let sign = match parameters.text(DIRECTION) {
        None | Some("up") => 1,
        Some("down") => -1,
        Some(other) => return Err(Problem::unknown_members(DIRECTION, &[other.to_owned()], &["up", "down"])),
    };
    let country = question::country(&parameters)?;
    let find = async || find(&replica, window, country.as_deref(), sign, limit).await;
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let rows = found?;
    let Window { from, to } = window;
    let movers = Movers { position, before: window.before().from, from, to, rows };
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(movers))
}

/// `sign`: -1 for those that sell less.
async fn find(
    replica: &PgPool,
    window: Window,
    country: Option<&[String]>,
    sign: i64,
    limit: i64,
) -> sqlx::Result<(i64, Result<Vec<Mover>, Problem>)> {
    let pieces = |window: Window| window.pieces(Cube::Products.resolutions());
    let pieces: Vec<Piece> = [window.before(), window].into_iter().flat_map(pieces).collect();
    let mut reading = snapshot(replica).await?;
    let reached = position(&mut reading).await?;
    if let Some(country) = country
        && let Err(refusal) = are_known(&mut reading, Dimension::Country, country).await?
    {
        return Ok((reached, Err(refusal)));
    }
    let rows = timed(
        sqlx::query(
            "select sku, units::bigint, units_before::bigint, (units - units_before)::bigint as change
             from (
                 select t.sku, coalesce(sum(t.units) filter (where p.since >= $4), 0) as units,
                     coalesce(sum(t.units) filter (where p.since < $4), 0) as units_before
                 from unnest($1::smallint[], $2::timestamptz[], $3::timestamptz[]) as p (resolution, since, until)
                 join analytics_by_product t on t.resolution = p.resolution and t.at >= p.since and t.at < p.until
                 where $5::text[] is null or t.country = any($5)
                 group by t.sku
             ) m
             where $6 * (units - units_before) > 0
             order by $6 * (units - units_before) desc, sku limit $7",
        ),
        &pieces,
    );
    let rows = rows.bind(window.from).bind(country).bind(sign).bind(limit).fetch_all(&mut *reading).await?;
    reading.rollback().await?;
    Ok((reached, Ok(rows.iter().map(Mover::from_row).collect::<sqlx::Result<_>>()?)))
}
