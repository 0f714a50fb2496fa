//! Merging: who filled a cart as a guest, and another at home, has one after logging in.

use super::{Cart, CartError, CartEvent, LINES_MAX, Status, UNITS_MAX};
use crate::pricing::CartLine;
use crate::{CartId, Currency, CustomerId, Quantity, Sku};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

impl Cart {
    /// Takes over another cart's lines. `None`: they were taken over before.
    ///
    /// Where both have a SKU the larger quantity wins: whoever filled both carts meant to buy it once, and too many
    /// units are seen at check-out, whereas missing ones are not. Addresses stay behind: they are sealed for another subject.
    pub(super) fn merge(
        &self,
        source: CartId,
        currency: Currency,
        lines: Vec<CartLine>,
        changed_at: DateTime<Utc>,
    ) -> Result<Option<CartEvent>, CartError> {
        if self.merged.contains(&source) {
            return Ok(None);
        }
        let opened = self.changeable()?;
        if source == opened.cart_id {
            return Err(CartError::MergedIntoItself);
        }
        if currency != opened.currency {
            return Err(CartError::Currency { expected: opened.currency, found: currency });
        }
        let mut changed = BTreeMap::<Sku, Quantity>::new();
        for CartLine { sku, quantity } in lines {
            if quantity.units() > UNITS_MAX {
                return Err(CartError::TooManyUnits { sku, quantity });
            }
            if quantity > self.wanted(&sku) {
                let larger = changed.entry(sku).or_default();
                *larger = quantity.max(*larger);
            }
        }
        let lines = self.lines.len() + changed.keys().filter(|sku| !self.lines.contains_key(*sku)).count();
        if lines > LINES_MAX {
            return Err(CartError::TooManyLines { lines });
        }
        let lines = changed.into_iter().map(|(sku, quantity)| CartLine { sku, quantity }).collect();
        Ok(Some(CartEvent::Merged { source, lines, changed_at }))
    }

    /// Ends the cart in favour of `target`. `None`: it has ended there.
    pub(super) fn close_into(
        &self,
        target: CartId,
        customer_id: Option<CustomerId>,
        changed_at: DateTime<Utc>,
    ) -> Result<Option<CartEvent>, CartError> {
        if self.status == (Status::ClosedInto { target }) {
            return Ok(None);
        }
        let opened = self.changeable()?;
        if target == opened.cart_id {
            return Err(CartError::MergedIntoItself);
        }
        if self.customer_id.is_some() && self.customer_id != customer_id {
            return Err(CartError::OwnedByAnother);
        }
        Ok(Some(CartEvent::ClosedInto { target, customer_id, changed_at }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cart::CartCommand;
    use crate::cart::tests::*;
    use crate::scenario::given;
    use uuid::Uuid;

    fn merged(lines: Vec<CartLine>) -> CartEvent {
        CartEvent::Merged { source: CART_B, lines, changed_at: noon() }
    }

    fn close_into(target: CartId, customer_id: Option<&str>) -> CartCommand {
        CartCommand::CloseInto { target, customer_id: customer_id.map(customer), changed_at: noon() }
    }

    fn closed_into(target: CartId) -> CartEvent {
        CartEvent::ClosedInto { target, customer_id: None, changed_at: noon() }
    }

    #[test]
    fn of_two_quantities_the_larger_one_wins() {
        let source = vec![line("CUP", 1), line("MUG", 1), line("PLATE", 5)];
        given::<Cart>([opened(), set("MUG", 2, 0), set("PLATE", 4, 0)])
            .when(merge(CART_B, source))
            .then(merged(vec![line("CUP", 1), line("PLATE", 5)]));
        given::<Cart>([opened()])
            .when(merge(CART_B, vec![line("MUG", 3), line("MUG", 2), line("CUP", 0)]))
            .then(merged(vec![line("MUG", 3)]));
    }

    #[test]
    fn a_cart_is_merged_once_even_if_its_lines_were_removed_since() {
        let lines = || vec![line("MUG", 2)];
        given::<Cart>([opened(), merged(lines())]).when(merge(CART_B, lines())).then_nothing();
        given::<Cart>([opened(), merged(lines()), set("MUG", 0, 2)]).when(merge(CART_B, lines())).then_nothing();
        given::<Cart>([opened()]).when(merge(CART_B, vec![])).then(merged(vec![]));
    }

    #[test]
    fn a_cart_that_cannot_be_merged_is_refused() {
        given::<Cart>([]).when(merge(CART_B, vec![])).then_refused(CartError::Unknown);
        given::<Cart>([opened()]).when(merge(CART_A, vec![])).then_refused(CartError::MergedIntoItself);
        let in_euro = CartCommand::Merge { source: CART_B, currency: euro(), lines: vec![], changed_at: noon() };
        given::<Cart>([opened()])
            .when(in_euro)
            .then_refused(CartError::Currency { expected: Currency::GBP, found: euro() });
    }

    #[test]
    fn a_merged_cart_points_to_where_its_lines_are() {
        given::<Cart>([opened()]).when(close_into(CART_B, None)).then(closed_into(CART_B));
        given::<Cart>([opened(), closed_into(CART_B)]).when(close_into(CART_B, None)).then_nothing();
        let elsewhere = CartId(Uuid::from_u128(0xC));
        given::<Cart>([opened(), closed_into(CART_B)])
            .when(close_into(elsewhere, None))
            .then_refused(CartError::ClosedInto { target: CART_B });
        given::<Cart>([opened()]).when(close_into(CART_A, None)).then_refused(CartError::MergedIntoItself);
        given::<Cart>([]).when(close_into(CART_B, None)).then_refused(CartError::Unknown);
    }

    #[test]
    fn nobody_takes_over_the_cart_of_another_customer() {
        let theirs = || [opened_for(Some(customer("C1")))];
        given::<Cart>(theirs()).when(close_into(CART_B, Some("C2"))).then_refused(CartError::OwnedByAnother);
        given::<Cart>(theirs()).when(close_into(CART_B, None)).then_refused(CartError::OwnedByAnother);
        let customer_id = Some(customer("C1"));
        given::<Cart>(theirs()).when(close_into(CART_B, Some("C1"))).then(CartEvent::ClosedInto {
            target: CART_B,
            customer_id,
            changed_at: noon(),
        });
    }

    #[test]
    fn a_merged_cart_changes_no_more() {
        for command in changes().into_iter().filter(|command| !matches!(command, CartCommand::CloseInto { .. })) {
            given::<Cart>([opened(), closed_into(CART_B)])
                .when(command)
                .then_refused(CartError::ClosedInto { target: CART_B });
        }
    }
}
