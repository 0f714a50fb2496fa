//! How well products are found: judged queries over the products of a real shop, answered by our index and by Postgres.
//!
//! The queries and what is wanted for each are in `load-tests/relevance/queries.toml`; the products are those of the import.

mod ours;
mod postgres;

use crate::bench::report::Report;
use crate::table::Table;
use anyhow::{Context, ensure};
use kontor_online_retail::Product;
use serde::Deserialize;
use std::collections::HashSet;
use std::path::Path;

/// Hits that each contender is asked for.
const HITS: usize = 20;
/// The kind of query that means nothing.
const NONSENSE: &str = "nonsense";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Judged {
    query: Vec<Query>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// What makes it difficult.
    kind: String,
    text: String,
    /// SKUs that whoever typed it would take. Empty: nothing may be shown.
    wanted: Vec<String>,
}

/// Who answers, and the SKUs that were found for each query, the best first.
pub struct Answers {
    /// `kontor`
    pub name: &'static str,
    pub found: Vec<Vec<String>>,
}

/// Of several queries, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Score {
    queries: usize,
    /// Queries of which the first hit is wanted.
    success_at_1: f64,
    /// Queries of which one of the first five is.
    success_at_5: f64,
    /// Of what is wanted, how much is among the first 20; of more than 20 that are wanted, 20 are all.
    recall_at_20: f64,
}

/// The products are those of `products.csv.gz` in `folder`.
pub async fn run(folder: &Path) -> anyhow::Result<Report> {
    let products = kontor_online_retail::products(folder)?;
    let queries = judged()?;
    check(&queries, &products)?;
    let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
    let mut contenders = ours::answers(&products, &texts).await?;
    contenders.push(postgres::answers(&products, &texts).await?);
    let mut report = Report::new("relevance");
    for contender in &contenders {
        report.text.push_str(&table(contender, &queries));
        report.text.push('\n');
        let score = Score::of(&queries, &contender.found, |kind| kind != NONSENSE);
        let name = contender.name;
        report.figure(format!("relevance.{name}.success_at_1"), score.success_at_1, "share");
        report.figure(format!("relevance.{name}.success_at_5"), score.success_at_5, "share");
        report.figure(format!("relevance.{name}.recall_at_20"), score.recall_at_20, "share");
        let empty = silence(&queries, &contender.found);
        report.figure(format!("relevance.{name}.nothing_for_nonsense"), empty, "share");
    }
    Ok(report)
}

fn judged() -> anyhow::Result<Vec<Query>> {
    let text = include_str!("../relevance/queries.toml");
    Ok(toml::from_str::<Judged>(text).context("relevance/queries.toml")?.query)
}

/// What was judged over other products says nothing.
fn check(queries: &[Query], products: &[Product]) -> anyhow::Result<()> {
    let known: HashSet<&str> = products.iter().map(|product| product.sku.as_str()).collect();
    for query in queries {
        let missing = query.wanted.iter().find(|sku| !known.contains(sku.as_str()));
        ensure!(missing.is_none(), "{:?} wants {missing:?}, which is not in products.csv.gz", query.text);
    }
    Ok(())
}

impl Score {
    fn of(queries: &[Query], found: &[Vec<String>], is_meant: impl Fn(&str) -> bool) -> Self {
        let meant: Vec<_> = queries.iter().zip(found).filter(|(query, _)| is_meant(&query.kind)).collect();
        let mean = |measure: &dyn Fn(&Query, &[String]) -> f64| {
            meant.iter().map(|(query, found)| measure(query, found)).sum::<f64>() / meant.len().max(1) as f64
        };
        let wanted_in = |query: &Query, found: &[String]| found.iter().filter(|sku| query.wanted.contains(sku)).count();
        let success = |most: usize| {
            mean(&|query, found| f64::from(u8::from(wanted_in(query, &found[..most.min(found.len())]) > 0)))
        };
        Score {
            queries: meant.len(),
            success_at_1: success(1),
            success_at_5: success(5),
            recall_at_20: mean(&|query, found| {
                wanted_in(query, found) as f64 / query.wanted.len().clamp(1, HITS) as f64
            }),
        }
    }
}

