//! How far the log was heard, and what was open then. A restart reads the orders that were open and hears the log from
//! there, which is harmless: what follows from an event has the same key whenever it is heard.

use super::carts::News;
use chrono::{DateTime, Utc};
use kontor_domain::{CartId, OrderId};
use sqlx::{Connection, PgConnection};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Carts that are looked at together.
const CARTS_MAX: i64 = 200;

/// Where to begin.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The last event that was heard; 0: none.
    pub position: i64,
    pub orders: HashSet<OrderId>,
}

/// Reads the checkpoint. One of another epoch is of no use: what was heard may not be in the log any more.
pub async fn load(connection: &mut PgConnection, epoch: i64) -> sqlx::Result<Checkpoint> {
    let position: Option<i64> = sqlx::query_scalar("select position from processes.checkpoint where epoch = $1")
        .bind(epoch)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(position) = position else { return Ok(Checkpoint::default()) };
    let orders: Vec<Uuid> =
        sqlx::query_scalar("select order_id from processes.orders").fetch_all(&mut *connection).await?;
    Ok(Checkpoint { position, orders: orders.into_iter().map(OrderId).collect() })
}

/// Writes a checkpoint over `before`, on the connection that holds the leader's lock: who has lost it cannot write.
pub async fn save(
    connection: &mut PgConnection,
    epoch: i64,
    before: &HashSet<OrderId>,
    now: &Checkpoint,
    carts: &HashMap<CartId, News>,
) -> sqlx::Result<()> {
    let ids =
        |orders: std::collections::hash_set::Difference<'_, OrderId, _>| orders.map(|id| id.0).collect::<Vec<_>>();
    let (new, gone) = (ids(now.orders.difference(before)), ids(before.difference(&now.orders)));
    let (mut changed, mut changed_at, mut ended) = (Vec::new(), Vec::new(), Vec::new());
    for (cart_id, news) in carts {
        match news.changed_at {
            Some(at) => {
                changed.push(cart_id.0);
                changed_at.push(at);
            }
            None => ended.push(cart_id.0),
        }
    }
    let mut transaction = connection.begin().await?;
    sqlx::query(
        "insert into processes.checkpoint (position, epoch) values ($1, $2)
         on conflict (one) do update set position = excluded.position, epoch = excluded.epoch",
    )
    .bind(now.position)
    .bind(epoch)
    .execute(&mut *transaction)
    .await?;
    if !new.is_empty() {
        let insert = "insert into processes.orders select unnest($1::uuid[]) on conflict do nothing";
        sqlx::query(insert).bind(new).execute(&mut *transaction).await?;
    }
    if !gone.is_empty() {
        let delete = "delete from processes.orders where order_id = any($1)";
        sqlx::query(delete).bind(gone).execute(&mut *transaction).await?;
    }
    if !changed.is_empty() {
        sqlx::query(
            "insert into processes.carts select * from unnest($1::uuid[], $2::timestamptz[])
             on conflict (cart_id) do update set changed_at = excluded.changed_at",
        )
        .bind(changed)
        .bind(changed_at)
        .execute(&mut *transaction)
        .await?;
    }
    if !ended.is_empty() {
        let delete = "delete from processes.carts where cart_id = any($1)";
        sqlx::query(delete).bind(ended).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Forgets the carts and orders of a log that has lost commits; it is heard again from the start.
pub async fn clear(connection: &mut PgConnection) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    for table in ["delete from processes.checkpoint", "delete from processes.orders", "delete from processes.carts"] {
        sqlx::query(table).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Carts that have not changed since `before`, the longest idle first.
pub async fn idle_carts(connection: &mut PgConnection, before: DateTime<Utc>) -> sqlx::Result<Vec<CartId>> {
    let carts: Vec<Uuid> =
        sqlx::query_scalar("select cart_id from processes.carts where changed_at < $1 order by changed_at limit $2")
            .bind(before)
            .bind(CARTS_MAX)
            .fetch_all(connection)
            .await?;
    Ok(carts.into_iter().map(CartId).collect())
}

/// How far the leader has come.
pub async fn position(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("select coalesce(max(position), 0) from processes.checkpoint").fetch_one(connection).await
}
