//! Product search: what somebody typed, with filters, facets and highlights, from the search index; from Postgres when that is
//! away or not filled yet, and the answer says so.

mod postgres;
mod searcher;

pub use searcher::Searcher;

use crate::callers::Asker;
use crate::consistency::{MinPosition, Positions, undisturbed};
use crate::etag;
use crate::openapi::{IfNoneMatchHeader, MinPositionHeader, Refused};
use crate::paging::{self, Asked, CURSOR, LIMIT};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::product_cards::ProductCard;
use crate::products::filters::{
    ATTRIBUTE, AVAILABLE, CATEGORY, CURRENCY, FilterParameters, Filters, PRICE_MAX, PRICE_MIN,
};
use crate::products::sees_drafts;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use kontor_identity::Caller;
use kontor_projection_services::projections::product_search::PRODUCT_SEARCH;
use kontor_search::query::{OFFSET_MAX, TEXT_CHARACTERS_MAX};
use kontor_search::{Answer, Facets, Hit, Order, Query};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::PgPool;
use std::collections::BTreeMap;
use std::str::FromStr;
use utoipa::{IntoParams, ToSchema};

const TEXT: &str = "q";
const SORT: &str = "sort";
const FACETS: &str = "facets";
const KNOWN: [&str; 11] =
    [TEXT, CATEGORY, CURRENCY, PRICE_MIN, PRICE_MAX, AVAILABLE, ATTRIBUTE, SORT, FACETS, LIMIT, CURSOR];

/// A place in what was found: so many are before it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    offset: usize,
}

/// By what is found is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sort(Order);

impl FromStr for Sort {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(Sort(match text {
            "relevance" => Order::Relevance,
            "price" => Order::Price,
            "-price" => Order::PriceDescending,
            "newest" => Order::Newest,
            "best-selling" => Order::BestSelling,
            _ => return Err(()),
        }))
    }
}

/// A page of what was found.
#[derive(Serialize, ToSchema)]
pub struct FoundProducts<'a> {
    /// The position of the log up to which the page is true.
    position: i64,
    /// Whether the search index is away and Postgres has answered: by the words of the name as they are typed, without facets
    /// and highlights.
    degraded: bool,
    /// How many there are, on all pages.
    total: usize,
    /// Those that match best first, unless they are sorted otherwise.
    items: Vec<FoundProduct<'a>>,
    /// `null`: they were not asked for, or the answer is degraded.
    #[schema(value_type = Option<ProductFacets>)]
    facets: Option<&'a Facets>,
    /// The `cursor` of the next page; `null`: this is the last.
    next_cursor: Option<String>,
}

/// A product that was found.
#[derive(Serialize, ToSchema)]
pub struct FoundProduct<'a> {
    #[schema(value_type = ProductCard)]
    product: &'a RawValue,
    /// `null` if the answer is degraded.
    highlight: Option<ProductHighlight<'a>>,
}

/// HTML: escaped, with what matched between `<mark>` and `</mark>`.
#[derive(Serialize, ToSchema)]
pub struct ProductHighlight<'a> {
    name: &'a str,
    /// The part of the description that matches; `null`: none does.
    description: Option<&'a str>,
}

/// How many products there are of each kind. A facet counts what all filters but its own let through.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub struct ProductFacets {
    /// Those with the most products first, at most 20.
    categories: Vec<FacetValue>,
    /// The values of each attribute, in the same way.
    attributes: Vec<FacetAttribute>,
    /// In `currency`, from the lowest; empty without one.
    prices: Vec<FacetBand>,
    in_stock: i64,
    out_of_stock: i64,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub struct FacetValue {
    /// What the filter takes.
    value: String,
    /// What people read.
    label: String,
    count: i64,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub struct FacetAttribute {
    name: String,
    values: Vec<FacetValue>,
}

/// Prices from `from` to below `to`, in minor units.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
pub struct FacetBand {
    from: i64,
    to: Option<i64>,
    count: i64,
}

/// What is searched for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub struct SearchParameters {
    /// What somebody typed: the last word may be unfinished. Without it, all products.
    #[param(max_length = 200)]
    q: Option<String>,
    /// `relevance`, `price`, `-price`, `newest` or `best-selling`. By price: in `currency`.
    #[param(default = "relevance")]
    sort: Option<String>,
    /// `true`: also how many there are of each category, attribute, price band and availability.
    facets: Option<bool>,
    /// Products of the page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before. Nobody is shown more than the first 10,000.
    cursor: Option<String>,
}

#[utoipa::path(
    get,
    path = "/v1/product-search",
    params(SearchParameters, FilterParameters, MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = FoundProducts<'static>, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The page is the one that If-None-Match names"),
        Refused,
    )
)]
/// A page of the products that match what somebody typed. 304 with `If-None-Match`.
pub async fn search(
    request: HttpRequest,
    Asker(caller): Asker,
    min: MinPosition,
    searcher: Data<Searcher>,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of_which_repeat(&request, &KNOWN, ATTRIBUTE)?;
    let asked: Asked<After> = Asked::of(&parameters)?;
    let text = parameters.text(TEXT).unwrap_or_default().to_owned();
    let sort = "must be relevance, price, -price, newest or best-selling";
    let Sort(order) = parameters.value(SORT, sort)?.unwrap_or_default();
    let facets = parameters.value(FACETS, "must be true or false")?.unwrap_or_default();
    let query = Query { facets, ..query(text, Filters::of(&parameters)?, order, &caller, &asked)? };
    let (answer, degraded) = find(&searcher, &replica, &positions, &query, min).await?;
    let json = serde_json::to_vec(&found(&query, &answer, degraded)).expect("cards and texts have a JSON form");
    Ok(etag::answer_as_kept(&request, answer.position, json.into(), sees_drafts(&caller)))
}

