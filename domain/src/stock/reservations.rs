//! What orders hold: set aside for a time, confirmed once paid, released or shipped.

use super::locations::pick;
use super::{ReleaseCause, Shares, Stock, StockError, StockEvent, at_least_one, difference, sum};
use crate::{OrderId, Quantity};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// How long units are set aside for an order that is not paid, when nobody says otherwise.
pub const RESERVATION_TTL: TimeDelta = TimeDelta::minutes(15);

/// What one order holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reservation {
    /// As many as were reserved at first: tells a retry from another wish.
    pub asked: Quantity,
    /// Set aside in the building, not yet shipped.
    pub filled: Quantity,
    /// Where these are.
    pub shares: Shares,
    /// Still to come in.
    pub back_ordered: Quantity,
    /// `None`: it is confirmed.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Reservation {
    /// What the order is still to get.
    pub fn held(&self) -> Quantity {
        sum(self.filled, self.back_ordered)
    }
}

impl Stock {
    /// Sets `quantity` units aside for an order. `None`: they already are, whatever time the retry names.
    pub(super) fn reserve(
        &self,
        order_id: OrderId,
        quantity: Quantity,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Option<StockEvent>, StockError> {
        match self.reservations.get(&order_id) {
            Some(reservation) if reservation.asked == quantity => return Ok(None),
            Some(reservation) => return Err(StockError::ReservedDifferently { held: reservation.held() }),
            None => at_least_one(quantity)?,
        }
        let filled = quantity.min(self.available);
        let back_ordered = difference(quantity, filled);
        let back_ordered_after = self.back_order(quantity, back_ordered)?;
        Ok(Some(StockEvent::Reserved {
            order_id,
            quantity: filled,
            available_after: difference(self.available, filled),
            shares: self.places.pick_available(filled),
            back_ordered,
            back_ordered_after,
            expires_at,
        }))
    }

    /// Keeps the order's units for it. `None`: they do not expire as it is.
    pub(super) fn confirm(&self, order_id: OrderId) -> Result<Option<StockEvent>, StockError> {
        let reservation = self.reservation(order_id)?;
        if reservation.expires_at.is_none() {
            return Ok(None);
        }
        let quantity = reservation.held();
        Ok(Some(StockEvent::Confirmed { order_id, quantity, available_after: self.available }))
    }

    /// Puts the order's units back on sale.
    pub(super) fn release(&self, order_id: OrderId) -> Result<Option<StockEvent>, StockError> {
        let reservation = self.reservation(order_id)?;
        Ok(Some(self.released(order_id, reservation, ReleaseCause::Requested)))
    }

    /// The same, for a reservation that nobody has confirmed in time.
    pub(super) fn expire(&self, order_id: OrderId, now: DateTime<Utc>) -> Result<Option<StockEvent>, StockError> {
        let reservation = self.reservation(order_id)?;
        let expires_at = reservation.expires_at.ok_or(StockError::Confirmed)?;
        if now < expires_at {
            return Err(StockError::NotYetExpired { expires_at });
        }
        Ok(Some(self.released(order_id, reservation, ReleaseCause::Expired)))
    }

    /// Sends the order its units, or part of them. Every part counts: only the command's idempotency key tells a retry
    /// from a second one.
    pub(super) fn ship(&self, order_id: OrderId, quantity: Option<Quantity>) -> Result<Option<StockEvent>, StockError> {
        let reservation = self.reservation(order_id)?;
        let (filled, held) = (reservation.filled, reservation.held());
        let quantity = quantity.unwrap_or(held);
        at_least_one(quantity)?;
        if quantity > held {
            return Err(StockError::MoreThanReserved { requested: quantity, held });
        }
        if quantity > filled {
            return Err(StockError::BackOrdered { requested: quantity, filled });
        }
        Ok(Some(StockEvent::Shipped {
            order_id,
            quantity,
            on_hand_after: difference(self.on_hand, quantity),
            available_after: self.available, // They left it when they were reserved.
            shares: pick(reservation.shares.of(filled), quantity),
            remaining: difference(held, quantity),
        }))
    }

    fn reservation(&self, order_id: OrderId) -> Result<&Reservation, StockError> {
        self.reservations.get(&order_id).ok_or(StockError::NotReserved)
    }

    fn released(&self, order_id: OrderId, reservation: &Reservation, cause: ReleaseCause) -> StockEvent {
        let Reservation { filled, ref shares, back_ordered, .. } = *reservation;
        StockEvent::Released {
            order_id,
            quantity: filled,
            available_after: sum(self.available, filled),
            cause,
            shares: shares.clone(),
            back_ordered,
            back_ordered_after: difference(self.back_ordered, back_ordered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;
    use crate::LocationId;
    use crate::scenario::given;
    use crate::stock::StockCommand;

    fn confirm(order_id: OrderId) -> StockCommand {
        StockCommand::Confirm { order_id }
    }

    fn expire_at(minute: i64) -> StockCommand {
        StockCommand::Expire { order_id: ORDER_A, now: at(minute) }
    }

    #[test]
    fn the_last_unit_goes_to_one_order_only() {
        given::<Stock>(history([receive(1), reserve(ORDER_A, 1)]))
            .when(reserve(ORDER_B, 1))
            .then_refused(StockError::Insufficient { requested: units(1), available: units(0) });
    }

    #[test]
    fn a_reservation_is_made_once() {
        given::<Stock>([received(3)]).when(reserve(ORDER_A, 2)).then(reserved(ORDER_A, 2, 1));
        given::<Stock>([received(3)]).when(reserve(ORDER_A, 0)).then_refused(StockError::NothingToMove);
        let before = || given::<Stock>([received(3), reserved(ORDER_A, 2, 1)]);
        before().when(reserve(ORDER_A, 2)).then_nothing();
        before().when(reserve_until(9, ORDER_A, 2)).then_nothing();
        before().when(reserve(ORDER_A, 3)).then_refused(StockError::ReservedDifferently { held: units(2) });
        given::<Stock>(history([receive(3), reserve(ORDER_A, 2), ship_part(ORDER_A, 1)]))
            .when(reserve(ORDER_A, 2))
            .then_nothing();
    }

    #[test]
    fn a_reservation_says_what_it_takes_where() {
        let before = [receive(1), receive_at(berlin(), 3), receive_at(paris(), 2)];
        given::<Stock>(history(before)).when(reserve(ORDER_A, 4)).then(StockEvent::Reserved {
            order_id: ORDER_A,
            quantity: units(4),
            available_after: units(2),
            shares: Shares::new([(berlin(), units(3)), (paris(), units(1))].into()),
            back_ordered: units(0),
            back_ordered_after: units(0),
            expires_at: None,
        });
    }

    #[test]
    fn released_units_are_on_sale_again_where_they_are() {
        let released = |shares| StockEvent::Released {
            order_id: ORDER_A,
            quantity: units(2),
            available_after: units(3),
            cause: ReleaseCause::Requested,
            shares,
            back_ordered: units(0),
            back_ordered_after: units(0),
        };
        let before = [receive(3), reserve(ORDER_A, 2)];
        given::<Stock>(history(before)).when(release(ORDER_A)).then(released(Shares::default()));
        let before = [receive_at(paris(), 3), reserve(ORDER_A, 2)];
        let in_paris = Shares::new([(paris(), units(2))].into());
        given::<Stock>(history(before)).when(release(ORDER_A)).then(released(in_paris));
        given::<Stock>([received(3)]).when(release(ORDER_A)).then_refused(StockError::NotReserved);
    }

    #[test]
    fn a_reservation_expires_in_its_time() {
        let before = || given::<Stock>(history([receive(3), reserve_until(15, ORDER_A, 2)]));
        let expired = StockEvent::Released {
            order_id: ORDER_A,
            quantity: units(2),
            available_after: units(3),
            cause: ReleaseCause::Expired,
            shares: Shares::default(),
            back_ordered: units(0),
            back_ordered_after: units(0),
        };
        before().when(expire_at(14)).then_refused(StockError::NotYetExpired { expires_at: at(15) });
        before().when(expire_at(15)).then(expired.clone());
        before().when(expire_at(99)).then(expired);
        let after = [receive(3), reserve_until(15, ORDER_A, 2), expire_at(15)];
        given::<Stock>(history(after)).when(expire_at(15)).then_refused(StockError::NotReserved);
    }

    #[test]
    fn what_is_confirmed_does_not_expire() {
        let before = [receive(3), reserve_until(15, ORDER_A, 2)];
        given::<Stock>(history(before.clone())).when(confirm(ORDER_A)).then(StockEvent::Confirmed {
            order_id: ORDER_A,
            quantity: units(2),
            available_after: units(1),
        });
        let confirmed = before.into_iter().chain([confirm(ORDER_A)]);
        given::<Stock>(history(confirmed.clone())).when(confirm(ORDER_A)).then_nothing();
        given::<Stock>(history(confirmed)).when(expire_at(99)).then_refused(StockError::Confirmed);
        given::<Stock>([received(3), reserved(ORDER_A, 2, 1)]).when(confirm(ORDER_A)).then_nothing();
        given::<Stock>([received(3)]).when(confirm(ORDER_A)).then_refused(StockError::NotReserved);
    }

    #[test]
    fn an_order_is_shipped_what_it_reserved() {
        let before = || given::<Stock>(history([receive(3), reserve(ORDER_A, 2)]));
        before().when(ship(ORDER_A)).then(shipped(ORDER_A, 2, 1, 1));
        before().when(ship_part(ORDER_A, 2)).then(shipped(ORDER_A, 2, 1, 1));
        before()
            .when(ship_part(ORDER_A, 3))
            .then_refused(StockError::MoreThanReserved { requested: units(3), held: units(2) });
        before().when(ship_part(ORDER_A, 0)).then_refused(StockError::NothingToMove);
        before().when(ship(ORDER_B)).then_refused(StockError::NotReserved);
    }

    #[test]
    fn an_order_is_shipped_in_parts_until_it_has_all() {
        let before = [receive(1), receive_at(paris(), 2), reserve(ORDER_A, 3)];
        given::<Stock>(history(before.clone())).when(ship_part(ORDER_A, 1)).then(StockEvent::Shipped {
            order_id: ORDER_A,
            quantity: units(1),
            on_hand_after: units(2),
            available_after: units(0),
            shares: Shares::new([(paris(), units(1))].into()),
            remaining: units(2),
        });
        let rest = before.into_iter().chain([ship_part(ORDER_A, 1)]);
        given::<Stock>(history(rest.clone())).when(ship(ORDER_A)).then(StockEvent::Shipped {
            order_id: ORDER_A,
            quantity: units(2),
            on_hand_after: units(0),
            available_after: units(0),
            shares: Shares::new([(LocationId::MAIN, units(1)), (paris(), units(1))].into()),
            remaining: units(0),
        });
        given::<Stock>(history(rest.chain([ship(ORDER_A)]))).when(ship(ORDER_A)).then_refused(StockError::NotReserved);
    }
}
