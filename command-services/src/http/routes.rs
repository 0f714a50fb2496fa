//! Paths, and the commands that are posted to them.

use super::context::{Request, check_key, if_match, key, key_alone, key_header};
use super::endpoints::{ENDPOINTS, Endpoint};
use super::fields::{Fields, InvalidField};
use super::problem::{Kind, Problem};
use super::shopping::{self, CHECK_OUT};
use crate::command::{self, Command, Spec};
use crate::executor::{Done, Executor};
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorInternalServerError;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, ETAG, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, Resource, Route, Scope};
use kontor_identity::Permission;
use kontor_settings::{Check, Rule, at_least, between};
use kontor_telemetry::TraceParent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

/// The position up to which a query must have come to reflect the command.
pub const POSITION: &str = "Kontor-Position";
pub const JSON: &str = "application/json";

/// The API listener: section `http`, or `KONTOR_HTTP__BIND` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Address and port to listen on.
    pub bind: String,
    /// Threads that read and answer requests. At least 1.
    pub workers: usize,
    /// Largest body of a single command, in bytes. At least 1,024.
    pub body_bytes_max: usize,
    /// Longest line of a bulk, in bytes. At least 1,024.
    pub bulk_line_bytes_max: usize,
    /// How long requests may take to end when the service stops, in seconds. 1 to 600.
    pub shutdown_timeout_s: u64,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1:8080".into(),
            workers: 2,
            body_bytes_max: 1 << 20,
            bulk_line_bytes_max: 1 << 20,
            shutdown_timeout_s: 30,
        }
    }
}

impl Check for HttpSettings {
    fn check(&self) -> Result<(), Rule> {
        at_least("workers", self.workers, 1)?;
        at_least("body_bytes_max", self.body_bytes_max, 1_024)?;
        at_least("bulk_line_bytes_max", self.bulk_line_bytes_max, 1_024)?;
        between("shutdown_timeout_s", self.shutdown_timeout_s, 1, 600)
    }
}

/// Answer to a command.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Answer<'a> {
    /// Id of the aggregate that the command was for.
    pub id: &'a str,
    /// Its version after the command.
    pub version: i64,
    /// Where the log was then: the `Kontor-Min-Position` of a query that must reflect the command.
    pub position: i64,
    /// Whether an earlier request with the same key did it.
    pub replayed: bool,
}

/// 201 when the command has made a difference now, 200 when it was so already.
pub fn status(done: &Done) -> StatusCode {
    if done.changed { StatusCode::CREATED } else { StatusCode::OK }
}

/// The paths: each command's own, and the others.
pub fn configure(config: &mut ServiceConfig, settings: &HttpSettings) {
    let limit = settings.body_bytes_max;
    config.app_data(web::PayloadConfig::new(limit)).app_data(Data::new(settings.clone()));
    let commands = command::ALL.iter().map(|spec| {
        let post = match spec.name {
            CHECK_OUT => web::post().to(shopping::check_out), // Who checks out may wait for what becomes of it.
            _ => web::post().to(handler(spec)),
        };
        (spec.path, Method::POST, post)
    });
    let others = ENDPOINTS.iter().map(|Endpoint { path, method, handler, .. }| (*path, method.clone(), handler()));
    // A scope for each collection, so that a request is compared with the patterns of its own: with those of all paths in a
    // row, that was a thirteenth of what this tier did for a purchase.
    let mut collections = BTreeMap::<&str, Scope>::new();
    for (path, method, route) in commands.chain(others) {
        let (collection, rest) = in_collection(path);
        let scope = collections.remove(collection).unwrap_or_else(|| web::scope(collection));
        collections.insert(collection, scope.service(resource(rest, method, route)));
    }
    for scope in collections.into_values() {
        config.service(scope);
    }
    kontor_api_docs::configure(config);
    config.default_service(web::to(refuse_path));
}

/// `/v1/carts` and the rest of a path that begins with it.
fn in_collection(path: &str) -> (&str, &str) {
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    path.split_at(slashes.nth(2).unwrap_or(path.len()))
}