/// What the index finds or, while that is away, Postgres: whether it is that.
///
/// # Errors
/// 503 `position-not-reached` and `read-model-unavailable`.
pub async fn find(
    searcher: &Searcher,
    replica: &PgPool,
    positions: &Positions,
    query: &Query,
    min: MinPosition,
) -> Result<(Answer, bool), Problem> {
    if let Some(answer) = indexed(searcher, positions, query, min).await? {
        return Ok((answer, false));
    }
    let mut awaited = positions.awaited(postgres::PROJECTION, min.0);
    loop {
        let (position, answer) = undisturbed(|| postgres::find(replica, query)).await?;
        if awaited.is_reflected_at(position) {
            return Ok((Answer { position, ..answer }, true));
        }
        awaited.wait(position).await?;
    }
}

/// What the index answers, as soon as it reflects what the client asks for. `None`: it is away.
async fn indexed(
    searcher: &Searcher,
    positions: &Positions,
    query: &Query,
    MinPosition(min): MinPosition,
) -> Result<Option<Answer>, Problem> {
    let mut awaited = positions.awaited(PRODUCT_SEARCH, min);
    loop {
        let Some(answer) = searcher.search(query).await else { return Ok(None) };
        if awaited.is_reflected_at(answer.position) {
            return Ok(Some(answer));
        }
        awaited.wait(answer.position).await?;
    }
}

/// What is asked of the index, without facets.
///
/// # Errors
/// 400 `invalid-parameter`
pub fn query(
    text: String,
    filters: Filters,
    order: Order,
    caller: &Caller,
    asked: &Asked<After>,
) -> Result<Query, Problem> {
    if text.chars().count() > TEXT_CHARACTERS_MAX {
        return Err(Problem::parameter(TEXT, format_args!("must have at most {TEXT_CHARACTERS_MAX} characters")));
    }
    filters.check(matches!(order, Order::Price | Order::PriceDescending))?;
    let offset = asked.after.as_ref().map_or(0, |after| after.offset);
    if offset > OFFSET_MAX {
        return Err(paging::bad_cursor());
    }
    let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in filters.attributes.iter().filter_map(|attribute| attribute.split_once(':')) {
        attributes.entry(name.to_owned()).or_default().push(value.to_owned());
    }
    Ok(Query {
        text,
        categories: filters.category.into_iter().collect(),
        attributes,
        // A currency alone asks for those with a price in it.
        price_min: filters.price_min.or(filters.currency.as_ref().map(|_| 0)),
        price_max: filters.price_max,
        currency: filters.currency,
        in_stock: filters.available,
        hidden: sees_drafts(caller),
        order,
        offset,
        limit: asked.limit,
        ..Query::default()
    })
}

fn found<'a>(query: &Query, answer: &'a Answer, degraded: bool) -> FoundProducts<'a> {
    let item = |hit: &'a Hit| {
        let highlight = ProductHighlight { name: &hit.title, description: hit.excerpt.as_deref() };
        // What is no card is of nothing that was registered.
        Some(FoundProduct {
            product: serde_json::from_str(&hit.card).ok()?,
            highlight: (!degraded).then_some(highlight),
        })
    };
    FoundProducts {
        position: answer.position,
        degraded,
        total: answer.total,
        items: answer.hits.iter().filter_map(item).collect(),
        facets: answer.facets.as_ref(),
        next_cursor: next_cursor(query, answer),
    }
}

/// `None`: there is nothing more, or nothing more is shown.
pub fn next_cursor(query: &Query, answer: &Answer) -> Option<String> {
    let offset = query.offset + query.limit;
    (offset < answer.total && offset <= OFFSET_MAX).then(|| paging::encode(&After { offset }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn asked(parameters: &str) -> Result<Query, Problem> {
        let request = TestRequest::with_uri(&format!("/v1/product-search?{parameters}")).to_http_request();
        let parameters = Parameters::of_which_repeat(&request, &KNOWN, ATTRIBUTE)?;
        let filters = Filters::of(&parameters)?;
        query("mug".to_owned(), filters, Order::Relevance, &Caller::guest(), &Asked::of(&parameters)?)
    }

    #[test]
    fn values_of_one_attribute_are_alternatives() {
        let query = asked("q=mug&attribute=colour:red&attribute=colour:blue&attribute=size:L").expect("it is right");
        let attributes: Vec<_> = query.attributes.iter().map(|(name, values)| (name.as_str(), values.len())).collect();
        assert_eq!(attributes, [("colour", 2), ("size", 1)]);
        assert_eq!((query.limit, query.offset, query.order, query.hidden), (20, 0, Order::Relevance, false));
    }

    #[test]
    fn nobody_goes_further_than_the_first_ten_thousand() {
        let query = |offset| Query { offset, limit: 100, ..Query::default() };
        let answer = Answer { total: 50_000, ..Answer::default() };
        let next = |offset| next_cursor(&query(offset), &answer);
        let last = next(OFFSET_MAX - 100).expect("there is a page from the last offset on");
        assert_eq!(asked(&format!("cursor={last}")).expect("our own cursor").offset, OFFSET_MAX);
        assert_eq!(next(OFFSET_MAX), None);
        let beyond = paging::encode(&After { offset: OFFSET_MAX + 1 });
        assert!(asked(&format!("cursor={beyond}")).is_err());
    }
}
