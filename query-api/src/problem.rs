//! What went wrong, for the client: RFC 9457 problem details. The one place that knows which trouble is which status.

use crate::consistency::{MIN_POSITION, POSITION};
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use kontor_identity::{Denied, Role, Unauthenticated};
use kontor_privacy::PrivacyError;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt;
use tracing::error;
use utoipa::ToSchema;

/// Stable names of problems are URLs below this one.
const TYPES: &str = "https://kontor.dev/problems/";

/// One problem, `application/problem+json`. `type` is stable; `detail` is for people; other members carry the numbers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    #[schema(value_type = u16)]
    status: StatusCode,
    detail: String,
    #[serde(flatten)]
    members: Map<String, Value>,
    /// For the header `Kontor-Position`, when the answer is true at some position.
    #[serde(skip)]
    position: Option<i64>,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, name: &str, title: &'static str, detail: impl Into<String>) -> Self {
        let (kind, detail) = (Self::full_name(name), detail.into());
        Problem { kind, title, status, detail, members: Map::new(), position: None, retry_after_s: None }
    }

    fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.members.insert(name.to_owned(), json!(value));
        self
    }

    /// There is no `noun` with this `id`, up to `position`.
    pub fn not_found(noun: &'static str, id: &str, position: i64) -> Self {
        let detail = format!("no {noun} has the id \"{id}\" at position {position}");
        let problem = Self::new(StatusCode::NOT_FOUND, &format!("unknown-{noun}"), "There is no such thing", detail);
        Problem { position: Some(position), ..problem.with("id", id) }
    }

    /// No generation of `projection` is kept under this name.
    pub fn unknown_generation(projection: &'static str, name: &str, known: &[&str]) -> Self {
        let kept = if known.is_empty() { "none is".to_owned() } else { format!("only {}", known.join(", ")) };
        let detail = format!("nothing is kept of {projection} as of \"{name}\", {kept}");
        Self::new(StatusCode::NOT_FOUND, "unknown-generation", "There is no such thing", detail)
            .with("projection", projection)
            .with("id", name)
            .with("known", known)
    }

    /// The `noun` with this `id` has not come to this version, or has none.
    pub fn unknown_version(noun: &'static str, id: &str, version: i64, latest: i64, position: i64) -> Self {
        let detail = format!("the {noun} \"{id}\" has versions 1 to {latest} at position {position}, not {version}");
        let problem = Self::new(StatusCode::NOT_FOUND, "unknown-version", "There is no such thing", detail)
            .with("id", id)
            .with("version", version)
            .with("latest", latest);
        Problem { position: Some(position), ..problem }
    }

    /// All places for live updates are taken.
    pub fn too_many_connections(most: usize) -> Self {
        let detail = format!("{most} clients are told of changes here already; try again later");
        let title = "All places for live updates are taken";
        let problem =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-many-connections", title, detail).with("most", most);
        Problem { retry_after_s: Some(5), ..problem }
    }

    /// A query or path parameter breaks a rule.
    pub fn parameter(name: &str, rule: impl fmt::Display) -> Self {
        let detail = format!("{name} {rule}");
        Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", "A parameter breaks a rule", detail)
            .with("parameter", name)
    }

    /// A query parameter that this path does not know.
    pub fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let detail = match known {
            [] => format!("there is no parameter {name}, nor any other"),
            known => format!("there is no parameter {name}, only {}", known.join(", ")),
        };
        Self::new(StatusCode::BAD_REQUEST, "unknown-parameter", "There is no such parameter", detail)
            .with("parameter", name)
            .with("known", known)
    }

    /// A parameter names what there is not. `known`: what there is, or the first of it.
    pub fn unknown_members(name: &str, unknown: &[String], known: &[impl Serialize + fmt::Display]) -> Self {
        let list: Vec<_> = known.iter().map(ToString::to_string).collect();
        let detail = format!("{name} has no {}, only {}", unknown.join(", "), list.join(", "));
        Self::new(StatusCode::BAD_REQUEST, "unknown-member", "There is no such thing to report", detail)
            .with("parameter", name)
            .with("unknown", unknown)
            .with("known", known)
    }

    /// A report would have so many rows.
    pub fn report_too_large(rows: impl fmt::Display, most: usize) -> Self {
        let detail = format!(
            "the report would have {rows} rows, buckets times members; ask for less time, longer buckets, fewer members or top"
        );
        Self::new(StatusCode::BAD_REQUEST, "report-too-large", "The report is too large", detail).with("most", most)
    }

    /// A header breaks a rule.
    pub fn header(name: &'static str, rule: impl fmt::Display) -> Self {
        let detail = format!("{name} {rule}");
        Self::new(StatusCode::BAD_REQUEST, "invalid-header", "A header breaks a rule", detail).with("header", name)
    }

    /// The read model has not come to the position that the client asks for, although the query has waited.
    pub fn position_not_reached(projection: &'static str, asked: i64, reached: i64) -> Self {
        let detail = format!("{MIN_POSITION} asks for {asked}, {projection} has reached {reached}");
        let title = "The answer would not reflect the position that was asked for";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "position-not-reached", title, detail)
            .with("projection", projection)
            .with("asked", asked)
            .with("reached", reached);
        Problem { position: Some(reached), retry_after_s: Some(1), ..problem }
    }

    /// What was sent is not what is taken.
    pub fn body(rule: impl fmt::Display) -> Self {
        let detail = format!("the body {rule}");
        Self::new(StatusCode::BAD_REQUEST, "invalid-body", "The body breaks a rule", detail)
    }

    pub fn no_such_path(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", "There is nothing here", format!("there is no {path}"))
    }

    pub fn method(method: &str, path: &str) -> Self {
        let detail = format!("{path} does not take {method}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This method is not for this path", detail)
    }

    /// The `type` of this name.
    pub fn full_name(name: &str) -> String {
        format!("{TYPES}{name}")
    }

    /// The `type`, in full.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

