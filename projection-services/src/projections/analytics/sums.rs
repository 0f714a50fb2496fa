//! What is counted, and the tables that it is counted in: one row a bucket of time, place and thing, each with all counts.

use crate::runtime::ApplyError;
use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Utc};
use compact_str::CompactString;
use kontor_domain::Currency;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// How long the buckets are. In UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    Minute,
    Hour,
    Day,
    Month,
}

impl Resolution {
    pub const ALL: [Resolution; 4] = [Resolution::Minute, Resolution::Hour, Resolution::Day, Resolution::Month];

    /// As queries call it.
    pub fn name(self) -> &'static str {
        match self {
            Resolution::Minute => "minute",
            Resolution::Hour => "hour",
            Resolution::Day => "day",
            Resolution::Month => "month",
        }
    }

    /// As it stands in the rows.
    pub fn code(self) -> i16 {
        self as i16
    }

    /// Where the bucket begins that a time lies in.
    pub fn floor(self, at: DateTime<Utc>) -> DateTime<Utc> {
        let length = match self {
            Resolution::Minute => TimeDelta::minutes(1),
            Resolution::Hour => TimeDelta::hours(1),
            Resolution::Day | Resolution::Month => TimeDelta::days(1),
        };
        // Times that nanoseconds since 1970 cannot count, before 1677 and after 2262, lie in no bucket but their own.
        let floor = at.duration_trunc(length).unwrap_or(at);
        match self {
            Resolution::Month => floor.with_day(1).unwrap_or(floor),
            _ => floor,
        }
    }

    /// Where the next bucket begins after one that begins at `at`.
    pub fn next(self, at: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Resolution::Minute => at + TimeDelta::minutes(1),
            Resolution::Hour => at + TimeDelta::hours(1),
            Resolution::Day => at + TimeDelta::days(1),
            Resolution::Month => self.floor(at + TimeDelta::days(31)),
        }
    }
}

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Orders,
    OrderLines,
    Units,
    SalesMinor,
    Cancellations,
    CancellationLines,
    CancelledUnits,
    CancelledMinor,
    Returns,
    ReturnedUnits,
    ReturnedMinor,
    RefundedMinor,
    NewCustomers,
    Customers,
    Carts,
    Converted,
}

impl Count {
    /// Of the column.
    pub fn name(self) -> &'static str {
        match self {
            Count::Orders => "orders",
            Count::OrderLines => "order_lines",
            Count::Units => "units",
            Count::SalesMinor => "sales_minor",
            Count::Cancellations => "cancellations",
            Count::CancellationLines => "cancellation_lines",
            Count::CancelledUnits => "cancelled_units",
            Count::CancelledMinor => "cancelled_minor",
            Count::Returns => "returns",
            Count::ReturnedUnits => "returned_units",
            Count::ReturnedMinor => "returned_minor",
            Count::RefundedMinor => "refunded_minor",
            Count::NewCustomers => "new_customers",
            Count::Customers => "customers",
            Count::Carts => "carts",
            Count::Converted => "converted",
        }
    }
}

/// A table of sums: what its rows are divided by, besides time and currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cube {
    /// By country.
    Countries,
    /// By SKU and country.
    Products,
    /// By category and country.
    Categories,
    /// By nothing else.
    Carts,
}

impl Cube {
    pub fn table(self) -> &'static str {
        match self {
            Cube::Countries => "analytics_by_country",
            Cube::Products => "analytics_by_product",
            Cube::Categories => "analytics_by_category",
            Cube::Carts => "analytics_by_cart",
        }
    }

    /// The column of the thing.
    pub fn item(self) -> Option<&'static str> {
        match self {
            Cube::Products => Some("sku"),
            Cube::Categories => Some("category"),
            Cube::Countries | Cube::Carts => None,
        }
    }

    pub fn has_countries(self) -> bool {
        self != Cube::Carts
    }

    pub fn counts(self) -> &'static [Count] {
        use Count::*;
        const OF_ORDERS: &[Count] = &[
            Orders,
            OrderLines,
            Units,
            SalesMinor,
            Cancellations,
            CancellationLines,
            CancelledUnits,
            CancelledMinor,
            Returns,
            ReturnedUnits,
            ReturnedMinor,
            RefundedMinor,
            NewCustomers,
            Customers,
        ];
        match self {
            Cube::Countries => OF_ORDERS,
            Cube::Products | Cube::Categories => OF_ORDERS.split_at(11).0,
            Cube::Carts => &[Carts, Converted],
        }
    }

    /// Buckets that are kept, from short to long. Days of a SKU are not: they would be nearly as many as its hours.
    pub fn resolutions(self) -> &'static [Resolution] {
        match self {
            Cube::Countries | Cube::Carts => &Resolution::ALL,
            Cube::Products => &[Resolution::Hour, Resolution::Month],
            Cube::Categories => &[Resolution::Hour, Resolution::Day, Resolution::Month],
        }
    }

    /// The longest buckets that one of this resolution is made of. `None`: even the shortest that are kept are longer.
    pub fn parts_of(self, resolution: Resolution) -> Option<Resolution> {
        self.resolutions().iter().copied().rfind(|kept| *kept <= resolution)
    }
}

/// Where something is counted, but for the time.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub currency: Currency,
    /// Empty where there are none.
    pub country: &'a str,
}

/// The key of a row. In the order of the index.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Empty where there is none.
    item: CompactString,
    resolution: Resolution,
    at: DateTime<Utc>,
    currency: Currency,
    country: CompactString,
}

/// What a batch adds to the rows, each once. A row that something was counted in is written even if it comes to nothing: which
/// rows there are must not depend on batches.
#[derive(Debug, Default)]
pub struct Sums {
    rows: BTreeMap<Cube, BTreeMap<Key, Vec<i64>>>,
}

