//! An order from checkout: what it is priced and paid with, and how it is confirmed.

use super::{Line, Order, OrderError, OrderEvent, OrderNumber, Placed, subtract};
use crate::personal::{Address, Personal};
use crate::pricing::Breakdown;
use crate::text::{PaymentMethod, Reason};
use crate::{CartId, Money, PaymentId};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What an order knows from checkout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Checkout {
    pub cart_id: CartId,
    /// [`OrderNumber::of`] the order.
    pub number: OrderNumber,
    pub email: Personal,
    pub shipping_address: Address,
    pub billing_address: Address,
    /// Why the order costs what it does: line by line as in the order, with tax and shipping.
    pub breakdown: Breakdown,
    pub payment_id: PaymentId,
    pub payment_method: PaymentMethod,
    /// Until when the goods are held for an order that is not paid, UTC.
    pub pay_by: DateTime<Utc>,
}

impl Checkout {
    /// Refuses a part that is not of this order, or a breakdown that does not add up.
    pub(super) fn check(&self, order: &Placed) -> Result<(), OrderError> {
        let (expected, found) = (OrderNumber::of(order.order_id), self.number);
        if found != expected {
            return Err(OrderError::OtherNumber { expected, found });
        }
        let Breakdown { lines: priced, shipping, total, .. } = &self.breakdown;
        let mut sum = Money::zero(order.total.currency);
        let unbalanced = |sum| OrderError::BreakdownUnbalanced { sum, total: *total };
        for line in 1..=order.lines.len().max(priced.len()) {
            let (Some(ordered), Some(priced)) = (order.lines.get(line - 1), priced.get(line - 1)) else {
                return Err(OrderError::PricedDifferently { line });
            };
            let Line { sku, quantity, unit_price } = ordered;
            if (sku, quantity, unit_price) != (&priced.sku, &priced.quantity, &priced.unit_price) {
                return Err(OrderError::PricedDifferently { line });
            }
            if priced.total.amount_minor < 0 {
                return Err(OrderError::ChargeNegative { charge: priced.total });
            }
            sum = sum.checked_add(priced.total).ok_or(unbalanced(sum))?;
        }
        if let Some(shipping) = shipping {
            if shipping.total.amount_minor < 0 {
                return Err(OrderError::ChargeNegative { charge: shipping.total });
            }
            sum = sum.checked_add(shipping.total).ok_or(unbalanced(sum))?;
        }
        if sum == *total { Ok(()) } else { Err(unbalanced(sum)) }
    }
}

impl Order {
    /// Takes back an order whose payment did not come. `None`: it already is cancelled.
    pub(super) fn cancel_unpaid(
        &self,
        reason: Reason,
        cancelled_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.placed.as_ref().ok_or(OrderError::Unknown)?;
        if placed.checkout.is_none() {
            return Err(OrderError::NoPayment);
        }
        if !self.cancelled && (self.authorised.is_some() || self.confirmed) {
            return Err(OrderError::AlreadyPaid { due: placed.due() });
        }
        self.cancel(reason, cancelled_at)
    }

    /// Books that the payment holds what is due. `None`: it is booked.
    pub(super) fn authorise(
        &self,
        payment_id: PaymentId,
        amount: Money,
        authorised_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.placed.as_ref().ok_or(OrderError::Unknown)?;
        let expected = placed.checkout.as_ref().ok_or(OrderError::NoPayment)?.payment_id;
        if payment_id != expected {
            return Err(OrderError::OtherPayment { expected, found: payment_id });
        }
        if amount != placed.due() {
            return Err(OrderError::AuthorisedDifferently { due: placed.due(), authorised: amount });
        }
        if self.authorised.is_some() {
            return Ok(None);
        }
        let Placed { order_id, .. } = *self.standing()?;
        Ok(Some(OrderEvent::Authorised { order_id, payment_id, amount, authorised_at }))
    }

