//! What can be asked, as OpenAPI 3.1: made from the functions that answer.

use crate::problem::Problem;
use crate::{
    analytics, categories, customers, graphql, live, orders, positions, product_cards, product_search, products,
    recommendations, reports, stock,
};
use actix_web::HttpResponse;
use utoipa::{IntoParams, IntoResponses, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "Kontor queries", description = "Answers from the read models; see the README of query-api."),
    paths(
        products::listing::list,
        products::one,
        products::by_slug,
        products::in_full,
        product_cards::several,
        product_cards::one,
        product_cards::by_slug,
        product_search::search,
        stock::one,
        categories::tree,
        orders::list,
        orders::one,
        customers::list,
        customers::one,
        orders::timeline::timeline,
        live::order,
        live::stock,
        stock::history::history,
        graphql::get,
        graphql::post,
        recommendations::similar,
        recommendations::together,
        recommendations::trending,
        recommendations::for_you,
        recommendations::buy_again,
        reports::sales,
        analytics::report,
        analytics::movers::movers,
        live::figures::analytics,
        positions::all
    )
)]
struct Document;

/// The document: `/v1/openapi.json`.
pub async fn document() -> HttpResponse {
    HttpResponse::Ok().json(Document::openapi())
}

/// Of each query of a read model.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub struct MinPositionHeader {
    /// The position that the answer must reflect, from a command's answer: the query waits for it.
    #[param(rename = "Kontor-Min-Position", minimum = 0)]
    min_position: Option<i64>,
}

/// Of each query of one row.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described")]
pub struct IfNoneMatchHeader {
    /// Entity tags of rows that the client has.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// Of each list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub struct PageParameters {
    /// Rows of the page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<i64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Of each query of one row.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub struct MomentParameters {
    /// What it was at the end of this version: for analysts and those who run the shop.
    #[param(minimum = 1)]
    version: Option<i64>,
    /// What it was then.
    at: Option<chrono::DateTime<chrono::Utc>>,
}

/// Of each query of a read model that is kept as it was.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub struct AsOfParameter {
    /// The name under which a rebuild keeps the read model as it was: for analysts and those who run the shop.
    as_of: Option<String>,
}

/// How any query may be refused.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described")]
pub enum Refused {
    /// invalid-parameter, unknown-parameter or invalid-header: which one and why
    #[response(status = 400, content_type = "application/problem+json")]
    Wrong(Problem),
    /// position-not-reached or read-model-unavailable: ask again after Retry-After
    #[response(status = 503, content_type = "application/problem+json")]
    NotNow(Problem),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::MIN_POSITION;

    #[test]
    fn the_document_says_what_is_asked_and_answered() {
        let document = serde_json::to_value(Document::openapi()).expect("a document has a JSON form");
        assert_eq!(document["openapi"], "3.1.0");
        let paths = document["paths"].as_object().expect("paths");
        assert_eq!(paths.len(), 29);
        for (path, operations) in paths {
            let answers = operations["get"]["responses"].as_object().unwrap_or_else(|| panic!("{path} has no answers"));
            for status in ["200", "400", "503"] {
                assert!(answers.contains_key(status), "{path} {status}");
            }
            let parameters = operations["get"]["parameters"].to_string();
            assert_eq!(parameters.contains(MIN_POSITION), path != "/v1/positions", "{path}: {parameters}");
        }
        let order = &document["components"]["schemas"]["Order"];
        assert!(order.to_string().contains("Line"), "{order}");
        let problem = &document["components"]["schemas"]["Problem"];
        assert!(problem["properties"]["type"].is_object() && problem["properties"]["status"].is_object(), "{problem}");
    }
}