impl Sums {
    /// Counts something at a time, in buckets of all resolutions.
    pub fn add(
        &mut self,
        cube: Cube,
        item: &str,
        place: Place<'_>,
        at: DateTime<Utc>,
        counted: &[(Count, i64)],
    ) -> Result<(), ApplyError> {
        cube.resolutions()
            .iter()
            .try_for_each(|resolution| self.add_to(cube, item, place, (*resolution, resolution.floor(at)), counted))
    }

    /// Counts something in one bucket.
    pub fn add_to(
        &mut self,
        cube: Cube,
        item: &str,
        Place { currency, country }: Place<'_>,
        (resolution, at): (Resolution, DateTime<Utc>),
        counted: &[(Count, i64)],
    ) -> Result<(), ApplyError> {
        let key = Key { item: item.into(), resolution, at, currency, country: country.into() };
        let row = self.rows.entry(cube).or_default().entry(key).or_insert_with(|| vec![0; cube.counts().len()]);
        for (count, addend) in counted {
            let column = cube.counts().iter().position(|of_cube| of_cube == count).expect("the cube counts it");
            row[column] = row[column].checked_add(*addend).ok_or_else(|| {
                ApplyError::Contradiction(format!("{} and {addend} {} are too much", row[column], count.name()))
            })?;
        }
        Ok(())
    }

    /// Adds all of it to the rows.
    pub async fn write(&self, view: &mut PgConnection) -> sqlx::Result<()> {
        for (cube, rows) in &self.rows {
            write(view, *cube, rows).await?;
        }
        Ok(())
    }
}

async fn write(view: &mut PgConnection, cube: Cube, rows: &BTreeMap<Key, Vec<i64>>) -> sqlx::Result<()> {
    let statement = statement(cube);
    let mut insert = sqlx::query(&statement)
        .bind(rows.keys().map(|key| key.resolution.code()).collect::<Vec<_>>())
        .bind(rows.keys().map(|key| key.at).collect::<Vec<_>>())
        .bind(rows.keys().map(|key| key.currency.code()).collect::<Vec<_>>());
    if cube.has_countries() {
        insert = insert.bind(rows.keys().map(|key| key.country.as_str()).collect::<Vec<_>>());
    }
    if cube.item().is_some() {
        insert = insert.bind(rows.keys().map(|key| key.item.as_str()).collect::<Vec<_>>());
    }
    for column in 0..cube.counts().len() {
        insert = insert.bind(rows.values().map(|row| row[column]).collect::<Vec<_>>());
    }
    insert.execute(view).await?;
    Ok(())
}

fn statement(cube: Cube) -> String {
    let mut keys = vec![("resolution", "smallint"), ("at", "timestamptz"), ("currency", "text")];
    keys.extend(cube.has_countries().then_some(("country", "text")));
    keys.extend(cube.item().map(|item| (item, "text")));
    let counts = cube.counts().iter().map(|count| (count.name(), "bigint"));
    let columns: Vec<_> = keys.iter().copied().chain(counts).collect();
    let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let arrays: Vec<_> = (1..).zip(&columns).map(|(number, (_, of))| format!("${number}::{of}[]")).collect();
    let sums: Vec<_> = cube.counts().iter().map(|count| format!("{0} = t.{0} + excluded.{0}", count.name())).collect();
    format!(
        "insert into {} as t ({names}) select * from unnest({}) on conflict ({}) do update set {}",
        cube.table(),
        arrays.join(", "),
        keys.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        sums.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn a_time_lies_in_the_bucket_that_begins_before_it() {
        let at = time("2012-02-29T23:59:59.999999Z");
        let floors = Resolution::ALL.map(|resolution| resolution.floor(at));
        let expected = ["2012-02-29T23:59:00Z", "2012-02-29T23:00:00Z", "2012-02-29T00:00:00Z", "2012-02-01T00:00:00Z"];
        assert_eq!(floors, expected.map(time));
        assert_eq!(Resolution::Minute.floor(time("1969-07-20T20:17:40Z")), time("1969-07-20T20:17:00Z"));
        for (resolution, floor) in Resolution::ALL.into_iter().zip(floors) {
            assert_eq!(resolution.floor(floor), floor);
            assert!(resolution.next(floor) > at && resolution.floor(resolution.next(floor)) > floor);
        }
        assert_eq!(Resolution::Month.next(time("2012-12-01T00:00:00Z")), time("2013-01-01T00:00:00Z"));
    }

    #[test]
    fn each_table_has_the_columns_that_are_counted_in_it() {
        let tables = include_str!("../../../tables/analytics.sql");
        for cube in [Cube::Countries, Cube::Products, Cube::Categories, Cube::Carts] {
            let (_, table) = tables.split_once(&format!("create table {} (", cube.table())).expect("it is made");
            let (table, _) = table.split_once("primary key").expect("it has a key");
            let columns = table.lines().filter(|line| line.contains(" bigint ")).count();
            assert_eq!(columns, cube.counts().len(), "{cube:?}");
            for count in cube.counts() {
                assert!(table.contains(&format!("    {} ", count.name())), "{cube:?} {}", count.name());
            }
        }
    }

    #[test]
    fn sums_that_do_not_fit_are_refused() {
        let mut sums = Sums::default();
        let place = Place { currency: Currency::GBP, country: "EIRE" };
        let mut add =
            |addend| sums.add(Cube::Countries, "", place, DateTime::UNIX_EPOCH, &[(Count::SalesMinor, addend)]);
        add(i64::MAX).expect("it fits");
        let refused = add(1).expect_err("it does not fit");
        assert!(refused.is_permanent() && refused.to_string().contains("sales_minor"), "{refused}");
    }
}
