//! Goods come and go: deliveries, counts, moves between locations, the counter, returns.

use super::{Change, Stock, StockError, StockEvent, at_least_one, difference, sum};
use crate::text::{Reason, Reference};
use crate::{LocationId, OrderId, Quantity};

impl Stock {
    /// Takes units in. Every delivery counts: only the command's idempotency key tells a retry from a second one.
    pub(super) fn receive(
        &self,
        quantity: Quantity,
        reference: Option<Reference>,
        location: LocationId,
    ) -> Result<Option<StockEvent>, StockError> {
        at_least_one(quantity)?;
        self.has_room(quantity)?;
        Ok(Some(StockEvent::Received {
            quantity,
            reference,
            on_hand_after: sum(self.on_hand, quantity),
            available_after: sum(self.available, quantity),
            location,
        }))
    }

    /// Books units that were found or are missing. Every one counts, as with a delivery.
    pub(super) fn adjust(
        &self,
        location: LocationId,
        change: Change,
        reason: Reason,
    ) -> Result<Option<StockEvent>, StockError> {
        let (on_hand_after, available_after) = match change {
            Change::Up(quantity) => {
                at_least_one(quantity)?;
                self.has_room(quantity)?;
                (sum(self.on_hand, quantity), sum(self.available, quantity))
            }
            Change::Down(quantity) => {
                at_least_one(quantity)?;
                let place = self.places.at(&location);
                if quantity > place.available {
                    let (on_hand, reserved) = (place.on_hand, place.reserved());
                    return Err(StockError::BelowReserved { location, fewer: quantity, on_hand, reserved });
                }
                (difference(self.on_hand, quantity), difference(self.available, quantity))
            }
        };
        Ok(Some(StockEvent::Adjusted { change, reason, on_hand_after, available_after, location }))
    }

    /// Books the difference to what was counted. `None`: there is none.
    pub(super) fn count(
        &self,
        location: LocationId,
        counted: Quantity,
        reason: Reason,
    ) -> Result<Option<StockEvent>, StockError> {
        let on_hand = self.places.at(&location).on_hand;
        if counted == on_hand {
            return Ok(None);
        }
        let change = match counted.checked_sub(on_hand) {
            Some(more) => Change::Up(more),
            None => Change::Down(difference(on_hand, counted)),
        };
        self.adjust(location, change, reason)
    }

    /// Moves units from one location to another. Every move counts, as with a delivery.
    pub(super) fn transfer(
        &self,
        quantity: Quantity,
        from: LocationId,
        to: LocationId,
        reference: Option<Reference>,
    ) -> Result<Option<StockEvent>, StockError> {
        at_least_one(quantity)?;
        if from == to {
            return Err(StockError::SameLocation { location: to });
        }
        let available = self.places.at(&from).available;
        if quantity > available {
            return Err(StockError::InsufficientAt { location: from, requested: quantity, available });
        }
        let (on_hand_after, available_after) = (self.on_hand, self.available);
        Ok(Some(StockEvent::Transferred { quantity, from, to, reference, on_hand_after, available_after }))
    }

    /// Hands `quantity` units over at once.
    pub(super) fn ship_unreserved(
        &self,
        order_id: OrderId,
        quantity: Quantity,
    ) -> Result<Option<StockEvent>, StockError> {
        at_least_one(quantity)?;
        if let Some(reservation) = self.reservations.get(&order_id) {
            return Err(StockError::ReservedDifferently { held: reservation.held() });
        }
        let available = self.available;
        let available_after =
            available.checked_sub(quantity).ok_or(StockError::Insufficient { requested: quantity, available })?;
        Ok(Some(StockEvent::Shipped {
            order_id,
            quantity,
            on_hand_after: difference(self.on_hand, quantity),
            available_after,
            shares: self.places.pick_available(quantity),
            remaining: Quantity::ZERO,
        }))
    }

