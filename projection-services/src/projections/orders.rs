//! `orders`: each order as a document, and each cancellation that was booked by itself. One Postgres row each.

use crate::runtime::{ApplyError, Event, Projection};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::cancellation::{Booked, Cancellation, CancellationEvent};
use kontor_domain::order::{Fulfilment, Line, Order, OrderEvent, Placed};
use kontor_domain::text::{Country, Reference};
use kontor_domain::{CustomerId, OrderId};
use kontor_event_schemas::Fact;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use uuid::Uuid;

pub struct Orders;

/// An order placed in this batch; perhaps cancelled in it, too.
#[derive(Debug, PartialEq)]
struct PlacedOrder<'a> {
    order: &'a Placed,
    cancelled_at: Option<DateTime<Utc>>,
    position: i64,
}

/// What a batch writes, each row once. Sorted, so that rows are written in the order of the index.
#[derive(Debug, Default, PartialEq)]
struct Changes<'a> {
    placed: BTreeMap<OrderId, PlacedOrder<'a>>,
    /// Orders placed before this batch: when they were cancelled, and the position.
    cancelled: BTreeMap<OrderId, (DateTime<Utc>, i64)>,
    booked: BTreeMap<Uuid, (&'a Booked, i64)>,
}

impl<'a> Changes<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut changes = Changes::default();
        for Event { position, fact } in events {
            let position = *position;
            match fact {
                Fact::Order(_, OrderEvent::Placed(order)) => {
                    changes.placed.insert(order.order_id, PlacedOrder { order, cancelled_at: None, position });
                }
                Fact::Order(order_id, OrderEvent::Cancelled { cancelled_at, .. }) => {
                    match changes.placed.get_mut(order_id) {
                        Some(placed) => (placed.cancelled_at, placed.position) = (Some(*cancelled_at), position),
                        None => drop(changes.cancelled.insert(*order_id, (*cancelled_at, position))),
                    }
                }
                // Where an order stands after it was placed is not shown yet.
                Fact::Order(
                    _,
                    OrderEvent::Authorised { .. }
                    | OrderEvent::Confirmed { .. }
                    | OrderEvent::Shipped { .. }
                    | OrderEvent::Delivered { .. }
                    | OrderEvent::Captured { .. }
                    | OrderEvent::ReturnRequested { .. }
                    | OrderEvent::ReturnReceived { .. }
                    | OrderEvent::Restocked { .. }
                    | OrderEvent::Refunded { .. },
                ) => {}
                Fact::Cancellation(id, CancellationEvent::Booked(cancellation)) => {
                    changes.booked.insert(id.0, (cancellation, position));
                }
                Fact::Product(..) | Fact::Stock(..) => {} // An order says by itself what was sold at which price.
                Fact::Cart(..) | Fact::Payment(..) | Fact::Timer(..) => {} // What comes of them is an order's event.
            }
        }
        changes
    }
}

impl Projection for Orders {
    fn name(&self) -> &'static str {
        "orders"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Order::TYPE, Cancellation::TYPE]
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let changes = Changes::of(events);
            if !changes.placed.is_empty() {
                write_placed(view, &changes.placed).await?;
            }
            if !changes.cancelled.is_empty() {
                write_cancelled(view, &changes.cancelled).await?;
            }
            if !changes.booked.is_empty() {
                write_booked(view, &changes.booked).await?;
            }
            Ok(())
        }
        .boxed()
    }
}

async fn write_placed(view: &mut PgConnection, placed: &BTreeMap<OrderId, PlacedOrder<'_>>) -> sqlx::Result<()> {
    let orders = || placed.values().map(|placed| placed.order);
    let documents = Documents::of(orders().map(|order| Document {
        reference: order.reference.as_ref(),
        customer_id: order.customer_id.as_ref(),
        country: &order.country,
        lines: &order.lines,
        total: order.total,
    }));
    let cancelled_at: Vec<_> = placed.values().map(|placed| placed.cancelled_at).collect();
    let status: Vec<_> = cancelled_at.iter().map(|at| if at.is_some() { "cancelled" } else { "placed" }).collect();
    sqlx::query(
        "insert into projections.orders (order_id, reference, customer_id, country, lines, order_lines, units,
             total_minor, currency, fulfilment, status, placed_at, cancelled_at, position)
         select id, reference, customer_id, country, lines::json, line_count, units, total_minor, currency, fulfilment,
             status, placed_at, cancelled_at, position
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                 $8::bigint[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[],
                 $14::bigint[])
             as o (id, reference, customer_id, country, lines, line_count, units, total_minor, currency, fulfilment,
                 status, placed_at, cancelled_at, position)
         on conflict (order_id) do nothing", // An order is placed once: it is there already.
    )
    .bind(placed.keys().map(|id| id.0).collect::<Vec<_>>())
    .bind(documents.references)
    .bind(documents.customer_ids)
    .bind(documents.countries)
    .bind(documents.lines)
    .bind(documents.line_counts)
    .bind(documents.units)
    .bind(documents.totals_minor)
    .bind(documents.currencies)
    .bind(orders().map(|order| fulfilment(order.fulfilment)).collect::<Vec<_>>())
    .bind(status)
    .bind(orders().map(|order| order.placed_at).collect::<Vec<_>>())
    .bind(&cancelled_at)
    .bind(placed.values().map(|placed| placed.position).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}

