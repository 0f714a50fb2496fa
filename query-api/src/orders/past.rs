//! What an order was.

use super::{Found, Order, OrderSummary, document, list_in, sealed};
use crate::past::{Moment, Streams, decoded};
use crate::problem::Problem;
use crate::products::Price;
use crate::view::View;
use cqrs_es::Aggregate;
use kontor_domain::{OrderId, order};
use kontor_projection_services::projections::orders::past::{self, OrderRow};
use uuid::Uuid;

/// The order as it was, with the position of the log at that moment. `None`: it was not placed yet.
pub async fn order(
    streams: &Streams,
    view: &View,
    order_id: Uuid,
    moment: Moment,
) -> Result<(i64, Option<Found>), Problem> {
    let id = order_id.to_string();
    let stream = (order::Order::TYPE, "order", id.as_str());
    let reach = streams.reach(&view.positions, view.min, stream, Some(moment)).await?;
    let recorded = streams.read(order::Order::TYPE, &id, reach.position).await?;
    let changed_at = recorded.last().map_or(0, |event| event.position);
    let events = recorded.iter().map(decoded).collect::<sqlx::Result<Vec<_>>>()?;
    let row = past::order(OrderId(order_id), &events);
    Ok((reach.position, row.map(|row| found(row, changed_at)).transpose()?))
}

fn found(row: OrderRow, changed_at: i64) -> sqlx::Result<Found> {
    let price = |amount_minor| Price { amount_minor, currency: row.currency.clone() };
    let order = Order {
        summary: OrderSummary {
            order_id: row.order_id,
            number: row.number,
            reference: row.reference,
            customer_id: row.customer_id,
            country: row.country,
            order_lines: row.order_lines,
            units: row.units,
            total: price(row.total_minor),
            due: price(row.due_minor),
            fulfilment: row.fulfilment,
            status: row.status,
            placed_at: row.placed_at,
            cancelled_at: row.cancelled_at,
        },
        lines: list_in(Some(row.lines))?,
        breakdown: document(row.breakdown)?,
        payment_id: row.payment_id,
        captured: price(row.captured_minor),
        refunded: price(row.refunded_minor),
        cancel_reason: row.cancel_reason,
        shipments: list_in(row.shipments)?,
        returns: list_in(row.returns)?,
        contact: None,
    };
    Ok(Found { order, sealed: sealed(row.contact.as_deref())?, changed_at })
}
