//! A shop's trade, made up: random commands, decided by the rules of the domain.

use crate::life;
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use kontor_domain::cancellation::{Cancellation, CancellationCommand};
use kontor_domain::order::{Fulfilment, Line, Order, OrderCommand, demand};
use kontor_domain::product::{Product, ProductCommand};
use kontor_domain::stock::{Stock, StockCommand};
use kontor_domain::text::{Country, Name, Reason, Reference};
use kontor_domain::{CancellationId, Currency, LocationId, Money, OrderId, Quantity, Sku};
use rand::rngs::StdRng;
use rand::seq::IndexedMutRandom;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;
use uuid::Uuid;

/// Events for one stream, decided.
pub struct Decided {
    pub aggregate_type: &'static str,
    pub aggregate_id: String,
    /// Event type and payload.
    pub events: Vec<(String, String)>,
}

/// What one command has led to: its streams, the command's own first.
pub type Outcome = Vec<Decided>;

/// The state of the shop, as far as commands need it.
pub struct Trade {
    random: StdRng,
    products: HashMap<Sku, Product>,
    pub stock: HashMap<Sku, Stock>,
    orders: Vec<(OrderId, Order)>,
    skus: u32,
}

impl Trade {
    /// The same trade for the same seed, with this many SKUs.
    pub fn new(seed: u64, skus: u32) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Trade { random, products: HashMap::new(), stock: HashMap::new(), orders: Vec::new(), skus }
    }

    /// The outcome of the next commands: `count` of them that were not refused and changed something.
    pub fn next(&mut self, count: usize) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(count);
        while outcomes.len() < count {
            let outcome = match self.random.random_range(0..50) {
                0..3 => self.product(),
                3..7 => self.receive(),
                7..16 => self.order(),
                16..18 => self.cancel(),
                18..48 => self.live_on(),
                _ => self.book_cancellation(),
            };
            if outcome.iter().any(|decided| !decided.events.is_empty()) {
                outcomes.push(outcome);
            }
        }
        outcomes
    }

    fn sku(&mut self) -> Sku {
        format!("SKU-{}", self.random.random_range(0..self.skus)).parse().expect("a valid SKU")
    }

    fn country(&mut self) -> Country {
        Country::new(["United Kingdom", "EIRE", "Österreich"][self.random.random_range(0..3)]).expect("a valid country")
    }

    fn lines(&mut self) -> Vec<Line> {
        let lines = self.random.random_range(1..5);
        (0..lines)
            .map(|_| Line {
                sku: self.sku(),
                quantity: Quantity::new(self.random.random_range(1..4)).expect("few units"),
                unit_price: Money::new(self.random.random_range(0..900), Currency::GBP),
            })
            .collect()
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(self.random.random())
    }

    fn product(&mut self) -> Outcome {
        let sku = self.sku();
        let name = Name::new(&format!("MUG no. {}", self.random.random_range(0..100))).expect("a valid name");
        let command = match self.random.random_range(0..10) {
            0..4 => ProductCommand::Register { name, description: None, draft: false },
            4..6 => ProductCommand::Describe { name, description: None },
            6..9 => ProductCommand::Price { price: Money::new(self.random.random_range(1..900), Currency::GBP) },
            _ => ProductCommand::Withdraw { reason: Reason::new("broken").expect("a valid reason") },
        };
        let id = sku.to_string();
        vec![decide(self.products.entry(sku).or_default(), id, command)]
    }

    fn receive(&mut self) -> Outcome {
        let sku = self.sku();
        let quantity = Quantity::new(self.random.random_range(1..50)).expect("few units");
        vec![self.move_stock(sku, StockCommand::Receive { quantity, reference: None, location: LocationId::MAIN })]
    }

    fn move_stock(&mut self, sku: Sku, command: StockCommand) -> Decided {
        let id = sku.to_string();
        decide(self.stock.entry(sku).or_default(), id, command)
    }

    fn order(&mut self) -> Outcome {
        let order_id = OrderId(self.uuid());
        let lines = self.lines();
        let wanted = demand(&lines).expect("few units");
        let is_there = |(sku, quantity)| self.stock.get(sku).is_some_and(|stock: &Stock| stock.available() >= quantity);
        if !wanted.iter().all(|(sku, quantity)| is_there((sku, *quantity))) {
            return Vec::new();
        }
        let fulfilment = [Fulfilment::Ship, Fulfilment::Reserve, Fulfilment::Checkout][self.random.random_range(0..3)];
        let customer_id = self.random.random_range(0..4);
        let mut order = Order::default();
        let command = OrderCommand::Place {
            order_id,
            reference: Reference::new(&format!("{}", self.random.random_range(100_000..999_999))).ok(),
            customer_id: format!("{}", 13_000 + customer_id).parse().ok().filter(|_| customer_id > 0),
            country: self.country(),
            checkout: (fulfilment == Fulfilment::Checkout).then(|| Box::new(life::checkout(order_id, &lines))),
            lines,
            fulfilment,
            placed_at: moment(self.random.random_range(0..50_000_000)),
        };
        let mut outcome = vec![decide(&mut order, order_id.to_string(), command)];
        for (sku, quantity) in wanted {
            let command = match fulfilment {
                Fulfilment::Reserve | Fulfilment::Checkout => {
                    StockCommand::Reserve { order_id, quantity, expires_at: None }
                }
                Fulfilment::Ship => StockCommand::ShipUnreserved { order_id, quantity },
            };
            outcome.push(self.move_stock(sku, command));
        }
        self.orders.push((order_id, order));
        outcome
    }

    fn cancel(&mut self) -> Outcome {
        if self.orders.is_empty() {
            return Vec::new();
        }
        let chosen = self.random.random_range(0..self.orders.len());
        let (order_id, order) = &mut self.orders[chosen];
        let (order_id, placed) = (*order_id, order.placed().cloned().expect("only placed orders are kept"));
        let cancelled_at = moment(self.random.random_range(50_000_000..60_000_000));
        let command = OrderCommand::Cancel { reason: Reason::new("changed mind").expect("valid"), cancelled_at };
        let mut outcome = vec![decide(order, order_id.to_string(), command)];
        if !outcome[0].events.is_empty() {
            for sku in demand(&placed.lines).expect("few units").into_keys() {
                outcome.push(self.move_stock(sku, StockCommand::Release { order_id }));
            }
        }
        outcome
    }

    /// Something becomes of an order. Of its goods the stock knows nothing here: they are another story.
    fn live_on(&mut self) -> Outcome {
        let latest = self.orders.len().saturating_sub(6); // So that each has a life.
        let Some((order_id, order)) = self.orders[latest..].choose_mut(&mut self.random) else { return Vec::new() };
        let commands = std::iter::repeat_with(|| life::next(&mut self.random, order)).take(20).collect::<Vec<_>>();
        let decided = commands.into_iter().map(|command| decide(order, order_id.to_string(), command));
        decided.into_iter().find(|decided| !decided.events.is_empty()).into_iter().collect()
    }

    fn book_cancellation(&mut self) -> Outcome {
        let cancellation_id = CancellationId(self.uuid());
        let lines = self.lines();
        let command = CancellationCommand::Book {
            cancellation_id,
            reference: None,
            customer_id: "13001".parse().ok(),
            country: self.country(),
            lines: lines.clone(),
            cancelled_at: moment(self.random.random_range(0..60_000_000)),
        };
        let mut outcome = vec![decide(&mut Cancellation::default(), cancellation_id.to_string(), command)];
        for (sku, quantity) in demand(&lines).expect("few units") {
            outcome.push(
                self.move_stock(sku, StockCommand::Receive { quantity, reference: None, location: LocationId::MAIN }),
            );
        }
        outcome
    }
}

/// Business time, `seconds` after the shop opened.
pub fn moment(seconds: i64) -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(1_259_660_000 + seconds, 123_456_000).expect("a time in this century")
}

/// Has the aggregate decide, as the executor does; a refusal leads to nothing.
pub fn decide<A: Aggregate<Services = ()>>(state: &mut A, aggregate_id: String, command: A::Command) -> Decided {
    // Unconstrained, as the sink's locks would at some time wait for the tokio task around us to yield.
    let events = futures::executor::block_on(tokio::task::unconstrained(async {
        let sink = EventSink::default();
        match state.handle(command, &(), &sink).await {
            Ok(()) => sink.collect().await,
            Err(_) => Vec::new(),
        }
    }));
    let json = |event: A::Event| {
        let payload = serde_json::to_string(&event).expect("an event has a JSON form");
        (event.event_type(), payload)
    };
    Decided { aggregate_type: A::TYPE, aggregate_id, events: events.into_iter().map(json).collect() }
}
