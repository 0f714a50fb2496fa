//! Check-out: the buyer agrees to a price, and the cart is at an end.

use super::{Cart, CartError, CartEvent, Status};
use crate::personal::{Address, CountryCode, Personal};
use crate::pricing::Breakdown;
use crate::{CartId, CustomerId, Money, OrderId, Quantity, ShippingMethodId, Sku};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Buys what is in the cart, for what `breakdown` says it costs now.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOut {
    pub order_id: OrderId,
    /// The country that `breakdown` was made for.
    pub destination: CountryCode,
    pub breakdown: Breakdown,
    /// The total that the buyer was shown. `None`: whatever it costs.
    pub agreed_total: Option<Money>,
    pub checked_out_at: DateTime<Utc>,
}

/// A cart as it was checked out: all that the order, its payment and its mail need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckedOut {
    pub cart_id: CartId,
    pub order_id: OrderId,
    /// `None`: a guest.
    pub customer_id: Option<CustomerId>,
    pub email: Personal,
    pub shipping_address: Address,
    pub billing_address: Address,
    /// What the buyer agreed to pay, and for what.
    pub breakdown: Breakdown,
    /// Business time, UTC.
    pub checked_out_at: DateTime<Utc>,
}

impl Cart {
    /// Ends the cart with an order. `None`: it has ended with this very one, whatever time the retry names.
    pub(super) fn check_out(&self, check_out: CheckOut) -> Result<Option<CartEvent>, CartError> {
        let CheckOut { order_id, destination, breakdown, agreed_total, checked_out_at } = check_out;
        if let Status::CheckedOut(before) = &self.status
            && (before.order_id, &before.breakdown) == (order_id, &breakdown)
        {
            return Ok(None);
        }
        let cart_id = self.changeable()?.cart_id;
        if self.lines.is_empty() {
            return Err(CartError::Empty);
        }
        let email = self.email.clone().ok_or(CartError::NoEmail)?;
        let shipping_address = self.shipping_address.clone().ok_or(CartError::NoShippingAddress)?;
        let billing_address = self.billing_address.clone().unwrap_or_else(|| shipping_address.clone());
        let method = self.shipping_method.as_ref().ok_or(CartError::NoShippingMethod)?;
        self.is_price_of_this_cart(&breakdown, destination, shipping_address.country, method)?;
        if let Some(agreed) = agreed_total.filter(|agreed| *agreed != breakdown.total) {
            return Err(CartError::TotalChanged { agreed, total: breakdown.total });
        }
        Ok(Some(CartEvent::CheckedOut(Box::new(CheckedOut {
            cart_id,
            order_id,
            customer_id: self.customer_id.clone(),
            email,
            shipping_address,
            billing_address,
            breakdown,
            checked_out_at,
        }))))
    }