impl From<Unauthenticated> for Problem {
    fn from(reason: Unauthenticated) -> Self {
        let detail = format!("Authorization: {reason}");
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "It is not known who you are", detail)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let (status, name, title, detail) = match denied.role {
            Role::Guest => {
                let detail = "send a token: Authorization: Bearer ...".to_owned();
                (StatusCode::UNAUTHORIZED, "unauthenticated", "It is not known who you are", detail)
            }
            _ => (StatusCode::FORBIDDEN, "forbidden", "You may not do this", denied.to_string()),
        };
        Self::new(status, name, title, detail).with("permission", denied.permission.name())
    }
}

impl From<sqlx::Error> for Problem {
    /// The reason is ours to know: it is logged here, and only here.
    fn from(error: sqlx::Error) -> Self {
        error!("A query failed: {error}");
        let detail = "the read models cannot be read at the moment; try again later";
        let title = "The read models cannot be read";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "read-model-unavailable", title, detail);
        Problem { retry_after_s: Some(1), ..problem }
    }
}

impl From<PrivacyError> for Problem {
    /// As above: the reason is logged here, and only here.
    fn from(error: PrivacyError) -> Self {
        error!("Personal data could not be opened: {error}");
        let detail = "personal data cannot be opened at the moment; try again later";
        let title = "The keys of personal data cannot be reached";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "keys-unavailable", title, detail);
        Problem { retry_after_s: Some(1), ..problem }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        answer.insert_header(ContentType("application/problem+json".parse().expect("a media type")));
        if let Some(position) = self.position {
            answer.insert_header((POSITION, position));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((WWW_AUTHENTICATE, "Bearer")); // RFC 6750, section 3.
        }
        if let Some(seconds) = self.retry_after_s {
            answer.insert_header((RETRY_AFTER, seconds));
        }
        answer.body(serde_json::to_vec(self).expect("a problem has a JSON form"))
    }
}
