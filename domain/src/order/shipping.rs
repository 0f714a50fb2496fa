//! An order on its way: shipped, perhaps in parts, and delivered.

use super::lines::parts;
use super::{Fulfilment, LinePart, Order, OrderError, OrderEvent, Picked, Placed, add, subtract};
use crate::text::Reference;
use crate::{Money, Quantity, ShipmentId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A shipment, as the order remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shipped {
    pub parts: Vec<LinePart>,
    pub charge: Money,
    pub delivered: bool,
}

impl Placed {
    /// What the first `units` of a line cost. Rounded down to the penny, so that however the line is split, its parts
    /// cost together what the whole line costs.
    pub(super) fn cost(&self, line: u32, units: Quantity) -> Money {
        let index = line as usize - 1;
        let total = match &self.checkout {
            Some(checkout) => checkout.breakdown.lines[index].total,
            None => {
                let line = &self.lines[index];
                line.unit_price.checked_mul(line.quantity).expect("it is in the total that was booked")
            }
        };
        let of = i128::from(self.lines[index].quantity.units());
        let amount_minor = i128::from(total.amount_minor) * i128::from(units.units()) / of;
        Money::new(amount_minor as i64, total.currency) // At most the total: no more units than there are.
    }

    /// What shipping costs.
    fn shipping(&self) -> Money {
        let charge = self.checkout.as_ref().and_then(|checkout| checkout.breakdown.shipping.as_ref());
        charge.map_or(Money::zero(self.total.currency), |shipping| shipping.total)
    }
}

impl Order {
    /// What was charged for all that was shipped.
    pub(super) fn charged(&self, placed: &Placed) -> Money {
        self.shipments.values().fold(Money::zero(placed.total.currency), |sum, shipment| add(sum, shipment.charge))
    }

    /// Units of the line that have left.
    pub(super) fn shipped(&self, line: u32) -> Quantity {
        self.shipped.get(&line).copied().unwrap_or_default()
    }

    /// By line, what may still be shipped. Empty when nothing is left.
    pub fn left_to_ship(&self) -> Picked {
        let Ok(placed) = self.standing() else { return Picked::new() };
        let left = |(line, all): (u32, Quantity)| all.checked_sub(self.shipped(line)).map(|left| (line, left));
        placed.quantities().into_iter().filter_map(left).filter(|(_, left)| !left.is_zero()).collect()
    }

    /// Sends `picked` on its way. `None`: this shipment has left.
    pub(super) fn ship(
        &self,
        shipment_id: ShipmentId,
        picked: Picked,
        tracking: Option<Reference>,
        shipped_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.standing()?;
        let parts = parts(&placed.lines, &picked)?;
        match self.shipments.get(&shipment_id) {
            Some(shipped) if shipped.parts == parts => return Ok(None),
            Some(shipped) => return Err(OrderError::ShippedDifferently { charge: shipped.charge }),
            None => {}
        }
        if placed.fulfilment == Fulfilment::Checkout && !self.confirmed {
            return Err(OrderError::NotConfirmed);
        }
        let mut left = self.left_to_ship();
        let mut charge = if self.shipments.is_empty() { placed.shipping() } else { Money::zero(placed.total.currency) };
        for &LinePart { line, quantity: requested, .. } in &parts {
            let there = left.remove(&line).unwrap_or_default();
            let after =
                there.checked_sub(requested).ok_or(OrderError::NotLeftToShip { line, requested, left: there })?;
            if !after.is_zero() {
                left.insert(line, after);
            }
            let before = self.shipped(line);
            let cost = placed.cost(line, super::lines::plus(before, requested));
            charge = add(charge, subtract(cost, placed.cost(line, before)));
        }
        let (order_id, complete) = (placed.order_id, left.is_empty());
        Ok(Some(OrderEvent::Shipped { order_id, shipment_id, parts, charge, tracking, complete, shipped_at }))
    }

    /// Notes that a shipment has arrived. `None`: it was noted.
    pub(super) fn deliver(
        &self,
        shipment_id: ShipmentId,
        delivered_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.placed.as_ref().ok_or(OrderError::Unknown)?;
        let shipment = self.shipments.get(&shipment_id).ok_or(OrderError::UnknownShipment { shipment_id })?;
        if shipment.delivered {
            return Ok(None);
        }
        let others_arrived = self.shipments.iter().all(|(id, other)| *id == shipment_id || other.delivered);
        let complete = others_arrived && self.left_to_ship().is_empty();
        Ok(Some(OrderEvent::Delivered { order_id: placed.order_id, shipment_id, complete, delivered_at }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::OrderCommand;
    use super::super::samples::*;
    use super::*;
    use crate::scenario::given;
    use uuid::Uuid;

    const FIRST: ShipmentId = ShipmentId(Uuid::from_u128(1));
    const SECOND: ShipmentId = ShipmentId(Uuid::from_u128(2));

    fn ship(shipment_id: ShipmentId, picked: Picked) -> OrderCommand {
        let tracking = Reference::new("RM123456785GB").ok();
        OrderCommand::Ship { shipment_id, picked, tracking, shipped_at: noon() }
    }

    fn shipped(shipment_id: ShipmentId, parts: Vec<LinePart>, charge: i64, complete: bool) -> OrderEvent {
        OrderEvent::Shipped {
            order_id: ORDER,
            shipment_id,
            parts,
            charge: pence(charge),
            tracking: Reference::new("RM123456785GB").ok(),
            complete,
            shipped_at: noon(),
        }
    }

    fn delivered(shipment_id: ShipmentId, complete: bool) -> OrderEvent {
        OrderEvent::Delivered { order_id: ORDER, shipment_id, complete, delivered_at: noon() }
    }

    fn confirmed_and(events: impl IntoIterator<Item = OrderEvent>) -> Vec<OrderEvent> {
        confirmed_order().into_iter().chain(events).collect()
    }

    #[test]
    fn shipments_cost_together_what_is_due_with_shipping_in_the_first() {
        let one = || shipped(FIRST, vec![part(1, "A", 1)], 190, false);
        given::<Order>(confirmed_order()).when(ship(FIRST, picked([(1, 1)]))).then(one());
        given::<Order>(confirmed_and([one()])).when(ship(SECOND, picked([(1, 1), (2, 1)]))).then(shipped(
            SECOND,
            vec![part(1, "A", 1), part(2, "B", 1)],
            155,
            true,
        ));
    }

    #[test]
    fn a_shipment_leaves_once() {
        let one = || shipped(FIRST, vec![part(1, "A", 1)], 190, false);
        given::<Order>(confirmed_and([one()])).when(ship(FIRST, picked([(1, 1)]))).then_nothing();
        given::<Order>(confirmed_and([one()]))
            .when(ship(FIRST, picked([(2, 1)])))
            .then_refused(OrderError::ShippedDifferently { charge: pence(190) });
        given::<Order>(confirmed_and([one()]))
            .when(ship(SECOND, picked([(1, 2)])))
            .then_refused(OrderError::NotLeftToShip { line: 1, requested: units(2), left: units(1) });
    }

    #[test]
    fn goods_leave_for_an_order_that_stands_and_is_paid_or_on_account() {
        let all = || picked([(1, 2), (2, 1)]);
        let parts = || vec![part(1, "A", 2), part(2, "B", 1)];
        given::<Order>([placed(two_lines(), Fulfilment::Reserve)]).when(ship(FIRST, all())).then(shipped(
            FIRST,
            parts(),
            305,
            true,
        ));
        given::<Order>([placed(two_lines(), Fulfilment::Checkout), authorised()])
            .when(ship(FIRST, all()))
            .then_refused(OrderError::NotConfirmed);
        given::<Order>(confirmed_and([cancelled(305)])).when(ship(FIRST, all())).then_refused(OrderError::Cancelled);
        given::<Order>([placed(two_lines(), Fulfilment::Ship)])
            .when(ship(FIRST, all()))
            .then_refused(OrderError::NotLeftToShip { line: 1, requested: units(2), left: units(0) });
        given::<Order>([]).when(ship(FIRST, all())).then_refused(OrderError::Unknown);
    }

    #[test]
    fn what_is_picked_must_be_in_the_order() {
        given::<Order>(confirmed_order()).when(ship(FIRST, picked([]))).then_refused(OrderError::NothingPicked);
        for line in [0, 3] {
            given::<Order>(confirmed_order())
                .when(ship(FIRST, picked([(line, 1)])))
                .then_refused(OrderError::UnknownLine { line, lines: 2 });
        }
        given::<Order>(confirmed_order())
            .when(ship(FIRST, picked([(1, 0)])))
            .then_refused(super::super::LinesError::Quantity { line: 1 }.into());
    }

    #[test]
    fn an_order_that_has_left_in_part_cannot_be_cancelled() {
        given::<Order>(confirmed_and([shipped(FIRST, vec![part(1, "A", 1)], 190, false)]))
            .when(cancel())
            .then_refused(OrderError::AlreadyShipped);
    }

    #[test]
    fn an_order_has_arrived_when_all_of_it_has() {
        let deliver = |shipment_id| OrderCommand::Deliver { shipment_id, delivered_at: noon() };
        let both =
            || [shipped(FIRST, vec![part(1, "A", 2)], 340, false), shipped(SECOND, vec![part(2, "B", 1)], 5, true)];
        let [first, second] = both();
        given::<Order>(confirmed_and([first.clone()])).when(deliver(FIRST)).then(delivered(FIRST, false));
        given::<Order>(confirmed_and([first, delivered(FIRST, false), second]))
            .when(deliver(SECOND))
            .then(delivered(SECOND, true));
        given::<Order>(confirmed_and(both().into_iter().chain([delivered(FIRST, false)])))
            .when(deliver(FIRST))
            .then_nothing();
        given::<Order>(confirmed_order())
            .when(deliver(FIRST))
            .then_refused(OrderError::UnknownShipment { shipment_id: FIRST });
        given::<Order>([]).when(deliver(FIRST)).then_refused(OrderError::Unknown);
    }
}
