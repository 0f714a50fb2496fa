//! The rows are those of a fresh fold of the log, event by event, which knows nothing of batches.

use crate::shop::Shop;
use chrono::{DateTime, Utc};
use kontor_domain::cancellation::CancellationEvent;
use kontor_domain::order::{Line, OrderEvent};
use kontor_domain::product::ProductEvent;
use kontor_domain::stock::{Change, StockEvent};
use kontor_event_schemas::Fact;
use serde_json::{Value, json};
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
    number: Option<String>,
    due_minor: Option<i64>,
    payment_id: Option<Uuid>,
    breakdown: Option<String>,
    contact: Option<Value>,
    cancel_reason: Option<String>,
    captured_minor: i64,
    refunded_minor: i64,
    shipments: Value,
    returns: Value,
    position: i64,
}

#[derive(Debug, Default, PartialEq)]
struct Views {
    products: BTreeMap<String, ProductRow>,
    documents: BTreeMap<Uuid, DocumentRow>,
    /// Units of each order that have not left: only a fresh fold counts them.
    to_ship: BTreeMap<Uuid, u64>,
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
             total_minor, currency, fulfilment, status, placed_at, cancelled_at, number, due_minor, payment_id,
             breakdown::text, contact::jsonb, cancel_reason, captured_minor, refunded_minor,
             coalesce(shipments::jsonb, '[]') as shipments, coalesce(returns::jsonb, '[]') as returns, position
         from projections.orders
         union all
         select cancellation_id, reference, customer_id, country, lines::text, cancellation_lines, units, total_minor,
             currency, null, 'booked', null, cancelled_at, null, null, null, null, null, null, 0, 0, '[]', '[]', position
         from projections.cancellations",
    )
    .fetch_all(&shop.database)
    .await
    .expect("rows");
    Views {
        products: products.into_iter().map(|row| (row.sku.clone(), row)).collect(),
        documents: documents.into_iter().map(|row| (row.id, row)).collect(),
        to_ship: BTreeMap::new(),
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
    let lines = |lines: &[Line]| serde_json::to_string(lines).expect("lines have a JSON form");
    match fact {
        Fact::Product(sku, event) => {
            let row = views.products.entry(sku.to_string()).or_default();
            (row.sku, row.product_position) = (sku.to_string(), position);
            match event {
                ProductEvent::Registered { name, description, .. } | ProductEvent::Described { name, description } => {
                    row.name = Some(name.to_string());
                    row.description = description.map(|text| text.to_string());
                }
                ProductEvent::Priced { price, .. } => {
                    row.price_minor = Some(price.amount_minor);
                    row.currency = Some(price.currency.to_string());
                }
                ProductEvent::Withdrawn { .. } => row.withdrawn = true,
                event => panic!("this trade has no such event: {event:?}"),
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
                lines: lines(&order.lines),
                line_count: order.lines.len() as i64,
                units: units(&order.lines),
                total_minor: order.total.amount_minor,
                currency: order.total.currency.to_string(),
                fulfilment: Some(json!(order.fulfilment).as_str().expect("a word").to_owned()),
                status: "placed".to_owned(),
                placed_at: Some(order.placed_at),
                cancelled_at: None,
                number: order.checkout.as_ref().map(|checkout| checkout.number.to_string()),
                due_minor: Some(order.total.amount_minor + if order.checkout.is_some() { 40 } else { 0 }),
                payment_id: order.checkout.as_ref().map(|checkout| checkout.payment_id.0),
                breakdown: order
                    .checkout
                    .as_ref()
                    .map(|checkout| serde_json::to_string(&checkout.breakdown).expect("it has a JSON form")),
                contact: order.checkout.as_ref().map(|checkout| {
                    json!({"email": checkout.email, "shipping_address": checkout.shipping_address,
                        "billing_address": checkout.billing_address})
                }),
                cancel_reason: None,
                captured_minor: 0,
                refunded_minor: 0,
                shipments: json!([]),
                returns: json!([]),
                position,
            };
            let to_ship = order.lines.iter().map(|line| line.quantity.units()).sum();
            views.to_ship.insert(id.0, to_ship);
            views.documents.insert(id.0, row);
        }
        Fact::Order(id, event) => {
            let row = views.documents.get_mut(&id.0).expect("it was placed before");
            row.position = position;
            live_on(row, views.to_ship.get_mut(&id.0).expect("as above"), event);
        }
        Fact::Cart(..) | Fact::Payment(..) | Fact::Timer(..) => {} // In neither view.
        Fact::Sku(..) | Fact::Slug(..) | Fact::Category(..) => {}
        Fact::Cancellation(id, CancellationEvent::Booked(booked)) => {
            let row = DocumentRow {
                id: id.0,
                reference: booked.reference.map(|text| text.to_string()),
                customer_id: booked.customer_id.map(|id| id.to_string()),
                country: booked.country.to_string(),
                lines: lines(&booked.lines),
                line_count: booked.lines.len() as i64,
                units: units(&booked.lines),
                total_minor: booked.total.amount_minor,
                currency: booked.total.currency.to_string(),
                fulfilment: None,
                status: "booked".to_owned(),
                placed_at: None,
                cancelled_at: Some(booked.cancelled_at),
                number: None,
                due_minor: None,
                payment_id: None,
                breakdown: None,
                contact: None,
                cancel_reason: None,
                captured_minor: 0,
                refunded_minor: 0,
                shipments: json!([]),
                returns: json!([]),
                position,
            };
            views.documents.insert(id.0, row);
        }
    }
}

