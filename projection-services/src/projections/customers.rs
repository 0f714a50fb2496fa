//! `customers`: what orders and carts say of each customer. One Postgres row each; who they are is sealed as in the events.

use super::orders::{Contact, json};
use crate::runtime::store::{Store, StoreOptions};
use crate::runtime::{ApplyError, Event, PostgresProjection, PostgresStore, Projection};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_domain::cancellation::{Cancellation, CancellationEvent};
use kontor_domain::cart::{Cart, CartEvent};
use kontor_domain::order::{Order, OrderEvent, Placed};
use kontor_domain::{Currency, CustomerId, Money, OrderId};
use kontor_event_schemas::Fact;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub struct Customers;

/// What is known of a customer.
#[derive(Debug, Clone, Default, PartialEq)]
struct Customer {
    orders: i64,
    cancelled: i64,
    carts: i64,
    first_order_at: Option<DateTime<Utc>>,
    last_order_at: Option<DateTime<Utc>>,
    /// Minor units.
    totals: BTreeMap<String, i64>,
    contact: Option<String>,
    /// Of the last event folded in.
    position: i64,
}

impl Customer {
    fn place(&mut self, order: &Placed) -> Result<(), ApplyError> {
        let is_last = self.last_order_at.is_none_or(|last| last <= order.placed_at);
        if let Some(checkout) = order.checkout.as_deref()
            && (is_last || self.contact.is_none())
        {
            self.contact = Some(json(&Contact::of(checkout)));
        }
        self.orders += 1;
        self.first_order_at = Some(self.first_order_at.map_or(order.placed_at, |first| first.min(order.placed_at)));
        self.last_order_at = Some(self.last_order_at.map_or(order.placed_at, |last| last.max(order.placed_at)));
        self.add(order.due().amount_minor, order.due().currency)
    }

    fn add(&mut self, amount_minor: i64, currency: Currency) -> Result<(), ApplyError> {
        let total = self.totals.entry(currency.to_string()).or_default();
        let sum = total.checked_add(amount_minor);
        *total = sum.ok_or_else(|| ApplyError::Contradiction(format!("{total} and {amount_minor} are too much")))?;
        Ok(())
    }
}

/// Something of a customer's.
#[derive(Debug)]
enum News<'a> {
    Placed(&'a Placed),
    Cancelled { due: Money },
    TakenBack { total: Money },
    Cart,
}

/// An order of a customer, for whoever cancels it.
#[derive(Debug, Clone, PartialEq)]
struct Owned {
    customer_id: CustomerId,
    due: Money,
}

impl Projection for Customers {
    fn name(&self) -> &'static str {
        "customers"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Order::TYPE, Cart::TYPE, Cancellation::TYPE]
    }

    fn spanning(&self) -> &'static [&'static str] {
        self.aggregate_types() // Orders of all lanes are in one customer's row.
    }

    fn gathers(&self) -> Duration {
        Duration::from_millis(250) // Nobody shops by them.
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for Customers {
    fn tables(&self) -> &'static str {
        include_str!("../../tables/customers.sql")
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let placed = placed(events);
            let earlier = cancelled(events).filter(|id| !placed.contains_key(*id));
            let earlier = read_orders(view, earlier).await?;
            let news = news(events, |id| placed.get(id).or_else(|| earlier.get(id)));
            let mut customers = read(view, news.iter().map(|(customer_id, ..)| *customer_id)).await?;
            for (customer_id, news, position) in news {
                let customer = customers.entry(customer_id.clone()).or_default();
                match news {
                    News::Placed(order) => customer.place(order)?,
                    News::Cancelled { due } => {
                        customer.cancelled += 1;
                        customer.add(-due.amount_minor, due.currency)?;
                    }
                    News::TakenBack { total } => customer.add(-total.amount_minor, total.currency)?,
                    News::Cart => customer.carts += 1,
                }
                customer.position = position;
            }
            write(view, &customers).await?;
            write_orders(view, &placed).await?;
            Ok(())
        }
        .boxed()
    }
}

/// The customers' orders that are placed in this batch.
fn placed(events: &[Event]) -> BTreeMap<OrderId, Owned> {
    let owned = events.iter().filter_map(|event| match &event.fact {
        Fact::Order(id, OrderEvent::Placed(order)) => {
            Some((*id, Owned { customer_id: order.customer_id.clone()?, due: order.due() }))
        }
        _ => None, // Is not placed.
    });
    owned.collect()
}

fn cancelled(events: &[Event]) -> impl Iterator<Item = &OrderId> {
    events.iter().filter_map(|event| match &event.fact {
        Fact::Order(id, OrderEvent::Cancelled { .. }) => Some(id),
        _ => None, // Is not cancelled.
    })
}

