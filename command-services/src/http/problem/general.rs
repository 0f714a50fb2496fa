//! What may be wrong with any request, and with us.

use super::Problem;
use super::kind::{Kind, problems};
use crate::executor::Failure;
use crate::http::fields::InvalidField;
use kontor_identity::{Denied, Role, Unauthenticated};
use std::fmt;
use tracing::error;

problems! {
    /// The body, or the line of a bulk, cannot be read: no JSON, no object, no UTF-8, or cut off.
    MALFORMED_JSON = 400 "malformed-json", "The body is not the JSON that is expected", [];
    /// `header` is the one. A header that has to be sent is missing, or its value breaks a rule.
    INVALID_HEADER = 400 "invalid-header", "A header is missing or breaks a rule", [header];
    /// Send a token, or a newer one.
    UNAUTHENTICATED = 401 "unauthenticated", "It is not known who you are", [permission];
    /// Somebody whose role has the permission may do it.
    FORBIDDEN = 403 "forbidden", "You may not do this", [permission];
    /// No path of the API is spelt like this.
    NO_SUCH_PATH = 404 "no-such-path", "There is nothing here", [];
    /// Keys are kept for some days and belong to the one who used them.
    UNKNOWN_KEY = 404 "unknown-key", "Nothing is known of this idempotency key", [];
    /// No type of problem is called like this.
    UNKNOWN_PROBLEM = 404 "unknown-problem", "There is no such type of problem", [];
    /// Commands are sent with POST; what can be looked up is asked for with GET.
    METHOD_NOT_ALLOWED = 405 "method-not-allowed", "This method is not for this path", [];
    /// It changed after you have seen it. Look again, then decide again.
    STALE_VERSION = 412 "stale-version", "It has changed since", [expected, actual];
    /// A body, or a line of a bulk, has a largest size.
    BODY_TOO_LARGE = 413 "body-too-large", "The body is too large", [limit_bytes];
    /// `Content-Type` names another type than `expected`, or none.
    MEDIA_TYPE = 415 "media-type", "The body is of another type", [expected];
    /// `field` is the one, such as `lines[2].quantity`; empty: it is the body as a whole. `rule` is what it breaks.
    INVALID_FIELD = 422 "invalid-field", "A field breaks a rule", [field, rule];
    /// A line of a bulk names a command that there is not. `commands` are those that there are.
    UNKNOWN_COMMAND = 422 "unknown-command", "There is no such command", [commands];
    /// Each command has a key of its own. The one sent was used for another command or another body.
    IDEMPOTENCY_KEY_REUSED = 422 "idempotency-key-reused", "The idempotency key belongs to another request", [];
    /// Our fault, and nothing was done. We have been told.
    NOT_STORED = 500 "not-stored", "The command could not be stored", [];
    /// Send it again after `Retry-After`, with the same key.
    BUSY = 503 "busy", "Too many commands are waiting", [waiting];
    /// Send it again after `Retry-After`, with the same key.
    CONTENDED = 503 "contended", "Other commands were faster", [];
    /// It may or may not have been done. Sent again with the same key, it is done once.
    OUTCOME_UNKNOWN = 503 "outcome-unknown", "The log cannot be reached", [];
    /// Nothing was done. Send it again after `Retry-After`.
    LOG_UNREADABLE = 503 "log-unreadable", "The log cannot be read", [];
    /// Nothing was done: personal data could not be sealed or opened. Send it again after `Retry-After`.
    KEYS_UNAVAILABLE = 503 "keys-unavailable", "The keys of personal data cannot be reached", [];
}

/// What any request that needs a permission may be answered with.
pub const OF_TOKENS: &[&Kind] = &[&UNAUTHENTICATED, &FORBIDDEN];

/// What any command may be answered with.
pub const OF_COMMANDS: &[&Kind] = &[
    &MALFORMED_JSON,
    &INVALID_HEADER,
    &BODY_TOO_LARGE,
    &MEDIA_TYPE,
    &INVALID_FIELD,
    &IDEMPOTENCY_KEY_REUSED,
    &STALE_VERSION,
    &NOT_STORED,
    &BUSY,
    &CONTENDED,
    &OUTCOME_UNKNOWN,
    &LOG_UNREADABLE,
];

impl Problem {
    pub fn malformed(detail: impl Into<String>) -> Self {
        MALFORMED_JSON.problem(detail)
    }

    pub fn unknown_command(name: &str) -> Self {
        UNKNOWN_COMMAND.problem(format!("no command is called \"{name}\"")).with("commands", crate::command::NAMES)
    }

    pub fn header(name: &'static str, rule: impl fmt::Display) -> Self {
        INVALID_HEADER.problem(format!("{name} {rule}")).with("header", name)
    }

    pub fn unknown_key() -> Self {
        UNKNOWN_KEY
            .problem("no command was carried out with this key, or it was so long ago that the key was forgotten")
    }

    pub fn no_such_path(path: &str) -> Self {
        NO_SUCH_PATH.problem(format!("there is no {path}"))
    }

    pub fn unknown_problem(name: &str) -> Self {
        UNKNOWN_PROBLEM.problem(format!("no type of problem is called \"{name}\""))
    }

    pub fn method(method: &str, path: &str) -> Self {
        METHOD_NOT_ALLOWED.problem(format!("{path} does not take {method}"))
    }

    pub fn too_large(limit_bytes: usize) -> Self {
        BODY_TOO_LARGE.problem(format!("a body may have at most {limit_bytes} bytes")).with("limit_bytes", limit_bytes)
    }

    pub fn media_type(expected: &'static str) -> Self {
        MEDIA_TYPE.problem(format!("the body must be {expected}")).with("expected", expected)
    }
}

impl From<Unauthenticated> for Problem {
    fn from(reason: Unauthenticated) -> Self {
        UNAUTHENTICATED.problem(format!("Authorization: {reason}"))
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        let problem = match denied.role {
            Role::Guest => UNAUTHENTICATED.problem("send a token: Authorization: Bearer ..."),
            _ => FORBIDDEN.problem(denied.to_string()),
        };
        problem.with("permission", denied.permission.name())
    }
}

impl From<InvalidField> for Problem {
    fn from(InvalidField { field, rule }: InvalidField) -> Self {
        let detail = if field.is_empty() { rule.clone() } else { format!("{field}: {rule}") };
        INVALID_FIELD.problem(detail).with("field", field).with("rule", rule)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::KeyReused => {
                IDEMPOTENCY_KEY_REUSED.problem("this Idempotency-Key was used for another command or another body")
            }
            Failure::Busy { waiting } => BUSY.problem(failure.to_string()).with("waiting", waiting).retry_after(1),
            Failure::Contended { .. } => CONTENDED.problem(failure.to_string()).retry_after(1),
            Failure::Unknown { ref reason } => {
                error!(%reason, "The outcome of a command is not known");
                OUTCOME_UNKNOWN
                    .problem(
                        "it is not known whether the command was carried out: ask again with the same Idempotency-Key",
                    )
                    .retry_after(1)
            }
            Failure::Unreadable(ref reason) => {
                error!(%reason, "A stream could not be read");
                LOG_UNREADABLE.problem("nothing was done; try again later").retry_after(1)
            }
            Failure::Sealing { ref reason } => {
                error!(%reason, "Personal data could not be sealed or opened");
                KEYS_UNAVAILABLE.problem("nothing was done; try again later").retry_after(1)
            }
            Failure::Unfit { ref reason } => {
                error!(%reason, "The log refused an append");
                NOT_STORED.problem("the command could not be stored; nothing was done")
            }
        }
    }
}
