//! What one request asks for: everything in it is known, and goes together.

use super::ROWS_MAX;
use super::metrics::{self, Formula, METRICS, Metric};
use super::window::{FROM, TO, Window};
use crate::parameters::Parameters;
use crate::problem::Problem;
use kontor_projection_services::projections::analytics::{Count, Cube, Resolution};
use std::collections::BTreeSet;

const METRICS_PARAMETER: &str = "metrics";
const DIMENSIONS: &str = "dimensions";
const BUCKET: &str = "bucket";
const CURRENCY: &str = "currency";
pub const COUNTRY: &str = "country";
const PRODUCT: &str = "product";
const CATEGORY: &str = "category";
const TOP: &str = "top";
pub const KNOWN: [&str; 10] =
    [METRICS_PARAMETER, DIMENSIONS, BUCKET, FROM, TO, CURRENCY, COUNTRY, PRODUCT, CATEGORY, TOP];

const TOP_MAX: usize = 1_000;
/// Members that one filter may name.
const MEMBERS_MAX: usize = 1_000;

/// What sums are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    Country,
    Product,
    Category,
    Currency,
}

impl Dimension {
    pub const ALL: [Dimension; 4] = [Dimension::Country, Dimension::Product, Dimension::Category, Dimension::Currency];

    pub fn name(self) -> &'static str {
        match self {
            Dimension::Country => COUNTRY,
            Dimension::Product => PRODUCT,
            Dimension::Category => CATEGORY,
            Dimension::Currency => CURRENCY,
        }
    }

    pub fn column(self) -> &'static str {
        match self {
            Dimension::Product => "sku",
            other => other.name(),
        }
    }
}

/// What is asked for.
#[derive(Debug, PartialEq)]
pub struct Question {
    pub metrics: Vec<Metric>,
    pub dimensions: Vec<Dimension>,
    /// `None`: all of the window is one.
    pub bucket: Option<Resolution>,
    pub window: Window,
    /// Only those members of a dimension. Sorted.
    pub filters: Vec<(Dimension, Vec<String>)>,
    /// So many members with the most of the first metric. `None`: all.
    pub top: Option<usize>,
    /// The table that has most of it; what carts say is in one of their own.
    pub cube: Cube,
}

impl Question {
    pub fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let metrics = listed(parameters, METRICS_PARAMETER, &metrics::names(), |name| {
            METRICS.into_iter().find(|metric| metric.name == name)
        })?;
        if metrics.is_empty() {
            return Err(Problem::parameter(METRICS_PARAMETER, "must be given"));
        }
        let mut dimensions = listed(parameters, DIMENSIONS, &Dimension::ALL.map(Dimension::name), |name| {
            Dimension::ALL.into_iter().find(|dimension| dimension.name() == name)
        })?;
        if metrics.iter().any(Metric::is_amount) && !dimensions.contains(&Dimension::Currency) {
            dimensions.push(Dimension::Currency); // What is in several cannot be added up.
        }
        let bucket = listed(parameters, BUCKET, &Resolution::ALL.map(Resolution::name), |name| {
            Resolution::ALL.into_iter().find(|resolution| resolution.name() == name)
        })?;
        let bucket = match bucket[..] {
            [] => None,
            [bucket] => Some(bucket),
            _ => return Err(Problem::parameter(BUCKET, "must be one")),
        };
        let filters = filters(parameters)?;
        let divides =
            |dimension| dimensions.contains(&dimension) || filters.iter().any(|(filtered, _)| *filtered == dimension);
        let cube = match (divides(Dimension::Product), divides(Dimension::Category)) {
            (true, true) => {
                return Err(Problem::parameter(DIMENSIONS, "product and category cannot be asked for together"));
            }
            (true, false) => Cube::Products,
            (false, true) => Cube::Categories,
            (false, false) => Cube::Countries,
        };
        if let Some(bucket) = bucket.filter(|bucket| cube.parts_of(*bucket).is_none()) {
            let kept = Resolution::ALL.into_iter().filter(|resolution| cube.parts_of(*resolution).is_some());
            let names: Vec<_> = kept.map(Resolution::name).collect();
            let rule = format!("{} is not kept by product or category, only {}", bucket.name(), names.join(", "));
            return Err(Problem::parameter(BUCKET, rule));
        }
        let window = Window::of(parameters, bucket.unwrap_or(cube.resolutions()[0]))?;
        let question = Question { window, top: top(parameters)?, metrics, dimensions, bucket, filters, cube };
        question.goes_together()?;
        question.is_not_too_long()?;
        Ok(question)
    }

    /// Counts that the table has, each once.
    pub fn counts(&self) -> Vec<Count> {
        self.needed(|count| self.cube.counts().contains(&count))
    }

    /// Counts of carts, each once.
    pub fn cart_counts(&self) -> Vec<Count> {
        self.needed(|count| Cube::Carts.counts().contains(&count))
    }

    pub fn needs_stock(&self) -> bool {
        self.metrics.iter().any(|metric| metric.formula == Formula::StockTurn)
    }

    fn needed(&self, is_wanted: impl Fn(Count) -> bool) -> Vec<Count> {
        let mut needed = Vec::new();
        for count in self.metrics.iter().flat_map(Metric::needs).filter(|count| is_wanted(*count)) {
            if !needed.contains(&count) {
                needed.push(count);
            }
        }
        needed
    }

    pub fn filter(&self, dimension: Dimension) -> Option<&[String]> {
        self.filters.iter().find(|(filtered, _)| *filtered == dimension).map(|(_, members)| members.as_slice())
    }

    /// What the sums of a metric are divided by, one way or the other.
    fn divided_by(&self) -> Vec<Dimension> {
        let filtered = self.filters.iter().map(|(dimension, _)| *dimension);
        let mut divided_by: Vec<_> = self.dimensions.iter().copied().chain(filtered).collect();
        divided_by.sort();
        divided_by.dedup();
        divided_by
    }

    fn goes_together(&self) -> Result<(), Problem> {
        for metric in &self.metrics {
            let by = |allowed: &[Dimension]| match self.divided_by().into_iter().find(|by| !allowed.contains(by)) {
                None => Ok(()),
                Some(by) => {
                    let rule = format!("{} cannot be divided by {}: ask for it apart", metric.name, by.name());
                    Err(Problem::parameter(METRICS_PARAMETER, rule))
                }
            };
            if metric.formula == Formula::StockTurn {
                by(&[Dimension::Product])?;
            }
            for count in metric.needs() {
                if Cube::Carts.counts().contains(&count) {
                    by(&[Dimension::Currency])?;
                } else if !self.cube.counts().contains(&count) {
                    by(&[Dimension::Country, Dimension::Currency])?;
                }
                if count == Count::Customers && !matches!(self.bucket, Some(Resolution::Day | Resolution::Month)) {
                    let rule =
                        format!("{} must be asked for by day or by month: who orders on two days is one", metric.name);
                    return Err(Problem::parameter(METRICS_PARAMETER, rule));
                }
            }
        }
        if self.top.is_some() {
            let first = &self.metrics[0];
            let is_divided = self.dimensions.iter().any(|dimension| *dimension != Dimension::Currency);
            let in_one_currency = self.filter(Dimension::Currency).is_some_and(|currencies| currencies.len() == 1);
            let is_kept = first.needs().iter().all(|count| self.cube.counts().contains(count));
            let rule = match first.formula {
                Formula::Sum(_) if !is_divided => "needs a dimension besides currency",
                Formula::Sum(_) if first.is_amount() && !in_one_currency => "of an amount needs one currency",
                Formula::Sum(_) if is_kept => return Ok(()),
                _ => "needs a first metric that adds up, such as units",
            };
            return Err(Problem::parameter(TOP, rule));
        }
        Ok(())
    }

    fn is_not_too_long(&self) -> Result<(), Problem> {
        let Some(bucket) = self.bucket else { return Ok(()) };
        match self.window.buckets(bucket, ROWS_MAX + 1).len() {
            ..=ROWS_MAX => Ok(()),
            _ => Err(Problem::report_too_large(format_args!("more than {ROWS_MAX}"), ROWS_MAX)),
        }
    }
}

