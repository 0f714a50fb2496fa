//! The answer: sums as the tables have them, read in one snapshot, and filled with zeros.

use super::metrics::Formula;
use super::question::{Dimension, Question};
use super::window::Piece;
use super::{PROJECTION, ROWS_MAX};
use crate::problem::Problem;
use chrono::{DateTime, SecondsFormat, Utc};
use kontor_projection_services::projections::analytics::{Count, Cube, Resolution};
use serde_json::{Map, Value};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Executor, PgConnection, PgPool, Postgres, Row, Transaction};
use std::collections::BTreeMap;

/// Members that a refusal lists.
const LISTED_MAX: i64 = 100;

/// By what they are divided by, in the order of the dimensions, and by bucket; without buckets all in one.
type Series = BTreeMap<Vec<String>, BTreeMap<Option<DateTime<Utc>>, Vec<i64>>>;

/// What was found, with as many sums as the question counts.
pub struct Sums {
    series: Series,
    /// That the shop has sold in.
    currencies: Vec<String>,
    /// Units in the building, by SKU or, under an empty one, of all.
    on_hand: BTreeMap<String, i64>,
}

/// All of it in one snapshot, with the position of that. A problem: a filter names what never was, or there is too much.
pub async fn find(replica: &PgPool, question: &Question) -> sqlx::Result<(i64, Result<Sums, Problem>)> {
    let mut reading = snapshot(replica).await?;
    let reached = position(&mut reading).await?;
    let found = find_in(&mut reading, question).await?;
    reading.rollback().await?;
    Ok((reached, found))
}

/// In which all that is read is of one moment. Rows are found by their keys: a plan for any times and members would rather read all
/// of a table.
pub async fn snapshot(replica: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let mut reading = replica.begin().await?;
    reading
        .execute(
            "set transaction isolation level repeatable read; set local enable_seqscan = off;
             set local enable_hashjoin = off; set local enable_mergejoin = off;
             set local max_parallel_workers_per_gather = 0",
        )
        .await?;
    Ok(reading)
}

/// Of the read model, in the snapshot.
pub async fn position(reading: &mut PgConnection) -> sqlx::Result<i64> {
    let position = "select coalesce((select position from checkpoints where projection = $1), 0)";
    sqlx::query_scalar(position).bind(PROJECTION).fetch_one(reading).await
}

async fn find_in(reading: &mut PgConnection, question: &Question) -> sqlx::Result<Result<Sums, Problem>> {
    for (dimension, members) in &question.filters {
        if let Err(refusal) = are_known(reading, *dimension, members).await? {
            return Ok(Err(refusal));
        }
    }
    let (counts, cart_counts) = (question.counts(), question.cart_counts());
    let width = counts.len() + cart_counts.len();
    let mut series = Series::new();
    for (cube, counts, offset) in [(question.cube, &counts, 0), (Cube::Carts, &cart_counts, counts.len())] {
        if counts.is_empty() {
            continue;
        }
        let rows = read(reading, question, cube, counts).await?;
        if rows.len() > ROWS_MAX {
            return Ok(Err(Problem::report_too_large(format_args!("more than {ROWS_MAX}"), ROWS_MAX)));
        }
        for row in rows {
            let keys = (0..question.dimensions.len()).map(|column| row.try_get(column)).collect::<sqlx::Result<_>>()?;
            let of_series: &mut BTreeMap<_, _> = series.entry(keys).or_default();
            let sums: &mut Vec<i64> = of_series.entry(row.try_get("at")?).or_insert_with(|| vec![0; width]);
            let found: Vec<i64> = row.try_get("sums")?;
            sums[offset..offset + counts.len()].copy_from_slice(&found);
        }
    }
    let currencies = match question.dimensions.contains(&Dimension::Currency) {
        true => known(reading, Dimension::Currency).await?,
        false => Vec::new(),
    };
    let on_hand = match question.needs_stock() {
        true => on_hand(reading, question, &series).await?,
        false => BTreeMap::new(),
    };
    Ok(Ok(Sums { series, currencies, on_hand }))
}

/// At most one row more than a report may have.
async fn read(
    reading: &mut PgConnection,
    question: &Question,
    cube: Cube,
    counts: &[Count],
) -> sqlx::Result<Vec<PgRow>> {
    let statement = statement(question, cube, counts);
    let pieces = match question.bucket.and_then(|bucket| cube.parts_of(bucket)) {
        Some(resolution) => vec![Piece { resolution, window: question.window }],
        None => question.window.pieces(cube.resolutions()),
    };
    let mut query = timed(sqlx::query(&statement), &pieces);
    for (_, members) in &question.filters {
        query = query.bind(members);
    }
    query.fetch_all(reading).await
}

