//! The paths that are no command's: what can be looked up, and what is sent without being a command.

use super::bulk::{self, NDJSON};
use super::notifications;
use super::openapi;
use super::payments::{self, CSV};
use super::problem::{Kind, cart, general, notification, order, payment, webhook};
use super::routes::{self, Answer, JSON, POSITION};
use super::shopping;
use crate::carts::view::CartView;
use crate::notifications::outbox::Notification;
use crate::payments::simulator::ledger::Entry;
use actix_web::http::Method;
use actix_web::{Route, web};
use kontor_identity::Permission;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

/// A path that is no command's.
pub struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    /// Its name in the OpenAPI document.
    pub name: &'static str,
    pub description: &'static str,
    /// What the one who asks must be allowed to do. `None`: it is for everybody.
    pub permission: Option<Permission>,
    /// How it may be refused, besides the token.
    pub problems: &'static [&'static Kind],
    /// What can be said besides path and body.
    pub parameters: &'static [Parameter],
    /// What is sent, if anything is.
    pub takes: Option<Media>,
    /// What is answered: the first, or another that `Accept` asks for.
    pub answers: &'static [Media],
    /// The answer's headers; each is a component of the OpenAPI document.
    pub headers: &'static [&'static str],
    /// Whether `Prefer: wait` is heeded.
    pub waits: bool,
    pub handler: fn() -> Route,
}

