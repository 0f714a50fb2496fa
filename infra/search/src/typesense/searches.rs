//! A query as Typesense is asked it: one search for the hits, and one more for each facet that is filtered by, which counts what
//! the other filters let through.

use super::documents::{EQUALS, KEPT, price};
use crate::analysis::{self, is_filler};
use crate::query::{FACET_ATTRIBUTES_MAX, FACET_VALUES_MAX, Order, Query};
use std::borrow::Cow;
use typesense::models::MultiSearchCollectionParameters;

/// Before and after what matched: no text has them, so the rest can be made safe for HTML afterwards.
pub const START: char = '\u{e000}';
pub const END: char = '\u{e001}';
/// The largest end of a band: what a number of JSON holds exactly.
const ENDLESS: i64 = 1 << 53;

/// A filter that lets nothing through: what has no word finds everything in a Typesense.
const NOTHING: &str = "is_titled:=true && is_titled:=false";

pub type Search = MultiSearchCollectionParameters<'static>;

/// What a search of several counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// Everything that no other search counts.
    Hits,
    Categories,
    Attribute(String),
    Prices,
    Stock,
}

/// The searches of a query, with what each is for; that of the hits first.
pub fn searches(collection: &str, query: &Query) -> Vec<(Counted, Search)> {
    let mut searches = vec![(Counted::Hits, hits(collection, query))];
    if !query.facets {
        return searches;
    }
    let counting = |filter: String, facet: String| Search {
        filter_by: Some(filter.into()),
        facet_by: Some(facet.into()),
        limit: Some(0),
        offset: Some(0),
        include_fields: Some("id".into()),
        highlight_fields: Some("none".into()),
        ..hits(collection, query)
    };
    if !query.categories.is_empty() {
        searches.push((Counted::Categories, counting(filter(query, &Counted::Categories), "categories".to_owned())));
    }
    for name in query.attributes.keys() {
        let counted = Counted::Attribute(name.clone());
        let filter = filter(query, &counted);
        searches.push((counted, counting(filter, "attributes".to_owned())));
    }
    if let Some(bands) = bands(query).filter(|_| query.price_min.is_some() || query.price_max.is_some()) {
        searches.push((Counted::Prices, counting(filter(query, &Counted::Prices), bands)));
    }
    if query.in_stock {
        searches.push((Counted::Stock, counting(filter(query, &Counted::Stock), "in_stock".to_owned())));
    }
    searches
}

fn hits(collection: &str, query: &Query) -> Search {
    // Typesense would find nothing for nothing, and everything for an asterisk.
    let q = Some(meant(&query.text)).filter(|words| !words.is_empty()).unwrap_or_else(|| "*".to_owned());
    let is_unfinished = query.text.chars().next_back().is_some_and(char::is_alphanumeric);
    let facets =
        ["categories".to_owned(), "attributes".to_owned(), "in_stock".to_owned()].into_iter().chain(bands(query));
    Search {
        collection: Some(collection.to_owned().into()),
        q: Some(q.into()),
        query_by: Some("title,words,skus,labels,description".into()),
        query_by_weights: Some("10,9,10,5,2".into()),
        prefix: Some(if is_unfinished { "true,true,true,true,false" } else { "false" }.into()),
        num_typos: Some("2,2,0,2,1".into()),
        min_len_1typo: Some(4),
        min_len_2typo: Some(7),
        // Misspelt words are looked for only when there is nothing else. None is left out: nonsense would find something.
        typo_tokens_threshold: Some(1),
        drop_tokens_threshold: Some(0),
        enable_typos_for_numerical_tokens: Some(false),
        synonym_prefix: Some(false),
        filter_by: Some(filter(query, &Counted::Hits).into()),
        sort_by: Some(sort(query).into()),
        facet_by: query.facets.then(|| facets.collect::<Vec<_>>().join(",").into()),
        max_facet_values: query.facets.then_some((FACET_ATTRIBUTES_MAX * FACET_VALUES_MAX) as i32),
        offset: Some(query.offset as i32),
        limit: Some(query.limit as i32),
        include_fields: Some(KEPT.into()),
        highlight_fields: Some("title,description".into()),
        highlight_full_fields: Some("title".into()),
        highlight_start_tag: Some(String::from(START).into()),
        highlight_end_tag: Some(String::from(END).into()),
        ..Search::default()
    }
}

