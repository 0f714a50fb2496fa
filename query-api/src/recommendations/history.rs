//! What a customer has bought.

use super::advisor::Loaded;
use crate::consistency::{MinPosition, Positions};
use crate::problem::Problem;
use chrono::{DateTime, Utc};
use kontor_domain::CustomerId;
use kontor_projection_services::models::PROJECTION;
use kontor_recommend::History;
use sqlx::{PgPool, Row};

/// Older documents say nothing of what a customer wants now.
const DOCUMENTS_MAX: i64 = 500;

struct Document {
    at: DateTime<Utc>,
    taken_back: bool,
    skus: Vec<String>,
    units: Vec<i64>,
}

/// A customer's history by products, and the position up to which it is true. Of one who was erased there is none.
pub async fn of(
    customer: &CustomerId,
    loaded: &Loaded,
    min: MinPosition,
    replica: &PgPool,
    positions: &Positions,
) -> Result<(i64, History), Problem> {
    let find = async || {
        let rows = sqlx::query(
            "select coalesce(c.position, 0) as reached, t.at, t.taken_back, t.skus, t.units
             from (select 1) as always
             left join checkpoints c on c.projection = $2
             left join (
                 select * from trade
                 where customer_id = $1
                     and not exists (select from privacy.subject_keys where subject = $1 and wrapped is null)
                 order by at desc limit $3
             ) t on true
             order by t.at, t.document_id",
        )
        .bind(customer.as_str())
        .bind(PROJECTION)
        .bind(DOCUMENTS_MAX)
        .fetch_all(replica)
        .await?;
        let mut documents = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(at) = row.try_get("at")? else { continue };
            documents.push(Document {
                at,
                taken_back: row.try_get("taken_back")?,
                skus: row.try_get("skus")?,
                units: row.try_get("units")?,
            });
        }
        Ok((rows[0].try_get("reached")?, documents))
    };
    let (position, documents) = positions.reflect(PROJECTION, min, find).await?;
    let mut history = History::default();
    for Document { at, taken_back, skus, units } in documents {
        for (sku, units) in skus.iter().zip(units) {
            let Some(sku) = loaded.product_of(sku) else { continue };
            match taken_back {
                false => history.buy(at, &sku, units.unsigned_abs()),
                true => history.take_back(&sku, units.unsigned_abs()),
            }
        }
    }
    Ok((position, history))
}