/// A body: its media type, and the schema of it, or of each of its lines.
#[derive(Clone, Copy)]
pub struct Media {
    pub name: &'static str,
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Media {
    const fn json<T: JsonSchema>() -> Self {
        Self { name: JSON, schema: SchemaGenerator::subschema_for::<T> }
    }

    const fn ndjson<T: JsonSchema>() -> Self {
        Self { name: NDJSON, schema: SchemaGenerator::subschema_for::<T> }
    }

    const fn csv<T: JsonSchema>() -> Self {
        Self { name: CSV, schema: SchemaGenerator::subschema_for::<T> }
    }
}

/// Something that may be sent besides path and body.
pub struct Parameter {
    pub name: &'static str,
    /// `query` or `header`.
    pub place: &'static str,
    pub description: &'static str,
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

/// All of them.
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: Method::GET,
        path: "/v1/carts/{cart_id}",
        name: "read-cart",
        description: "A cart as it is now, without any delay: what is in it, what it costs, how it can be shipped.",
        permission: Some(Permission::Shop),
        problems: &[&cart::UNKNOWN_CART, &general::LOG_UNREADABLE, &general::KEYS_UNAVAILABLE],
        parameters: &[],
        takes: None,
        answers: &[Media::json::<CartView>()],
        headers: &["ETag"],
        waits: false,
        handler: || web::get().to(shopping::cart),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/orders/{order_id}/settlement",
        name: "read-settlement",
        description: "How far an order from check-out is. With `Prefer: wait=N` as soon as it is settled, or after N \
                      seconds.",
        permission: Some(Permission::Shop),
        problems: &[&order::UNKNOWN_ORDER, &general::INVALID_HEADER, &general::LOG_UNREADABLE],
        parameters: &[],
        takes: None,
        answers: &[Media::json::<shopping::OrderStatus>()],
        headers: &["Location", "Preference-Applied", POSITION],
        waits: true,
        handler: || web::get().to(shopping::settlement),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/orders/{order_id}/notifications",
        name: "list-notifications-of-order",
        description: "The mails about one order, the latest first. There are none of an order that nobody was mailed \
                      about.",
        permission: Some(Permission::ManageNotifications),
        problems: &[&general::INVALID_FIELD, &notification::OUTBOX_UNREACHABLE],
        parameters: notifications::PARAMETERS,
        takes: None,
        answers: &[Media::json::<notifications::Page>()],
        headers: &[],
        waits: false,
        handler: || web::get().to(notifications::of_order),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/notifications",
        name: "list-notifications",
        description: "The mails to customers, the latest first.",
        permission: Some(Permission::ManageNotifications),
        problems: &[&general::INVALID_FIELD, &notification::OUTBOX_UNREACHABLE],
        parameters: notifications::PARAMETERS,
        takes: None,
        answers: &[Media::json::<notifications::Page>()],
        headers: &[],
        waits: false,
        handler: || web::get().to(notifications::list),
    },
    Endpoint {
        method: Method::POST,
        path: "/v1/notifications/{id}/retry",
        name: "retry-notification",
        description: "Sends a mail again as if it had never been tried. No key is needed: once more changes nothing.",
        permission: Some(Permission::ManageNotifications),
        problems: NOTIFICATION_PROBLEMS,
        parameters: &[],
        takes: None,
        answers: &[Media::json::<Notification>()],
        headers: &[],
        waits: false,
        handler: || web::post().to(notifications::retry),
    },
    Endpoint {
        method: Method::POST,
        path: "/v1/notifications/{id}/drop",
        name: "drop-notification",
        description: "Sees to it that a mail is not sent any more. No key is needed: once more changes nothing.",
        permission: Some(Permission::ManageNotifications),
        problems: NOTIFICATION_PROBLEMS,
        parameters: &[],
        takes: None,
        answers: &[Media::json::<Notification>()],
        headers: &[],
        waits: false,
        handler: || web::post().to(notifications::withdraw),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/payments/{payment_id}",
        name: "read-payment",
        description: "How a payment stands, with all that was asked of its provider. Customers see those of their own \
                      orders.",
        permission: Some(Permission::ReadPayments),
        problems: &[&payment::UNKNOWN_PAYMENT, &general::INVALID_FIELD, &general::LOG_UNREADABLE],
        parameters: &[],
        takes: None,
        answers: &[Media::json::<payments::Shown>()],
        headers: &["ETag"],
        waits: false,
        handler: || web::get().to(payments::payment),
    },
    Endpoint {
        method: Method::POST,
        path: "/v1/payments/webhooks/{provider}",
        name: "tell-of-payment",
        description: "For payment providers, which have no token: believed for the provider's signature. Whatever need \
                      not be sent again is answered with 200.",
        permission: None,
        problems: &[
            &webhook::UNSIGNED_WEBHOOK,
            &webhook::FORGED_WEBHOOK,
            &webhook::STALE_WEBHOOK,
            &webhook::UNKNOWN_PROVIDER,
            &general::MALFORMED_JSON,
            &general::BODY_TOO_LARGE,
            &general::BUSY,
            &general::CONTENDED,
            &general::LOG_UNREADABLE,
            &general::OUTCOME_UNKNOWN,
        ],
        parameters: payments::SIGNATURES,
        takes: Some(Media::json::<Map<String, Value>>()),
        answers: &[Media::json::<payments::Heard>()],
        headers: &[],
        waits: false,
        handler: || web::post().to(payments::webhook),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/payments/simulator/ledger",
        name: "export-ledger",
        description: "All that the payment simulator has done, one line each, in the order in which it was asked. As \
                      CSV for who accepts `text/csv`.",
        permission: Some(Permission::MovePayments),
        problems: &[&webhook::LEDGER_UNREADABLE],
        parameters: &[],
        takes: None,
        answers: &[Media::ndjson::<Entry>(), Media::csv::<payments::Line>()],
        headers: &[],
        waits: false,
        handler: || web::get().to(payments::ledger),
    },
    Endpoint {
        method: Method::POST,
        path: "/v1/bulk",
        name: "send-bulk",
        description: "Carries out many commands: one a line, each with its own key. Each line is answered with a line, in \
                      their order, as they are done. Sent again, it has the same results.",
        permission: Some(Permission::SendBulk),
        problems: &[&general::MEDIA_TYPE],
        parameters: &[],
        takes: Some(Media::ndjson::<bulk::Line>()),
        answers: &[Media::ndjson::<bulk::LineResult>()],
        headers: &[],
        waits: false,
        handler: || web::post().to(bulk::bulk),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/commands/{key}",
        name: "read-outcome",
        description: "Tells what became of the command that you sent with this key, if you never got the answer.",
        permission: Some(Permission::ReadOutcomes),
        problems: &[
            &general::UNKNOWN_KEY,
            &general::INVALID_FIELD,
            &general::LOG_UNREADABLE,
            &general::OUTCOME_UNKNOWN,
        ],
        parameters: &[],
        takes: None,
        answers: &[Media::json::<Answer>()],
        headers: &["ETag", POSITION],
        waits: false,
        handler: || web::get().to(routes::outcome),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/problems",
        name: "list-problems",
        description: "All types of problem, each with what it means.",
        permission: None,
        problems: &[],
        parameters: &[],
        takes: None,
        answers: &[Media::json::<Vec<Kind>>()],
        headers: &[],
        waits: false,
        handler: || web::get().to(routes::catalogue),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/problems/{name}",
        name: "read-problem",
        description: "One type of problem, by the last part of its URL.",
        permission: None,
        problems: &[&general::UNKNOWN_PROBLEM],
        parameters: &[],
        takes: None,
        answers: &[Media::json::<Kind>()],
        headers: &[],
        waits: false,
        handler: || web::get().to(routes::problem_type),
    },
    Endpoint {
        method: Method::GET,
        path: "/v1/openapi.json",
        name: "read-document",
        description: "This document. `/docs` shows it to people.",
        permission: None,
        problems: &[],
        parameters: &[],
        takes: None,
        answers: &[Media::json::<Map<String, Value>>()],
        headers: &[],
        waits: false,
        handler: || web::get().to(openapi::document),
    },
];

/// How it may be refused to do something about a mail.
const NOTIFICATION_PROBLEMS: &[&Kind] = &[
    &notification::UNKNOWN_NOTIFICATION,
    &notification::NOTIFICATION_SETTLED,
    &general::INVALID_FIELD,
    &notification::OUTBOX_UNREACHABLE,
];
