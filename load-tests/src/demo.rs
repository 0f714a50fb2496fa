//! `demo`: a small shop, generated, so that who has just started Kontor sees something.
//!
//! The same shop each time, under the same idempotency keys: filled twice, it is there once.

use crate::bulk::{Batches, Command, Line, Order, Sender, Written, pence};
use crate::client::Api;
use crate::dice::Dice;
use crate::import::until_visible;
use crate::progress::Progress;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use std::sync::atomic::Ordering;
use uuid::Builder;

const PRODUCTS: usize = 200;
const ORDERS: usize = 300;
const CUSTOMERS: usize = 60;
/// 2026-05-04T08:00:00Z; the orders follow in the half year from then. Fixed, since times are part of what a key stands for.
const OPENED_S: i64 = 1_777_881_600;
const BETWEEN_ORDERS_MINUTES: i64 = 14 * 60 + 37;

const LOOKS: [&str; 10] =
    ["Blue", "Striped", "Oak", "Enamel", "Woollen", "Copper", "Linen", "Speckled", "Folding", "Tall"];
const THINGS: [&str; 20] = [
    "Teapot",
    "Mug",
    "Lantern",
    "Basket",
    "Blanket",
    "Doormat",
    "Clock",
    "Vase",
    "Apron",
    "Stool",
    "Candle",
    "Tray",
    "Kettle",
    "Cushion",
    "Ladle",
    "Bread Bin",
    "Umbrella",
    "Notebook",
    "Watering Can",
    "Coat Hook",
];
const COUNTRIES: [&str; 7] =
    ["United Kingdom", "United Kingdom", "United Kingdom", "Germany", "France", "Ireland", "Portugal"];

/// What the shop holds afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shop {
    pub products: usize,
    pub orders: usize,
    /// Of the orders.
    pub cancelled: usize,
    /// Commands that an earlier run had done.
    pub replayed: u64,
    /// The last position of the log that the shop has led to.
    pub position: i64,
}

/// Fills the shop and waits until the query API shows it.
pub async fn run(commands: &Api, queries: &Api) -> anyhow::Result<Shop> {
    let sender = Sender::new(commands.clone());
    let send = |what, count: usize, commands: fn(&mut Batches) -> anyhow::Result<()>| {
        sender.send(Progress::new(what, count as u64), commands)
    };
    // A product must be there before its price and stock, those before an order, and that before its cancellation.
    send("products", PRODUCTS, |batches| (0..PRODUCTS).try_for_each(|product| batches.push(registration(product))))
        .await?;
    send("prices", 2 * PRODUCTS, |batches| {
        (0..PRODUCTS).try_for_each(|product| offer(product).into_iter().try_for_each(|command| batches.push(command)))
    })
    .await?;
    send("orders", ORDERS, |batches| (0..ORDERS).try_for_each(|at| batches.push(order(at)))).await?;
    let cancelled = (0..ORDERS).filter(|at| is_cancelled(*at)).count();
    send("cancellations", cancelled, |batches| {
        (0..ORDERS).filter(|at| is_cancelled(*at)).try_for_each(|at| batches.push(cancellation(at)))
    })
    .await?;
    let position = sender.sent().position.load(Ordering::Relaxed);
    until_visible(queries, position).await?;
    let replayed = sender.sent().replayed.load(Ordering::Relaxed);
    Ok(Shop { products: PRODUCTS, orders: ORDERS, cancelled, replayed, position })
}

fn sku(product: usize) -> String {
    format!("DEMO-{:03}", product + 1)
}

fn price(product: usize) -> i64 {
    let mut dice = Dice::new(product as u64);
    395 + 100 * dice.roll(60) as i64
}

fn registration(product: usize) -> Written {
    let (look, thing) = (LOOKS[product % LOOKS.len()], THINGS[product / LOOKS.len()]);
    let (sku, name) = (sku(product), format!("{look} {thing}"));
    Written::new(&format!("demo/product/{sku}"), &Command::RegisterProduct { sku: &sku, name: &name })
}