    /// Refuses a price that was made before the cart last changed.
    fn is_price_of_this_cart(
        &self,
        breakdown: &Breakdown,
        priced_for: CountryCode,
        destination: CountryCode,
        method: &ShippingMethodId,
    ) -> Result<(), CartError> {
        let expected = self.changeable()?.currency;
        if breakdown.currency != expected {
            return Err(CartError::Currency { expected, found: breakdown.currency });
        }
        let mut priced = BTreeMap::<&Sku, Quantity>::new();
        for line in &breakdown.lines {
            let units = priced.entry(&line.sku).or_default();
            *units = units.checked_add(line.quantity).unwrap_or(Quantity::MAX); // More than any cart has either way.
        }
        for sku in self.lines.keys().chain(priced.keys().copied()) {
            let (in_cart, priced) = (self.wanted(sku), priced.get(sku).copied().unwrap_or_default());
            if in_cart != priced {
                return Err(CartError::QuantityPricedDifferently { sku: sku.clone(), in_cart, priced });
            }
        }
        if priced_for != destination {
            return Err(CartError::DestinationPricedDifferently { destination, priced: priced_for });
        }
        let priced = breakdown.shipping.as_ref().map(|charge| &charge.method);
        if priced != Some(method) {
            return Err(CartError::ShippingPricedDifferently { method: method.clone(), priced: priced.cloned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Currency;
    use crate::cart::CartCommand;
    use crate::cart::tests::*;
    use crate::pricing::CartLine;
    use crate::scenario::given;

    const ORDER_B: OrderId = OrderId(uuid::Uuid::from_u128(0xB));

    /// Two mugs and a cup, with all that a check-out needs.
    fn ready() -> Vec<CartEvent> {
        vec![
            opened(),
            set("CUP", 1, 0),
            set("MUG", 2, 0),
            CartEvent::EmailSet { email: personal("e-mail"), changed_at: noon() },
            CartEvent::ShippingAddressSet { address: address("GB"), changed_at: noon() },
            CartEvent::ShippingMethodChosen { method: method("standard"), changed_at: noon() },
        ]
    }

    fn two_mugs_and_a_cup() -> Vec<CartLine> {
        vec![line("CUP", 1), line("MUG", 2)]
    }

    fn check_out() -> CheckOut {
        CheckOut {
            order_id: ORDER_A,
            destination: country("GB"),
            breakdown: breakdown(&two_mugs_and_a_cup(), "GB", "standard"),
            agreed_total: None,
            checked_out_at: noon(),
        }
    }

    fn checked_out() -> CheckedOut {
        CheckedOut {
            cart_id: CART_A,
            order_id: ORDER_A,
            customer_id: None,
            email: personal("e-mail"),
            shipping_address: address("GB"),
            billing_address: address("GB"),
            breakdown: breakdown(&two_mugs_and_a_cup(), "GB", "standard"),
            checked_out_at: noon(),
        }
    }

    fn refused(events: Vec<CartEvent>, check_out: CheckOut, error: CartError) {
        given::<Cart>(events).when(CartCommand::CheckOut(check_out)).then_refused(error);
    }

    #[test]
    fn a_check_out_says_all_that_the_order_needs() {
        given::<Cart>(ready())
            .when(CartCommand::CheckOut(check_out()))
            .then(CartEvent::CheckedOut(Box::new(checked_out())));
    }

    #[test]
    fn the_invoice_may_go_elsewhere() {
        let billing = CartEvent::BillingAddressSet { address: address("FR"), changed_at: noon() };
        given::<Cart>(ready().into_iter().chain([billing]))
            .when(CartCommand::CheckOut(check_out()))
            .then(CartEvent::CheckedOut(Box::new(CheckedOut { billing_address: address("FR"), ..checked_out() })));
    }

    #[test]
    fn a_cart_is_checked_out_once() {
        let done = || ready().into_iter().chain([CartEvent::CheckedOut(Box::new(checked_out()))]).collect::<Vec<_>>();
        given::<Cart>(done()).when(CartCommand::CheckOut(check_out())).then_nothing();
        let later = CheckOut { checked_out_at: minutes_past_noon(5), ..check_out() };
        given::<Cart>(done()).when(CartCommand::CheckOut(later)).then_nothing();

        let total = checked_out().breakdown.total;
        let standing = CartError::CheckedOut { order_id: ORDER_A, total };
        refused(done(), CheckOut { order_id: ORDER_B, ..check_out() }, standing.clone());
        let dearer = Breakdown { total: pence(1), ..check_out().breakdown };
        refused(done(), CheckOut { breakdown: dearer, ..check_out() }, standing);
    }

    #[test]
    fn what_is_missing_is_named() {
        let without = |index: usize| {
            let mut events = ready();
            events.remove(index);
            events
        };
        refused(vec![], check_out(), CartError::Unknown);
        refused(vec![opened()], check_out(), CartError::Empty);
        refused(without(3), check_out(), CartError::NoEmail);
        refused(without(4), check_out(), CartError::NoShippingAddress);
        refused(without(5), check_out(), CartError::NoShippingMethod);
    }

    #[test]
    fn a_price_made_before_the_last_change_is_refused() {
        let priced = |breakdown| CheckOut { breakdown, ..check_out() };
        let differs = |text, in_cart, priced| CartError::QuantityPricedDifferently {
            sku: sku(text),
            in_cart: units(in_cart),
            priced: units(priced),
        };
        let one_mug = breakdown(&[line("CUP", 1), line("MUG", 1)], "GB", "standard");
        refused(ready(), priced(one_mug), differs("MUG", 2, 1));
        let no_cup = breakdown(&[line("MUG", 2)], "GB", "standard");
        refused(ready(), priced(no_cup), differs("CUP", 1, 0));
        let a_plate_too = breakdown(&[line("CUP", 1), line("MUG", 2), line("PLATE", 1)], "GB", "standard");
        refused(ready(), priced(a_plate_too), differs("PLATE", 0, 1));
        let mugs_twice = breakdown(&[line("CUP", 1), line("MUG", 2), line("MUG", 2)], "GB", "standard");
        refused(ready(), priced(mugs_twice), differs("MUG", 2, 4));

        let abroad = CheckOut { destination: country("FR"), ..check_out() };
        let error = CartError::DestinationPricedDifferently { destination: country("GB"), priced: country("FR") };
        refused(ready(), abroad, error);

        let by = |priced| CartError::ShippingPricedDifferently { method: method("standard"), priced };
        let express = breakdown(&two_mugs_and_a_cup(), "GB", "express");
        refused(ready(), priced(express), by(Some(method("express"))));
        let unshipped = Breakdown { shipping: None, ..check_out().breakdown };
        refused(ready(), priced(unshipped), by(None));

        let in_euro = Breakdown { currency: euro(), ..check_out().breakdown };
        refused(ready(), priced(in_euro), CartError::Currency { expected: Currency::GBP, found: euro() });
    }

    #[test]
    fn nobody_pays_another_total_than_they_were_shown() {
        let total = check_out().breakdown.total;
        given::<Cart>(ready())
            .when(CartCommand::CheckOut(CheckOut { agreed_total: Some(total), ..check_out() }))
            .then(CartEvent::CheckedOut(Box::new(checked_out())));
        let agreed = pence(total.amount_minor - 1);
        let cheaper = CheckOut { agreed_total: Some(agreed), ..check_out() };
        refused(ready(), cheaper, CartError::TotalChanged { agreed, total });
    }

    #[test]
    fn who_comes_back_to_an_abandoned_cart_may_check_out() {
        let abandoned = CartEvent::Abandoned {
            customer_id: None,
            email: Some(personal("e-mail")),
            currency: Currency::GBP,
            lines: two_mugs_and_a_cup(),
            changed_at: noon(),
            abandoned_at: minutes_past_noon(60),
        };
        given::<Cart>(ready().into_iter().chain([abandoned]))
            .when(CartCommand::CheckOut(check_out()))
            .then(CartEvent::CheckedOut(Box::new(checked_out())));
    }

    #[test]
    fn after_check_out_nothing_changes_any_more() {
        let done = || ready().into_iter().chain([CartEvent::CheckedOut(Box::new(checked_out()))]);
        for command in changes() {
            let standing = CartError::CheckedOut { order_id: ORDER_A, total: checked_out().breakdown.total };
            given::<Cart>(done()).when(command).then_refused(standing);
        }
    }
}
