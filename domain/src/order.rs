//! An order: what a customer bought, at which prices, and whether it still stands.
//!
//! An order from checkout is placed and its goods reserved in one append; then it is authorised, confirmed, shipped
//! (perhaps in parts), delivered, and perhaps returned. [`checkout`] tells of its money, [`shipping`] and [`returns`]
//! of its goods.

pub mod checkout;
mod command;
mod event;
pub mod lines;
pub mod number;
pub mod returns;
#[cfg(test)]
pub(crate) mod samples;
pub mod shipping;

pub use checkout::Checkout;
pub use command::{OrderCommand, OrderError};
pub use event::{Fulfilment, OrderEvent, Placed};
pub use lines::{LINES_MAX, Line, LinePart, LinesError, Picked, demand, goods, total};
pub use number::{OrderNumber, OrderNumberError};

use crate::text::Reason;
use crate::{Money, Quantity, ReturnId, ShipmentId};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use cqrs_es::event_sink::EventSink;
use returns::Return;
use serde::{Deserialize, Serialize};
use shipping::Shipped;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    placed: Option<Placed>,
    cancelled: bool,
    authorised: Option<Money>,
    confirmed: bool,
    /// By line: the units that have left.
    shipped: BTreeMap<u32, Quantity>,
    shipments: BTreeMap<ShipmentId, Shipped>,
    captured: Option<Money>,
    refunded: Option<Money>,
    returns: BTreeMap<ReturnId, Return>,
}

impl Order {
    /// The order as it was placed; `None` before.
    pub fn placed(&self) -> Option<&Placed> {
        self.placed.as_ref()
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// What the shipment holds; `None`: there is none of this id.
    pub fn shipment(&self, shipment_id: ShipmentId) -> Option<&[LinePart]> {
        self.shipments.get(&shipment_id).map(|shipped| shipped.parts.as_slice())
    }

    /// What the return brings back: what was received or, until then, what is to be; `None`: there is none of this id.
    pub fn returned_parts(&self, return_id: ReturnId) -> Option<&[LinePart]> {
        self.returns.get(&return_id).map(|returned| returned.parts.as_slice())
    }

    fn decide(&self, command: OrderCommand) -> Result<Option<OrderEvent>, OrderError> {
        use OrderCommand::*;
        match command {
            Place { order_id, reference, customer_id, country, lines, fulfilment, placed_at, checkout } => {
                let total = total(&lines)?;
                demand(&lines)?;
                self.place(Placed {
                    order_id,
                    reference,
                    customer_id,
                    country,
                    lines,
                    total,
                    fulfilment,
                    placed_at,
                    checkout,
                })
            }
            Cancel { reason, cancelled_at } => self.cancel(reason, cancelled_at),
            CancelUnpaid { reason, cancelled_at } => self.cancel_unpaid(reason, cancelled_at),
            Authorise { payment_id, amount, authorised_at } => self.authorise(payment_id, amount, authorised_at),
            Confirm { confirmed_at } => self.confirm(confirmed_at),
            Ship { shipment_id, picked, tracking, shipped_at } => self.ship(shipment_id, picked, tracking, shipped_at),
            Deliver { shipment_id, delivered_at } => self.deliver(shipment_id, delivered_at),
            BookCapture { captured_total, captured_at } => self.book_capture(captured_total, captured_at),
            RequestReturn { return_id, picked, reason, requested_at } => {
                self.request_return(return_id, picked, reason, requested_at)
            }
            ReceiveReturn { return_id, picked, refund, received_at } => {
                self.receive_return(return_id, picked, refund, received_at)
            }
            Restock { return_id, restocked_at } => self.restock(return_id, restocked_at),
            BookRefund { return_id, attempt, amount, refunded_at } => {
                self.book_refund(return_id, attempt, amount, refunded_at)
            }
            BookRefundBounce { return_id, attempt, bounced_at } => {
                self.book_refund_bounce(return_id, attempt, bounced_at)
            }
        }
    }

    /// Books the order. `None`: this very order stands already, whatever times the retry names.
    fn place(&self, order: Placed) -> Result<Option<OrderEvent>, OrderError> {
        match &self.placed {
            Some(placed) if same_order(placed, &order) => return Ok(None),
            Some(placed) => return Err(OrderError::PlacedDifferently { total: placed.total }),
            None => {}
        }
        match (&order.checkout, order.fulfilment) {
            (Some(checkout), Fulfilment::Checkout) => checkout.check(&order)?,
            (None, Fulfilment::Reserve | Fulfilment::Ship) => {}
            (_, fulfilment) => return Err(OrderError::CheckoutMismatch { fulfilment }),
        }
        Ok(Some(OrderEvent::Placed(order)))
    }

    /// Takes the whole order back, before anything has left. `None`: it already is.
    fn cancel(&self, reason: Reason, cancelled_at: DateTime<Utc>) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.placed.as_ref().ok_or(OrderError::Unknown)?;
        if self.cancelled {
            return Ok(None);
        }
        if !self.shipped.is_empty() {
            return Err(OrderError::AlreadyShipped);
        }
        Ok(Some(OrderEvent::Cancelled { order_id: placed.order_id, total: placed.total, reason, cancelled_at }))
    }