fn resource(path: &str, method: Method, route: Route) -> Resource {
    let refuse = move |request: HttpRequest| {
        let mut refusal = HttpResponse::from_error(Problem::method(request.method().as_str(), request.path()));
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_str(method.as_str()).expect("a method is ASCII"));
        ready(refusal)
    };
    web::resource(path).route(route).default_service(web::to(refuse))
}

/// Middleware: adds the request's trace to a problem.
pub async fn name_trace(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let answer = next.call(request).await?;
    let problem = answer.response().error().and_then(|error| error.as_error::<Problem>());
    let trace = answer.request().extensions().get::<TraceParent>().copied();
    let Some((problem, trace)) = problem.zip(trace) else { return Ok(answer) };
    let body = serde_json::to_vec(&problem.clone().in_trace(trace)).map_err(ErrorInternalServerError)?;
    Ok(answer.map_body(|_, _| BoxBody::new(body)))
}

type Handling = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, Problem>>>>;

/// Serves one command on its own path.
fn handler(
    spec: &'static Spec,
) -> impl Fn(HttpRequest, Result<Bytes, actix_web::Error>, Data<Arc<Executor>>) -> Handling + Clone + 'static {
    move |request, body, executor| {
        Box::pin(async move { Ok(answer(&carry_out(spec, &request, body, &executor).await?)) })
    }
}

/// Reads one command from its own path and carries it out.
pub async fn carry_out(
    spec: &'static Spec,
    request: &HttpRequest,
    body: Result<Bytes, actix_web::Error>,
    executor: &Executor,
) -> Result<Done, Problem> {
    let ours = Request::of(request)?;
    ours.caller().may(spec.permission)?;
    media_type(request, JSON)?;
    let body = body.map_err(|error| unreadable(request, &error))?;
    let key_text = key_header(request, ours.caller())?;
    let mut fields = Fields::parse(&body).map_err(|error| Problem::malformed(error.to_string()))?;
    for field in spec.path_fields() {
        fields = fields.with(field, request.match_info().query(field))?;
    }
    let command = Command::read(spec.name, &fields).expect("what is in the table can be read");
    let context = ours.command(key(ours.caller(), key_text, spec.name, &fields), if_match(request)?);
    Ok(executor.execute(context, command?).await?)
}

fn answer(done: &Done) -> HttpResponse {
    let Done { id, version, position, replayed, .. } = done;
    HttpResponse::build(status(done))
        .insert_header((ETAG, format!("\"{version}\"")))
        .insert_header((POSITION, *position))
        .json(Answer { id, version: *version, position: *position, replayed: *replayed })
}

/// What became of a command, by its key: for a client that never got the answer.
pub async fn outcome(request: HttpRequest, executor: Data<Arc<Executor>>) -> Result<HttpResponse, Problem> {
    let ours = Request::of(&request)?;
    ours.caller().may(Permission::ReadOutcomes)?;
    let key = request.match_info().query("key");
    check_key(key).map_err(|rule| InvalidField { field: "key".into(), rule })?;
    let mut outcomes = executor.outcomes(&[key_alone(ours.caller(), key)]).await?;
    let outcome = outcomes.pop().flatten().ok_or_else(Problem::unknown_key)?;
    Ok(answer(&outcome.into()))
}

/// All types of problem.
pub async fn catalogue() -> HttpResponse {
    HttpResponse::Ok().json(Kind::all().collect::<Vec<_>>())
}

/// One type of problem.
pub async fn problem_type(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let name = request.match_info().query("name");
    let kind = Kind::all().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| Problem::unknown_problem(name))?;
    Ok(HttpResponse::Ok().json(kind))
}

/// Whether the request says that its body is `expected`.
pub fn media_type(request: &HttpRequest, expected: &'static str) -> Result<(), Problem> {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(expected) { Ok(()) } else { Err(Problem::media_type(expected)) }
}

pub fn unreadable(request: &HttpRequest, error: &actix_web::Error) -> Problem {
    let limit = request.app_data::<Data<HttpSettings>>().map_or(0, |settings| settings.body_bytes_max);
    match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(limit),
        _ => Problem::malformed(format!("the body could not be read: {error}")),
    }
}

async fn refuse_path(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(Problem::no_such_path(request.path()))
}
