//! Carts, counted when they were opened: so that what share of them became orders is never more than all.

use super::orders::currency_of;
use super::sums::{Count, Cube, Place, Sums};
use crate::runtime::ApplyError;
use chrono::{DateTime, Utc};
use kontor_domain::{CartId, Currency};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenedCart {
    pub currency: Currency,
    pub opened_at: DateTime<Utc>,
}

impl OpenedCart {
    pub fn count(self, sums: &mut Sums, counted: (Count, i64)) -> Result<(), ApplyError> {
        let place = Place { currency: self.currency, country: "" };
        sums.add(Cube::Carts, "", place, self.opened_at, &[counted])
    }
}

/// Carts that were opened before this batch. Each must be there.
pub async fn read(
    view: &mut PgConnection,
    carts: impl Iterator<Item = CartId>,
) -> Result<Vec<(CartId, OpenedCart)>, ApplyError> {
    let mut ids: Vec<_> = carts.map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "select cart_id, currency, opened_at from analytics_carts where cart_id = any($1)";
    let rows: Vec<(Uuid, String, DateTime<Utc>)> = sqlx::query_as(sql).bind(&ids).fetch_all(view).await?;
    if rows.len() < ids.len() {
        let missing = ids.len() - rows.len();
        return Err(ApplyError::Contradiction(format!("{missing} of {} carts at an end are not there", ids.len())));
    }
    let read = rows.into_iter().map(|(cart_id, currency, opened_at)| {
        Ok((CartId(cart_id), OpenedCart { currency: currency_of(&currency)?, opened_at }))
    });
    read.collect()
}

pub async fn write(view: &mut PgConnection, opened: &BTreeMap<CartId, OpenedCart>) -> sqlx::Result<()> {
    if opened.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into analytics_carts (cart_id, currency, opened_at)
         select * from unnest($1::uuid[], $2::text[], $3::timestamptz[])",
    )
    .bind(opened.keys().map(|id| id.0).collect::<Vec<_>>())
    .bind(opened.values().map(|cart| cart.currency.code()).collect::<Vec<_>>())
    .bind(opened.values().map(|cart| cart.opened_at).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}