async fn write_cancelled(
    view: &mut PgConnection,
    cancelled: &BTreeMap<OrderId, (DateTime<Utc>, i64)>,
) -> Result<(), ApplyError> {
    let updated = sqlx::query(
        "update projections.orders as o
         set status = 'cancelled', cancelled_at = c.cancelled_at, position = c.position
         from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as c (order_id, cancelled_at, position)
         where o.order_id = c.order_id and o.position < c.position",
    )
    .bind(cancelled.keys().map(|id| id.0).collect::<Vec<_>>())
    .bind(cancelled.values().map(|(at, _)| *at).collect::<Vec<_>>())
    .bind(cancelled.values().map(|(_, position)| *position).collect::<Vec<_>>())
    .execute(view)
    .await?
    .rows_affected();
    if updated != cancelled.len() as u64 {
        let missing = cancelled.len() as u64 - updated;
        return Err(ApplyError::Contradiction(format!(
            "{missing} of {} orders cancelled are not there",
            cancelled.len()
        )));
    }
    Ok(())
}

async fn write_booked(view: &mut PgConnection, booked: &BTreeMap<Uuid, (&Booked, i64)>) -> sqlx::Result<()> {
    let cancellations = || booked.values().map(|(cancellation, _)| *cancellation);
    let documents = Documents::of(cancellations().map(|cancellation| Document {
        reference: cancellation.reference.as_ref(),
        customer_id: cancellation.customer_id.as_ref(),
        country: &cancellation.country,
        lines: &cancellation.lines,
        total: cancellation.total,
    }));
    sqlx::query(
        "insert into projections.cancellations (cancellation_id, reference, customer_id, country, lines,
             cancellation_lines, units, total_minor, currency, cancelled_at, position)
         select id, reference, customer_id, country, lines::json, line_count, units, total_minor, currency, cancelled_at,
             position
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                 $8::bigint[], $9::text[], $10::timestamptz[], $11::bigint[])
             as c (id, reference, customer_id, country, lines, line_count, units, total_minor, currency, cancelled_at,
                 position)
         on conflict (cancellation_id) do nothing", // It is booked once.
    )
    .bind(booked.keys().copied().collect::<Vec<_>>())
    .bind(documents.references)
    .bind(documents.customer_ids)
    .bind(documents.countries)
    .bind(documents.lines)
    .bind(documents.line_counts)
    .bind(documents.units)
    .bind(documents.totals_minor)
    .bind(documents.currencies)
    .bind(cancellations().map(|cancellation| cancellation.cancelled_at).collect::<Vec<_>>())
    .bind(booked.values().map(|(_, position)| *position).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}

/// What orders and cancellations have in common.
struct Document<'a> {
    reference: Option<&'a Reference>,
    customer_id: Option<&'a CustomerId>,
    country: &'a Country,
    lines: &'a [Line],
    total: kontor_domain::Money,
}

/// Documents as columns: one array each, since one statement writes all rows.
#[derive(Default)]
struct Documents<'a> {
    references: Vec<Option<&'a str>>,
    customer_ids: Vec<Option<&'a str>>,
    countries: Vec<&'a str>,
    lines: Vec<String>,
    line_counts: Vec<i64>,
    units: Vec<i64>,
    totals_minor: Vec<i64>,
    currencies: Vec<String>,
}

impl<'a> Documents<'a> {
    fn of(documents: impl Iterator<Item = Document<'a>>) -> Self {
        let mut columns = Documents::default();
        for Document { reference, customer_id, country, lines, total } in documents {
            columns.references.push(reference.map(Reference::as_str));
            columns.customer_ids.push(customer_id.map(CustomerId::as_str));
            columns.countries.push(country.as_str());
            columns.lines.push(serde_json::to_string(lines).expect("lines have a JSON form"));
            columns.line_counts.push(lines.len() as i64);
            // At most 2,000 lines of at most 10^12 units.
            columns.units.push(lines.iter().map(|line| line.quantity.units() as i64).sum());
            columns.totals_minor.push(total.amount_minor);
            columns.currencies.push(total.currency.code().to_owned());
        }
        columns
    }
}

fn fulfilment(fulfilment: Fulfilment) -> &'static str {
    match fulfilment {
        Fulfilment::Reserve => "reserve",
        Fulfilment::Ship => "ship",
        Fulfilment::Checkout => "checkout",
    }
}
