//! An answer from what Typesense says.

use super::documents::{EQUALS, Kept, price};
use super::searches::{Counted, END, START};
use crate::answer::{Answer, Attribute, Band, Facets, Hit, Value};
use crate::document::Document;
use crate::engine::SearchError;
use crate::html::{MARK, MARK_END, escape};
use crate::query::{FACET_ATTRIBUTES_MAX, FACET_VALUES_MAX, Query};
use std::collections::BTreeMap;
use typesense::models::{MultiSearchResultItem, SearchHighlight, SearchResultHit};

pub type Found = MultiSearchResultItem<serde_json::Value>;

/// `found`: of each search, the hits first. Collection, position and duration are left to the caller.
///
/// # Errors
/// [`SearchError::Failed`]: it is not what was asked for.
pub fn answer(query: &Query, found: Vec<(Counted, Found)>) -> Result<Answer, SearchError> {
    let mut facets = query.facets.then(|| Facets { prices: bands(query), ..Facets::default() });
    if let Some(facets) = &mut facets {
        for (counted, found) in &found {
            count(query, counted, found, facets);
        }
    }
    let Some((_, of_hits)) = found.into_iter().next() else { return Err(failed("no result")) };
    let total = of_hits.found.and_then(|total| usize::try_from(total).ok()).ok_or_else(|| failed("no count"))?;
    let hits = of_hits.hits.unwrap_or_default().into_iter().map(hit).collect::<Result<_, _>>()?;
    Ok(Answer { hits, total, facets, ..Answer::default() })
}

fn failed(what: impl std::fmt::Display) -> SearchError {
    SearchError::Failed(format!("Typesense said what is not understood: {what}"))
}

fn hit(hit: SearchResultHit<serde_json::Value>) -> Result<Hit, SearchError> {
    let kept: Kept =
        serde_json::from_value(hit.document.ok_or_else(|| failed("a hit without a document"))?).map_err(failed)?;
    let document: Document = serde_json::from_str(&kept.document).map_err(failed)?;
    let highlights = hit.highlights.unwrap_or_default();
    let of = |field: &str| highlights.iter().find(|highlight| highlight.field.as_deref() == Some(field));
    let title = of("title").and_then(|SearchHighlight { value, snippet, .. }| value.as_ref().or(snippet.as_ref()));
    Ok(Hit {
        product: document.product,
        score: hit.text_match.unwrap_or_default() as f64,
        title: marked(title.unwrap_or(&document.title)),
        excerpt: of("description").and_then(|highlight| highlight.snippet.as_deref()).map(marked),
        card: kept.card,
    })
}

/// In HTML.
fn marked(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + 16);
    for part in text.split_inclusive([START, END]) {
        let (text, mark) = match part.chars().next_back() {
            Some(START) => (part.trim_end_matches(START), MARK),
            Some(END) => (part.trim_end_matches(END), MARK_END),
            _ => (part, ""),
        };
        escape(text, &mut html);
        html.push_str(mark);
    }
    html
}

/// Every band, of which none is counted yet.
pub fn bands(query: &Query) -> Vec<Band> {
    if query.currency.is_none() || query.price_bands.is_empty() {
        return Vec::new();
    }
    let from = std::iter::once(0).chain(query.price_bands.iter().copied());
    let to = query.price_bands.iter().map(|&edge| Some(edge)).chain([None]);
    from.zip(to).map(|(from, to)| Band { from, to, count: 0 }).collect()
}

/// What one of the searches has counted. Those after the first replace what it has counted under its filter.
fn count(query: &Query, counted: &Counted, found: &Found, facets: &mut Facets) {
    let is_for = |of: &Counted| *counted == Counted::Hits || counted == of;
    let priced = query.currency.as_deref().map(price);
    for counts in found.facet_counts.iter().flatten() {
        let values = || {
            let counts = counts.counts.iter().flatten();
            counts.filter_map(|count| Some((count.value.as_deref()?, usize::try_from(count.count?).ok()?)))
        };
        match counts.field_name.as_deref() {
            Some("categories") if is_for(&Counted::Categories) => {
                let split = |(text, count)| {
                    let (value, label) = str::split_once(text, EQUALS)?;
                    Some(Value { value: value.to_owned(), label: label.to_owned(), count })
                };
                facets.categories = most(values().filter_map(split).collect());
            }
            Some("attributes") => count_attributes(counted, values(), facets),
            Some("in_stock") if is_for(&Counted::Stock) => {
                let of = |wanted| values().find(|(value, _)| *value == wanted).map_or(0, |(_, count)| count);
                (facets.in_stock, facets.out_of_stock) = (of("true"), of("false"));
            }
            field if field == priced.as_deref() && is_for(&Counted::Prices) => {
                facets.prices.iter_mut().for_each(|band| band.count = 0);
                for (place, count) in values() {
                    let band = place.parse().ok().and_then(|at: usize| facets.prices.get_mut(at));
                    band.into_iter().for_each(|band| band.count = count);
                }
            }
            _ => {}
        }
    }
}

/// Those with the most products first; Typesense leaves equal ones in any order.
fn most(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    values.truncate(FACET_VALUES_MAX);
    values
}

fn count_attributes<'a>(counted: &Counted, values: impl Iterator<Item = (&'a str, usize)>, facets: &mut Facets) {
    let mut found: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for (text, count) in values {
        let Some((name, value)) = text.split_once(EQUALS) else { continue };
        let value = Value { value: value.to_owned(), label: value.to_owned(), count };
        found.entry(name).or_default().push(value);
    }
    match counted {
        Counted::Hits => {
            let attribute = |(name, values): (&str, _)| Attribute { name: name.to_owned(), values: most(values) };
            facets.attributes = found.into_iter().map(attribute).collect();
        }
        Counted::Attribute(name) => {
            let values = most(found.remove(name.as_str()).unwrap_or_default());
            facets.attributes.retain(|attribute| attribute.name != *name);
            facets.attributes.extend((!values.is_empty()).then(|| Attribute { name: name.clone(), values }));
        }
        Counted::Categories | Counted::Prices | Counted::Stock => return,
    }
    let products = |attribute: &Attribute| attribute.values.iter().map(|value| value.count).sum::<usize>();
    facets.attributes.sort_by(|a, b| products(b).cmp(&products(a)).then_with(|| a.name.cmp(&b.name)));
    facets.attributes.truncate(FACET_ATTRIBUTES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matched_is_marked_and_everything_else_is_text() {
        let text = format!("<b>{START}MUG{END} & {START}CUP{END}");
        assert_eq!(marked(&text), "&lt;b&gt;<mark>MUG</mark> &amp; <mark>CUP</mark>");
    }
}
