//! Who asks, under which key, within which trace: the context of a command.

use super::fields::Fields;
use super::problem::Problem;
use crate::executor::{Context, Expects};
use actix_web::http::header::{AUTHORIZATION, IF_MATCH};
use actix_web::web::Data;
use actix_web::{HttpMessage, HttpRequest};
use kontor_event_store::Key;
use kontor_identity::{Caller, Role, Verifier};
use kontor_telemetry::TraceParent;
use uuid::Uuid;

/// Sent with every POST; the same key and the same request have the first outcome again.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const KEY_LENGTH_MAX: usize = 255;

/// What all commands of one request have in common.
pub struct Request {
    caller: Caller,
    correlation_id: Uuid,
    trace: TraceParent,
}

impl Request {
    /// Of whoever the request's token names.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let verifier = request.app_data::<Data<Verifier>>().expect("every request can be verified");
        let authorization = request.headers().get(AUTHORIZATION).map(|header| header.as_bytes());
        let caller = verifier.caller(authorization)?;
        let trace = request.extensions().get::<TraceParent>().copied();
        let trace = trace.unwrap_or_else(|| TraceParent::new_root(false));
        Ok(Self { caller, correlation_id: Uuid::now_v7(), trace })
    }

    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn trace(&self) -> TraceParent {
        self.trace
    }

    /// The context of one command of the request.
    pub fn command(&self, key: Key, expects: Expects) -> Context {
        Context {
            key,
            correlation_id: self.correlation_id,
            causation_id: Uuid::now_v7(),
            caller: self.caller.clone(),
            expects,
            trace: self.trace,
        }
    }
}

/// The key of the header. A quoted key (IETF draft) and an unquoted one are the same. Guests cannot be told apart, so
/// theirs must be such that no two choose the same.
pub fn key_header<'r>(request: &'r HttpRequest, caller: &Caller) -> Result<&'r str, Problem> {
    let header = request.headers().get(IDEMPOTENCY_KEY).ok_or_else(|| {
        Problem::header(
            IDEMPOTENCY_KEY,
            "is missing: send a key of your own with each command, the same when you retry",
        )
    })?;
    let text = header.to_str().map_err(|_| Problem::header(IDEMPOTENCY_KEY, "must be ASCII"))?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    check_key(text).map_err(|rule| Problem::header(IDEMPOTENCY_KEY, rule))?;
    if caller.role() == Role::Guest && Uuid::try_parse(text).is_err() {
        return Err(Problem::header(IDEMPOTENCY_KEY, "must be a random UUID where no token says who asks"));
    }
    Ok(text)
}

/// What `If-Match` (RFC 9110, section 13.1.1) asks for: one version, in quotes as in `ETag`, or `*`.
pub fn if_match(request: &HttpRequest) -> Result<Expects, Problem> {
    let Some(header) = request.headers().get(IF_MATCH) else { return Ok(Expects::Anything) };
    let text = header.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(Expects::Something);
    }
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match quoted.and_then(|version| version.parse().ok()) {
        Some(version @ 0..) => Ok(Expects::Version(version)),
        _ => Err(Problem::header("If-Match", "must be one version in quotes, as in an answer's ETag, or *")),
    }
}

/// The rule that a client's key breaks.
pub fn check_key(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > KEY_LENGTH_MAX {
        return Err(format!("must have 1 to {KEY_LENGTH_MAX} bytes, has {}", text.len()));
    }
    Ok(())
}

/// The key of a command. It belongs to the one who asks; which command it was used for is part of the fingerprint.
pub fn key(caller: &Caller, text: &str, command: &str, fields: &Fields<'_>) -> Key {
    Key::new(caller.subject(), text, &fields.fingerprint(command))
}

/// The key without a command, to ask what became of it.
pub fn key_alone(caller: &Caller, text: &str) -> Key {
    Key::new(caller.subject(), text, &[])
}
