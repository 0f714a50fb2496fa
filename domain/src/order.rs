//! An order: what a customer bought, at which prices, and whether it still stands.

use crate::text::{Country, Reason, Reference};
use crate::{CustomerId, Money, OrderId, Quantity, Sku};
use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most lines that one order or cancellation may have.
pub const LINES_MAX: usize = 2_000;

/// What has happened to one order. Stored and published: a field may be added, none renamed or removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderEvent {
    /// The order stands, and its goods are reserved or shipped in the same append.
    Placed(Placed),
    /// The order does not stand any more; its goods are released in the same append.
    Cancelled { order_id: OrderId, total: Money, reason: Reason, cancelled_at: DateTime<Utc> },
}

/// An order as it was placed. `total` is the sum of quantity x unit price over the lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placed {
    pub order_id: OrderId,
    pub reference: Option<Reference>,
    /// `None`: a guest.
    pub customer_id: Option<CustomerId>,
    pub country: Country,
    pub lines: Vec<Line>,
    pub total: Money,
    pub fulfilment: Fulfilment,
    /// Business time, UTC.
    pub placed_at: DateTime<Utc>,
}

/// One line of an order or a cancellation: `quantity` units at `unit_price` each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub sku: Sku,
    pub quantity: Quantity,
    pub unit_price: Money,
}

/// What becomes of the goods when the order is placed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fulfilment {
    /// They are set aside until they are shipped or released.
    #[default]
    Reserve,
    /// They leave at once: trade over the counter, or recorded after the fact.
    Ship,
}

impl DomainEvent for OrderEvent {
    fn event_type(&self) -> String {
        match self {
            OrderEvent::Placed(_) => "Placed",
            OrderEvent::Cancelled { .. } => "Cancelled",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum OrderCommand {
    Place {
        order_id: OrderId,
        reference: Option<Reference>,
        customer_id: Option<CustomerId>,
        country: Country,
        lines: Vec<Line>,
        fulfilment: Fulfilment,
        placed_at: DateTime<Utc>,
    },
    Cancel {
        reason: Reason,
        cancelled_at: DateTime<Utc>,
    },
}

/// Why an order command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OrderError {
    #[error("no order has this id")]
    Unknown,
    #[error("another order of {total} was placed under this id")]
    PlacedDifferently { total: Money },
    #[error("the goods of this order have been shipped")]
    AlreadyShipped,
    #[error(transparent)]
    Lines(#[from] LinesError),
}

/// Why the lines of an order or a cancellation were refused. `line` counts from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinesError {
    #[error("there must be 1 to {LINES_MAX} lines, there are {lines}")]
    Count { lines: usize },
    #[error("line {line}: the quantity must be at least 1")]
    Quantity { line: usize },
    #[error("line {line}: the unit price must not be below 0, is {unit_price}")]
    Price { line: usize, unit_price: Money },
    #[error("line {line}: all prices must be in {expected}, this one is in {found}")]
    Currency { line: usize, expected: crate::Currency, found: crate::Currency },
    #[error("line {line}: quantities or amounts add up to more than can be booked")]
    TooLarge { line: usize },
}

/// The sum of quantity x unit price. Refuses lines that cannot be booked.
pub fn total(lines: &[Line]) -> Result<Money, LinesError> {
    let (1..=LINES_MAX, Some(first)) = (lines.len(), lines.first()) else {
        return Err(LinesError::Count { lines: lines.len() });
    };
    let currency = first.unit_price.currency;
    let mut total = Money::zero(currency);
    for (line, Line { quantity, unit_price, .. }) in (1..).zip(lines) {
        if quantity.is_zero() {
            return Err(LinesError::Quantity { line });
        }
        if unit_price.amount_minor < 0 {
            return Err(LinesError::Price { line, unit_price: *unit_price });
        }
        if unit_price.currency != currency {
            return Err(LinesError::Currency { line, expected: currency, found: unit_price.currency });
        }
        total = unit_price
            .checked_mul(*quantity)
            .and_then(|amount| total.checked_add(amount))
            .ok_or(LinesError::TooLarge { line })?;
    }
    Ok(total)
}

/// Units wanted of each SKU, summed over the lines, in the order of the SKUs.
pub fn demand(lines: &[Line]) -> Result<BTreeMap<Sku, Quantity>, LinesError> {
    let mut demand = BTreeMap::<Sku, Quantity>::new();
    for (line, Line { sku, quantity, .. }) in (1..).zip(lines) {
        let wanted = demand.entry(sku.clone()).or_default();
        *wanted = wanted.checked_add(*quantity).ok_or(LinesError::TooLarge { line })?;
    }
    Ok(demand)
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    placed: Option<Placed>,
    cancelled: bool,
}

impl Order {
    /// The order as it was placed; `None` before.
    pub fn placed(&self) -> Option<&Placed> {
        self.placed.as_ref()
    }

    fn decide(&self, command: OrderCommand) -> Result<Option<OrderEvent>, OrderError> {
        match command {
            OrderCommand::Place { order_id, reference, customer_id, country, lines, fulfilment, placed_at } => {
                let total = total(&lines)?;
                let placed = Placed { order_id, reference, customer_id, country, lines, total, fulfilment, placed_at };
                self.place(placed)
            }
            OrderCommand::Cancel { reason, cancelled_at } => self.cancel(reason, cancelled_at),
        }
    }

    /// Books the order. `None`: this very order stands already, whatever time the retry names.
    fn place(&self, order: Placed) -> Result<Option<OrderEvent>, OrderError> {
        match &self.placed {
            Some(placed) if (Placed { placed_at: order.placed_at, ..placed.clone() }) == order => Ok(None),
            Some(placed) => Err(OrderError::PlacedDifferently { total: placed.total }),
            None => Ok(Some(OrderEvent::Placed(order))),
        }
    }

    /// Takes the whole order back. `None`: it already is.
    fn cancel(&self, reason: Reason, cancelled_at: DateTime<Utc>) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.placed.as_ref().ok_or(OrderError::Unknown)?;
        if self.cancelled {
            return Ok(None);
        }
        if placed.fulfilment == Fulfilment::Ship {
            return Err(OrderError::AlreadyShipped);
        }
        Ok(Some(OrderEvent::Cancelled { order_id: placed.order_id, total: placed.total, reason, cancelled_at }))
    }
}

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = OrderError;
    type Services = ();