    /// Takes back units of an order. Every one counts, as with a delivery, up to what was shipped: how much of it to this
    /// order, the order knows.
    pub(super) fn take_back(
        &self,
        order_id: OrderId,
        quantity: Quantity,
        location: LocationId,
    ) -> Result<Option<StockEvent>, StockError> {
        at_least_one(quantity)?;
        let shipped = difference(self.shipped, self.returned);
        if quantity > shipped {
            return Err(StockError::MoreThanShipped { requested: quantity, shipped });
        }
        self.has_room(quantity)?;
        Ok(Some(StockEvent::Returned {
            order_id,
            quantity,
            on_hand_after: sum(self.on_hand, quantity),
            available_after: sum(self.available, quantity),
            location,
        }))
    }

    /// All that ever came in stays below the largest quantity, and with it all that is a part of it.
    fn has_room(&self, quantity: Quantity) -> Result<(), StockError> {
        let came_in = sum(sum(self.received, self.found), self.returned);
        came_in.checked_add(quantity).map(|_| ()).ok_or(StockError::TooMany { quantity })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;
    use crate::scenario::given;
    use crate::stock::{Shares, StockCommand};

    #[test]
    fn deliveries_add_up() {
        given::<Stock>([]).when(receive(3)).then(received(3));
        given::<Stock>(history([receive(3), reserve(ORDER_A, 1)])).when(receive_at(paris(), 2)).then(
            StockEvent::Received {
                quantity: units(2),
                reference: None,
                on_hand_after: units(5),
                available_after: units(4),
                location: paris(),
            },
        );
        given::<Stock>([]).when(receive(0)).then_refused(StockError::NothingToMove);
        given::<Stock>([received(1)])
            .when(receive(Quantity::MAX.units()))
            .then_refused(StockError::TooMany { quantity: Quantity::MAX });
    }

    #[test]
    fn what_was_found_or_is_missing_is_booked_with_its_reason() {
        let adjusted = |change, on_hand, available| StockEvent::Adjusted {
            change,
            reason: reason(),
            on_hand_after: units(on_hand),
            available_after: units(available),
            location: LocationId::MAIN,
        };
        let before = || given::<Stock>(history([receive(3), reserve(ORDER_A, 2)]));
        let (up, down) = (|n| Change::Up(units(n)), |n| Change::Down(units(n)));
        before().when(adjust(LocationId::MAIN, up(2))).then(adjusted(up(2), 5, 3));
        before().when(adjust(LocationId::MAIN, down(1))).then(adjusted(down(1), 2, 0));
        before().when(adjust(LocationId::MAIN, up(0))).then_refused(StockError::NothingToMove);
        before().when(adjust(LocationId::MAIN, down(0))).then_refused(StockError::NothingToMove);
        before()
            .when(adjust(LocationId::MAIN, Change::Up(Quantity::MAX)))
            .then_refused(StockError::TooMany { quantity: Quantity::MAX });
    }

    #[test]
    fn what_orders_hold_is_never_adjusted_away() {
        let below = |location, fewer, on_hand, reserved| StockError::BelowReserved {
            location,
            fewer: units(fewer),
            on_hand: units(on_hand),
            reserved: units(reserved),
        };
        let before = || given::<Stock>(history([receive(3), receive_at(paris(), 1), reserve(ORDER_A, 2)]));
        before().when(adjust(LocationId::MAIN, Change::Down(units(2)))).then_refused(below(LocationId::MAIN, 2, 3, 2));
        before().when(count(LocationId::MAIN, 1)).then_refused(below(LocationId::MAIN, 2, 3, 2));
        before().when(adjust(paris(), Change::Down(units(2)))).then_refused(below(paris(), 2, 1, 0));
    }

    #[test]
    fn a_count_books_the_difference() {
        let before = || given::<Stock>(history([receive(3), receive_at(paris(), 5), reserve(ORDER_A, 1)]));
        before().when(count(paris(), 4)).then(StockEvent::Adjusted {
            change: Change::Down(units(1)),
            reason: reason(),
            on_hand_after: units(7),
            available_after: units(6),
            location: paris(),
        });
        before().when(count(berlin(), 2)).then(StockEvent::Adjusted {
            change: Change::Up(units(2)),
            reason: reason(),
            on_hand_after: units(10),
            available_after: units(9),
            location: berlin(),
        });
        before().when(count(paris(), 5)).then_nothing();
    }

    #[test]
    fn units_that_no_order_holds_can_be_moved() {
        let before = || given::<Stock>(history([receive(3), reserve(ORDER_A, 1)]));
        before().when(transfer(2, LocationId::MAIN, paris())).then(StockEvent::Transferred {
            quantity: units(2),
            from: LocationId::MAIN,
            to: paris(),
            reference: None,
            on_hand_after: units(3),
            available_after: units(2),
        });
        before().when(transfer(3, LocationId::MAIN, paris())).then_refused(StockError::InsufficientAt {
            location: LocationId::MAIN,
            requested: units(3),
            available: units(2),
        });
        before().when(transfer(1, paris(), paris())).then_refused(StockError::SameLocation { location: paris() });
        before().when(transfer(0, LocationId::MAIN, paris())).then_refused(StockError::NothingToMove);
    }

    #[test]
    fn goods_over_the_counter_never_touch_what_others_reserved() {
        given::<Stock>([received(3)]).when(ship_unreserved(ORDER_A, 3)).then(shipped(ORDER_A, 3, 0, 0));
        let before = || given::<Stock>(history([receive(3), reserve(ORDER_A, 2)]));
        before()
            .when(ship_unreserved(ORDER_B, 2))
            .then_refused(StockError::Insufficient { requested: units(2), available: units(1) });
        before().when(ship_unreserved(ORDER_A, 1)).then_refused(StockError::ReservedDifferently { held: units(2) });
        before().when(ship_unreserved(ORDER_B, 0)).then_refused(StockError::NothingToMove);
    }

    #[test]
    fn what_is_handed_over_comes_from_where_most_is() {
        given::<Stock>(history([receive(1), receive_at(paris(), 3)])).when(ship_unreserved(ORDER_A, 4)).then(
            StockEvent::Shipped {
                order_id: ORDER_A,
                quantity: units(4),
                on_hand_after: units(0),
                available_after: units(0),
                shares: Shares::new([(LocationId::MAIN, units(1)), (paris(), units(3))].into()),
                remaining: units(0),
            },
        );
    }

    #[test]
    fn no_more_comes_back_than_has_left() {
        let take_back = |n| StockCommand::Return { order_id: ORDER_A, quantity: units(n), location: paris() };
        let shipped = [receive(3), reserve(ORDER_A, 2), ship(ORDER_A)];
        given::<Stock>(history(shipped.clone())).when(take_back(2)).then(StockEvent::Returned {
            order_id: ORDER_A,
            quantity: units(2),
            on_hand_after: units(3),
            available_after: units(3),
            location: paris(),
        });
        let too_many =
            |requested, shipped| StockError::MoreThanShipped { requested: units(requested), shipped: units(shipped) };
        given::<Stock>(history(shipped.clone())).when(take_back(3)).then_refused(too_many(3, 2));
        let once = shipped.into_iter().chain([take_back(1)]);
        given::<Stock>(history(once.clone())).when(take_back(2)).then_refused(too_many(2, 1));
        let twice = once.chain([take_back(1)]);
        given::<Stock>(history(twice.clone())).when(take_back(1)).then_refused(too_many(1, 0));
        given::<Stock>(history(twice)).when(take_back(0)).then_refused(StockError::NothingToMove);
        let full = [receive(Quantity::MAX.units()), ship_unreserved(ORDER_A, 1)];
        given::<Stock>(history(full)).when(take_back(1)).then_refused(StockError::TooMany { quantity: units(1) });
    }
}