/// What happens to whom, with the positions.
fn news<'a>(
    events: &'a [Event],
    owned: impl Fn(&OrderId) -> Option<&'a Owned>,
) -> Vec<(&'a CustomerId, News<'a>, i64)> {
    let news = events.iter().filter_map(|Event { position, fact }| {
        let (customer_id, news) = match fact {
            Fact::Order(_, OrderEvent::Placed(order)) => (order.customer_id.as_ref()?, News::Placed(order)),
            Fact::Order(id, OrderEvent::Cancelled { .. }) => {
                let Owned { customer_id, due } = owned(id)?;
                (customer_id, News::Cancelled { due: *due })
            }
            Fact::Order(..) => return None, // What becomes of an order its own row tells.
            Fact::Cancellation(_, CancellationEvent::Booked(booked)) => {
                (booked.customer_id.as_ref()?, News::TakenBack { total: booked.total })
            }
            Fact::Cart(_, CartEvent::Opened(opened)) => (opened.customer_id.as_ref()?, News::Cart),
            Fact::Cart(_, CartEvent::Assigned { customer_id, .. }) => (customer_id, News::Cart),
            Fact::Cart(..) => return None, // Whose it is does not change.
            Fact::Product(..) | Fact::Sku(..) | Fact::Slug(..) | Fact::Category(..) | Fact::Stock(..) => return None,
            Fact::Payment(..) | Fact::Timer(..) => return None,
        };
        Some((customer_id, news, *position))
    });
    news.collect()
}

#[derive(FromRow)]
struct Row {
    customer_id: String,
    orders: i64,
    cancelled: i64,
    carts: i64,
    first_order_at: Option<DateTime<Utc>>,
    last_order_at: Option<DateTime<Utc>>,
    totals: Json<BTreeMap<String, i64>>,
    contact: Option<String>,
    position: i64,
}

async fn read<'a>(
    view: &mut PgConnection,
    customers: impl Iterator<Item = &'a CustomerId>,
) -> Result<BTreeMap<CustomerId, Customer>, ApplyError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select customer_id, orders, cancelled, carts, first_order_at, last_order_at, totals, contact::text, position
         from customers where customer_id = any($1)",
    )
    .bind(customers.map(CustomerId::as_str).collect::<Vec<_>>())
    .fetch_all(view)
    .await?;
    let read = rows.into_iter().map(|row| {
        let Row { customer_id, orders, cancelled, carts, first_order_at, last_order_at, contact, position, .. } = row;
        let totals = row.totals.0;
        let customer = Customer { orders, cancelled, carts, first_order_at, last_order_at, totals, contact, position };
        Ok((parsed(&customer_id)?, customer))
    });
    read.collect()
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, ApplyError> {
    text.parse().map_err(|_| ApplyError::Contradiction(format!("\"{text}\" is no id")))
}

async fn write(view: &mut PgConnection, customers: &BTreeMap<CustomerId, Customer>) -> sqlx::Result<()> {
    let rows = || customers.values();
    sqlx::query(
        "insert into customers as t (customer_id, orders, cancelled, carts, first_order_at, last_order_at, totals,
             contact, position)
         select customer_id, orders, cancelled, carts, first_order_at, last_order_at, totals::jsonb, contact::json,
             position
         from unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::timestamptz[],
                 $7::text[], $8::text[], $9::bigint[])
             as c (customer_id, orders, cancelled, carts, first_order_at, last_order_at, totals, contact, position)
         on conflict (customer_id) do update set orders = excluded.orders, cancelled = excluded.cancelled,
             carts = excluded.carts, first_order_at = excluded.first_order_at, last_order_at = excluded.last_order_at,
             totals = excluded.totals, contact = excluded.contact, position = excluded.position
         where t.position < excluded.position",
    )
    .bind(customers.keys().map(CustomerId::as_str).collect::<Vec<_>>())
    .bind(rows().map(|customer| customer.orders).collect::<Vec<_>>())
    .bind(rows().map(|customer| customer.cancelled).collect::<Vec<_>>())
    .bind(rows().map(|customer| customer.carts).collect::<Vec<_>>())
    .bind(rows().map(|customer| customer.first_order_at).collect::<Vec<_>>())
    .bind(rows().map(|customer| customer.last_order_at).collect::<Vec<_>>())
    .bind(rows().map(|customer| json(&customer.totals)).collect::<Vec<_>>())
    .bind(rows().map(|customer| customer.contact.as_deref()).collect::<Vec<_>>())
    .bind(rows().map(|customer| customer.position).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}

#[derive(FromRow)]
struct OrderRow {
    order_id: Uuid,
    customer_id: String,
    due_minor: i64,
    currency: String,
}

/// Those of the orders that are a customer's.
async fn read_orders<'a>(
    view: &mut PgConnection,
    orders: impl Iterator<Item = &'a OrderId>,
) -> Result<BTreeMap<OrderId, Owned>, ApplyError> {
    let ids: Vec<_> = orders.map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<OrderRow> =
        sqlx::query_as("select * from customer_orders where order_id = any($1)").bind(ids).fetch_all(view).await?;
    let read = rows.into_iter().map(|OrderRow { order_id, customer_id, due_minor, currency }| {
        let unknown = || ApplyError::Contradiction(format!("there is no currency {currency}"));
        let due = Money::new(due_minor, Currency::from_code(&currency).ok_or_else(unknown)?);
        Ok((OrderId(order_id), Owned { customer_id: parsed(&customer_id)?, due }))
    });
    read.collect()
}

async fn write_orders(view: &mut PgConnection, placed: &BTreeMap<OrderId, Owned>) -> sqlx::Result<()> {
    if placed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into customer_orders (order_id, customer_id, due_minor, currency)
         select * from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[]) on conflict do nothing",
    )
    .bind(placed.keys().map(|id| id.0).collect::<Vec<_>>())
    .bind(placed.values().map(|order| order.customer_id.as_str()).collect::<Vec<_>>())
    .bind(placed.values().map(|order| order.due.amount_minor).collect::<Vec<_>>())
    .bind(placed.values().map(|order| order.due.currency.to_string()).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}
