//! Customers: new with their first order by business time, and counted once in each bucket in which they order.

use super::orders::{Sold, currency_of};
use super::sums::{Count, Cube, Place, Resolution, Sums};
use crate::runtime::ApplyError;
use chrono::{DateTime, Utc};
use kontor_domain::{Currency, CustomerId};
use sqlx::{FromRow, PgConnection};
use std::collections::{BTreeMap, BTreeSet};

/// Buckets in which each customer counts once. In shorter ones hardly anybody orders twice.
const COUNTED_IN: [Resolution; 2] = [Resolution::Day, Resolution::Month];

/// Where a customer is counted as new.
#[derive(Debug, Clone, PartialEq)]
struct First {
    at: DateTime<Utc>,
    currency: Currency,
    country: String,
}

impl First {
    fn count(&self, sums: &mut Sums, customers: i64) -> Result<(), ApplyError> {
        let place = Place { currency: self.currency, country: &self.country };
        sums.add(Cube::Countries, "", place, self.at, &[(Count::NewCustomers, customers)])
    }
}

/// Somebody who orders in a bucket.
type Active = (CustomerId, Resolution, DateTime<Utc>, Currency, String);

/// What a batch says of customers.
#[derive(Debug, Default)]
pub struct Customers {
    /// `None`: has not ordered yet. Of all who order in the batch.
    first: BTreeMap<CustomerId, Option<First>>,
    active: BTreeSet<Active>,
}

impl Customers {
    /// Reads what is known of those who order, unless it was read or changed before in this batch.
    pub async fn read<'a>(
        &mut self,
        view: &mut PgConnection,
        customers: impl Iterator<Item = &'a CustomerId>,
    ) -> Result<(), ApplyError> {
        let unknown: BTreeSet<_> = customers.filter(|id| !self.first.contains_key(*id)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let sql =
            "select customer_id, first_at, currency, country from analytics_customers where customer_id = any($1)";
        let ids: Vec<_> = unknown.iter().map(|id| id.as_str()).collect();
        let rows: Vec<FirstRow> = sqlx::query_as(sql).bind(ids).fetch_all(view).await?;
        self.first.extend(unknown.into_iter().map(|id| (id.clone(), None)));
        for FirstRow { customer_id, first_at, currency, country } in rows {
            let id = customer_id.parse();
            let id = id.map_err(|_| ApplyError::Contradiction(format!("\"{customer_id}\" is no customer's id")))?;
            self.first.insert(id, Some(First { at: first_at, currency: currency_of(&currency)?, country }));
        }
        Ok(())
    }

    /// `customer_id` was read.
    pub fn order(
        &mut self,
        sums: &mut Sums,
        customer_id: &CustomerId,
        sold: &Sold,
        at: DateTime<Utc>,
    ) -> Result<(), ApplyError> {
        for resolution in COUNTED_IN {
            let (bucket, country) = (resolution.floor(at), sold.country.clone());
            self.active.insert((customer_id.clone(), resolution, bucket, sold.currency, country));
        }
        let known = self.first.entry(customer_id.clone()).or_default();
        if known.as_ref().is_some_and(|first| first.at <= at) {
            return Ok(());
        }
        let first = First { at, currency: sold.currency, country: sold.country.clone() };
        first.count(sums, 1)?;
        // An order that comes late was the first, after all.
        known.replace(first).map_or(Ok(()), |before| before.count(sums, -1))
    }

    /// Writes who is new to a bucket, and adds them to `sums`.
    pub async fn write(&self, view: &mut PgConnection, sums: &mut Sums) -> Result<(), ApplyError> {
        if self.active.is_empty() {
            return Ok(());
        }
        let active = || self.active.iter();
        let new: Vec<(i16, DateTime<Utc>, String, String)> = sqlx::query_as(
            "insert into analytics_active (customer_id, resolution, at, currency, country)
             select * from unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::text[], $5::text[])
             on conflict do nothing returning resolution, at, currency, country",
        )
        .bind(active().map(|(id, ..)| id.as_str()).collect::<Vec<_>>())
        .bind(active().map(|(_, resolution, ..)| resolution.code()).collect::<Vec<_>>())
        .bind(active().map(|(_, _, at, ..)| *at).collect::<Vec<_>>())
        .bind(active().map(|(.., currency, _)| currency.code()).collect::<Vec<_>>())
        .bind(active().map(|(.., country)| country.as_str()).collect::<Vec<_>>())
        .fetch_all(&mut *view)
        .await?;
        for (code, at, currency, country) in new {
            let resolution = COUNTED_IN.into_iter().find(|resolution| resolution.code() == code);
            let resolution = resolution.expect("it was written a moment ago");
            let place = Place { currency: currency_of(&currency)?, country: &country };
            sums.add_to(Cube::Countries, "", place, (resolution, at), &[(Count::Customers, 1)])?;
        }
        let first = || self.first.iter().filter_map(|(id, first)| Some((id, first.as_ref()?)));
        sqlx::query(
            "insert into analytics_customers (customer_id, first_at, currency, country)
             select * from unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[])
             on conflict (customer_id) do update
             set first_at = excluded.first_at, currency = excluded.currency, country = excluded.country
             where analytics_customers.first_at > excluded.first_at",
        )
        .bind(first().map(|(id, _)| id.as_str()).collect::<Vec<_>>())
        .bind(first().map(|(_, first)| first.at).collect::<Vec<_>>())
        .bind(first().map(|(_, first)| first.currency.code()).collect::<Vec<_>>())
        .bind(first().map(|(_, first)| first.country.as_str()).collect::<Vec<_>>())
        .execute(view)
        .await?;
        Ok(())
    }
}

#[derive(FromRow)]
struct FirstRow {
    customer_id: String,
    first_at: DateTime<Utc>,
    currency: String,
    country: String,
}
