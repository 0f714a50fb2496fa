//! Where an order stands: what becomes of it after it was placed.

use super::json;
use crate::runtime::ApplyError;
use chrono::{DateTime, Utc};
use kontor_domain::order::{LinePart, OrderEvent};
use kontor_domain::text::{Reason, Reference};
use kontor_domain::{Money, OrderId, ReturnId, ShipmentId};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The columns of an order that change. As it was placed by default, at position 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Standing {
    pub status: Status,
    pub cancelled_at: Option<DateTime<Utc>>,
    pub cancel_reason: Option<Reason>,
    /// In the minor units of the order's currency, as is `refunded_minor`.
    pub captured_minor: i64,
    pub refunded_minor: i64,
    /// In the order of their events, as are `returns`.
    pub shipments: Vec<Shipment>,
    pub returns: Vec<Return>,
    /// Of the last event folded in.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Status {
    #[default]
    Placed,
    Authorised,
    Confirmed,
    /// Something has left, something has not.
    PartlyShipped,
    Shipped,
    /// All of it.
    Delivered,
    Cancelled,
}

impl Status {
    const ALL: [Status; 7] = {
        use Status::*;
        [Placed, Authorised, Confirmed, PartlyShipped, Shipped, Delivered, Cancelled]
    };

    pub fn name(self) -> &'static str {
        match self {
            Status::Placed => "placed",
            Status::Authorised => "authorised",
            Status::Confirmed => "confirmed",
            Status::PartlyShipped => "partly-shipped",
            Status::Shipped => "shipped",
            Status::Delivered => "delivered",
            Status::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shipment {
    shipment_id: ShipmentId,
    parts: Vec<LinePart>,
    charge: Money,
    tracking: Option<Reference>,
    shipped_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Return {
    return_id: ReturnId,
    state: ReturnState,
    /// What was received or, until then, what is to be sent back.
    parts: Vec<LinePart>,
    reason: Reason,
    /// What is owed for it; `None` until it is received.
    refund: Option<Money>,
    requested_at: DateTime<Utc>,
    received_at: Option<DateTime<Utc>>,
    restocked_at: Option<DateTime<Utc>>,
    refunded_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ReturnState {
    Requested,
    Received,
    Refunded,
    /// The refund has come back.
    RefundBounced,
}

impl Standing {
    /// Folds an event in, unless it is in already.
    pub fn fold(&mut self, event: &OrderEvent, position: i64) {
        if position <= self.position {
            return;
        }
        self.position = position;
        match event {
            OrderEvent::Placed(_) => {} // The rest of the row says it.
            OrderEvent::Cancelled { reason, cancelled_at, .. } => {
                self.status = Status::Cancelled;
                (self.cancelled_at, self.cancel_reason) = (Some(*cancelled_at), Some(reason.clone()));
            }
            OrderEvent::Authorised { .. } => self.status = Status::Authorised,
            OrderEvent::Confirmed { .. } => self.status = Status::Confirmed,
            OrderEvent::Shipped { shipment_id, parts, charge, tracking, complete, shipped_at, .. } => {
                self.status = if *complete { Status::Shipped } else { Status::PartlyShipped };
                self.shipments.push(Shipment {
                    shipment_id: *shipment_id,
                    parts: parts.clone(),
                    charge: *charge,
                    tracking: tracking.clone(),
                    shipped_at: *shipped_at,
                    delivered_at: None,
                });
            }
            OrderEvent::Delivered { shipment_id, complete, delivered_at, .. } => {
                if *complete {
                    self.status = Status::Delivered;
                }
                if let Some(shipment) = self.shipments.iter_mut().find(|shipment| shipment.shipment_id == *shipment_id)
                {
                    shipment.delivered_at = Some(*delivered_at);
                }
            }
            OrderEvent::Captured { captured_total, .. } => self.captured_minor = captured_total.amount_minor,
            OrderEvent::ReturnRequested { return_id, parts, reason, requested_at, .. } => self.returns.push(Return {
                return_id: *return_id,
                state: ReturnState::Requested,
                parts: parts.clone(),
                reason: reason.clone(),
                refund: None,
                requested_at: *requested_at,
                received_at: None,
                restocked_at: None,
                refunded_at: None,
            }),
            OrderEvent::ReturnReceived { return_id, parts, refund, received_at, .. } => {
                if let Some(returned) = self.returned(*return_id) {
                    (returned.state, returned.received_at) = (ReturnState::Received, Some(*received_at));
                    (returned.parts, returned.refund) = (parts.clone(), Some(*refund));
                }
            }
            OrderEvent::Restocked { return_id, restocked_at, .. } => {
                if let Some(returned) = self.returned(*return_id) {
                    returned.restocked_at = Some(*restocked_at);
                }
            }
            OrderEvent::Refunded { return_id, refunded_total, refunded_at, .. } => {
                self.refunded_minor = refunded_total.amount_minor;
                if let Some(returned) = self.returned(*return_id) {
                    (returned.state, returned.refunded_at) = (ReturnState::Refunded, Some(*refunded_at));
                }
            }
            OrderEvent::RefundBounced { return_id, refunded_total, .. } => {
                self.refunded_minor = refunded_total.amount_minor;
                if let Some(returned) = self.returned(*return_id) {
                    (returned.state, returned.refunded_at) = (ReturnState::RefundBounced, None);
                }
            }
        }
    }

    fn returned(&mut self, return_id: ReturnId) -> Option<&mut Return> {
        self.returns.iter_mut().find(|returned| returned.return_id == return_id)
    }
}

/// A document of a row. SQL null stands for an empty list: most orders have neither shipments nor returns.
pub(super) fn document<T: Serialize>(list: &[T]) -> Option<String> {
    (!list.is_empty()).then(|| json(list))
}

#[derive(FromRow)]
struct StandingRow {
    order_id: Uuid,
    status: String,
    cancelled_at: Option<DateTime<Utc>>,
    cancel_reason: Option<String>,
    captured_minor: i64,
    refunded_minor: i64,
    shipments: Option<String>,
    returns: Option<String>,
    position: i64,
}

impl StandingRow {
    fn read(self) -> Result<(OrderId, Standing), ApplyError> {
        let Self { order_id, cancelled_at, captured_minor, refunded_minor, position, .. } = self;
        let unreadable =
            |column| move |reason| ApplyError::Contradiction(format!("{column} of order {order_id}: {reason}"));
        let status = Status::ALL.into_iter().find(|status| status.name() == self.status);
        let cancel_reason = self.cancel_reason.as_deref().map(Reason::new).transpose();
        let standing = Standing {
            status: status.ok_or_else(|| unreadable("status")(self.status))?,
            cancelled_at,
            cancel_reason: cancel_reason.map_err(|error| unreadable("cancel_reason")(error.to_string()))?,
            captured_minor,
            refunded_minor,
            shipments: list(self.shipments.as_deref()).map_err(unreadable("shipments"))?,
            returns: list(self.returns.as_deref()).map_err(unreadable("returns"))?,
            position,
        };
        Ok((OrderId(order_id), standing))
    }
}

fn list<'de, T: Deserialize<'de>>(document: Option<&'de str>) -> Result<Vec<T>, String> {
    document.map_or(Ok(Vec::new()), serde_json::from_str).map_err(|error| error.to_string())
}

/// Where those orders stand, before this batch. Each must be there.
pub(super) async fn read<'a>(
    view: &mut PgConnection,
    orders: impl Iterator<Item = &'a OrderId>,
) -> Result<BTreeMap<OrderId, Standing>, ApplyError> {
    let ids: Vec<_> = orders.map(|id| id.0).collect();
    let rows: Vec<StandingRow> = sqlx::query_as(
        "select order_id, status, cancelled_at, cancel_reason, captured_minor, refunded_minor, shipments::text,
             returns::text, position
         from orders where order_id = any($1)",
    )
    .bind(&ids)
    .fetch_all(view)
    .await?;
    match ids.len() - rows.len() {
        0 => rows.into_iter().map(StandingRow::read).collect(),
        missing => Err(ApplyError::Contradiction(format!("{missing} of {} orders changed are not there", ids.len()))),
    }
}

/// Writes where those orders, which are there, stand now.
pub(super) async fn write(view: &mut PgConnection, changed: &BTreeMap<OrderId, Standing>) -> sqlx::Result<()> {
    let standings = || changed.values();
    sqlx::query(
        "update orders as o
         set status = c.status, cancelled_at = c.cancelled_at, cancel_reason = c.cancel_reason,
             captured_minor = c.captured_minor, refunded_minor = c.refunded_minor, shipments = c.shipments::json,
             returns = c.returns::json, position = c.position
         from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::bigint[], $6::bigint[], $7::text[],
                 $8::text[], $9::bigint[])
             as c (order_id, status, cancelled_at, cancel_reason, captured_minor, refunded_minor, shipments, returns,
                 position)
         where o.order_id = c.order_id and o.position < c.position",
    )
    .bind(changed.keys().map(|id| id.0).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.status.name()).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.cancelled_at).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.cancel_reason.as_ref().map(Reason::as_str)).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.captured_minor).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.refunded_minor).collect::<Vec<_>>())
    .bind(standings().map(|standing| document(&standing.shipments)).collect::<Vec<_>>())
    .bind(standings().map(|standing| document(&standing.returns)).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.position).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::Currency;

    fn pence(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::GBP)
    }

    fn captured(amount: i64, total: i64) -> OrderEvent {
        let (order_id, captured_at) = (OrderId(Uuid::nil()), DateTime::UNIX_EPOCH);
        let payment_id = kontor_domain::PaymentId(Uuid::nil());
        OrderEvent::Captured { order_id, payment_id, amount: pence(amount), captured_total: pence(total), captured_at }
    }

    #[test]
    fn what_is_folded_in_is_not_folded_in_again() {
        let mut standing = Standing { position: 7, captured_minor: 100, ..Standing::default() };
        let before = standing.clone();
        standing.fold(&captured(40, 40), 6);
        standing.fold(&captured(60, 100), 7);
        assert_eq!(standing, before);
        standing.fold(&captured(20, 120), 8);
        assert_eq!(standing, Standing { position: 8, captured_minor: 120, ..before });
    }

    #[test]
    fn a_row_that_was_written_is_read_back() {
        let row = |status: &str, reason: &str| StandingRow {
            order_id: Uuid::nil(),
            status: status.to_owned(),
            cancelled_at: None,
            cancel_reason: Some(reason.to_owned()),
            captured_minor: 0,
            refunded_minor: 0,
            shipments: None,
            returns: Some("[]".to_owned()),
            position: 1,
        };
        for status in Status::ALL {
            assert_eq!(row(status.name(), "too late").read().expect("it is").1.status, status);
        }
        assert!(row("lost", "too late").read().is_err());
        assert!(row("placed", "").read().is_err());
    }
}
