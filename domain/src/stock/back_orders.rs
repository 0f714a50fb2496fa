//! Back-orders: units promised before they have come in, handed out first come first served.

use super::{Stock, StockError, StockEvent, difference, sum};
use crate::{OrderId, Quantity};

impl Stock {
    /// Says for how many units orders may wait. `None`: it is so already. A limit below what is back-ordered only keeps
    /// further orders from waiting.
    pub(super) fn limit_back_orders(&self, up_to: Quantity) -> Result<Option<StockEvent>, StockError> {
        if up_to == self.back_ordered_max {
            return Ok(None);
        }
        Ok(Some(StockEvent::BackOrdersLimited { up_to, available_after: self.available }))
    }

    /// How many units orders wait for once another order waits for `missing` of the `requested` ones.
    pub(super) fn back_order(&self, requested: Quantity, missing: Quantity) -> Result<Quantity, StockError> {
        let available = self.available;
        if missing.is_zero() {
            return Ok(self.back_ordered);
        }
        if self.back_ordered_max.is_zero() {
            return Err(StockError::Insufficient { requested, available });
        }
        let left = self.back_ordered_max.checked_sub(self.back_ordered).unwrap_or_default();
        if missing > left {
            return Err(StockError::BackOrdersFull { requested, available, left });
        }
        Ok(sum(self.back_ordered, missing))
    }

    /// Gives what is available to the order that has waited longest. `None`: nothing is, or nobody waits.
    pub(super) fn fill_next(&self) -> Option<StockEvent> {
        let order_id = *self.waiting.front()?;
        let missing = self.reservations.get(&order_id)?.back_ordered;
        let quantity = missing.min(self.available);
        if quantity.is_zero() {
            return None;
        }
        Some(StockEvent::Filled {
            order_id,
            quantity,
            available_after: difference(self.available, quantity),
            shares: self.places.pick_available(quantity),
            back_ordered: difference(missing, quantity),
            back_ordered_after: difference(self.back_ordered, quantity),
        })
    }

    /// The order has all its units, or wants none any more.
    pub(super) fn stop_waiting(&mut self, order_id: OrderId) {
        if let Some(at) = self.waiting.index_of(&order_id) {
            self.waiting.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;
    use crate::LocationId;
    use crate::scenario::{given, handle, state};
    use crate::stock::{ReleaseCause, Shares, StockCommand};

    fn limit(n: u64) -> StockCommand {
        StockCommand::LimitBackOrders { up_to: units(n) }
    }

    fn filled(order_id: OrderId, n: u64, missing: u64, available: u64, waited_for: u64) -> StockEvent {
        StockEvent::Filled {
            order_id,
            quantity: units(n),
            available_after: units(available),
            shares: Shares::default(),
            back_ordered: units(missing),
            back_ordered_after: units(waited_for),
        }
    }

    #[test]
    fn nothing_is_back_ordered_unless_it_is_allowed() {
        given::<Stock>([])
            .when(limit(2))
            .then(StockEvent::BackOrdersLimited { up_to: units(2), available_after: units(0) });
        given::<Stock>(history([limit(2)])).when(limit(2)).then_nothing();
        given::<Stock>([]).when(limit(0)).then_nothing();
        given::<Stock>(history([receive(1), limit(2), limit(0)]))
            .when(reserve(ORDER_A, 2))
            .then_refused(StockError::Insufficient { requested: units(2), available: units(1) });
    }

    #[test]
    fn an_order_takes_what_is_there_and_waits_for_the_rest() {
        let before = || given::<Stock>(history([receive(1), limit(2)]));
        before().when(reserve(ORDER_A, 3)).then(StockEvent::Reserved {
            order_id: ORDER_A,
            quantity: units(1),
            available_after: units(0),
            shares: Shares::default(),
            back_ordered: units(2),
            back_ordered_after: units(2),
            expires_at: None,
        });
        before().when(reserve(ORDER_A, 4)).then_refused(StockError::BackOrdersFull {
            requested: units(4),
            available: units(1),
            left: units(2),
        });
        given::<Stock>(history([receive(1), limit(2), reserve(ORDER_A, 3)])).when(reserve(ORDER_A, 3)).then_nothing();
    }

    #[test]
    fn a_lower_limit_only_keeps_further_orders_from_waiting() {
        given::<Stock>(history([limit(5), reserve(ORDER_A, 3), limit(2)]))
            .when(reserve(ORDER_B, 1))
            .then_refused(StockError::BackOrdersFull { requested: units(1), available: units(0), left: units(0) });
    }

    #[test]
    fn who_waits_longest_is_served_first() {
        let mut stock: Stock = state(history([limit(9), reserve(ORDER_B, 2), reserve(ORDER_A, 3)]));
        let fills = [filled(ORDER_B, 2, 0, 1, 3), filled(ORDER_A, 1, 2, 0, 2)];
        assert_eq!(handle(&mut stock, receive(3)), Ok([received(3)].into_iter().chain(fills).collect()));
        let events = handle(&mut stock, receive(4)).expect("there is room");
        assert_eq!(events[1..], [filled(ORDER_A, 2, 0, 2, 0)]);
    }

    #[test]
    fn goods_that_wait_for_an_order_are_where_they_came_in() {
        let mut stock: Stock = state(history([receive(1), limit(9), reserve(ORDER_A, 3)]));
        let events = handle(&mut stock, receive_at(paris(), 5)).expect("there is room");
        let in_paris = Shares::new([(paris(), units(2))].into());
        assert!(matches!(&events[1], StockEvent::Filled { shares, .. } if *shares == in_paris), "{events:?}");
        let events = handle(&mut stock, ship(ORDER_A)).expect("all is there");
        let both = Shares::new([(LocationId::MAIN, units(1)), (paris(), units(2))].into());
        assert!(matches!(&events[0], StockEvent::Shipped { shares, .. } if *shares == both), "{events:?}");
    }

    #[test]
    fn what_an_order_gives_back_goes_to_those_who_wait() {
        let before = [receive(3), limit(9), reserve(ORDER_A, 4), reserve(ORDER_B, 2)];
        let mut stock: Stock = state(history(before));
        let events = handle(&mut stock, release(ORDER_A));
        let released = StockEvent::Released {
            order_id: ORDER_A,
            quantity: units(3),
            available_after: units(3),
            cause: ReleaseCause::Requested,
            shares: Shares::default(),
            back_ordered: units(1),
            back_ordered_after: units(2),
        };
        assert_eq!(events, Ok(vec![released, filled(ORDER_B, 2, 0, 1, 0)]));
    }

    #[test]
    fn what_has_not_come_in_cannot_be_shipped() {
        let before = || given::<Stock>(history([receive(1), limit(9), reserve(ORDER_A, 3)]));
        let refusal = |requested| StockError::BackOrdered { requested: units(requested), filled: units(1) };
        before().when(ship(ORDER_A)).then_refused(refusal(3));
        before().when(ship_part(ORDER_A, 2)).then_refused(refusal(2));
        before().when(ship_part(ORDER_A, 1)).then(StockEvent::Shipped {
            order_id: ORDER_A,
            quantity: units(1),
            on_hand_after: units(0),
            available_after: units(0),
            shares: Shares::default(),
            remaining: units(2),
        });
    }
}