    /// Promises delivery, once all that is due is authorised. `None`: it was promised.
    pub(super) fn confirm(&self, confirmed_at: DateTime<Utc>) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.standing()?;
        if self.confirmed {
            return Ok(None);
        }
        let number = placed.checkout.as_ref().ok_or(OrderError::NoPayment)?.number;
        let due = placed.due();
        if self.authorised.is_none() && due.amount_minor > 0 {
            return Err(OrderError::NotAuthorised { due });
        }
        Ok(Some(OrderEvent::Confirmed { order_id: placed.order_id, number, due, confirmed_at }))
    }

    /// Books that the payment has captured `captured_total` by now. `None`: that much was booked.
    pub(super) fn book_capture(
        &self,
        captured_total: Money,
        captured_at: DateTime<Utc>,
    ) -> Result<Option<OrderEvent>, OrderError> {
        let placed = self.placed.as_ref().ok_or(OrderError::Unknown)?;
        let payment_id = placed.checkout.as_ref().ok_or(OrderError::NoPayment)?.payment_id;
        let charged = self.charged(placed);
        if captured_total.checked_sub(charged).is_none_or(|beyond| beyond.amount_minor > 0) {
            return Err(OrderError::CapturedTooMuch { captured_total, charged });
        }
        let amount = subtract(captured_total, self.captured(placed));
        if amount.amount_minor <= 0 {
            return Ok(None); // Booked before, or news of an earlier time.
        }
        Ok(Some(OrderEvent::Captured { order_id: placed.order_id, payment_id, amount, captured_total, captured_at }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::*;
    use super::super::{Fulfilment, OrderCommand};
    use super::*;
    use crate::scenario::given;
    use crate::{OrderId, ShipmentId};
    use uuid::Uuid;

    fn waiting() -> Vec<OrderEvent> {
        vec![placed(two_lines(), Fulfilment::Checkout)]
    }

    /// An order of nothing but its checkout part, as `change` leaves it.
    fn place_with(change: impl FnOnce(&mut Checkout)) -> OrderCommand {
        let mut place = place(two_lines(), Fulfilment::Checkout);
        if let OrderCommand::Place { checkout: Some(checkout), .. } = &mut place {
            change(checkout);
        }
        place
    }

    #[test]
    fn a_checkout_part_belongs_to_an_order_from_checkout() {
        for mut place in [place(two_lines(), Fulfilment::Checkout), place(two_lines(), Fulfilment::Ship)] {
            let OrderCommand::Place { fulfilment, checkout: part, lines, .. } = &mut place else { unreachable!() };
            *part = if part.is_some() { None } else { Some(Box::new(checkout(lines, 0))) };
            let fulfilment = *fulfilment;
            given::<Order>([]).when(place).then_refused(OrderError::CheckoutMismatch { fulfilment });
        }
    }

    #[test]
    fn an_order_has_the_number_that_its_id_gives() {
        let found = OrderNumber::of(OrderId(Uuid::from_u128(1)));
        given::<Order>([])
            .when(place_with(|checkout| checkout.number = found))
            .then_refused(OrderError::OtherNumber { expected: OrderNumber::of(ORDER), found });
    }

    #[test]
    fn a_breakdown_is_of_this_order_and_adds_up() {
        let refused = |change: fn(&mut Breakdown), error| {
            given::<Order>([]).when(place_with(|checkout| change(&mut checkout.breakdown))).then_refused(error);
        };
        refused(|priced| drop(priced.lines.pop()), OrderError::PricedDifferently { line: 2 });
        refused(|priced| priced.lines.swap(0, 1), OrderError::PricedDifferently { line: 1 });
        refused(|priced| priced.lines[1].quantity = units(2), OrderError::PricedDifferently { line: 2 });
        refused(
            |priced| priced.total = pence(344),
            OrderError::BreakdownUnbalanced { sum: pence(345), total: pence(344) },
        );
        refused(
            |priced| priced.lines[1].total = pence(i64::MAX),
            OrderError::BreakdownUnbalanced { sum: pence(300), total: pence(345) },
        );
        refused(|priced| priced.lines[0].total = pence(-1), OrderError::ChargeNegative { charge: pence(-1) });
        refused(
            |priced| priced.shipping.iter_mut().for_each(|shipping| shipping.total = pence(-1)),
            OrderError::ChargeNegative { charge: pence(-1) },
        );
    }

    #[test]
    fn an_order_is_authorised_once_with_all_that_is_due() {
        let authorise = |amount| OrderCommand::Authorise { payment_id: PAYMENT, amount, authorised_at: noon() };
        given::<Order>(waiting()).when(authorise(pence(345))).then(super::super::samples::authorised());
        given::<Order>(confirmed_order()).when(authorise(pence(345))).then_nothing();
        given::<Order>(waiting())
            .when(authorise(pence(344)))
            .then_refused(OrderError::AuthorisedDifferently { due: pence(345), authorised: pence(344) });
        let found = PaymentId(Uuid::from_u128(1));
        given::<Order>(waiting())
            .when(OrderCommand::Authorise { payment_id: found, amount: pence(345), authorised_at: noon() })
            .then_refused(OrderError::OtherPayment { expected: PAYMENT, found });
        given::<Order>([placed(two_lines(), Fulfilment::Checkout), cancelled(305)])
            .when(authorise(pence(345)))
            .then_refused(OrderError::Cancelled);
        given::<Order>([placed(two_lines(), Fulfilment::Reserve)])
            .when(authorise(pence(305)))
            .then_refused(OrderError::NoPayment);
        given::<Order>([]).when(authorise(pence(1))).then_refused(OrderError::Unknown);
    }

    #[test]
    fn an_order_is_confirmed_once_when_it_is_authorised() {
        let confirm = || OrderCommand::Confirm { confirmed_at: noon() };
        given::<Order>([placed(two_lines(), Fulfilment::Checkout), authorised()]).when(confirm()).then(confirmed());
        given::<Order>(confirmed_order()).when(confirm()).then_nothing();
        given::<Order>(waiting()).when(confirm()).then_refused(OrderError::NotAuthorised { due: pence(345) });
        given::<Order>([placed(two_lines(), Fulfilment::Checkout), authorised(), cancelled(305)])
            .when(confirm())
            .then_refused(OrderError::Cancelled);
        given::<Order>([placed(two_lines(), Fulfilment::Reserve)]).when(confirm()).then_refused(OrderError::NoPayment);
        given::<Order>([]).when(confirm()).then_refused(OrderError::Unknown);
    }

    #[test]
    fn an_order_that_costs_nothing_needs_no_payment() {
        let free = vec![line("A", 1, 0)];
        let OrderEvent::Placed(mut order) = placed(free.clone(), Fulfilment::Checkout) else { unreachable!() };
        order.checkout = Some(Box::new(checkout(&free, 0)));
        given::<Order>([OrderEvent::Placed(order)]).when(OrderCommand::Confirm { confirmed_at: noon() }).then(
            OrderEvent::Confirmed {
                order_id: ORDER,
                number: OrderNumber::of(ORDER),
                due: pence(0),
                confirmed_at: noon(),
            },
        );
    }

    #[test]
    fn only_an_order_that_is_not_paid_is_cancelled_for_that() {
        let cancel_unpaid = || OrderCommand::CancelUnpaid { reason: reason(), cancelled_at: noon() };
        given::<Order>(waiting()).when(cancel_unpaid()).then(cancelled(305));
        given::<Order>(confirmed_order().into_iter().chain([cancelled(305)])).when(cancel_unpaid()).then_nothing();
        given::<Order>(confirmed_order())
            .when(cancel_unpaid())
            .then_refused(OrderError::AlreadyPaid { due: pence(345) });
        given::<Order>([placed(two_lines(), Fulfilment::Reserve)])
            .when(cancel_unpaid())
            .then_refused(OrderError::NoPayment);
        given::<Order>([]).when(cancel_unpaid()).then_refused(OrderError::Unknown);
    }

    #[test]
    fn a_capture_is_booked_once_and_not_beyond_what_was_shipped() {
        let book = |total| OrderCommand::BookCapture { captured_total: pence(total), captured_at: noon() };
        let shipped = || {
            confirmed_order().into_iter().chain([OrderEvent::Shipped {
                order_id: ORDER,
                shipment_id: ShipmentId(Uuid::from_u128(1)),
                parts: vec![part(1, "A", 1)],
                charge: pence(190),
                tracking: None,
                complete: false,
                shipped_at: noon(),
            }])
        };
        let captured = |amount, total| OrderEvent::Captured {
            order_id: ORDER,
            payment_id: PAYMENT,
            amount: pence(amount),
            captured_total: pence(total),
            captured_at: noon(),
        };
        given::<Order>(shipped()).when(book(100)).then(captured(100, 100));
        given::<Order>(shipped().chain([captured(100, 100)])).when(book(190)).then(captured(90, 190));
        given::<Order>(shipped().chain([captured(190, 190)])).when(book(190)).then_nothing();
        given::<Order>(shipped().chain([captured(190, 190)])).when(book(100)).then_nothing();
        given::<Order>(shipped())
            .when(book(191))
            .then_refused(OrderError::CapturedTooMuch { captured_total: pence(191), charged: pence(190) });
        given::<Order>([placed(two_lines(), Fulfilment::Reserve)]).when(book(1)).then_refused(OrderError::NoPayment);
        given::<Order>([]).when(book(1)).then_refused(OrderError::Unknown);
    }
}