/// With pieces of time as the first three parameters.
pub fn timed<'q>(query: Query<'q, Postgres, PgArguments>, pieces: &[Piece]) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(pieces.iter().map(|piece| piece.resolution.code()).collect::<Vec<_>>())
        .bind(pieces.iter().map(|piece| piece.window.from).collect::<Vec<_>>())
        .bind(pieces.iter().map(|piece| piece.window.to).collect::<Vec<_>>())
}

/// Rows of the dimensions, as they are called by number, of `at` and `sums`.
fn statement(question: &Question, cube: Cube, counts: &[Count]) -> String {
    let columns: Vec<_> = question.dimensions.iter().map(|dimension| format!("t.{}", dimension.column())).collect();
    let keys: String = columns.iter().map(|column| format!("{column}, ")).collect();
    let sums: Vec<_> = counts.iter().map(|count| format!("coalesce(sum(t.{}), 0)::bigint", count.name())).collect();
    let filters: String = (4..)
        .zip(&question.filters)
        .map(|(number, (dimension, _))| format!(" and t.{} = any(${number})", dimension.column()))
        .collect();
    let rows = format!(
        "from unnest($1::smallint[], $2::timestamptz[], $3::timestamptz[]) as p (resolution, since, until)
         join {} t on t.resolution = p.resolution and t.at >= p.since and t.at < p.until{filters}",
        cube.table()
    );
    let at = question.bucket.map(|bucket| match cube.parts_of(bucket) {
        Some(parts) if parts < bucket => format!("date_trunc('{}', t.at, 'UTC')", bucket.name()),
        _ => "t.at".to_owned(),
    });
    let (at, by_at) = match &at {
        Some(at) => (at.as_str(), at.as_str()),
        None => ("null::timestamptz", "()"),
    };
    let top = match question.top {
        Some(top) => format!(
            "where ({columns}) in (select {columns} {rows} group by {columns} order by {first} desc, {columns} limit {top})",
            columns = columns.join(", "),
            first = first(question),
        ),
        None => String::new(),
    };
    format!(
        "select {keys}{at} as at, array[{}] as sums {rows} {top} group by {keys}{by_at} limit {}",
        sums.join(", "),
        ROWS_MAX + 1
    )
}

/// What those with the most of it are found by: the first metric, which is a sum.
fn first(question: &Question) -> String {
    let Formula::Sum(counts) = question.metrics[0].formula else { return "count(*)".to_owned() };
    let terms: Vec<_> = counts.iter().map(|(count, sign)| format!("{sign} * t.{}", count.name())).collect();
    format!("sum({})", terms.join(" + "))
}

/// A problem: some of the members there never were.
pub async fn are_known(
    reading: &mut PgConnection,
    dimension: Dimension,
    members: &[String],
) -> sqlx::Result<Result<(), Problem>> {
    let unknown = unknown(reading, dimension, members).await?;
    if unknown.is_empty() {
        return Ok(Ok(()));
    }
    let known = known(reading, dimension).await?;
    Ok(Err(Problem::unknown_members(dimension.name(), &unknown, &known)))
}

async fn unknown(reading: &mut PgConnection, dimension: Dimension, members: &[String]) -> sqlx::Result<Vec<String>> {
    let is_known = match dimension {
        Dimension::Country | Dimension::Currency => format!(
            "exists (select from analytics_by_country t where t.resolution = {} and t.{} = m)",
            Resolution::Month.code(),
            dimension.column()
        ),
        Dimension::Product => "exists (select from analytics_skus t where t.sku = m)
             or exists (select from analytics_by_product t where t.sku = m)"
            .to_owned(),
        Dimension::Category => "exists (select from analytics_tree t where t.category = m)
             or exists (select from analytics_by_category t where t.category = m)"
            .to_owned(),
    };
    let statement = format!("select m from unnest($1::text[]) m where not ({is_known}) order by m");
    sqlx::query_scalar(&statement).bind(members).fetch_all(reading).await
}

/// The first of the members that there are.
async fn known(reading: &mut PgConnection, dimension: Dimension) -> sqlx::Result<Vec<String>> {
    let members = match dimension {
        Dimension::Country | Dimension::Currency => format!(
            "select distinct {} as m from analytics_by_country where resolution = {}",
            dimension.column(),
            Resolution::Month.code()
        ),
        Dimension::Product => "select sku as m from analytics_skus".to_owned(),
        Dimension::Category => "select category as m from analytics_tree".to_owned(),
    };
    let statement = format!("select m from ({members}) t order by m collate \"C\" limit {LISTED_MAX}");
    sqlx::query_scalar(&statement).fetch_all(reading).await
}

