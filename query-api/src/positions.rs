//! How far each read model has come.

use crate::consistency::{self, POSITION};
use crate::openapi::Refused;
use crate::parameters::Parameters;
use crate::problem::Problem;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use sqlx::PgPool;
use std::collections::BTreeMap;

#[utoipa::path(
    get,
    path = "/v1/positions",
    responses((status = 200, body = BTreeMap<String, i64>, headers(("Kontor-Position" = i64))), Refused)
)]
/// `{"orders": 17, "catalogue": 17}`: the position of each projection on the replica that is read.
pub async fn all(request: HttpRequest, replica: Data<PgPool>) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let positions: BTreeMap<String, i64> = consistency::all(&replica).await?.into_iter().collect();
    // Whatever is read next reflects at least this.
    let least = positions.values().min().copied().unwrap_or(0);
    Ok(HttpResponse::Ok().insert_header((POSITION, least)).json(positions))
}