    /// The order, if it was placed and still stands.
    fn standing(&self) -> Result<&Placed, OrderError> {
        let placed = self.placed.as_ref().ok_or(OrderError::Unknown)?;
        if self.cancelled { Err(OrderError::Cancelled) } else { Ok(placed) }
    }
}

/// Whether a retry asks for the order that stands. When it was placed and how long it is held is the first one's to
/// say.
fn same_order(placed: &Placed, retry: &Placed) -> bool {
    let mut retry = Placed { placed_at: placed.placed_at, ..retry.clone() };
    if let (Some(checkout), Some(first)) = (&mut retry.checkout, &placed.checkout) {
        checkout.pay_by = first.pay_by;
    }
    *placed == retry
}

/// The sum of two parts of what one order costs.
fn add(a: Money, b: Money) -> Money {
    a.checked_add(b).expect("parts of an amount that was booked, in one currency")
}

/// What is left of `a` without `b`, a part of it.
fn subtract(a: Money, b: Money) -> Money {
    a.checked_sub(b).expect("parts of an amount that was booked, in one currency")
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
            OrderEvent::Placed(placed) => {
                if placed.fulfilment == Fulfilment::Ship {
                    self.shipped = placed.quantities();
                }
                self.placed = Some(placed);
            }
            OrderEvent::Cancelled { .. } => self.cancelled = true,
            OrderEvent::Authorised { amount, .. } => self.authorised = Some(amount),
            OrderEvent::Confirmed { .. } => self.confirmed = true,
            OrderEvent::Shipped { shipment_id, parts, charge, .. } => {
                for LinePart { line, quantity, .. } in &parts {
                    let units = self.shipped.entry(*line).or_default();
                    *units = lines::plus(*units, *quantity);
                }
                self.shipments.insert(shipment_id, Shipped { parts, charge, delivered: false });
            }
            OrderEvent::Delivered { shipment_id, .. } => {
                if let Some(shipment) = self.shipments.get_mut(&shipment_id) {
                    shipment.delivered = true;
                }
            }
            OrderEvent::Captured { captured_total, .. } => self.captured = Some(captured_total),
            OrderEvent::ReturnRequested { return_id, parts, worth, .. } => {
                self.returns.insert(return_id, Return::requested(parts, worth));
            }
            OrderEvent::ReturnReceived { return_id, parts, refund, .. } => {
                if let Some(returned) = self.returns.get_mut(&return_id) {
                    (returned.parts, returned.refund) = (parts, Some(refund));
                }
            }
            OrderEvent::Restocked { return_id, .. } => {
                if let Some(returned) = self.returns.get_mut(&return_id) {
                    returned.restocked = true;
                }
            }
            OrderEvent::Refunded { return_id, refunded_total, attempt, .. } => {
                self.refunded = Some(refunded_total);
                if let Some(returned) = self.returns.get_mut(&return_id) {
                    (returned.refunded, returned.refunded_by) = (true, attempt);
                }
            }
            OrderEvent::RefundBounced { return_id, attempt, refunded_total, .. } => {
                self.refunded = Some(refunded_total);
                if let Some(returned) = self.returns.get_mut(&return_id) {
                    (returned.refunded, returned.refunded_by) = (false, None);
                    returned.bounced.insert(attempt);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::*;
    use super::*;
    use crate::scenario::{given, handle};
    use crate::{AttemptId, Currency};
    use proptest::prelude::*;
    use uuid::Uuid;

    #[test]
    fn the_total_is_the_sum_of_the_lines() {
        for fulfilment in [Fulfilment::Reserve, Fulfilment::Ship, Fulfilment::Checkout] {
            given::<Order>([]).when(place(two_lines(), fulfilment)).then(placed(two_lines(), fulfilment));
        }
        let OrderEvent::Placed(order) = placed(two_lines(), Fulfilment::Checkout) else { unreachable!() };
        assert_eq!((order.total, order.due()), (pence(305), pence(345)));
    }

    #[test]
    fn an_order_is_placed_once() {
        for fulfilment in [Fulfilment::Reserve, Fulfilment::Checkout] {
            let standing = || [placed(two_lines(), fulfilment)];
            given::<Order>(standing()).when(place(two_lines(), fulfilment)).then_nothing();
            given::<Order>(standing())
                .when(place(vec![line("A", 1, 1)], fulfilment))
                .then_refused(OrderError::PlacedDifferently { total: pence(305) });
        }
    }

    #[test]
    fn a_retry_may_name_later_times() {
        let mut later = place(two_lines(), Fulfilment::Checkout);
        if let OrderCommand::Place { placed_at, checkout: Some(checkout), .. } = &mut later {
            *placed_at += chrono::TimeDelta::minutes(1);
            checkout.pay_by += chrono::TimeDelta::minutes(1);
        }
        given::<Order>([placed(two_lines(), Fulfilment::Checkout)]).when(later).then_nothing();
    }

    #[test]
    fn lines_that_cannot_be_booked_are_named() {
        let refused = |lines, error: LinesError| {
            given::<Order>([]).when(place(lines, Fulfilment::Reserve)).then_refused(error.into());
        };
        refused(vec![], LinesError::Count { lines: 0 });
        refused(vec![line("A", 1, 1); LINES_MAX + 1], LinesError::Count { lines: LINES_MAX + 1 });
        refused(vec![line("A", 1, 1), line("A", 0, 1)], LinesError::Quantity { line: 2 });
        refused(vec![line("A", 1, -1)], LinesError::Price { line: 1, unit_price: pence(-1) });
        refused(vec![line("A", 1, i64::MAX), line("A", 1, 1)], LinesError::TooLarge { line: 2 });
        refused(vec![line("A", Quantity::MAX.units(), 0), line("A", 1, 0)], LinesError::TooLarge { line: 2 });
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
    fn an_order_is_cancelled_once_and_only_before_anything_is_shipped() {
        let standing = placed(two_lines(), Fulfilment::Reserve);
        given::<Order>([standing.clone()]).when(cancel()).then(cancelled(305));
        given::<Order>([standing, cancelled(305)]).when(cancel()).then_nothing();
        given::<Order>([placed(two_lines(), Fulfilment::Ship)]).when(cancel()).then_refused(OrderError::AlreadyShipped);
        given::<Order>(confirmed_order()).when(cancel()).then(cancelled(305));
        given::<Order>([]).when(cancel()).then_refused(OrderError::Unknown);
    }

    /// Golden: events stored before there was a checkout. These texts may only ever gain fields.
    #[test]
    fn an_order_stored_before_there_was_a_checkout_is_read_back() {
        let stored = r#"{"Placed":{"order_id":"00000000-0000-0000-0000-00000000000a","reference":null,"customer_id":null,"country":"EIRE","lines":[{"sku":"A","quantity":2,"unit_price":{"amount_minor":150,"currency":"GBP"}},{"sku":"B","quantity":1,"unit_price":{"amount_minor":5,"currency":"GBP"}}],"total":{"amount_minor":305,"currency":"GBP"},"fulfilment":"ship","placed_at":"2009-12-01T12:00:00Z"}}"#;
        let event: OrderEvent = serde_json::from_str(stored).expect("a stored event");
        assert_eq!(event, placed(two_lines(), Fulfilment::Ship));
        assert_eq!(serde_json::to_string(&event).expect("an event has a JSON form"), stored);
        let stored = r#"{"Cancelled":{"order_id":"00000000-0000-0000-0000-00000000000a","total":{"amount_minor":305,"currency":"GBP"},"reason":"changed my mind","cancelled_at":"2009-12-01T12:00:00Z"}}"#;
        let event: OrderEvent = serde_json::from_str(stored).expect("a stored event");
        assert_eq!(event, cancelled(305));
        assert_eq!(serde_json::to_string(&event).expect("an event has a JSON form"), stored);
    }

    #[test]
    fn an_order_from_checkout_is_read_back() {
        let event = placed(two_lines(), Fulfilment::Checkout);
        let stored = serde_json::to_string(&event).expect("an event has a JSON form");
        assert_eq!(serde_json::from_str::<OrderEvent>(&stored).expect("a stored event"), event);
    }

    /// Small numbers, so that commands often meet what an earlier one did.
    fn any_command() -> impl Strategy<Value = OrderCommand> {
        let at = noon();
        let few = || prop::collection::btree_map(1_u32..4, (0_u64..3).prop_map(units), 0..3);
        let shipment = || (1_u128..4).prop_map(|id| ShipmentId(Uuid::from_u128(id)));
        let returned = || (1_u128..4).prop_map(|id| ReturnId(Uuid::from_u128(id)));
        let attempt = || (1_u128..4).prop_map(|id| AttemptId(Uuid::from_u128(id)));
        let amount = || prop_oneof![Just(pence(345)), (-1_i64..400).prop_map(pence)];
        prop_oneof![
            1 => Just(cancel()),
            1 => Just(OrderCommand::CancelUnpaid { reason: reason(), cancelled_at: at }),
            2 => (1_u64..3, prop_oneof![Just(Fulfilment::Reserve), Just(Fulfilment::Checkout)])
                .prop_map(|(n, fulfilment)| place(vec![line("A", n, 150), line("A", 1, 5)], fulfilment)),
            4 => Just(place(two_lines(), Fulfilment::Checkout)),
            4 => amount().prop_map(move |amount| OrderCommand::Authorise {
                payment_id: PAYMENT, amount, authorised_at: at
            }),
            4 => Just(OrderCommand::Confirm { confirmed_at: at }),
            8 => (shipment(), few()).prop_map(move |(shipment_id, picked)| OrderCommand::Ship {
                shipment_id, picked, tracking: None, shipped_at: at
            }),
            2 => shipment().prop_map(move |shipment_id| OrderCommand::Deliver { shipment_id, delivered_at: at }),
            4 => amount().prop_map(move |captured_total| OrderCommand::BookCapture { captured_total, captured_at: at }),
            8 => (returned(), few()).prop_map(move |(return_id, picked)| OrderCommand::RequestReturn {
                return_id, picked, reason: reason(), requested_at: at
            }),
            8 => (returned(), few(), prop::option::of((-1_i64..400).prop_map(pence))).prop_map(
                move |(return_id, picked, refund)| OrderCommand::ReceiveReturn {
                    return_id, picked, refund, received_at: at
                },
            ),
            2 => returned().prop_map(move |return_id| OrderCommand::Restock { return_id, restocked_at: at }),
            4 => (returned(), attempt(), (-1_i64..400).prop_map(pence)).prop_map(move |(return_id, attempt, amount)| {
                OrderCommand::BookRefund { return_id, attempt, amount, refunded_at: at }
            }),
            2 => (returned(), attempt()).prop_map(move |(return_id, attempt)| {
                OrderCommand::BookRefundBounce { return_id, attempt, bounced_at: at }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_retry_changes_nothing_and_no_more_comes_back_than_went_out(
            commands in prop::collection::vec(any_command(), 0..60),
        ) {
            let mut order = Order::default();
            let mut events = Vec::new();
            for command in commands {
                let before = order.clone();
                match handle(&mut order, command.clone()) {
                    Ok(decided) => {
                        events.extend(decided);
                        prop_assert_eq!(handle(&mut order, command), Ok(vec![]));
                    }
                    Err(_) => prop_assert_eq!(&order, &before),
                }
            }
            let sum = |amount: fn(&OrderEvent) -> Option<Money>| {
                events.iter().filter_map(amount).map(|amount| amount.amount_minor).sum::<i64>()
            };
            let charged = sum(|event| match event { OrderEvent::Shipped { charge, .. } => Some(*charge), _ => None });
            let captured = sum(|event| match event { OrderEvent::Captured { amount, .. } => Some(*amount), _ => None });
            let owed = sum(|event| match event { OrderEvent::ReturnReceived { refund, .. } => Some(*refund), _ => None });
            let refunded = sum(|event| match event { OrderEvent::Refunded { amount, .. } => Some(*amount), _ => None });
            let back = |event: &OrderEvent| match event { OrderEvent::RefundBounced { amount, .. } => Some(*amount), _ => None };
            let refunded = refunded - sum(back);
            prop_assert!(refunded <= owed && owed <= captured && captured <= charged);
            if let Some(placed) = order.placed() {
                prop_assert!(charged <= placed.due().amount_minor);
                if order.left_to_ship().is_empty() && !order.cancelled {
                    prop_assert_eq!(charged, placed.due().amount_minor);
                }
                for (line, quantity) in placed.quantities() {
                    prop_assert!(order.shipped(line) <= quantity);
                    prop_assert!(order.returned(line) <= order.shipped(line));
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