/// Units in the building of the SKUs that are asked for or were found or, by no dimension, of all that are asked for.
async fn on_hand(
    reading: &mut PgConnection,
    question: &Question,
    series: &Series,
) -> sqlx::Result<BTreeMap<String, i64>> {
    let asked = question.filter(Dimension::Product);
    if question.dimensions.is_empty() {
        let all =
            "select coalesce(sum(on_hand), 0)::bigint from analytics_stock where $1::text[] is null or sku = any($1)";
        let all = sqlx::query_scalar(all).bind(asked).fetch_one(reading).await?;
        return Ok(BTreeMap::from([(String::new(), all)]));
    }
    let found = series.keys().filter_map(|keys| keys.first());
    let skus: Vec<&str> = found.chain(asked.into_iter().flatten()).map(String::as_str).collect();
    let statement = "select sku, on_hand from analytics_stock where sku = any($1)";
    let rows: Vec<(String, i64)> = sqlx::query_as(statement).bind(skus).fetch_all(reading).await?;
    Ok(rows.into_iter().collect())
}

impl Question {
    /// Every bucket of everything that was found or asked for by name.
    ///
    /// # Errors
    /// 400 `report-too-large`.
    pub fn filled(&self, found: Sums) -> Result<Vec<Map<String, Value>>, Problem> {
        let buckets: Vec<Option<DateTime<Utc>>> = match self.bucket {
            Some(bucket) => self.window.buckets(bucket, ROWS_MAX).into_iter().map(Some).collect(),
            None => vec![None],
        };
        let Sums { mut series, currencies, on_hand } = found;
        if self.top.is_none() {
            for keys in self.asked_by_name(&currencies) {
                series.entry(keys).or_default();
            }
        }
        let rows = series.len() * buckets.len();
        if rows > ROWS_MAX {
            return Err(Problem::report_too_large(rows, ROWS_MAX));
        }
        let counts = [self.counts(), self.cart_counts()].concat();
        let mut ordered: Vec<_> = series.iter().collect();
        if self.top.is_some() {
            let first = |sums: &[i64]| self.metrics[0].value(|count| of(&counts, sums, count), 0).as_i64();
            let total =
                |of_series: &BTreeMap<_, Vec<i64>>| -> i64 { of_series.values().filter_map(|sums| first(sums)).sum() };
            ordered.sort_by_cached_key(|(_, of_series)| std::cmp::Reverse(total(of_series)));
        }
        let nothing = vec![0; counts.len()];
        let mut filled = Vec::with_capacity(rows);
        for at in &buckets {
            for (keys, of_series) in &ordered {
                let sums = of_series.get(at).unwrap_or(&nothing);
                let on_hand = on_hand.get(keys.first().map_or("", String::as_str)).copied().unwrap_or_default();
                let mut row = Map::new();
                row.extend(at.map(|at| ("at".to_owned(), at.to_rfc3339_opts(SecondsFormat::Secs, true).into())));
                let names = self.dimensions.iter().map(|dimension| dimension.name().to_owned());
                row.extend(names.zip(keys.iter().map(|key| key.as_str().into())));
                for metric in &self.metrics {
                    row.insert(metric.name.to_owned(), metric.value(|count| of(&counts, sums, count), on_hand));
                }
                filled.push(row);
            }
        }
        Ok(filled)
    }

    /// Everything that the filters name, if they name members of each dimension; of currencies all are named that there are.
    fn asked_by_name(&self, currencies: &[String]) -> Vec<Vec<String>> {
        let mut named = vec![Vec::new()];
        for dimension in &self.dimensions {
            let members = match (self.filter(*dimension), dimension) {
                (Some(members), _) => members,
                (None, Dimension::Currency) => currencies,
                (None, _) => return Vec::new(),
            };
            let with = |keys: &Vec<String>| {
                let keys = keys.clone();
                members.iter().map(move |member| [keys.as_slice(), std::slice::from_ref(member)].concat())
            };
            named = named.iter().flat_map(with).take(ROWS_MAX + 1).collect();
        }
        named
    }
}

fn of(counts: &[Count], sums: &[i64], wanted: Count) -> i64 {
    let place = counts.iter().position(|count| *count == wanted);
    place.map_or(0, |place| sums[place])
}
