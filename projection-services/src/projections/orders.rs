//! `orders`: each order as it was placed and as it [stands](standing), and each cancellation that was booked by itself. One
//! Postgres row each.

pub mod past;
mod standing;

use crate::runtime::store::{Store, StoreOptions};
use crate::runtime::{ApplyError, Event, PostgresProjection, PostgresStore, Projection};
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::cancellation::{Booked, Cancellation, CancellationEvent};
use kontor_domain::order::{Checkout, Fulfilment, Line, Order, OrderEvent, Placed};
use kontor_domain::personal::{Address, Personal};
use kontor_domain::text::{Country, Reason, Reference};
use kontor_domain::{CustomerId, OrderId};
use kontor_event_schemas::Fact;
use serde::Serialize;
use sqlx::PgConnection;
use standing::Standing;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

pub struct Orders;

/// An order placed in this batch, with what became of it in the same batch.
#[derive(Debug, PartialEq)]
struct PlacedOrder<'a> {
    order: &'a Placed,
    standing: Standing,
}

/// What a batch writes, each row once. Sorted, so that rows are written in the order of the index.
#[derive(Debug, Default, PartialEq)]
struct Changes<'a> {
    placed: BTreeMap<OrderId, PlacedOrder<'a>>,
    /// What happened to orders placed before this batch, with the positions.
    changed: BTreeMap<OrderId, Vec<(&'a OrderEvent, i64)>>,
    booked: BTreeMap<Uuid, (&'a Booked, i64)>,
}

impl<'a> Changes<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut changes = Changes::default();
        for Event { position, fact } in events {
            let position = *position;
            match fact {
                Fact::Order(_, OrderEvent::Placed(order)) => {
                    let standing = Standing { position, ..Standing::default() };
                    changes.placed.insert(order.order_id, PlacedOrder { order, standing });
                }
                Fact::Order(order_id, event) => match changes.placed.get_mut(order_id) {
                    Some(placed) => placed.standing.fold(event, position),
                    None => changes.changed.entry(*order_id).or_default().push((event, position)),
                },
                Fact::Cancellation(id, CancellationEvent::Booked(cancellation)) => {
                    changes.booked.insert(id.0, (cancellation, position));
                }
                Fact::Sku(..) | Fact::Slug(..) | Fact::Category(..) => {} // Of the catalogue only.
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

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for Orders {
    fn tables(&self) -> &'static str {
        include_str!("../../tables/orders.sql")
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let changes = Changes::of(events);
            if !changes.placed.is_empty() {
                write_placed(view, &changes.placed).await?;
            }
            if !changes.changed.is_empty() {
                write_changed(view, &changes.changed).await?;
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
    let standings = || placed.values().map(|placed| &placed.standing);
    let checkouts = || orders().map(|order| order.checkout.as_deref());
    sqlx::query(
        "insert into orders (order_id, reference, customer_id, country, lines, order_lines, units,
             total_minor, currency, fulfilment, placed_at, number, due_minor, payment_id, breakdown, contact, status,
             cancelled_at, cancel_reason, captured_minor, refunded_minor, shipments, returns, position)
         select id, reference, customer_id, country, lines::json, line_count, units, total_minor, currency, fulfilment,
             placed_at, number, due_minor, payment_id, breakdown::json, contact::json, status, cancelled_at,
             cancel_reason, captured_minor, refunded_minor, shipments::json, returns::json, position
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                 $8::bigint[], $9::text[], $10::text[], $11::timestamptz[], $12::text[], $13::bigint[], $14::uuid[],
                 $15::text[], $16::text[], $17::text[], $18::timestamptz[], $19::text[], $20::bigint[], $21::bigint[],
                 $22::text[], $23::text[], $24::bigint[])
             as o (id, reference, customer_id, country, lines, line_count, units, total_minor, currency, fulfilment,
                 placed_at, number, due_minor, payment_id, breakdown, contact, status, cancelled_at, cancel_reason,
                 captured_minor, refunded_minor, shipments, returns, position)
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
    .bind(orders().map(|order| order.placed_at).collect::<Vec<_>>())
    .bind(checkouts().map(|checkout| Some(checkout?.number.to_string())).collect::<Vec<_>>())
    .bind(orders().map(|order| order.due().amount_minor).collect::<Vec<_>>())
    .bind(checkouts().map(|checkout| Some(checkout?.payment_id.0)).collect::<Vec<_>>())
    .bind(checkouts().map(|checkout| Some(json(&checkout?.breakdown))).collect::<Vec<_>>())
    .bind(checkouts().map(|checkout| Some(json(&Contact::of(checkout?)))).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.status.name()).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.cancelled_at).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.cancel_reason.as_ref().map(Reason::as_str)).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.captured_minor).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.refunded_minor).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing::document(&standing.shipments)).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing::document(&standing.returns)).collect::<Vec<_>>())
    .bind(standings().map(|standing| standing.position).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}

async fn write_changed(
    view: &mut PgConnection,
    changed: &BTreeMap<OrderId, Vec<(&OrderEvent, i64)>>,
) -> Result<(), ApplyError> {
    let mut standings = standing::read(view, changed.keys()).await?;
    for (order_id, events) in changed {
        let standing = standings.get_mut(order_id).expect("it is there, or reading failed");
        for (event, position) in events {
            standing.fold(event, *position);
        }
    }
    standing::write(view, &standings).await?;
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
        "insert into cancellations (cancellation_id, reference, customer_id, country, lines,
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
            columns.lines.push(json(lines));
            columns.line_counts.push(lines.len() as i64);
            // At most 2,000 lines of at most 10^12 units.
            columns.units.push(lines.iter().map(|line| line.quantity.units() as i64).sum());
            columns.totals_minor.push(total.amount_minor);
            columns.currencies.push(total.currency.code().to_owned());
        }
        columns
    }
}

/// Who ordered and where it goes: all that is sealed of an order, as it was sealed.
#[derive(Serialize)]
pub(super) struct Contact<'a> {
    email: &'a Personal,
    shipping_address: &'a Address,
    billing_address: &'a Address,
}

impl<'a> Contact<'a> {
    pub(super) fn of(Checkout { email, shipping_address, billing_address, .. }: &'a Checkout) -> Self {
        Self { email, shipping_address, billing_address }
    }
}

pub(super) fn json(fact: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(fact).expect("facts have a JSON form")
}

fn fulfilment(fulfilment: Fulfilment) -> &'static str {
    match fulfilment {
        Fulfilment::Reserve => "reserve",
        Fulfilment::Ship => "ship",
        Fulfilment::Checkout => "checkout",
    }
}
