//! An order as it was: what its row would be if the log had ended earlier, by the same rules, without writing it.

use super::standing::{Standing, document};
use super::{Changes, Contact, fulfilment, json};
use crate::runtime::Event;
use chrono::{DateTime, Utc};
use kontor_domain::OrderId;
use kontor_domain::order::OrderEvent;
use uuid::Uuid;

/// An order as its row has it. Documents are JSON text; amounts are in the minor units of `currency`.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderRow {
    pub order_id: Uuid,
    pub number: Option<String>,
    pub reference: Option<String>,
    pub customer_id: Option<String>,
    pub country: String,
    pub lines: String,
    pub order_lines: i64,
    pub units: i64,
    pub total_minor: i64,
    pub due_minor: i64,
    pub currency: String,
    pub fulfilment: String,
    pub status: String,
    pub placed_at: DateTime<Utc>,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub cancel_reason: Option<String>,
    pub payment_id: Option<Uuid>,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    pub breakdown: Option<String>,
    pub contact: Option<String>,
    pub shipments: Option<String>,
    pub returns: Option<String>,
}

/// Folds `events`: all of the order up to some position. `None`: it was not placed by then.
pub fn order(order_id: OrderId, events: &[Event]) -> Option<OrderRow> {
    let changes = Changes::of(events);
    let placed = changes.placed.get(&order_id)?;
    let (order, standing) = (placed.order, &placed.standing);
    let checkout = order.checkout.as_deref();
    Some(OrderRow {
        order_id: order_id.0,
        number: checkout.map(|checkout| checkout.number.to_string()),
        reference: order.reference.as_ref().map(ToString::to_string),
        customer_id: order.customer_id.as_ref().map(ToString::to_string),
        country: order.country.to_string(),
        lines: json(&order.lines),
        order_lines: order.lines.len() as i64,
        units: order.lines.iter().map(|line| line.quantity.units() as i64).sum(),
        total_minor: order.total.amount_minor,
        due_minor: order.due().amount_minor,
        currency: order.total.currency.code().to_owned(),
        fulfilment: fulfilment(order.fulfilment).to_owned(),
        status: standing.status.name().to_owned(),
        placed_at: order.placed_at,
        cancelled_at: standing.cancelled_at,
        cancel_reason: standing.cancel_reason.as_ref().map(ToString::to_string),
        payment_id: checkout.map(|checkout| checkout.payment_id.0),
        captured_minor: standing.captured_minor,
        refunded_minor: standing.refunded_minor,
        breakdown: checkout.map(|checkout| json(&checkout.breakdown)),
        contact: checkout.map(|checkout| json(&Contact::of(checkout))),
        shipments: document(&standing.shipments),
        returns: document(&standing.returns),
    })
}

/// Where an order stands, event by event.
#[derive(Debug, Clone, Default)]
pub struct Course(Standing);

impl Course {
    /// Folds the order's next event in.
    pub fn fold(&mut self, event: &OrderEvent, position: i64) {
        self.0.fold(event, position);
    }

    /// As the read model has it, such as `partly-shipped`.
    pub fn status(&self) -> &'static str {
        self.0.status.name()
    }
}
