//! Stock of one SKU: received, set aside for orders, shipped. Never negative.

use crate::{OrderId, Quantity, text::Reference};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

/// What has happened to one SKU's stock. Stored and published: a field may be added, none renamed or removed.
///
/// `on_hand_after` counts the units in the building, `available_after` those of them that no order holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StockEvent {
    /// `quantity` units came in: a delivery, or goods taken back.
    Received { quantity: Quantity, reference: Option<Reference>, on_hand_after: Quantity, available_after: Quantity },
    /// `quantity` units are set aside for the order. They are still in the building.
    Reserved { order_id: OrderId, quantity: Quantity, available_after: Quantity },
    /// The order's units are on sale again.
    Released { order_id: OrderId, quantity: Quantity, available_after: Quantity },
    /// The order's units have left the building.
    Shipped { order_id: OrderId, quantity: Quantity, on_hand_after: Quantity, available_after: Quantity },
}

impl DomainEvent for StockEvent {
    fn event_type(&self) -> String {
        match self {
            StockEvent::Received { .. } => "Received",
            StockEvent::Reserved { .. } => "Reserved",
            StockEvent::Released { .. } => "Released",
            StockEvent::Shipped { .. } => "Shipped",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum StockCommand {
    Receive {
        quantity: Quantity,
        reference: Option<Reference>,
    },
    Reserve {
        order_id: OrderId,
        quantity: Quantity,
    },
    Release {
        order_id: OrderId,
    },
    /// Ships what the order has reserved.
    Ship {
        order_id: OrderId,
    },
    /// Ships at once what no order holds: goods handed over the counter, or trade recorded after the fact.
    ShipUnreserved {
        order_id: OrderId,
        quantity: Quantity,
    },
}

/// Why a stock command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StockError {
    #[error("{requested} units requested, {available} available")]
    Insufficient { requested: Quantity, available: Quantity },
    #[error("the order already holds {held} units")]
    ReservedDifferently { held: Quantity },
    #[error("the order holds no units of this SKU")]
    NotReserved,
    #[error("the quantity must be at least 1")]
    NothingToMove,
    #[error("{quantity} units more would be above the largest stock, {} units", Quantity::MAX)]
    TooMany { quantity: Quantity },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stock {
    received: Quantity,
    shipped: Quantity,
    on_hand: Quantity,
    available: Quantity,
    reservations: imbl::OrdMap<OrderId, Quantity>,
}

impl Stock {
    /// Units that no order holds.
    pub fn available(&self) -> Quantity {
        self.available
    }

    /// Whether anything was ever received: a SKU without stock is not on sale.
    pub fn is_known(&self) -> bool {
        !self.received.is_zero()
    }

    fn decide(&self, command: StockCommand) -> Result<Option<StockEvent>, StockError> {
        match command {
            StockCommand::Receive { quantity, reference } => self.receive(quantity, reference),
            StockCommand::Reserve { order_id, quantity } => self.reserve(order_id, quantity),
            StockCommand::Release { order_id } => self.release(order_id),
            StockCommand::Ship { order_id } => self.ship(order_id),
            StockCommand::ShipUnreserved { order_id, quantity } => self.ship_unreserved(order_id, quantity),
        }
    }

    /// Takes units in. Every delivery counts: only the command's idempotency key tells a retry from a second one.
    fn receive(&self, quantity: Quantity, reference: Option<Reference>) -> Result<Option<StockEvent>, StockError> {
        at_least_one(quantity)?;
        self.received.checked_add(quantity).ok_or(StockError::TooMany { quantity })?;
        Ok(Some(StockEvent::Received {
            quantity,
            reference,
            on_hand_after: sum(self.on_hand, quantity),
            available_after: sum(self.available, quantity),
        }))
    }

    /// Sets `quantity` units aside for an order. `None`: they already are, so a retry changes nothing.
    fn reserve(&self, order_id: OrderId, quantity: Quantity) -> Result<Option<StockEvent>, StockError> {
        match self.reservations.get(&order_id) {
            Some(&held) if held == quantity => return Ok(None),
            Some(&held) => return Err(StockError::ReservedDifferently { held }),
            None => at_least_one(quantity)?,
        }
        let available_after = self.take(quantity)?;
        Ok(Some(StockEvent::Reserved { order_id, quantity, available_after }))
    }

    /// Puts the order's units back on sale.
    fn release(&self, order_id: OrderId) -> Result<Option<StockEvent>, StockError> {
        let quantity = self.held_by(order_id)?;
        Ok(Some(StockEvent::Released { order_id, quantity, available_after: sum(self.available, quantity) }))
    }

    /// Sends the order its units.
    fn ship(&self, order_id: OrderId) -> Result<Option<StockEvent>, StockError> {
        let quantity = self.held_by(order_id)?;
        Ok(Some(StockEvent::Shipped {
            order_id,
            quantity,
            on_hand_after: difference(self.on_hand, quantity),
            available_after: self.available, // They left it when they were reserved.
        }))
    }

    /// Hands `quantity` units over at once.
    fn ship_unreserved(&self, order_id: OrderId, quantity: Quantity) -> Result<Option<StockEvent>, StockError> {
        at_least_one(quantity)?;
        if let Some(&held) = self.reservations.get(&order_id) {
            return Err(StockError::ReservedDifferently { held });
        }
        let available_after = self.take(quantity)?;
        Ok(Some(StockEvent::Shipped {
            order_id,
            quantity,
            on_hand_after: difference(self.on_hand, quantity),
            available_after,
        }))
    }

    fn take(&self, requested: Quantity) -> Result<Quantity, StockError> {
        self.available.checked_sub(requested).ok_or(StockError::Insufficient { requested, available: self.available })
    }

    fn held_by(&self, order_id: OrderId) -> Result<Quantity, StockError> {
        self.reservations.get(&order_id).copied().ok_or(StockError::NotReserved)
    }
}

fn at_least_one(quantity: Quantity) -> Result<(), StockError> {
    if quantity.is_zero() { Err(StockError::NothingToMove) } else { Ok(()) }
}

fn sum(a: Quantity, b: Quantity) -> Quantity {
    a.checked_add(b).expect("on hand and available are at most what was received, which has a largest")
}

fn difference(a: Quantity, b: Quantity) -> Quantity {
    a.checked_sub(b).expect("what is reserved or available is on hand")
}

impl Aggregate for Stock {
    const TYPE: &'static str = "stock";
    type Command = StockCommand;
    type Event = StockEvent;
    type Error = StockError;
    type Services = ();

    async fn handle(&mut self, command: StockCommand, _: &(), sink: &EventSink<Self>) -> Result<(), StockError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: StockEvent) {
        match event {
            StockEvent::Received { quantity, on_hand_after, available_after, .. } => {
                self.received = sum(self.received, quantity);
                (self.on_hand, self.available) = (on_hand_after, available_after);
            }
            StockEvent::Reserved { order_id, quantity, available_after } => {
                self.reservations.insert(order_id, quantity);
                self.available = available_after;
            }
            StockEvent::Released { order_id, available_after, .. } => {
                self.reservations.remove(&order_id);
                self.available = available_after;
            }
            StockEvent::Shipped { order_id, quantity, on_hand_after, available_after } => {
                self.reservations.remove(&order_id);
                self.shipped = sum(self.shipped, quantity);
                (self.on_hand, self.available) = (on_hand_after, available_after);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{given, handle};
    use proptest::prelude::*;
    use uuid::Uuid;

    const ORDER_A: OrderId = OrderId(Uuid::from_u128(0xA));
    const ORDER_B: OrderId = OrderId(Uuid::from_u128(0xB));

    fn units(n: u64) -> Quantity {
        Quantity::new(n).expect("few units")
    }

    fn received(n: u64) -> StockEvent {
        StockEvent::Received { quantity: units(n), reference: None, on_hand_after: units(n), available_after: units(n) }
    }

    fn reserved(order_id: OrderId, n: u64, left: u64) -> StockEvent {
        StockEvent::Reserved { order_id, quantity: units(n), available_after: units(left) }
    }

    fn reserve(order_id: OrderId, n: u64) -> StockCommand {
        StockCommand::Reserve { order_id, quantity: units(n) }
    }

    fn ship_unreserved(order_id: OrderId, n: u64) -> StockCommand {
        StockCommand::ShipUnreserved { order_id, quantity: units(n) }
    }

    #[test]
    fn deliveries_add_up() {
        let receive = |n| StockCommand::Receive { quantity: units(n), reference: None };
        given::<Stock>([]).when(receive(3)).then(received(3));
        given::<Stock>([received(3), reserved(ORDER_A, 1, 2)]).when(receive(2)).then(StockEvent::Received {
            quantity: units(2),
            reference: None,
            on_hand_after: units(5),
            available_after: units(4),
        });
        given::<Stock>([]).when(receive(0)).then_refused(StockError::NothingToMove);
        given::<Stock>([received(1)])
            .when(StockCommand::Receive { quantity: Quantity::MAX, reference: None })
            .then_refused(StockError::TooMany { quantity: Quantity::MAX });
    }

    #[test]
    fn the_last_unit_goes_to_one_order_only() {
        given::<Stock>([received(1), reserved(ORDER_A, 1, 0)])
            .when(reserve(ORDER_B, 1))
            .then_refused(StockError::Insufficient { requested: units(1), available: units(0) });
    }

    #[test]
    fn a_reservation_is_made_once() {
        given::<Stock>([received(3)]).when(reserve(ORDER_A, 2)).then(reserved(ORDER_A, 2, 1));
        given::<Stock>([received(3), reserved(ORDER_A, 2, 1)]).when(reserve(ORDER_A, 2)).then_nothing();
        given::<Stock>([received(3), reserved(ORDER_A, 2, 1)])
            .when(reserve(ORDER_A, 3))
            .then_refused(StockError::ReservedDifferently { held: units(2) });
        given::<Stock>([received(3)]).when(reserve(ORDER_A, 0)).then_refused(StockError::NothingToMove);
    }

    #[test]
    fn released_units_are_on_sale_again() {
        given::<Stock>([received(3), reserved(ORDER_A, 2, 1)])
            .when(StockCommand::Release { order_id: ORDER_A })
            .then(StockEvent::Released { order_id: ORDER_A, quantity: units(2), available_after: units(3) });
        given::<Stock>([received(3)])
            .when(StockCommand::Release { order_id: ORDER_A })
            .then_refused(StockError::NotReserved);
    }

    #[test]
    fn an_order_is_shipped_what_it_reserved() {
        given::<Stock>([received(3), reserved(ORDER_A, 2, 1)]).when(StockCommand::Ship { order_id: ORDER_A }).then(
            StockEvent::Shipped {
                order_id: ORDER_A,
                quantity: units(2),
                on_hand_after: units(1),
                available_after: units(1),
            },
        );
        given::<Stock>([received(3)])
            .when(StockCommand::Ship { order_id: ORDER_A })
            .then_refused(StockError::NotReserved);
    }

    #[test]
    fn goods_over_the_counter_never_touch_what_others_reserved() {
        given::<Stock>([received(3)]).when(ship_unreserved(ORDER_A, 3)).then(StockEvent::Shipped {
            order_id: ORDER_A,
            quantity: units(3),
            on_hand_after: units(0),
            available_after: units(0),
        });
        given::<Stock>([received(3), reserved(ORDER_A, 2, 1)])
            .when(ship_unreserved(ORDER_B, 2))
            .then_refused(StockError::Insufficient { requested: units(2), available: units(1) });
        given::<Stock>([received(3), reserved(ORDER_A, 2, 1)])
            .when(ship_unreserved(ORDER_A, 1))
            .then_refused(StockError::ReservedDifferently { held: units(2) });
        given::<Stock>([received(3)]).when(ship_unreserved(ORDER_A, 0)).then_refused(StockError::NothingToMove);
    }

    fn any_command() -> impl Strategy<Value = StockCommand> {
        let order = || prop_oneof![Just(ORDER_A), Just(ORDER_B)];
        prop_oneof![
            (0_u64..5).prop_map(|n| StockCommand::Receive { quantity: units(n), reference: None }),
            (order(), 0_u64..5).prop_map(|(order, n)| reserve(order, n)),
            order().prop_map(|order_id| StockCommand::Release { order_id }),
            order().prop_map(|order_id| StockCommand::Ship { order_id }),
            (order(), 0_u64..5).prop_map(|(order, n)| ship_unreserved(order, n)),
        ]
    }

    proptest! {
        #[test]
        fn units_are_conserved(commands in prop::collection::vec(any_command(), 0..60)) {
            let mut stock = Stock::default();
            for command in commands {
                let before = stock.clone();
                match handle(&mut stock, command.clone()) {
                    Err(_) => prop_assert_eq!(&stock, &before),
                    Ok(_) if matches!(command, StockCommand::Reserve { .. }) => {
                        prop_assert_eq!(handle(&mut stock, command), Ok(vec![]));
                    }
                    Ok(_) => {}
                }
                let reserved: u64 = stock.reservations.values().map(|held| held.units()).sum();
                prop_assert_eq!(stock.on_hand.units() + stock.shipped.units(), stock.received.units());
                prop_assert_eq!(stock.available.units() + reserved, stock.on_hand.units());
            }
        }
    }
}
