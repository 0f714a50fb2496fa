//! The rows are those of a fresh fold of the log, event by event, which knows nothing of batches.

use crate::shop::Shop;
use chrono::{DateTime, Utc};
use kontor_domain::cancellation::CancellationEvent;
use kontor_domain::order::{Fulfilment, Line, OrderEvent};
use kontor_domain::product::ProductEvent;
use kontor_domain::stock::{Change, StockEvent};
use kontor_event_schemas::Fact;
use sqlx::FromRow;
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Debug, Default, Clone, PartialEq, FromRow)]
struct ProductRow {
    sku: String,
    name: Option<String>,
    description: Option<String>,
    price_minor: Option<i64>,
    currency: Option<String>,
    withdrawn: bool,
    on_hand: i64,
    available: i64,
    product_position: i64,
    stock_position: i64,
}

/// An order, or a cancellation booked by itself.
#[derive(Debug, Clone, PartialEq, FromRow)]
struct DocumentRow {
    id: Uuid,
    reference: Option<String>,
    customer_id: Option<String>,
    country: String,
    lines: String,
    line_count: i64,
    units: i64,
    total_minor: i64,
    currency: String,
    fulfilment: Option<String>,
    status: String,
    placed_at: Option<DateTime<Utc>>,
    cancelled_at: Option<DateTime<Utc>>,
    position: i64,
}

#[derive(Debug, Default, PartialEq)]
struct Views {
    products: BTreeMap<String, ProductRow>,
    documents: BTreeMap<Uuid, DocumentRow>,
}

pub async fn assert_equal_to_a_fresh_fold(shop: &Shop) {
    let (kept, fresh) = (kept(shop).await, fresh(shop).await);
    assert_eq!(kept.products, fresh.products);
    assert_eq!(kept.documents, fresh.documents);
}

async fn kept(shop: &Shop) -> Views {
    let products: Vec<ProductRow> =
        sqlx::query_as("select * from projections.products").fetch_all(&shop.database).await.expect("rows");
    let documents: Vec<DocumentRow> = sqlx::query_as(
        "select order_id as id, reference, customer_id, country, lines::text, order_lines as line_count, units,
             total_minor, currency, fulfilment, status, placed_at, cancelled_at, position from projections.orders
         union all
         select cancellation_id, reference, customer_id, country, lines::text, cancellation_lines, units, total_minor,
             currency, null, 'booked', null, cancelled_at, position from projections.cancellations",
    )
    .fetch_all(&shop.database)
    .await
    .expect("rows");
    Views {
        products: products.into_iter().map(|row| (row.sku.clone(), row)).collect(),
        documents: documents.into_iter().map(|row| (row.id, row)).collect(),
    }
}

async fn fresh(shop: &Shop) -> Views {
    let mut views = Views::default();
    for event in shop.reader.read(0, i64::from(i32::MAX)).await.expect("the log answers") {
        let fact = Fact::decode(&event.aggregate_type, &event.aggregate_id, event.payload.as_bytes());
        fold(&mut views, event.position, fact.expect("only events that can be read are compared"));
    }
    views
}

fn fold(views: &mut Views, position: i64, fact: Fact) {
    let units = |lines: &[Line]| lines.iter().map(|line| line.quantity.units() as i64).sum();
    let json = |lines: &[Line]| serde_json::to_string(lines).expect("lines have a JSON form");
    match fact {
        Fact::Product(sku, event) => {
            let row = views.products.entry(sku.to_string()).or_default();
            (row.sku, row.product_position) = (sku.to_string(), position);
            match event {
                ProductEvent::Registered { name, description } | ProductEvent::Described { name, description } => {
                    row.name = Some(name.to_string());
                    row.description = description.map(|text| text.to_string());
                }
                ProductEvent::Priced { price, .. } => {
                    row.price_minor = Some(price.amount_minor);
                    row.currency = Some(price.currency.to_string());
                }
                ProductEvent::Withdrawn { .. } => row.withdrawn = true,
            }
        }
        Fact::Stock(sku, event) => {
            let row = views.products.entry(sku.to_string()).or_default();
            (row.sku, row.stock_position) = (sku.to_string(), position);
            // By what moved, and not, as the projection does, by what the event says of the result.
            match event {
                StockEvent::Received { quantity, .. }
                | StockEvent::Returned { quantity, .. }
                | StockEvent::Adjusted { change: Change::Up(quantity), .. } => {
                    row.on_hand += quantity.units() as i64;
                    row.available += quantity.units() as i64;
                }
                StockEvent::Adjusted { change: Change::Down(quantity), .. } => {
                    row.on_hand -= quantity.units() as i64;
                    row.available -= quantity.units() as i64;
                }
                StockEvent::Reserved { quantity, .. } | StockEvent::Filled { quantity, .. } => {
                    row.available -= quantity.units() as i64;
                }
                StockEvent::Released { quantity, .. } => row.available += quantity.units() as i64,
                StockEvent::Shipped { quantity, available_after, .. } => {
                    row.on_hand -= quantity.units() as i64;
                    row.available = available_after.units() as i64; // Reserved before, or not.
                }
                StockEvent::Transferred { .. }
                | StockEvent::Confirmed { .. }
                | StockEvent::BackOrdersLimited { .. } => {}
            }
        }
        Fact::Order(id, OrderEvent::Placed(order)) => {
            let row = DocumentRow {
                id: id.0,
                reference: order.reference.map(|text| text.to_string()),
                customer_id: order.customer_id.map(|id| id.to_string()),
                country: order.country.to_string(),
                lines: json(&order.lines),
                line_count: order.lines.len() as i64,
                units: units(&order.lines),
                total_minor: order.total.amount_minor,
                currency: order.total.currency.to_string(),
                fulfilment: Some(if order.fulfilment == Fulfilment::Ship { "ship" } else { "reserve" }.to_owned()),
                status: "placed".to_owned(),
                placed_at: Some(order.placed_at),
                cancelled_at: None,
                position,
            };
            views.documents.insert(id.0, row);
        }
        Fact::Order(id, OrderEvent::Cancelled { cancelled_at, .. }) => {
            let row = views.documents.get_mut(&id.0).expect("it was placed before");
            (row.status, row.cancelled_at, row.position) = ("cancelled".to_owned(), Some(cancelled_at), position);
        }
        Fact::Order(_, event) => panic!("this trade has no such event: {event:?}"),
        Fact::Cart(..) | Fact::Payment(..) | Fact::Timer(..) => {} // In neither view.
        Fact::Cancellation(id, CancellationEvent::Booked(booked)) => {
            let row = DocumentRow {
                id: id.0,
                reference: booked.reference.map(|text| text.to_string()),
                customer_id: booked.customer_id.map(|id| id.to_string()),
                country: booked.country.to_string(),
                lines: json(&booked.lines),
                line_count: booked.lines.len() as i64,
                units: units(&booked.lines),
                total_minor: booked.total.amount_minor,
                currency: booked.total.currency.to_string(),
                fulfilment: None,
                status: "booked".to_owned(),
                placed_at: None,
                cancelled_at: Some(booked.cancelled_at),
                position,
            };
            views.documents.insert(id.0, row);
        }
    }
}
