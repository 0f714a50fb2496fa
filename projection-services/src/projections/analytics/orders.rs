//! What was sold, for the events that take it back: they name the order, and its lines by number.

use super::sums::{Count, Cube, Place, Sums};
use crate::runtime::ApplyError;
use chrono::{DateTime, Utc};
use kontor_domain::order::{Line, LinePart};
use kontor_domain::{Currency, OrderId, Sku};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// An order as it was placed.
#[derive(Debug, Clone, PartialEq)]
pub struct Sold {
    pub currency: Currency,
    pub country: String,
    pub lines: Vec<SoldLine>,
}

/// A line, or a part of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SoldLine {
    sku: String,
    units: i64,
    /// Price of one unit, minor units.
    unit_minor: i64,
    /// That it was in when it was sold, with those above them. Each once.
    categories: Vec<String>,
}

impl SoldLine {
    fn amount_minor(&self) -> i64 {
        self.units * self.unit_minor // Part of a total that was booked.
    }
}

/// What becomes of lines: the counts of documents, lines, units, and minor units.
#[derive(Debug, Clone, Copy)]
pub enum Trade {
    Placed,
    Cancelled,
    Returned,
}

impl Sold {
    pub fn of(currency: Currency, country: &str, lines: &[Line], categories: &HashMap<String, Vec<String>>) -> Self {
        let line = |Line { sku, quantity, unit_price }: &Line| SoldLine {
            sku: sku.to_string(),
            units: quantity.units().cast_signed(),
            unit_minor: unit_price.amount_minor,
            categories: categories.get(sku.as_str()).cloned().unwrap_or_default(),
        };
        Sold { currency, country: country.to_owned(), lines: lines.iter().map(line).collect() }
    }

    pub fn place(&self) -> Place<'_> {
        Place { currency: self.currency, country: &self.country }
    }

    /// Those parts of it, as an order of their own. `None`: it has no such line.
    pub fn parts(&self, parts: &[LinePart]) -> Option<Sold> {
        let part = |LinePart { line, quantity, .. }: &LinePart| {
            let line = self.lines.get((*line as usize).checked_sub(1)?)?;
            Some(SoldLine { units: quantity.units().cast_signed(), ..line.clone() })
        };
        let lines = parts.iter().map(part).collect::<Option<_>>()?;
        Some(Sold { currency: self.currency, country: self.country.clone(), lines })
    }

    /// Counts all of it, in the whole and by what is in it.
    pub fn count(&self, sums: &mut Sums, trade: Trade, at: DateTime<Utc>) -> Result<(), ApplyError> {
        let (mut products, mut categories) = (BTreeMap::<&str, Tally>::new(), BTreeMap::<&str, Tally>::new());
        let mut all = Tally::default();
        for line in &self.lines {
            all.add(line);
            products.entry(&line.sku).or_default().add(line);
            line.categories.iter().for_each(|category| categories.entry(category).or_default().add(line));
        }
        let mut count = |cube, item: &str, tally: Tally| sums.add(cube, item, self.place(), at, &tally.counted(trade));
        count(Cube::Countries, "", all)?;
        products.into_iter().try_for_each(|(sku, tally)| count(Cube::Products, sku, tally))?;
        categories.into_iter().try_for_each(|(category, tally)| count(Cube::Categories, category, tally))
    }
}

/// Lines of one document.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    lines: i64,
    units: i64,
    minor: i64,
}

impl Tally {
    fn add(&mut self, line: &SoldLine) {
        self.lines += 1;
        self.units += line.units;
        self.minor += line.amount_minor();
    }

    fn counted(self, trade: Trade) -> Vec<(Count, i64)> {
        use Count::*;
        let Tally { lines, units, minor } = self;
        match trade {
            Trade::Placed => vec![(Orders, 1), (OrderLines, lines), (Units, units), (SalesMinor, minor)],
            Trade::Cancelled => {
                vec![(Cancellations, 1), (CancellationLines, lines), (CancelledUnits, units), (CancelledMinor, minor)]
            }
            Trade::Returned => vec![(Returns, 1), (ReturnedUnits, units), (ReturnedMinor, minor)],
        }
    }
}

#[derive(FromRow)]
struct SoldRow {
    order_id: Uuid,
    currency: String,
    country: String,
    lines: String,
}

/// Orders that were placed before this batch. Each must be there.
pub async fn read(
    view: &mut PgConnection,
    orders: impl Iterator<Item = OrderId>,
) -> Result<Vec<(OrderId, Sold)>, ApplyError> {
    let mut ids: Vec<_> = orders.map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "select order_id, currency, country, lines::text as lines from analytics_orders where order_id = any($1)";
    let rows: Vec<SoldRow> = sqlx::query_as(sql).bind(&ids).fetch_all(view).await?;
    if rows.len() < ids.len() {
        let missing = ids.len() - rows.len();
        return Err(ApplyError::Contradiction(format!("{missing} of {} orders changed are not there", ids.len())));
    }
    let read = rows.into_iter().map(|SoldRow { order_id, currency, country, lines }| {
        let lines = serde_json::from_str(&lines)
            .map_err(|error| ApplyError::Contradiction(format!("lines of order {order_id}: {error}")))?;
        Ok((OrderId(order_id), Sold { currency: currency_of(&currency)?, country, lines }))
    });
    read.collect()
}

pub async fn write(view: &mut PgConnection, placed: &BTreeMap<OrderId, Sold>) -> sqlx::Result<()> {
    if placed.is_empty() {
        return Ok(());
    }
    let lines = |sold: &Sold| serde_json::to_string(&sold.lines).expect("lines have a JSON form");
    sqlx::query(
        "insert into analytics_orders (order_id, currency, country, lines)
         select order_id, currency, country, lines::json
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) as o (order_id, currency, country, lines)",
    )
    .bind(placed.keys().map(|id| id.0).collect::<Vec<_>>())
    .bind(placed.values().map(|sold| sold.currency.code()).collect::<Vec<_>>())
    .bind(placed.values().map(|sold| sold.country.as_str()).collect::<Vec<_>>())
    .bind(placed.values().map(lines).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}

/// As a row has it.
pub fn currency_of(code: &str) -> Result<Currency, ApplyError> {
    Currency::from_code(code).ok_or_else(|| ApplyError::Contradiction(format!("there is no currency {code}")))
}

/// Of lines as events have them.
pub fn skus(lines: &[Line]) -> impl Iterator<Item = &Sku> {
    lines.iter().map(|line| &line.sku)
}
