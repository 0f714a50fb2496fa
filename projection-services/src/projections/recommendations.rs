//! `recommendations`: what a model of recommendations is learnt from, and what each customer has bought. One Postgres row an order,
//! return or cancellation; beside them the words of each product.
//!
//! Events of the category tree are not folded: that two products are in one category that was removed still says that they are
//! alike.

mod goods;

use crate::runtime::store::{Store, StoreOptions};
use crate::runtime::{ApplyError, Event, PostgresProjection, PostgresStore, Projection};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use futures::FutureExt;
use futures::future::BoxFuture;
use goods::GoodsChanges;
use kontor_domain::cancellation::{Cancellation, CancellationEvent};
use kontor_domain::order::{Order, OrderEvent};
use kontor_domain::product::Product;
use kontor_domain::{CustomerId, OrderId, Quantity, Sku};
use kontor_event_schemas::Fact;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

pub struct Recommendations;

/// Goods that went to a customer, or came back.
#[derive(Debug, PartialEq)]
struct Document<'a> {
    customer: Whose<'a>,
    at: DateTime<Utc>,
    taken_back: bool,
    lines: Vec<(&'a Sku, Quantity)>,
    position: i64,
}

/// Whose a document is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Whose<'a> {
    /// `None`: a guest's.
    Customer(Option<&'a CustomerId>),
    /// Of whom this order is.
    BuyerOf(OrderId),
}

/// What a batch writes, each row once. Sorted, so that rows are written in the order of the index.
#[derive(Debug, Default, PartialEq)]
struct Changes<'a> {
    documents: BTreeMap<Uuid, Document<'a>>,
    /// Orders placed before this batch that do not stand any more.
    cancelled: BTreeSet<Uuid>,
    goods: GoodsChanges<'a>,
}

impl<'a> Changes<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut changes = Changes::default();
        for Event { position, fact } in events {
            match fact {
                Fact::Order(id, event) => changes.fold_order(*id, event, *position),
                Fact::Cancellation(id, CancellationEvent::Booked(booked)) => {
                    let document = Document {
                        customer: Whose::Customer(booked.customer_id.as_ref()),
                        at: booked.cancelled_at,
                        taken_back: true,
                        lines: booked.lines.iter().map(|line| (&line.sku, line.quantity)).collect(),
                        position: *position,
                    };
                    changes.documents.insert(id.0, document);
                }
                Fact::Product(sku, event) => changes.goods.fold(sku, event, *position),
                Fact::Sku(..) | Fact::Slug(..) | Fact::Category(..) => {} // See the head of this file.
                Fact::Stock(..) => {} // Whether there is any is asked when it is shown.
                Fact::Cart(..) | Fact::Payment(..) | Fact::Timer(..) => {} // What comes of them is an order's event.
            }
        }
        changes
    }

    fn fold_order(&mut self, id: OrderId, event: &'a OrderEvent, position: i64) {
        match event {
            OrderEvent::Placed(order) => {
                let document = Document {
                    customer: Whose::Customer(order.customer_id.as_ref()),
                    at: order.placed_at,
                    taken_back: false,
                    lines: order.lines.iter().map(|line| (&line.sku, line.quantity)).collect(),
                    position,
                };
                self.documents.insert(id.0, document);
            }
            // It is as if it had never been: who did not pay has not bought.
            OrderEvent::Cancelled { .. } => {
                if self.documents.remove(&id.0).is_none() {
                    self.cancelled.insert(id.0);
                }
            }
            OrderEvent::ReturnReceived { return_id, parts, received_at, .. } => {
                let document = Document {
                    customer: Whose::BuyerOf(id),
                    at: *received_at,
                    taken_back: true,
                    lines: parts.iter().map(|part| (&part.sku, part.quantity)).collect(),
                    position,
                };
                self.documents.insert(return_id.0, document);
            }
            OrderEvent::Authorised { .. } | OrderEvent::Confirmed { .. } | OrderEvent::Captured { .. } => {}
            OrderEvent::Shipped { .. } | OrderEvent::Delivered { .. } => {} // It was sold before.
            OrderEvent::ReturnRequested { .. } => {}                        // It may be kept, after all.
            OrderEvent::Restocked { .. } | OrderEvent::Refunded { .. } | OrderEvent::RefundBounced { .. } => {}
        }
    }
}

impl Projection for Recommendations {
    fn name(&self) -> &'static str {
        "recommendations"
    }

    fn aggregate_types(&self) -> &'static [&'static str] {
        &[Order::TYPE, Cancellation::TYPE, Product::TYPE]
    }

    fn gathers(&self) -> Duration {
        Duration::from_secs(1) // Learnt from once in a while.
    }

    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store> {
        PostgresStore::of(self, options)
    }
}

impl PostgresProjection for Recommendations {
    fn tables(&self) -> &'static str {
        include_str!("../../tables/recommendations.sql")
    }

    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>> {
        async move {
            let Changes { documents, cancelled, goods } = Changes::of(events);
            let (of_buyers, own): (Vec<_>, Vec<_>) =
                documents.iter().partition(|(_, document)| matches!(document.customer, Whose::BuyerOf(_)));
            write(view, &own).await?;
            write(view, &of_buyers).await?; // Their orders may be among the others.
            if !cancelled.is_empty() {
                sqlx::query("delete from trade where document_id = any($1)")
                    .bind(cancelled.into_iter().collect::<Vec<_>>())
                    .execute(&mut *view)
                    .await?;
            }
            goods.write(view).await?;
            Ok(())
        }
        .boxed()
    }
}

async fn write(view: &mut PgConnection, documents: &[(&Uuid, &Document<'_>)]) -> sqlx::Result<()> {
    if documents.is_empty() {
        return Ok(());
    }
    let of = || documents.iter().map(|(_, document)| document);
    let (mut customers, mut orders) = (Vec::new(), Vec::new());
    for document in of() {
        let (customer, order) = match document.customer {
            Whose::Customer(customer) => (customer.map(CustomerId::as_str), None),
            Whose::BuyerOf(order) => (None, Some(order.0)),
        };
        customers.push(customer);
        orders.push(order);
    }
    // Arrays of arrays must be even, so each row's are one text: no SKU has a space.
    let skus = |document: &&Document<'_>| joined(document.lines.iter().map(|(sku, _)| sku.as_str()));
    let units = |document: &&Document<'_>| joined(document.lines.iter().map(|(_, units)| units.units().to_string()));
    sqlx::query(
        "insert into trade (document_id, customer_id, at, taken_back, skus, units, position)
         select d.document_id, coalesce(d.customer_id, o.customer_id), d.at, d.taken_back,
             string_to_array(d.skus, ' '), string_to_array(d.units, ' ')::bigint[], d.position
         from unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::bool[], $6::text[], $7::text[], $8::bigint[])
             as d (document_id, customer_id, order_id, at, taken_back, skus, units, position)
         left join trade o on o.document_id = d.order_id
         on conflict (document_id) do nothing",
    )
    .bind(documents.iter().map(|(id, _)| **id).collect::<Vec<_>>())
    .bind(customers)
    .bind(orders)
    .bind(of().map(|document| document.at).collect::<Vec<_>>())
    .bind(of().map(|document| document.taken_back).collect::<Vec<_>>())
    .bind(of().map(skus).collect::<Vec<_>>())
    .bind(of().map(units).collect::<Vec<_>>())
    .bind(of().map(|document| document.position).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}

fn joined<T: AsRef<str>>(words: impl Iterator<Item = T>) -> String {
    let mut joined = String::new();
    for word in words {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word.as_ref());
    }
    joined
}
