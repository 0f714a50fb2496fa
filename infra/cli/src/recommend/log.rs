//! The log as trade to learn from.

use crate::database::Database;
use anyhow::Context;
use chrono::{DateTime, Utc};
use kontor_domain::cancellation::{Booked, CancellationEvent};
use kontor_domain::order::{Line, LinePart, OrderEvent, Placed};
use kontor_domain::product::ProductEvent;
use kontor_domain::{CategoryId, OrderId, Sku};
use kontor_event_schemas::{RecordedEvent, upcast};
use kontor_event_store::LogReader;
use kontor_local::Role;
use kontor_recommend::{Product, Trade};
use serde::de::DeserializeOwned;
use sqlx::postgres::PgPoolOptions;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Positions that are looked at with one query.
const BATCH: i64 = 20_000;
/// What says what is sold, to whom, and what is taken back.
const TYPES: [(&str, &str); 7] = [
    ("product", "Registered"),
    ("product", "Described"),
    ("product", "Categorised"),
    ("order", "Placed"),
    ("order", "Cancelled"),
    ("order", "ReturnReceived"),
    ("cancellation", "Booked"),
];

/// What the log says was sold and taken back at `at` (business time) or before. `tell` hears how much of it is read.
pub async fn trade(database: Database, at: DateTime<Utc>, tell: impl Fn(f64)) -> anyhow::Result<Trade> {
    let postgres = database.options(Role::Projector)?;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(postgres).await;
    let log = LogReader::new(pool.context("the database cannot be reached")?, Arc::new(upcast::released()));
    let head = log.head().await.context("the log cannot be read")?;
    let (mut position, mut known) = (0, Known { at, ..Known::default() });
    while position < head {
        let (events, up_to) = log.read_only(&TYPES, position, BATCH).await?;
        for event in &events {
            known.apply(event).with_context(|| format!("the event at position {}", event.position))?;
        }
        position = up_to;
        tell(position as f64 / head as f64);
    }
    Ok(known.trade().known(at))
}

#[derive(Default)]
struct Known {
    at: DateTime<Utc>,
    products: HashMap<Sku, Product>,
    orders: BTreeMap<OrderId, Placed>,
    /// Cancellations that name no order.
    taken_back: Vec<Booked>,
}

impl Known {
    fn apply(&mut self, event: &RecordedEvent) -> anyhow::Result<()> {
        match &*event.aggregate_type {
            "product" => self.product(event.aggregate_id.parse()?, read(event)?),
            "order" => self.order(read(event)?),
            _ => {
                let CancellationEvent::Booked(booked) = read(event)?;
                self.taken_back.extend(Some(booked).filter(|booked| booked.cancelled_at <= self.at));
            }
        }
        Ok(())
    }

    fn product(&mut self, sku: Sku, event: ProductEvent) {
        let nameless = || Product { sku: sku.clone(), name: String::new(), categories: Vec::new() };
        let product = self.products.entry(sku.clone()).or_insert_with(nameless);
        match event {
            ProductEvent::Registered { name, .. } | ProductEvent::Described { name, .. } => {
                product.name = name.as_str().to_owned();
            }
            ProductEvent::Categorised { categories } => {
                product.categories = categories.iter().map(CategoryId::to_string).collect();
            }
            _ => {} // Is not read.
        }
    }

    /// What is taken back of an order that is known leaves it: nothing was sold.
    fn order(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::Placed(placed) if placed.placed_at <= self.at => {
                self.orders.insert(placed.order_id, placed);
            }
            OrderEvent::Cancelled { order_id, cancelled_at, .. } if cancelled_at <= self.at => {
                self.orders.remove(&order_id);
            }
            OrderEvent::ReturnReceived { order_id, parts, received_at, .. } if received_at <= self.at => {
                let Some(placed) = self.orders.get_mut(&order_id) else { return };
                for LinePart { line, quantity, .. } in parts {
                    if let Some(line) = placed.lines.get_mut((line as usize).wrapping_sub(1)) {
                        line.quantity = line.quantity.checked_sub(quantity).unwrap_or_default();
                    }
                }
            }
            _ => {} // Is not read, or came later.
        }
    }

    /// Names as they are now: the log's own time is not the shop's.
    fn trade(self) -> Trade {
        let mut trade = Trade::default();
        self.products.into_values().for_each(|product| trade.describe(product));
        for Placed { customer_id, placed_at, lines, .. } in self.orders.values() {
            trade.sell(customer_id.as_ref(), *placed_at, units(lines));
        }
        for Booked { customer_id, cancelled_at, lines, .. } in &self.taken_back {
            trade.take_back(customer_id.as_ref(), *cancelled_at, units(lines));
        }
        trade
    }
}

fn units(lines: &[Line]) -> impl Iterator<Item = (&Sku, u64)> {
    lines.iter().map(|line| (&line.sku, line.quantity.units()))
}

fn read<T: DeserializeOwned>(event: &RecordedEvent) -> serde_json::Result<T> {
    serde_json::from_str(&event.payload)
}