/// The share of queries that mean nothing for which nothing was found.
fn silence(queries: &[Query], found: &[Vec<String>]) -> f64 {
    let nonsense: Vec<_> = queries.iter().zip(found).filter(|(query, _)| query.kind == NONSENSE).collect();
    nonsense.iter().filter(|(_, found)| found.is_empty()).count() as f64 / nonsense.len().max(1) as f64
}

fn table(Answers { name, found }: &Answers, queries: &[Query]) -> String {
    let mut table = Table::new(&[*name, "queries", "success@1", "success@5", "recall@20"]);
    let mut row = |kind: &str, score: Score| {
        let share = |value: f64| format!("{value:.3}");
        let Score { queries, success_at_1, success_at_5, recall_at_20 } = score;
        let shares = [success_at_1, success_at_5, recall_at_20].map(share);
        table.row([kind.to_owned(), queries.to_string()].into_iter().chain(shares).collect());
    };
    let mut kinds: Vec<&str> = Vec::new();
    for query in queries.iter().filter(|query| query.kind != NONSENSE) {
        if !kinds.contains(&query.kind.as_str()) {
            kinds.push(&query.kind);
        }
    }
    for of in kinds {
        row(of, Score::of(queries, found, |kind| kind == of));
    }
    row("all", Score::of(queries, found, |kind| kind != NONSENSE));
    let mut text = table.to_string();
    let shown = queries.iter().zip(found).filter(|(query, found)| query.kind == NONSENSE && !found.is_empty());
    let shown: Vec<_> = shown.map(|(query, _)| query.text.as_str()).collect();
    match shown.is_empty() {
        true => text.push_str("nothing is shown for nonsense\n"),
        false => text.push_str(&format!("something is shown for nonsense: {}\n", shown.join(", "))),
    }
    let missed = queries
        .iter()
        .zip(found)
        .filter(|(query, found)| query.kind != NONSENSE && !found.iter().take(5).any(|sku| query.wanted.contains(sku)));
    let missed: Vec<_> = missed.map(|(query, _)| query.text.as_str()).collect();
    if !missed.is_empty() {
        text.push_str(&format!("not among the first five: {}\n", missed.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(kind: &str, wanted: &[&str]) -> Query {
        let wanted = wanted.iter().map(|&sku| sku.to_owned()).collect();
        Query { kind: kind.to_owned(), text: "a mug".to_owned(), wanted }
    }

    fn found(skus: &[&str]) -> Vec<String> {
        skus.iter().map(|&sku| sku.to_owned()).collect()
    }

    #[test]
    fn a_score_is_the_mean_over_queries_of_the_kind() {
        let queries = [query("exact", &["A", "B"]), query("exact", &["C"]), query(NONSENSE, &[])];
        let answers = [found(&["A", "X"]), found(&["X", "C"]), found(&["X"])];
        let score = Score::of(&queries, &answers, |kind| kind == "exact");
        let expected = Score { queries: 2, success_at_1: 0.5, success_at_5: 1.0, recall_at_20: 0.75 };
        assert_eq!(score, expected);
        assert_eq!(silence(&queries, &answers), 0.0);
    }

    #[test]
    fn there_are_many_judged_queries_of_each_kind_and_none_twice() {
        let queries = judged().expect("the file is read");
        let texts: HashSet<_> = queries.iter().map(|query| &query.text).collect();
        assert_eq!(texts.len(), queries.len());
        for of in ["exact", "prefix", "one typo", "two typos", "word order", "hyphens and joins", "numbers", "plural"] {
            assert!(queries.iter().filter(|query| query.kind == of && !query.wanted.is_empty()).count() > 9, "{of}");
        }
        assert!(queries.iter().all(|query| query.wanted.is_empty() == (query.kind == NONSENSE)));
    }
}
