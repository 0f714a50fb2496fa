//! Analytics: any metrics by any dimensions in buckets of business time, UTC.
//!
//! - [`metrics`]: what can be asked for; [`window`]: of which time.
//! - [`question`]: what one request asks for, checked; [`report`]: the answer, read in one snapshot and filled with zeros.
//! - [`movers`]: which SKUs sell more, or less, than before.

pub mod metrics;
pub mod movers;
mod question;
mod report;
mod window;

use crate::consistency::{MinPosition, POSITION, Positions};
use crate::openapi::{MinPositionHeader, Refused};
use crate::parameters::Parameters;
use crate::problem::Problem;
use actix_web::http::header::ACCEPT;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use question::{COUNTRY, KNOWN, Question};
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};

pub const PROJECTION: &str = "analytics";
/// Of one report: buckets times what they are divided by.
pub const ROWS_MAX: usize = 10_000;

/// What was asked for, row by row.
#[derive(Debug, Serialize, ToSchema)]
pub struct Report {
    /// The position of the log up to which the report is true.
    pub position: i64,
    /// Beginning and end of the time, business time in UTC. The end is not part of it.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// `minute`, `hour`, `day`, `month`; `null`: all of the time is one.
    pub bucket: Option<&'static str>,
    /// In the order of the columns. Has `currency` when an amount is asked for.
    pub dimensions: Vec<&'static str>,
    pub metrics: Vec<&'static str>,
    /// By `at`, where the bucket begins, and by dimension: what was asked for. Amounts (`..._minor`) are minor units of `currency`;
    /// shares are numbers or, of nothing, `null`.
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<Map<String, Value>>,
}

/// Of a report.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
struct ReportParameters {
    /// Divided by commas, such as `orders,sales_minor,average_order_minor`.
    metrics: String,
    /// Divided by commas: `country`, `product` or `category`, `currency`.
    dimensions: Option<String>,
    /// `minute` (not by product or category), `hour`, `day` or `month`. Without it all of the time is one.
    bucket: Option<String>,
    /// Business time in UTC: a time, a day or a month, such as `2010-12`. The beginning of a bucket.
    from: String,
    /// The same: where the time ends, not part of it.
    to: String,
    /// Only these, divided by commas.
    currency: Option<String>,
    /// Only this one; may be given several times.
    country: Option<String>,
    /// Only these SKUs, divided by commas.
    product: Option<String>,
    /// Only these, each with those below it, divided by commas.
    category: Option<String>,
    /// Only so many: those with the most of the first metric in all of the time, the largest first.
    #[param(minimum = 1, maximum = 1000)]
    top: Option<i64>,
}

#[utoipa::path(
    get,
    path = "/v1/analytics",
    params(ReportParameters, MinPositionHeader),
    responses((status = 200, body = Report, headers(("Kontor-Position" = i64))), Refused)
)]
/// Metrics by dimensions in buckets of time, filled with zeros; as CSV with `Accept: text/csv`. 400 `unknown-member`,
/// `report-too-large`.
pub async fn report(
    request: HttpRequest,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let question = Question::of(&Parameters::of_which_repeat(&request, &KNOWN, COUNTRY)?)?;
    let (position, found) =
        positions.reflect(PROJECTION, min, async || report::find(&replica, &question).await).await?;
    let rows = question.filled(found?)?;
    let report = Report {
        position,
        from: question.window.from,
        to: question.window.to,
        bucket: question.bucket.map(|bucket| bucket.name()),
        dimensions: question.dimensions.iter().map(|dimension| dimension.name()).collect(),
        metrics: question.metrics.iter().map(|metric| metric.name).collect(),
        rows,
    };
    let mut answer = HttpResponse::Ok();
    answer.insert_header((POSITION, position));
    let accepted = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    match accepted.contains("text/csv") {
        true => Ok(answer.content_type("text/csv; charset=utf-8").body(report.csv())),
        false => Ok(answer.json(report)),
    }
}

impl Report {
    /// Rows of text with a header line (RFC 4180, but for the ends of lines). What is null is empty.
    fn csv(&self) -> Vec<u8> {
        let at = self.bucket.map(|_| "at");
        let columns: Vec<&str> = at.into_iter().chain(self.dimensions.iter().chain(&self.metrics).copied()).collect();
        let mut csv = csv::Writer::from_writer(Vec::new());
        let mut write = |record: Vec<String>| csv.write_record(record).expect("a vector takes all of one length");
        write(columns.iter().map(ToString::to_string).collect());
        for row in &self.rows {
            write(columns.iter().map(|column| cell(&row[*column])).collect());
        }
        csv.into_inner().expect("a vector takes all")
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
