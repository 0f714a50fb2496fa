//! GraphQL beside REST, for shop fronts: the same read models, permissions, pages and positions. One query may ask for much, so
//! it may be neither too deep nor too costly, and what it asks for many rows is asked for them together.

mod catalogue;
mod loaders;
mod orders;
mod query;

use crate::callers::Asker;
use crate::consistency::POSITION;
use crate::openapi::{AsOfParameter, MinPositionHeader, Refused};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::product_search::Searcher;
use crate::view::{AS_OF, View};
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use async_graphql::{EmptyMutation, EmptySubscription, Error, ErrorExtensions, Request, ServerError, Value};
use kontor_identity::Caller;
use loaders::Loaders;
use query::Query;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use utoipa::ToSchema;

/// Levels of a query. The query with which tools ask for the schema has 15.
const DEPTH_MAX: usize = 16;
/// Fields of an answer, at most and about.
const COST_MAX: usize = 3_000;
/// Of a query with its variables.
const BODY_BYTES_MAX: usize = 64 << 10;

pub type Schema = async_graphql::Schema<Query, EmptyMutation, EmptySubscription>;

pub fn schema() -> Schema {
    async_graphql::Schema::build(Query, EmptyMutation, EmptySubscription)
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COST_MAX)
        .disable_suggestions()
        .finish()
}

/// The position up to which all that has been read so far is true.
struct Reached(AtomicI64);

const NOTHING_READ: i64 = i64::MAX;

impl Reached {
    fn at(&self, position: i64) {
        self.0.fetch_min(position, Ordering::AcqRel);
    }
}

/// A query, as GraphQL over HTTP has it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphqlQuery {
    query: String,
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    variables: serde_json::Value,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
}

#[utoipa::path(
    post,
    path = "/v1/graphql",
    params(AsOfParameter, MinPositionHeader),
    request_body = GraphqlQuery,
    responses((status = 200, body = Object, headers(("Kontor-Position" = i64))), Refused)
)]
/// Answers a GraphQL query. What is wrong with it, or with a part of it, is in `errors`, as a problem in `extensions`.
pub async fn post(
    request: HttpRequest,
    Asker(caller): Asker,
    view: View,
    searcher: Data<Searcher>,
    schema: Data<Schema>,
    body: Result<Bytes, actix_web::Error>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[AS_OF])?;
    let body = body.ok().filter(|body| body.len() <= BODY_BYTES_MAX);
    let body = body.ok_or_else(|| Problem::body(format_args!("may have {BODY_BYTES_MAX} bytes")))?;
    let asked: GraphqlQuery = serde_json::from_slice(&body).map_err(Problem::body)?;
    answer(asked, caller, view, searcher, &schema).await
}

#[utoipa::path(
    get,
    path = "/v1/graphql",
    params(
        ("query" = String, Query, description = "the query"),
        ("variables" = Option<String>, Query, description = "its variables, as JSON"),
        ("operationName" = Option<String>, Query, description = "which of its operations"),
        AsOfParameter,
        MinPositionHeader,
    ),
    responses((status = 200, body = Object, headers(("Kontor-Position" = i64))), Refused)
)]
/// The same for a query in the address.
pub async fn get(
    request: HttpRequest,
    Asker(caller): Asker,
    view: View,
    searcher: Data<Searcher>,
    schema: Data<Schema>,
) -> Result<HttpResponse, Problem> {
    let parameters = Parameters::of(&request, &["query", "variables", "operationName", AS_OF])?;
    let variables = parameters.text("variables").map(serde_json::from_str).transpose();
    let asked = GraphqlQuery {
        query: parameters.needed("query")?.to_owned(),
        variables: variables
            .map_err(|error| Problem::parameter("variables", format_args!("is no JSON: {error}")))?
            .unwrap_or_default(),
        operation_name: parameters.text("operationName").map(str::to_owned),
    };
    answer(asked, caller, view, searcher, &schema).await
}

async fn answer(
    GraphqlQuery { query, variables, operation_name }: GraphqlQuery,
    caller: Caller,
    view: View,
    searcher: Data<Searcher>,
    schema: &Schema,
) -> Result<HttpResponse, Problem> {
    let mut request = Request::new(query).variables(async_graphql::Variables::from_json(variables));
    if let Some(name) = operation_name {
        request = request.operation_name(name);
    }
    let reached = Arc::new(Reached(AtomicI64::new(NOTHING_READ)));
    let loaders = Loaders::new(&view, &caller, &reached);
    let request = request.data(loaders).data(view).data(searcher).data(caller).data(reached.clone());
    let mut response = schema.execute(request).await;
    response.errors.iter_mut().for_each(name_limit);
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CACHE_CONTROL, "no-store")); // It may be somebody's own.
    let position = reached.0.load(Ordering::Acquire);
    if position != NOTHING_READ {
        answer.insert_header((POSITION, position));
    }
    Ok(answer.json(response))
}

/// What can be asked, in the words of GraphQL: `/v1/graphql/schema`.
pub async fn definition(schema: Data<Schema>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(schema.sdl())
}

/// What is refused before it is run has no problem of its own.
fn name_limit(error: &mut ServerError) {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("type").is_some() {
        return;
    }
    let (name, most) = match error.message.as_str() {
        "Query is nested too deep." => ("query-too-deep", Some(DEPTH_MAX)),
        "Query is too complex." => ("query-too-costly", Some(COST_MAX)),
        _ => ("invalid-query", None),
    };
    extensions.set("type", Problem::full_name(name));
    if let Some(most) = most {
        extensions.set("most", most as u64);
    }
}

/// As an error of one field.
fn error(problem: Problem) -> Error {
    let members = serde_json::to_value(&problem).expect("a problem has a JSON form");
    Error::new(problem.to_string()).extend_with(|_, extensions| {
        for (name, member) in members.as_object().into_iter().flatten() {
            extensions.set(name, Value::from_json(member.clone()).unwrap_or_default());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shop fronts generate their types from it: a change is seen in review.
    #[test]
    fn the_definition_that_is_checked_in_is_the_one_that_is_served() {
        let (served, file) = (schema().sdl(), concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql"));
        if std::env::var_os("WRITE_SCHEMAS").is_some() {
            std::fs::write(file, &served).expect("it can be written");
        }
        let checked_in = std::fs::read_to_string(file).unwrap_or_default();
        assert!(checked_in == served, "write it anew: WRITE_SCHEMAS=1 cargo test -p kontor-query-api definition");
    }
}