fn offer(product: usize) -> [Written; 2] {
    let sku = sku(product);
    let price = Command::PriceProduct { sku: &sku, price: pence(price(product)) };
    let stock = Command::ReceiveStock { sku: &sku, quantity: 250, reference: "opening stock" };
    [
        Written::new(&format!("demo/price of/{sku}"), &price),
        Written::new(&format!("demo/opening stock of/{sku}"), &stock),
    ]
}

/// Older orders have been shipped; the goods of the last third are set aside.
fn fulfilment(at: usize) -> &'static str {
    if at < ORDERS * 2 / 3 { "ship" } else { "reserve" }
}

/// Only what has not been shipped can be cancelled.
fn is_cancelled(at: usize) -> bool {
    fulfilment(at) == "reserve" && at % 8 == 3
}

fn order(at: usize) -> Written {
    let mut dice = Dice::new(1_000 + at as u64);
    let customer = dice.roll(CUSTOMERS);
    let customer_id = format!("demo-{:03}", customer + 1);
    let products: Vec<(String, i64, usize)> = (0..1 + dice.roll(5))
        .map(|_| {
            let product = dice.roll(PRODUCTS);
            (sku(product), 1 + dice.roll(4) as i64, product)
        })
        .collect();
    let lines = products.iter().map(|(sku, quantity, product)| Line {
        sku,
        quantity: *quantity,
        unit_price: pence(price(*product)),
    });
    let command = Command::PlaceOrder(Order {
        order_id: &order_id(at),
        reference: &format!("demo {}", at + 1),
        // Every ninth is a guest's.
        customer_id: (!at.is_multiple_of(9)).then_some(&customer_id),
        country: COUNTRIES[customer % COUNTRIES.len()],
        lines: lines.collect(),
        fulfilment: fulfilment(at),
        placed_at: &placed_at(at).to_rfc3339_opts(SecondsFormat::Secs, true),
    });
    Written::new(&format!("demo/order/{}", at + 1), &command)
}

fn cancellation(at: usize) -> Written {
    let reasons = ["changed my mind", "ordered twice", "found it cheaper"];
    let command = Command::CancelOrder { order_id: &order_id(at), reason: reasons[at / 8 % reasons.len()] };
    Written::new(&format!("demo/cancellation of order/{}", at + 1), &command)
}

fn placed_at(at: usize) -> DateTime<chrono::Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(OPENED_S) + TimeDelta::minutes(BETWEEN_ORDERS_MINUTES * at as i64)
}

/// A UUID of version 7 that is the same each time.
fn order_id(at: usize) -> String {
    let mut chance = [0; 10];
    chance[2..].copy_from_slice(&(at as u64).to_be_bytes());
    Builder::from_unix_timestamp_millis(placed_at(at).timestamp_millis().unsigned_abs(), &chance)
        .into_uuid()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_products_are_called_the_same() {
        let lines: HashSet<_> =
            (0..PRODUCTS).map(|product| (LOOKS[product % LOOKS.len()], THINGS[product / LOOKS.len()])).collect();
        assert_eq!(lines.len(), PRODUCTS);
        assert_eq!((0..ORDERS).map(order_id).collect::<HashSet<_>>().len(), ORDERS);
    }

    #[test]
    fn some_orders_are_cancelled_and_none_of_them_has_been_shipped() {
        let cancelled: Vec<_> = (0..ORDERS).filter(|at| is_cancelled(*at)).collect();
        assert!(cancelled.len() > 5 && cancelled.iter().all(|at| fulfilment(*at) == "reserve"));
    }

    #[test]
    fn the_orders_lie_in_the_half_year_from_may_2026() {
        assert_eq!(placed_at(0).to_rfc3339(), "2026-05-04T08:00:00+00:00");
        assert_eq!(placed_at(ORDERS - 1).format("%Y-%m").to_string(), "2026-11");
    }
}
