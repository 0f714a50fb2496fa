//! Paths and commands.

use super::bulk;
use super::context::{Request, check_key, if_match, key, key_alone, key_header};
use super::fields::{Fields, InvalidField};
use super::problem::Problem;
use crate::command::Command;
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

/// The paths, each with its command and the field that the path gives.
pub fn configure(config: &mut ServiceConfig, settings: &HttpSettings) {
    let limit = settings.body_bytes_max;
    config.app_data(web::PayloadConfig::new(limit)).app_data(Data::new(settings.clone()));
    let post = |path: &str, command: &'static str| web::resource(path).route(web::post().to(handler(command, None)));
    let post_to = |path: &str, command: &'static str, field: &'static str| {
        web::resource(path).route(web::post().to(handler(command, Some(field))))
    };
    let resources = [
        post("/v1/products", "register-product"),
        post_to("/v1/products/{id}/describe", "describe-product", "sku"),
        post_to("/v1/products/{id}/price", "price-product", "sku"),
        post_to("/v1/products/{id}/withdraw", "withdraw-product", "sku"),
        post_to("/v1/stock/{id}/receive", "receive-stock", "sku"),
        post_to("/v1/stock/{id}/adjust", "adjust-stock", "sku"),
        post_to("/v1/stock/{id}/count", "count-stock", "sku"),
        post_to("/v1/stock/{id}/transfer", "transfer-stock", "sku"),
        post_to("/v1/stock/{id}/reserve", "reserve-stock", "sku"),
        post_to("/v1/stock/{id}/confirm", "confirm-stock", "sku"),
        post_to("/v1/stock/{id}/release", "release-stock", "sku"),
        post_to("/v1/stock/{id}/expire", "expire-stock", "sku"),
        post_to("/v1/stock/{id}/ship", "ship-stock", "sku"),
        post_to("/v1/stock/{id}/return", "return-stock", "sku"),
        post_to("/v1/stock/{id}/back-orders", "limit-back-orders", "sku"),
        post("/v1/orders", "place-order"),
        post_to("/v1/orders/{id}/cancel", "cancel-order", "order_id"),
        post("/v1/cancellations", "book-cancellation"),
        web::resource("/v1/bulk").route(web::post().to(bulk::bulk)),
        web::resource("/v1/commands/{key}").route(web::get().to(outcome)),
    ];
    for resource in resources {
        config.service(resource.default_service(web::to(refuse_method)));
    }
    config.default_service(web::to(refuse_path));
}

const REGISTERED: &str = "each path is registered with the name of a command";

type Handling = std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, Problem>>>>;

/// Serves one command on its own path.
fn handler(
    command: &'static str,
    path_field: Option<&'static str>,
) -> impl Fn(HttpRequest, Result<Bytes, actix_web::Error>, Data<Arc<Executor>>) -> Handling + Clone + 'static {
    move |request, body, executor| Box::pin(serve(command, path_field, request, body, executor))
}

async fn serve(
    name: &'static str,
    path_field: Option<&'static str>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
    executor: Data<Arc<Executor>>,
) -> Result<HttpResponse, Problem> {
    let ours = Request::of(&request)?;
    ours.caller().may(Command::permission(name).expect(REGISTERED))?;
    media_type(&request, "application/json")?;
    let body = body.map_err(|error| unreadable(&request, &error))?;
    let key_text = key_header(&request)?;
    let mut fields = Fields::parse(&body).map_err(|error| Problem::malformed(error.to_string()))?;
    if let Some(field) = path_field {
        fields = fields.with(field, request.match_info().query("id"))?;
    }
    let command: Result<Command, InvalidField> = Command::read(name, &fields).expect(REGISTERED);
    let context = ours.command(key(ours.caller(), key_text, name, &fields), if_match(&request)?);
    let done = executor.execute(context, command?).await?;
    Ok(answer(&done))
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
    let ours = Request::of(&request)?;
    ours.caller().may(Permission::ReadOutcomes)?;
    check_key(&path).map_err(|rule| InvalidField { field: "key".into(), rule })?;
    let mut outcomes = executor.outcomes(&[key_alone(ours.caller(), &path)]).await?;
    let outcome = outcomes.pop().flatten().ok_or_else(Problem::unknown_key)?;
    Ok(answer(&outcome.into()))
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
    Problem::method(request.method().as_str(), request.path()).error_response()
}

async fn refuse_path(request: HttpRequest) -> HttpResponse {
    Problem::no_such_path(request.path()).error_response()
}
