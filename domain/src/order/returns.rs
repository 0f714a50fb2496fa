//! Goods of an order on their way back: requested, received, restocked, refunded.

use super::lines::{parts, plus};
use super::{LinePart, Order, OrderError, OrderEvent, Picked, Placed, add, subtract};
use crate::text::Reason;
use crate::{AttemptId, Money, Quantity, ReturnId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A return, as the order remembers it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Return {
    /// What was to be sent back.
    requested: Vec<LinePart>,
    worth: Money,
    /// What counts as returned: what was received or, until then, what was to be sent back.
    pub parts: Vec<LinePart>,
    /// What is owed for it; `None` until it is received.
    pub refund: Option<Money>,
    pub restocked: bool,
    pub refunded: bool,
    /// The payment's attempt that refunded it.
    #[serde(default)]
    pub refunded_by: Option<AttemptId>,
    /// Attempts whose refunds have come back.
    #[serde(default)]
    pub bounced: BTreeSet<AttemptId>,
}

impl Return {
    pub fn requested(parts: Vec<LinePart>, worth: Money) -> Self {
        Self {
            requested: parts.clone(),
            worth,
            parts,
            refund: None,
            restocked: false,
            refunded: false,
            refunded_by: None,
            bounced: BTreeSet::new(),
        }
    }
}

fn units_of(parts: &[LinePart], line: u32) -> Quantity {
    parts.iter().find(|part| part.line == line).map(|part| part.quantity).unwrap_or_default()
}

/// What `parts` cost when they come after `before`. Counted on from there, so that all returns together are worth to
/// the penny what was charged for the goods.
fn worth(placed: &Placed, parts: &[LinePart], before: impl Fn(u32) -> Quantity) -> Money {
    parts.iter().fold(Money::zero(placed.total.currency), |sum, &LinePart { line, quantity, .. }| {
        let before = before(line);
        add(sum, subtract(placed.cost(line, plus(before, quantity)), placed.cost(line, before)))
    })
}

impl Order {
    /// What the payment has moved to us.
    pub(super) fn captured(&self, placed: &Placed) -> Money {
        self.captured.unwrap_or(Money::zero(placed.total.currency))
    }

    /// What is captured and owed to nobody.
    fn refundable(&self, placed: &Placed) -> Money {
        let owed = self.returns.values().filter_map(|returned| returned.refund);
        owed.fold(self.captured(placed), subtract)
    }

    /// Units of the line that were, or are to be, sent back.
    pub(super) fn returned(&self, line: u32) -> Quantity {
        self.returns.values().map(|returned| units_of(&returned.parts, line)).fold(Quantity::ZERO, plus)
    }

    /// Units of the line that were sent back and are here.
    fn received(&self, line: u32) -> Quantity {
        let here = self.returns.values().filter(|returned| returned.refund.is_some());
        here.map(|returned| units_of(&returned.parts, line)).fold(Quantity::ZERO, plus)
    }

    fn known_return(&self, return_id: ReturnId) -> Result<(&Placed, &Return), OrderError> {
        let placed = self.placed.as_ref().ok_or(OrderError::Unknown)?;
        let returned = self.returns.get(&return_id).ok_or(OrderError::UnknownReturn { return_id })?;
        Ok((placed, returned))
    }

    /// Lets the customer send `picked` back. `None`: that was agreed.
    pub(super) fn request_return(
        &self,
        return_id: ReturnId,
        picked: Picked,
        reason: Reason,
        requested_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.standing()?;
        let parts = parts(&placed.lines, &picked)?;
        match self.returns.get(&return_id) {
            Some(returned) if returned.requested == parts => return Ok(None),
            Some(returned) => return Err(OrderError::ReturnedDifferently { worth: returned.worth }),
            None => {}
        }
        for &LinePart { line, quantity: requested, .. } in &parts {
            let returnable = self.shipped(line).checked_sub(self.returned(line)).unwrap_or_default();
            if requested > returnable {
                return Err(OrderError::NotReturnable { line, requested, returnable });
            }
        }
        let (order_id, worth) = (placed.order_id, worth(placed, &parts, |line| self.returned(line)));
        Ok(Some(OrderEvent::ReturnRequested { order_id, return_id, parts, worth, reason, requested_at }))
    }

    /// Takes `picked` in, at most what was to be sent back. `None`: it was taken in.
    pub(super) fn receive_return(
        &self,
        return_id: ReturnId,
        picked: Picked,
        refund: Option<Money>,
        received_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let (placed, returned) = self.known_return(return_id)?;
        let parts = parts(&placed.lines, &picked)?;
        if let Some(owed) = returned.refund {
            let same = returned.parts == parts && refund.is_none_or(|refund| refund == owed);
            return if same { Ok(None) } else { Err(OrderError::ReceivedDifferently { refund: owed }) };
        }
        for &LinePart { line, quantity: received, .. } in &parts {
            let requested = units_of(&returned.requested, line);
            if received > requested {
                return Err(OrderError::ReceivedTooMany { line, received, requested });
            }
        }
        let refund = refund.unwrap_or_else(|| match placed.checkout {
            Some(_) => worth(placed, &parts, |line| self.received(line)),
            None => Money::zero(placed.total.currency), // Paid elsewhere, so refunded elsewhere.
        });
        let refundable = self.refundable(placed);
        if refund.amount_minor < 0 {
            return Err(OrderError::RefundNegative { refund });
        }
        if refundable.checked_sub(refund).is_none_or(|left| left.amount_minor < 0) {
            return Err(OrderError::RefundTooLarge { requested: refund, refundable });
        }
        let order_id = placed.order_id;
        Ok(Some(OrderEvent::ReturnReceived { order_id, return_id, parts, refund, received_at }))
    }

    /// Puts what was received on sale again. `None`: it is.
    pub(super) fn restock(
        &self,
        return_id: ReturnId,
        restocked_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let (placed, returned) = self.known_return(return_id)?;
        if returned.restocked {
            return Ok(None);
        }
        if returned.refund.is_none() {
            return Err(OrderError::NotReceived);
        }
        let (order_id, parts) = (placed.order_id, returned.parts.clone());
        Ok(Some(OrderEvent::Restocked { order_id, return_id, parts, restocked_at }))
    }

    /// Books that the payment has refunded `amount` for the return. `None`: it was booked, or has come back since.
    pub(super) fn book_refund(
        &self,
        return_id: ReturnId,
        attempt: AttemptId,
        amount: Money,
        refunded_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let (placed, returned) = self.known_return(return_id)?;
        let refund = returned.refund.ok_or(OrderError::NotReceived)?;
        if amount != refund {
            return Err(OrderError::RefundedDifferently { refund, found: amount });
        }
        if returned.refunded || returned.bounced.contains(&attempt) {
            return Ok(None);
        }
        let refunded = self.refunded.unwrap_or(Money::zero(placed.total.currency));
        let (order_id, refunded_total, attempt) = (placed.order_id, add(refunded, amount), Some(attempt));
        Ok(Some(OrderEvent::Refunded { order_id, return_id, amount, refunded_total, attempt, refunded_at }))
    }

    /// Books that what the payment had refunded for the return has come back. `None`: that was booked, or the refund was not.
    pub(super) fn book_refund_bounce(
        &self,
        return_id: ReturnId,
        attempt: AttemptId,
        bounced_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let (placed, returned) = self.known_return(return_id)?;
        let amount = returned.refund.ok_or(OrderError::NotReceived)?;
        if !returned.refunded || returned.refunded_by.is_some_and(|by| by != attempt) {
            return Ok(None);
        }
        let refunded = self.refunded.unwrap_or(Money::zero(placed.total.currency));
        let (order_id, refunded_total) = (placed.order_id, subtract(refunded, amount));
        Ok(Some(OrderEvent::RefundBounced { order_id, return_id, attempt, amount, refunded_total, bounced_at }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::OrderCommand;
    use super::super::samples::*;
    use super::*;
    use crate::ShipmentId;
    use crate::scenario::{given, state};
    use uuid::Uuid;

    const RETURN: ReturnId = ReturnId(Uuid::from_u128(0x2E));
    const ATTEMPT: AttemptId = AttemptId(Uuid::from_u128(0xAA));
    const OTHER: ReturnId = ReturnId(Uuid::from_u128(0x2F));

    /// Shipped whole and paid.
    fn paid(captured: i64) -> Vec<OrderEvent> {
        let mut events = confirmed_order();
        events.push(OrderEvent::Shipped {
            order_id: ORDER,
            shipment_id: ShipmentId(Uuid::from_u128(1)),
            parts: vec![part(1, "A", 2), part(2, "B", 1)],
            charge: pence(345),
            tracking: None,
            complete: true,
            shipped_at: noon(),
        });
        if captured > 0 {
            events.push(OrderEvent::Captured {
                order_id: ORDER,
                payment_id: PAYMENT,
                amount: pence(captured),
                captured_total: pence(captured),
                captured_at: noon(),
            });
        }
        events
    }

    fn paid_and(events: impl IntoIterator<Item = OrderEvent>) -> Vec<OrderEvent> {
        paid(345).into_iter().chain(events).collect()
    }

    fn request(return_id: ReturnId, picked: Picked) -> OrderCommand {
        OrderCommand::RequestReturn { return_id, picked, reason: reason(), requested_at: noon() }
    }

    fn requested(return_id: ReturnId, parts: Vec<LinePart>, worth: i64) -> OrderEvent {
        OrderEvent::ReturnRequested {
            order_id: ORDER,
            return_id,
            parts,
            worth: pence(worth),
            reason: reason(),
            requested_at: noon(),
        }
    }

    fn receive(picked: Picked, refund: Option<i64>) -> OrderCommand {
        OrderCommand::ReceiveReturn { return_id: RETURN, picked, refund: refund.map(pence), received_at: noon() }
    }

    fn received(parts: Vec<LinePart>, refund: i64) -> OrderEvent {
        OrderEvent::ReturnReceived {
            order_id: ORDER,
            return_id: RETURN,
            parts,
            refund: pence(refund),
            received_at: noon(),
        }
    }

    fn restock() -> OrderCommand {
        OrderCommand::Restock { return_id: RETURN, restocked_at: noon() }
    }

    fn book_refund(amount: i64) -> OrderCommand {
        OrderCommand::BookRefund { return_id: RETURN, attempt: ATTEMPT, amount: pence(amount), refunded_at: noon() }
    }

    #[test]
    fn what_was_shipped_may_be_sent_back_once() {
        let both = || requested(RETURN, vec![part(1, "A", 2)], 300);
        given::<Order>(paid(345)).when(request(RETURN, picked([(1, 2)]))).then(both());
        given::<Order>(paid_and([both()])).when(request(RETURN, picked([(1, 2)]))).then_nothing();
        given::<Order>(paid_and([both()]))
            .when(request(RETURN, picked([(1, 1)])))
            .then_refused(OrderError::ReturnedDifferently { worth: pence(300) });
        given::<Order>(paid_and([both()]))
            .when(request(OTHER, picked([(1, 1)])))
            .then_refused(OrderError::NotReturnable { line: 1, requested: units(1), returnable: units(0) });
        given::<Order>(confirmed_order())
            .when(request(RETURN, picked([(1, 1)])))
            .then_refused(OrderError::NotReturnable { line: 1, requested: units(1), returnable: units(0) });
        given::<Order>(paid(345)).when(request(RETURN, picked([]))).then_refused(OrderError::NothingPicked);
        given::<Order>(paid(345))
            .when(request(RETURN, picked([(3, 1)])))
            .then_refused(OrderError::UnknownLine { line: 3, lines: 2 });
        given::<Order>([]).when(request(RETURN, picked([(1, 1)]))).then_refused(OrderError::Unknown);
    }

    #[test]
    fn goods_that_are_here_are_owed_what_they_cost() {
        let one_of_two = || [requested(RETURN, vec![part(1, "A", 2)], 300), received(vec![part(1, "A", 1)], 150)];
        let [requested, _] = one_of_two();
        given::<Order>(paid_and([requested.clone()]))
            .when(receive(picked([(1, 1)]), None))
            .then(received(vec![part(1, "A", 1)], 150));
        given::<Order>(paid_and(one_of_two())).when(receive(picked([(1, 1)]), None)).then_nothing();
        given::<Order>(paid_and(one_of_two()))
            .when(receive(picked([(1, 2)]), None))
            .then_refused(OrderError::ReceivedDifferently { refund: pence(150) });
        given::<Order>(paid_and(one_of_two()))
            .when(receive(picked([(1, 1)]), Some(149)))
            .then_refused(OrderError::ReceivedDifferently { refund: pence(150) });
        given::<Order>(paid_and([requested]))
            .when(receive(picked([(1, 3)]), None))
            .then_refused(OrderError::ReceivedTooMany { line: 1, received: units(3), requested: units(2) });
        given::<Order>(paid(345))
            .when(receive(picked([(1, 1)]), None))
            .then_refused(OrderError::UnknownReturn { return_id: RETURN });
    }

    #[test]
    fn a_unit_that_did_not_come_may_be_sent_back_later() {
        given::<Order>(paid_and([requested(RETURN, vec![part(1, "A", 2)], 300), received(vec![part(1, "A", 1)], 150)]))
            .when(request(OTHER, picked([(1, 1)])))
            .then(requested(OTHER, vec![part(1, "A", 1)], 150));
    }

    #[test]
    fn no_more_is_refunded_than_was_captured() {
        let back = || requested(RETURN, vec![part(1, "A", 2)], 300);
        let all = || picked([(1, 2)]);
        given::<Order>(paid_and([back()])).when(receive(all(), Some(345))).then(received(vec![part(1, "A", 2)], 345));
        given::<Order>(paid_and([back()]))
            .when(receive(all(), Some(346)))
            .then_refused(OrderError::RefundTooLarge { requested: pence(346), refundable: pence(345) });
        given::<Order>(paid_and([back()]))
            .when(receive(all(), Some(-1)))
            .then_refused(OrderError::RefundNegative { refund: pence(-1) });
        given::<Order>(paid(0).into_iter().chain([back()]))
            .when(receive(all(), None))
            .then_refused(OrderError::RefundTooLarge { requested: pence(300), refundable: pence(0) });
        // What is owed for another return is not there any more, though it has not moved yet.
        given::<Order>(paid_and([
            back(),
            received(vec![part(1, "A", 2)], 345),
            requested(OTHER, vec![part(2, "B", 1)], 5),
        ]))
        .when(OrderCommand::ReceiveReturn {
            return_id: OTHER,
            picked: picked([(2, 1)]),
            refund: None,
            received_at: noon(),
        })
        .then_refused(OrderError::RefundTooLarge { requested: pence(5), refundable: pence(0) });
    }

    #[test]
    fn goods_paid_elsewhere_are_refunded_elsewhere() {
        let counter =
            [placed(two_lines(), super::super::Fulfilment::Ship), requested(RETURN, vec![part(1, "A", 2)], 300)];
        given::<Order>(counter).when(receive(picked([(1, 2)]), None)).then(received(vec![part(1, "A", 2)], 0));
    }

    #[test]
    fn received_goods_are_restocked_once() {
        let parts = || vec![part(1, "A", 2)];
        let here = || [requested(RETURN, parts(), 300), received(parts(), 300)];
        let restocked =
            OrderEvent::Restocked { order_id: ORDER, return_id: RETURN, parts: parts(), restocked_at: noon() };
        given::<Order>(paid_and(here())).when(restock()).then(restocked.clone());
        given::<Order>(paid_and(here().into_iter().chain([restocked]))).when(restock()).then_nothing();
        given::<Order>(paid_and([requested(RETURN, parts(), 300)]))
            .when(restock())
            .then_refused(OrderError::NotReceived);
        given::<Order>(paid(345)).when(restock()).then_refused(OrderError::UnknownReturn { return_id: RETURN });
    }

    #[test]
    fn a_refund_is_booked_once() {
        let parts = || vec![part(1, "A", 2)];
        let here = || [requested(RETURN, parts(), 300), received(parts(), 300)];
        let refunded = OrderEvent::Refunded {
            order_id: ORDER,
            return_id: RETURN,
            amount: pence(300),
            refunded_total: pence(300),
            attempt: Some(ATTEMPT),
            refunded_at: noon(),
        };
        given::<Order>(paid_and(here())).when(book_refund(300)).then(refunded.clone());
        given::<Order>(paid_and(here().into_iter().chain([refunded]))).when(book_refund(300)).then_nothing();
        given::<Order>(paid_and(here()))
            .when(book_refund(299))
            .then_refused(OrderError::RefundedDifferently { refund: pence(300), found: pence(299) });
        given::<Order>(paid_and([requested(RETURN, parts(), 300)]))
            .when(book_refund(300))
            .then_refused(OrderError::NotReceived);
        given::<Order>(paid(345)).when(book_refund(1)).then_refused(OrderError::UnknownReturn { return_id: RETURN });
    }

    #[test]
    fn a_refund_that_has_come_back_is_owed_until_another_attempt_succeeds() {
        let (parts, other) = (|| vec![part(1, "A", 2)], AttemptId(Uuid::from_u128(0xAB)));
        let refunded = |attempt| OrderEvent::Refunded {
            order_id: ORDER,
            return_id: RETURN,
            amount: pence(300),
            refunded_total: pence(300),
            attempt,
            refunded_at: noon(),
        };
        let bounced = || OrderEvent::RefundBounced {
            order_id: ORDER,
            return_id: RETURN,
            attempt: ATTEMPT,
            amount: pence(300),
            refunded_total: pence(0),
            bounced_at: noon(),
        };
        let bounce = |attempt| OrderCommand::BookRefundBounce { return_id: RETURN, attempt, bounced_at: noon() };
        let book =
            |attempt| OrderCommand::BookRefund { return_id: RETURN, attempt, amount: pence(300), refunded_at: noon() };
        let here = || vec![requested(RETURN, parts(), 300), received(parts(), 300)];
        let paid_back = || paid_and(here().into_iter().chain([refunded(Some(ATTEMPT))]));
        given::<Order>(paid_back()).when(bounce(ATTEMPT)).then(bounced());
        given::<Order>(paid_back()).when(bounce(other)).then_nothing();
        let back = || paid_back().into_iter().chain([bounced()]);
        given::<Order>(back()).when(bounce(ATTEMPT)).then_nothing();
        given::<Order>(back()).when(book(ATTEMPT)).then_nothing();
        given::<Order>(back()).when(book(other)).then(refunded(Some(other)));
        given::<Order>(back().chain([refunded(Some(other))])).when(bounce(ATTEMPT)).then_nothing();
        // An event from before did not name the attempt: there was only one.
        given::<Order>(paid_and(here().into_iter().chain([refunded(None)]))).when(bounce(ATTEMPT)).then(bounced());
        given::<Order>(paid_and([requested(RETURN, parts(), 300)]))
            .when(bounce(ATTEMPT))
            .then_refused(OrderError::NotReceived);
        given::<Order>(paid(345)).when(bounce(ATTEMPT)).then_refused(OrderError::UnknownReturn { return_id: RETURN });
    }

    /// A hundred pence for three units: 33, 33 and 34.
    #[test]
    fn units_returned_one_by_one_are_worth_together_what_they_cost() {
        let mut checkout = checkout(&[line("A", 3, 33)], 0);
        (checkout.breakdown.lines[0].total, checkout.breakdown.total) = (pence(100), pence(100));
        let mut place = place(vec![line("A", 3, 33)], super::super::Fulfilment::Checkout);
        if let OrderCommand::Place { checkout: part, .. } = &mut place {
            *part = Some(Box::new(checkout));
        }
        let at = noon();
        let mut commands = vec![
            place,
            OrderCommand::Authorise { payment_id: PAYMENT, amount: pence(100), authorised_at: at },
            OrderCommand::Confirm { confirmed_at: at },
            OrderCommand::Ship {
                shipment_id: ShipmentId(Uuid::from_u128(1)),
                picked: picked([(1, 3)]),
                tracking: None,
                shipped_at: at,
            },
            OrderCommand::BookCapture { captured_total: pence(100), captured_at: at },
        ];
        for id in 1..=3 {
            let (return_id, one) = (ReturnId(Uuid::from_u128(id)), picked([(1, 1)]));
            commands.push(request(return_id, one.clone()));
            commands.push(OrderCommand::ReceiveReturn { return_id, picked: one, refund: None, received_at: at });
        }
        let order = after(state([]), commands);
        let refunds: Vec<_> = order.returns.values().filter_map(|returned| returned.refund).collect();
        assert_eq!(refunds, [pence(33), pence(33), pence(34)]);
    }
}
