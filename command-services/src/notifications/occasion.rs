//! Which events call for a mail.

use kontor_domain::cart::CartEvent;
use kontor_domain::order::OrderEvent;
use kontor_domain::{CartId, OrderId};
use kontor_event_schemas::RecordedEvent;
use kontor_event_schemas::registry::{DecodeError, Fact};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;
use uuid::Uuid;

/// The only events that are read for mail, by type of aggregate and of event: most of the log is passed over unread.
pub const READ: &[(&str, &str)] =
    &[("order", "Confirmed"), ("order", "Shipped"), ("order", "Refunded"), ("cart", "Abandoned")];

/// What a mail tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "NotificationKind")]
pub enum Kind {
    OrderConfirmed,
    Shipped,
    Refunded,
    CartAbandoned,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::OrderConfirmed, Kind::Shipped, Kind::Refunded, Kind::CartAbandoned];

    /// As in the outbox, and the name of its templates.
    pub fn name(self) -> &'static str {
        match self {
            Kind::OrderConfirmed => "order-confirmed",
            Kind::Shipped => "shipped",
            Kind::Refunded => "refunded",
            Kind::CartAbandoned => "cart-abandoned",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose stream a mail is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Order(OrderId),
    Cart(CartId),
}

/// An event that calls for a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    pub event_id: Uuid,
    pub position: i64,
    pub kind: Kind,
    pub about: About,
    /// Of the event in its stream.
    pub sequence: i64,
}

/// Why an event could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("event {position}: {error}")]
    Event { position: i64, error: DecodeError },
    #[error("event {position} has no readable metadata: {error}")]
    Metadata { position: i64, error: serde_json::Error },
}

impl Occasion {
    /// `None`: nobody is to be mailed about this.
    pub fn of(event: &RecordedEvent) -> Result<Option<Self>, Unreadable> {
        let position = event.position;
        let fact = Fact::decode(&event.aggregate_type, &event.aggregate_id, event.payload.as_bytes())
            .map_err(|error| Unreadable::Event { position, error })?;
        let (kind, about) = match fact {
            Fact::Order(id, OrderEvent::Confirmed { .. }) => (Kind::OrderConfirmed, About::Order(id)),
            Fact::Order(id, OrderEvent::Shipped { .. }) => (Kind::Shipped, About::Order(id)),
            Fact::Order(id, OrderEvent::Refunded { .. }) => (Kind::Refunded, About::Order(id)),
            Fact::Cart(id, CartEvent::Abandoned { email: Some(_), .. }) => (Kind::CartAbandoned, About::Cart(id)),
            _ => return Ok(None), // What is not in `READ`, and the cart of somebody who left no address.
        };
        let metadata = event.metadata().map_err(|error| Unreadable::Metadata { position, error })?;
        Ok(Some(Self { event_id: metadata.event_id, position, kind, about, sequence: event.sequence }))
    }
}
