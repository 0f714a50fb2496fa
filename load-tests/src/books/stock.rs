//! The units of one SKU, counted from what each event says was moved, and held against what it says is left.

use kontor_domain::stock::{Change, StockEvent};
use kontor_domain::{OrderId, Quantity};
use std::collections::HashMap;

/// What was counted so far; nothing here may ever be below 0.
#[derive(Debug, Default)]
pub struct Count {
    on_hand: i64,
    set_aside: i64,
    orders: HashMap<OrderId, Share>,
}

/// An order's units.
#[derive(Debug, Default)]
struct Share {
    set_aside: i64,
    shipped: i64,
}

impl Count {
    /// Units that are set aside for orders, all together.
    pub fn set_aside(&self) -> i64 {
        self.set_aside
    }

    /// Units in the building.
    pub fn on_hand(&self) -> i64 {
        self.on_hand
    }

    /// Units of them that no order holds.
    pub fn available(&self) -> i64 {
        self.on_hand - self.set_aside
    }

    /// Units that an order has: set aside for it, or shipped.
    pub fn of(&self, order_id: OrderId) -> i64 {
        self.orders.get(&order_id).map_or(0, |share| share.set_aside + share.shipped)
    }

    /// Counts on. Returns what is wrong after the event.
    pub fn enter(&mut self, event: &StockEvent) -> Vec<String> {
        use StockEvent::*;
        let on_hand_after = match event {
            Received { quantity, on_hand_after, .. } | Returned { quantity, on_hand_after, .. } => {
                self.on_hand += units(quantity);
                Some(on_hand_after)
            }
            Adjusted { change, on_hand_after, .. } => {
                self.on_hand += match change {
                    Change::Up(quantity) => units(quantity),
                    Change::Down(quantity) => -units(quantity),
                };
                Some(on_hand_after)
            }
            Reserved { order_id, quantity, .. } | Filled { order_id, quantity, .. } => {
                self.hold(*order_id, units(quantity));
                None
            }
            Released { order_id, quantity, .. } => {
                self.hold(*order_id, -units(quantity));
                None
            }
            Shipped { order_id, quantity, on_hand_after, .. } => {
                let share = self.orders.entry(*order_id).or_default();
                share.shipped += units(quantity);
                let held = share.set_aside.min(units(quantity)); // What ships at once was never set aside.
                self.hold(*order_id, -held);
                self.on_hand -= units(quantity);
                Some(on_hand_after)
            }
            Transferred { on_hand_after, .. } => Some(on_hand_after),
            Confirmed { .. } | BackOrdersLimited { .. } => None,
        };
        self.faults(event, on_hand_after)
    }

    fn hold(&mut self, order_id: OrderId, units: i64) {
        self.orders.entry(order_id).or_default().set_aside += units;
        self.set_aside += units;
    }

    fn faults(&self, event: &StockEvent, on_hand_after: Option<&Quantity>) -> Vec<String> {
        let Self { on_hand, set_aside, .. } = *self;
        let available = self.available();
        let told = units(available_after(event));
        let mut faults = Vec::new();
        if on_hand.min(set_aside).min(available) < 0 {
            faults.push(format!("has {on_hand} units on hand, {set_aside} set aside, {available} available"));
        }
        if told != available {
            faults.push(format!("has {available} units available, the event says {told}"));
        }
        if let Some(told) = on_hand_after.filter(|told| units(told) != on_hand) {
            faults.push(format!("has {on_hand} units on hand, the event says {told}"));
        }
        faults
    }
}

fn units(quantity: &Quantity) -> i64 {
    quantity.units().cast_signed()
}

fn available_after(event: &StockEvent) -> &Quantity {
    use StockEvent::*;
    match event {
        Received { available_after, .. }
        | Adjusted { available_after, .. }
        | Transferred { available_after, .. }
        | Reserved { available_after, .. }
        | Filled { available_after, .. }
        | Confirmed { available_after, .. }
        | Released { available_after, .. }
        | Shipped { available_after, .. }
        | Returned { available_after, .. }
        | BackOrdersLimited { available_after, .. } => available_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::LocationId;
    use kontor_domain::stock::{ReleaseCause, Shares};
    use uuid::Uuid;

    const ORDER: OrderId = OrderId(Uuid::from_u128(1));

    fn quantity(units: u64) -> Quantity {
        Quantity::new(units).expect("few units")
    }

    fn received(units: u64) -> StockEvent {
        let (quantity, on_hand_after, available_after) = (quantity(units), quantity(units), quantity(units));
        let location = LocationId::MAIN;
        StockEvent::Received { quantity, reference: None, on_hand_after, available_after, location }
    }

    fn reserved(units: u64, available_after: u64) -> StockEvent {
        StockEvent::Reserved {
            order_id: ORDER,
            quantity: quantity(units),
            available_after: quantity(available_after),
            shares: Shares::default(),
            back_ordered: Quantity::ZERO,
            back_ordered_after: Quantity::ZERO,
            expires_at: None,
        }
    }

    fn released(units: u64, available_after: u64) -> StockEvent {
        StockEvent::Released {
            order_id: ORDER,
            quantity: quantity(units),
            available_after: quantity(available_after),
            cause: ReleaseCause::Requested,
            shares: Shares::default(),
            back_ordered: Quantity::ZERO,
            back_ordered_after: Quantity::ZERO,
        }
    }

    fn faults(events: &[StockEvent]) -> Vec<String> {
        let mut count = Count::default();
        events.iter().flat_map(|event| count.enter(event)).collect()
    }

    #[test]
    fn what_is_right_has_no_fault() {
        assert_eq!(faults(&[received(2), reserved(2, 0), released(2, 2)]), Vec::<String>::new());
    }

    #[test]
    fn a_unit_that_is_sold_twice_is_a_fault() {
        let oversold = faults(&[received(1), reserved(1, 0), reserved(1, 0)]);
        assert!(oversold[0].starts_with("has 1 units on hand, 2 set aside, -1 available"), "{oversold:?}");
    }

    #[test]
    fn a_unit_that_appears_or_vanishes_is_a_fault() {
        assert_eq!(faults(&[received(2), reserved(1, 0)]), ["has 1 units available, the event says 0"]);
        let twice = faults(&[received(2), reserved(1, 1), released(1, 2), released(1, 2)]);
        assert!(twice[0].starts_with("has 2 units on hand, -1 set aside"), "{twice:?}");
    }
}