/// By what moved, and not, as the projection does, by what the event says of the result.
fn live_on(row: &mut DocumentRow, to_ship: &mut u64, event: OrderEvent) {
    let of = |documents: &Value, name: &str, id: Uuid| -> usize {
        let documents = documents.as_array().expect("a list");
        documents.iter().position(|document| document[name] == json!(id)).expect("it was there before")
    };
    match event {
        OrderEvent::Placed(_) => unreachable!("an order is placed once"),
        OrderEvent::Cancelled { reason, cancelled_at, .. } => {
            row.status = "cancelled".to_owned();
            (row.cancel_reason, row.cancelled_at) = (Some(reason.to_string()), Some(cancelled_at));
        }
        OrderEvent::Authorised { .. } => row.status = "authorised".to_owned(),
        OrderEvent::Confirmed { .. } => row.status = "confirmed".to_owned(),
        OrderEvent::Shipped { shipment_id, parts, charge, tracking, shipped_at, .. } => {
            *to_ship -= parts.iter().map(|part| part.quantity.units()).sum::<u64>();
            row.status = if *to_ship == 0 { "shipped" } else { "partly-shipped" }.to_owned();
            let shipment = json!({"shipment_id": shipment_id, "parts": parts, "charge": charge, "tracking": tracking,
                "shipped_at": shipped_at, "delivered_at": null});
            row.shipments.as_array_mut().expect("a list").push(shipment);
        }
        OrderEvent::Delivered { shipment_id, delivered_at, .. } => {
            let index = of(&row.shipments, "shipment_id", shipment_id.0);
            row.shipments[index]["delivered_at"] = json!(delivered_at);
            let mut shipments = row.shipments.as_array().expect("a list").iter();
            if *to_ship == 0 && shipments.all(|shipment| !shipment["delivered_at"].is_null()) {
                row.status = "delivered".to_owned();
            }
        }
        OrderEvent::Captured { amount, .. } => row.captured_minor += amount.amount_minor,
        OrderEvent::ReturnRequested { return_id, parts, reason, requested_at, .. } => {
            let back = json!({"return_id": return_id, "state": "requested", "parts": parts, "reason": reason,
                "refund": null, "requested_at": requested_at, "received_at": null, "restocked_at": null,
                "refunded_at": null});
            row.returns.as_array_mut().expect("a list").push(back);
        }
        OrderEvent::ReturnReceived { return_id, parts, refund, received_at, .. } => {
            let index = of(&row.returns, "return_id", return_id.0);
            let back = &mut row.returns[index];
            (back["state"], back["parts"]) = (json!("received"), json!(parts));
            (back["refund"], back["received_at"]) = (json!(refund), json!(received_at));
        }
        OrderEvent::Restocked { return_id, restocked_at, .. } => {
            let index = of(&row.returns, "return_id", return_id.0);
            row.returns[index]["restocked_at"] = json!(restocked_at);
        }
        OrderEvent::Refunded { return_id, amount, refunded_at, .. } => {
            row.refunded_minor += amount.amount_minor;
            let index = of(&row.returns, "return_id", return_id.0);
            (row.returns[index]["state"], row.returns[index]["refunded_at"]) = (json!("refunded"), json!(refunded_at));
        }
        OrderEvent::RefundBounced { return_id, amount, .. } => {
            row.refunded_minor -= amount.amount_minor;
            let index = of(&row.returns, "return_id", return_id.0);
            (row.returns[index]["state"], row.returns[index]["refunded_at"]) = (json!("refund-bounced"), json!(null));
        }
    }
}
