//! Paths and commands.

use super::bulk;
use super::context::{Request, check_key, if_match, key, key_alone, key_header};
use super::fields::{Fields, InvalidField};
use super::problem::{Kind, Problem};
use super::shopping::{self, CHECK_OUT};
use crate::command::{self, Command, Spec};
use crate::executor::{Done, Executor};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, ETAG};
use actix_web::web::{self, Bytes, Data, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use kontor_identity::Permission;
use kontor_settings::{Check, Rule, at_least, between};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The position up to which a query must have come to reflect the command.
pub const POSITION: &str = "Kontor-Position";

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
#[derive(Debug, Serialize)]
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
        let post = web::post();
        web::resource(spec.path).route(match spec.name {
            CHECK_OUT => post.to(shopping::check_out), // Who checks out may wait for what becomes of it.
            _ => post.to(handler(spec)),
        })
    });
    let others = [
        web::resource("/v1/carts/{cart_id}").route(web::get().to(shopping::cart)),
        web::resource("/v1/orders/{order_id}/settlement").route(web::get().to(shopping::settlement)),
        web::resource("/v1/bulk").route(web::post().to(bulk::bulk)),
        web::resource("/v1/commands/{key}").route(web::get().to(outcome)),
        web::resource("/v1/problems").route(web::get().to(catalogue)),
        web::resource("/v1/problems/{name}").route(web::get().to(problem_type)),
    ];
    for resource in commands.chain(others) {
        config.service(resource.default_service(web::to(refuse_method)));
    }
    config.default_service(web::to(refuse_path));
}

type Handling = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, Problem>>>>;

/// Serves one command on its own path.
fn handler(
    spec: &'static Spec,
) -> impl Fn(HttpRequest, Result<Bytes, actix_web::Error>, Data<Arc<Executor>>) -> Handling + Clone + 'static {
    move |request, body, executor| {
        Box::pin(async move {
            let done = carry_out(spec, &request, body, &executor).await;
            done.map(|done| answer(&done)).map_err(|problem| problem.within(&request))
        })
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
    media_type(request, "application/json")?;
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
async fn outcome(
    request: HttpRequest,
    path: Path<String>,
    executor: Data<Arc<Executor>>,
) -> Result<HttpResponse, Problem> {
    let outcome = async {
        let ours = Request::of(&request)?;
        ours.caller().may(Permission::ReadOutcomes)?;
        check_key(&path).map_err(|rule| InvalidField { field: "key".into(), rule })?;
        let mut outcomes = executor.outcomes(&[key_alone(ours.caller(), &path)]).await?;
        let outcome = outcomes.pop().flatten().ok_or_else(Problem::unknown_key)?;
        Ok(answer(&outcome.into()))
    };
    outcome.await.map_err(|problem: Problem| problem.within(&request))
}

/// All types of problem. For everybody, like the document.
async fn catalogue() -> HttpResponse {
    HttpResponse::Ok().json(Kind::all().collect::<Vec<_>>())
}

/// One type of problem, by the last part of its URL.
async fn problem_type(request: HttpRequest, name: Path<String>) -> Result<HttpResponse, Problem> {
    let kind = Kind::all().find(|kind| kind.name() == *name);
    let kind = kind.ok_or_else(|| Problem::unknown_problem(&name).within(&request))?;
    Ok(HttpResponse::Ok().json(kind))
}

/// Whether the request says that its body is `expected`.
pub fn media_type(request: &HttpRequest, expected: &'static str) -> Result<(), Problem> {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if given.eq_ignore_ascii_case(expected) { Ok(()) } else { Err(Problem::media_type(expected)) }
}

fn unreadable(request: &HttpRequest, error: &actix_web::Error) -> Problem {
    let limit = request.app_data::<Data<HttpSettings>>().map_or(0, |settings| settings.body_bytes_max);
    match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(limit),
        _ => Problem::malformed(format!("the body could not be read: {error}")),
    }
}

async fn refuse_method(request: HttpRequest) -> HttpResponse {
    Problem::method(request.method().as_str(), request.path()).within(&request).error_response()
}

async fn refuse_path(request: HttpRequest) -> HttpResponse {
    Problem::no_such_path(request.path()).within(&request).error_response()
}
