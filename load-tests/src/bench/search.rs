//! `search`: a word with facets over many products, searches a second over 32 connections, and how long one takes.
//!
//! Each word is in one product of eight to one of twenty-three: all of those are counted for the facets, and the twenty that
//! rank first are answered as a shop shows them. A closed loop, as [`read`](super::read) is.

use super::read::{costs, measure, times};
use super::report::Report;
use super::shop::product::words;
use super::shop::{self, Opened, Size};
use super::stage::Stage;
use crate::connection::{Connection, Request};
use crate::table::grouped;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

const PROJECTION: &str = "product-search";
/// Of a page, as a shop asks for it.
const ITEMS: usize = 20;

/// Measures; `quick` in a smaller shop, for a few seconds.
pub async fn run(quick: bool) -> Result<Report> {
    let (products, orders, seconds) = if quick { (10_000, 2_000, 5) } else { (100_000, 20_000, 20) };
    let size = Size { products, orders };
    let Opened { mut stage, events, followed } = shop::open(size, &[PROJECTION]).await?;
    eprintln!("The projector indexed {} events/s", grouped(followed.rate()));
    stage.start_query().await?;

    let mut questions = Vec::new();
    for word in words() {
        let path = format!("/v1/product-search?q={word}&facets=true&limit={ITEMS}");
        let request = Request { path: &path, token: None, wait_s: None, post: None };
        check(&stage, &request, &word).await.with_context(|| path.clone())?;
        questions.push(request.written());
    }
    let run = measure(&stage, "search", questions.into(), Duration::from_secs(seconds)).await?;
    stage.stop().await;
    ensure!(run.refused == 0, "{} answers were other than 200", run.refused);

    let mut report = Report::new("search");
    report.figure("search.queries", run.rate(), "1/s");
    report.figure("search.p99_ms", run.p99_ms(), "ms");
    report.figure("search.indexed", followed.rate(), "1/s");
    let [products, orders, events] = [products as f64, orders as f64, events as f64].map(grouped);
    let runs = [run];
    let (times, costs) = (times(&runs), costs(&runs));
    report.text = format!("{products} products and {orders} orders, {events} events\n\n{times}\n{costs}");
    Ok(report)
}

/// Whether it is answered from the index, with a full page of products that have the word, and with facets.
async fn check(stage: &Stage, request: &Request<'_>, word: &str) -> Result<()> {
    let reply = Connection::open(stage.query_address()).await?.send(request).await?;
    ensure!(reply.status == 200, "the answer was {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
    let answer: Value = serde_json::from_slice(&reply.body)?;
    ensure!(answer["degraded"] == false, "Postgres has answered");
    let items = answer["items"].as_array().context("no items")?;
    ensure!(items.len() == ITEMS, "{} items", items.len());
    for item in items {
        let name = item["product"]["name"].as_str().context("a product without a name")?;
        ensure!(name.to_lowercase().contains(word), "{name}");
    }
    let categories = answer["facets"]["categories"].as_array().context("no facets")?;
    ensure!(!categories.is_empty(), "no facet of categories");
    Ok(())
}