/// The parts of a list that is divided by commas, each of which must be known.
fn listed<T: PartialEq>(
    parameters: &Parameters,
    name: &str,
    known: &[&str],
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let mut found = Vec::new();
    for part in parts(parameters.text(name)) {
        let part = find(part).ok_or_else(|| Problem::unknown_members(name, &[part.to_owned()], known))?;
        if found.contains(&part) {
            return Err(Problem::parameter(name, "names something twice"));
        }
        found.push(part);
    }
    Ok(found)
}

fn parts(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split(',').filter(|part| !part.is_empty())
}

fn filters(parameters: &Parameters) -> Result<Vec<(Dimension, Vec<String>)>, Problem> {
    let mut filters = Vec::new();
    for dimension in Dimension::ALL {
        let members = match dimension {
            Dimension::Country => country(parameters)?,
            _ => members(parameters, dimension, parts(parameters.text(dimension.name())))?,
        };
        filters.extend(members.map(|members| (dimension, members)));
    }
    Ok(filters)
}

/// Only these countries, which are in the shop's own words and may have commas.
pub fn country(parameters: &Parameters) -> Result<Option<Vec<String>>, Problem> {
    members(parameters, Dimension::Country, parameters.texts(COUNTRY))
}

fn members<'a>(
    parameters: &Parameters,
    dimension: Dimension,
    named: impl Iterator<Item = &'a str>,
) -> Result<Option<Vec<String>>, Problem> {
    let name = dimension.name();
    if parameters.text(name).is_none() {
        return Ok(None);
    }
    let members: BTreeSet<_> = named.map(str::to_owned).collect();
    let is_text = members.iter().all(|member| !member.contains('\0')); // As Postgres has it.
    match members.len() {
        1..=MEMBERS_MAX if is_text => Ok(Some(members.into_iter().collect())),
        _ => Err(Problem::parameter(name, format_args!("must name 1 to {MEMBERS_MAX}"))),
    }
}

fn top(parameters: &Parameters) -> Result<Option<usize>, Problem> {
    let rule = format!("must be a number from 1 to {TOP_MAX}");
    match parameters.value(TOP, &rule)? {
        Some(top @ 1..=TOP_MAX) => Ok(Some(top)),
        Some(_) => Err(Problem::parameter(TOP, rule)),
        None => Ok(None),
    }
}