    async fn handle(&mut self, command: OrderCommand, _: &(), sink: &EventSink<Self>) -> Result<(), OrderError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::Placed(placed) => self.placed = Some(placed),
            OrderEvent::Cancelled { .. } => self.cancelled = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Currency;
    use crate::scenario::{given, handle};
    use proptest::prelude::*;
    use uuid::Uuid;

    const ORDER: OrderId = OrderId(Uuid::from_u128(0xA));

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_259_668_800, 0).expect("a time in 2009")
    }

    fn line(sku: &str, units: u64, pence: i64) -> Line {
        Line {
            sku: sku.parse().expect("a valid SKU"),
            quantity: Quantity::new(units).expect("few units"),
            unit_price: Money::new(pence, Currency::GBP),
        }
    }

    fn place(lines: Vec<Line>, fulfilment: Fulfilment) -> OrderCommand {
        OrderCommand::Place {
            order_id: ORDER,
            reference: None,
            customer_id: None,
            country: Country::new("EIRE").expect("a valid country"),
            lines,
            fulfilment,
            placed_at: noon(),
        }
    }

    fn placed(lines: Vec<Line>, pence: i64, fulfilment: Fulfilment) -> OrderEvent {
        OrderEvent::Placed(Placed {
            order_id: ORDER,
            reference: None,
            customer_id: None,
            country: Country::new("EIRE").expect("a valid country"),
            lines,
            total: Money::new(pence, Currency::GBP),
            fulfilment,
            placed_at: noon(),
        })
    }

    fn cancel() -> OrderCommand {
        OrderCommand::Cancel { reason: Reason::new("changed my mind").expect("a valid reason"), cancelled_at: noon() }
    }

    fn two_lines() -> Vec<Line> {
        vec![line("A", 2, 150), line("B", 1, 5)]
    }

    #[test]
    fn the_total_is_the_sum_of_the_lines() {
        given::<Order>([]).when(place(two_lines(), Fulfilment::Reserve)).then(placed(
            two_lines(),
            305,
            Fulfilment::Reserve,
        ));
    }

    #[test]
    fn an_order_is_placed_once() {
        let standing = || [placed(two_lines(), 305, Fulfilment::Reserve)];
        given::<Order>(standing()).when(place(two_lines(), Fulfilment::Reserve)).then_nothing();
        given::<Order>(standing())
            .when(place(vec![line("A", 1, 1)], Fulfilment::Reserve))
            .then_refused(OrderError::PlacedDifferently { total: Money::new(305, Currency::GBP) });
    }

    #[test]
    fn lines_that_cannot_be_booked_are_named() {
        let refused = |lines, error: LinesError| {
            given::<Order>([]).when(place(lines, Fulfilment::Reserve)).then_refused(error.into());
        };
        refused(vec![], LinesError::Count { lines: 0 });
        refused(vec![line("A", 1, 1); LINES_MAX + 1], LinesError::Count { lines: LINES_MAX + 1 });
        refused(vec![line("A", 1, 1), line("A", 0, 1)], LinesError::Quantity { line: 2 });
        refused(vec![line("A", 1, -1)], LinesError::Price { line: 1, unit_price: Money::new(-1, Currency::GBP) });
        refused(vec![line("A", 1, i64::MAX), line("A", 1, 1)], LinesError::TooLarge { line: 2 });
        let euro = Currency::from_code("EUR").expect("EUR is in ISO 4217");
        let mut mixed = two_lines();
        mixed[1].unit_price.currency = euro;
        refused(mixed, LinesError::Currency { line: 2, expected: Currency::GBP, found: euro });
    }

    #[test]
    fn demand_is_summed_for_each_sku() {
        let demand = demand(&[line("B", 1, 1), line("A", 2, 1), line("B", 3, 2)]).expect("few units");
        let units: Vec<_> = demand.iter().map(|(sku, quantity)| (sku.as_str(), quantity.units())).collect();
        assert_eq!(units, [("A", 2), ("B", 4)]);
    }

    #[test]
    fn an_order_is_cancelled_once_and_only_before_it_is_shipped() {
        let cancelled = OrderEvent::Cancelled {
            order_id: ORDER,
            total: Money::new(305, Currency::GBP),
            reason: Reason::new("changed my mind").expect("a valid reason"),
            cancelled_at: noon(),
        };
        let standing = placed(two_lines(), 305, Fulfilment::Reserve);
        given::<Order>([standing.clone()]).when(cancel()).then(cancelled.clone());
        given::<Order>([standing, cancelled]).when(cancel()).then_nothing();
        given::<Order>([placed(two_lines(), 305, Fulfilment::Ship)])
            .when(cancel())
            .then_refused(OrderError::AlreadyShipped);
        given::<Order>([]).when(cancel()).then_refused(OrderError::Unknown);
    }

    proptest! {
        #[test]
        fn a_retry_changes_nothing(
            commands in prop::collection::vec(
                prop_oneof![
                    Just(cancel()),
                    (0_u64..3, 0_i64..3).prop_map(|(n, p)| place(vec![line("A", n, p)], Fulfilment::Reserve)),
                ],
                0..10,
            ),
        ) {
            let mut order = Order::default();
            for command in commands {
                if handle(&mut order, command.clone()).is_ok() {
                    prop_assert_eq!(handle(&mut order, command), Ok(vec![]));
                }
            }
        }

        #[test]
        fn every_unit_and_penny_of_the_lines_is_counted(
            lines in prop::collection::vec((0..5_u8, 1_u64..100, 0_i64..10_000), 1..50),
        ) {
            let lines: Vec<_> = lines.iter().map(|(sku, n, pence)| line(&format!("S{sku}"), *n, *pence)).collect();
            let pence: i64 = lines.iter().map(|l| l.unit_price.amount_minor * l.quantity.units() as i64).sum();
            let units: u64 = lines.iter().map(|l| l.quantity.units()).sum();
            prop_assert_eq!(total(&lines), Ok(Money::new(pence, Currency::GBP)));
            prop_assert_eq!(demand(&lines).map(|d| d.values().map(|q| q.units()).sum::<u64>()), Ok(units));
        }
    }
}