/// The words that say what is wanted, where there are others.
fn meant(text: &str) -> String {
    let words = analysis::words(text);
    let says_much = words.iter().any(|word| !is_filler(&word.text));
    let wanted = words.iter().filter(|word| !says_much || !is_filler(&word.text));
    wanted.map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

/// All filters but that of the facet which is counted.
fn filter(query: &Query, counted: &Counted) -> String {
    if !query.text.trim().is_empty() && analysis::words(&query.text).is_empty() {
        return NOTHING.to_owned();
    }
    let mut filters = vec![if query.hidden { "is_titled:=true" } else { "is_public:=true" }.to_owned()];
    if query.in_stock && *counted != Counted::Stock {
        filters.push("in_stock:=true".to_owned());
    }
    if !query.categories.is_empty() && *counted != Counted::Categories {
        filters.push(any_of("category_ids", query.categories.iter().map(Cow::from)));
    }
    for (name, values) in &query.attributes {
        if !matches!(counted, Counted::Attribute(of) if of == name) {
            filters.push(any_of("attributes", values.iter().map(|value| format!("{name}{EQUALS}{value}").into())));
        }
    }
    if let Some(currency) = query.currency.as_deref().filter(|_| *counted != Counted::Prices) {
        let field = price(currency);
        filters.extend(query.price_min.map(|min| format!("{field}:>={min}")));
        filters.extend(query.price_max.map(|max| format!("{field}:<={max}")));
    }
    filters.join(" && ")
}

/// A filter that lets through what has exactly one of these values.
pub fn any_of<'a>(field: &str, values: impl Iterator<Item = Cow<'a, str>>) -> String {
    let values: Vec<_> = values.map(quoted).collect();
    format!("{field}:=[{}]", values.join(","))
}

/// The only character that cannot be within the quotes is the quote, which is not indexed anyway.
fn quoted(value: Cow<'_, str>) -> String {
    format!("`{}`", value.replace('`', ""))
}

fn sort(query: &Query) -> String {
    let price = || query.currency.as_deref().map(price).unwrap_or_default();
    match query.order {
        Order::Relevance if query.text.trim().is_empty() => "sold:desc,listed:desc".to_owned(),
        Order::Relevance => "_text_match:desc,sold:desc,listed:desc".to_owned(),
        Order::Price => format!("{}(missing_values: last):asc,_text_match:desc", price()),
        Order::PriceDescending => format!("{}(missing_values: last):desc,_text_match:desc", price()),
        Order::Newest => "listed:desc,_text_match:desc".to_owned(),
        Order::BestSelling => "sold:desc,_text_match:desc".to_owned(),
    }
}

/// The field of prices with its bands, each called as its place. `None`: they are not asked for.
fn bands(query: &Query) -> Option<String> {
    let currency = query.currency.as_deref().filter(|_| !query.price_bands.is_empty())?;
    let from = std::iter::once(0).chain(query.price_bands.iter().copied());
    let to = query.price_bands.iter().copied().chain([ENDLESS]);
    let bands: Vec<_> = from.zip(to).enumerate().map(|(at, (from, to))| format!("{at}:[{from},{to}]")).collect();
    Some(format!("{}({})", price(currency), bands.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn query() -> Query {
        Query {
            categories: vec!["mugs".into()],
            attributes: BTreeMap::from([("colour".into(), vec!["red".into(), "o`ak".into()])]),
            currency: Some("GBP".into()),
            price_min: Some(100),
            in_stock: true,
            facets: true,
            price_bands: vec![500],
            ..Query::of("mug")
        }
    }

    #[test]
    fn every_filter_is_in_the_search_for_hits_and_quoted() {
        let filter = filter(&query(), &Counted::Hits);
        assert_eq!(
            filter,
            "is_public:=true && in_stock:=true && category_ids:=[`mugs`] && \
             attributes:=[`colour = red`,`colour = oak`] && price_GBP:>=100"
        );
    }

    #[test]
    fn each_facet_that_is_filtered_by_is_counted_without_its_filter() {
        let searches = searches("c", &query());
        let kinds: Vec<_> = searches.iter().map(|(counted, _)| counted.clone()).collect();
        let colour = Counted::Attribute("colour".to_owned());
        assert_eq!(kinds, [Counted::Hits, Counted::Categories, colour, Counted::Prices, Counted::Stock]);
        let filters: Vec<_> = searches.iter().filter_map(|(_, search)| search.filter_by.as_deref()).collect();
        assert!(filters[0].contains("category_ids") && !filters[1].contains("category_ids"));
        assert!(!filters[2].contains("colour") && !filters[3].contains("price_") && !filters[4].contains("in_stock"));
        assert_eq!(searches[3].1.facet_by.as_deref(), Some("price_GBP(0:[0,500],1:[500,9007199254740992])"));
    }

    #[test]
    fn a_query_is_sent_as_its_words_without_fillers_unless_it_has_no_others() {
        let sent = |text: &str| hits("c", &Query::of(text)).q;
        assert_eq!(sent("Set of T-Light*, S/6").as_deref(), Some("set t light s 6"));
        assert_eq!(sent("the").as_deref(), Some("the"));
        let nothing = hits("c", &Query::of("!!!"));
        assert_eq!((nothing.q.as_deref(), nothing.filter_by.as_deref()), (Some("*"), Some(NOTHING)));
    }

    #[test]
    fn without_facets_one_search_is_enough() {
        assert_eq!(searches("c", &Query { facets: false, ..query() }).len(), 1);
    }
}
