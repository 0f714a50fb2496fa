//! What each event of orders, cancellations, carts and stock counts.

use super::carts::{self, OpenedCart};
use super::catalogue;
use super::customers::Customers;
use super::orders::{self, Sold, Trade};
use super::sums::{Count, Cube, Sums};
use crate::runtime::ApplyError;
use kontor_domain::cancellation::CancellationEvent;
use kontor_domain::cart::{CartEvent, Opened};
use kontor_domain::order::{OrderEvent, Placed};
use kontor_domain::{CartId, Money, OrderId, Quantity, Sku};
use kontor_event_schemas::Fact;
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};

/// What a batch changes.
#[derive(Debug, Default)]
pub struct TradeChanges<'a> {
    sums: Sums,
    placed: BTreeMap<OrderId, Sold>,
    /// Placed before the batch.
    earlier: HashMap<OrderId, Sold>,
    opened: BTreeMap<CartId, OpenedCart>,
    /// Opened before the batch.
    earlier_carts: HashMap<CartId, OpenedCart>,
    customers: Customers,
    on_hand: BTreeMap<&'a Sku, Quantity>,
}

/// Whether it counts anything.
pub fn counts_order(event: &OrderEvent) -> bool {
    match event {
        OrderEvent::Placed(_)
        | OrderEvent::Cancelled { .. }
        | OrderEvent::ReturnReceived { .. }
        | OrderEvent::Refunded { .. }
        | OrderEvent::RefundBounced { .. } => true,
        OrderEvent::Authorised { .. }
        | OrderEvent::Confirmed { .. }
        | OrderEvent::Shipped { .. }
        | OrderEvent::Delivered { .. }
        | OrderEvent::Captured { .. }
        | OrderEvent::ReturnRequested { .. }
        | OrderEvent::Restocked { .. } => false,
    }
}

/// Whether it counts anything.
pub fn counts_cart(event: &CartEvent) -> bool {
    match event {
        CartEvent::Opened(_) | CartEvent::ClosedInto { .. } | CartEvent::CheckedOut(_) => true,
        CartEvent::QuantitySet { .. }
        | CartEvent::Assigned { .. }
        | CartEvent::Merged { .. }
        | CartEvent::EmailSet { .. }
        | CartEvent::ShippingAddressSet { .. }
        | CartEvent::BillingAddressSet { .. }
        | CartEvent::ShippingMethodChosen { .. }
        | CartEvent::Abandoned { .. } => false, // It still may be checked out.
    }
}

impl<'a> TradeChanges<'a> {
    /// Folds events in, with the catalogue as the rows have it.
    pub async fn fold(&mut self, view: &mut PgConnection, facts: &[&'a Fact]) -> Result<(), ApplyError> {
        let categories = catalogue::categories(view, facts.iter().flat_map(|fact| sold(fact))).await?;
        let taken_back = facts.iter().filter_map(|fact| takes_back(fact));
        let unknown = taken_back.filter(|id| !self.placed.contains_key(id) && !self.earlier.contains_key(id));
        let placed_here = placed_in(facts);
        let earlier = orders::read(view, unknown.filter(|id| !placed_here.contains_key(id))).await?;
        self.earlier.extend(earlier);
        let ended = facts.iter().filter_map(|fact| ends(fact));
        let unknown = ended.filter(|id| !self.opened.contains_key(id) && !self.earlier_carts.contains_key(id));
        let opened_here = opened_in(facts);
        let earlier = carts::read(view, unknown.filter(|id| !opened_here.contains_key(id))).await?;
        self.earlier_carts.extend(earlier);
        let buyers = placed_here.into_values().filter_map(|order| order.customer_id.as_ref());
        self.customers.read(view, buyers).await?;
        facts.iter().try_for_each(|fact| self.fold_one(fact, &categories))
    }

    fn fold_one(&mut self, fact: &'a Fact, categories: &HashMap<String, Vec<String>>) -> Result<(), ApplyError> {
        match fact {
            Fact::Order(_, OrderEvent::Placed(order)) => {
                let sold = Sold::of(order.total.currency, order.country.as_str(), &order.lines, categories);
                sold.count(&mut self.sums, Trade::Placed, order.placed_at)?;
                if let Some(customer_id) = &order.customer_id {
                    self.customers.order(&mut self.sums, customer_id, &sold, order.placed_at)?;
                }
                self.placed.insert(order.order_id, sold);
                Ok(())
            }
            Fact::Order(id, event) => self.take_back(*id, event),
            Fact::Cancellation(_, CancellationEvent::Booked(booked)) => {
                let sold = Sold::of(booked.total.currency, booked.country.as_str(), &booked.lines, categories);
                sold.count(&mut self.sums, Trade::Cancelled, booked.cancelled_at)
            }
            Fact::Cart(id, event) => self.fold_cart(*id, event),
            Fact::Stock(sku, event) => {
                if let Some(on_hand) = event.on_hand_after() {
                    self.on_hand.insert(sku, on_hand);
                }
                Ok(())
            }
            // The catalogue's are written before; what comes of the others is an order's event.
            Fact::Product(..) | Fact::Category(..) => Ok(()),
            Fact::Sku(..) | Fact::Slug(..) | Fact::Payment(..) | Fact::Timer(..) => Ok(()),
        }
    }

    fn take_back(&mut self, id: OrderId, event: &OrderEvent) -> Result<(), ApplyError> {
        if !counts_order(event) {
            return Ok(());
        }
        let sold = self.placed.get(&id).or_else(|| self.earlier.get(&id));
        let sold = sold.ok_or_else(|| ApplyError::Contradiction(format!("order {id} is not there")))?;
        let mut refund = |amount: Money, sign: i64, at| {
            let counted = [(Count::RefundedMinor, sign * amount.amount_minor)];
            self.sums.add(Cube::Countries, "", sold.place(), at, &counted)
        };
        match event {
            OrderEvent::Cancelled { cancelled_at, .. } => sold.count(&mut self.sums, Trade::Cancelled, *cancelled_at),
            OrderEvent::ReturnReceived { parts, received_at, .. } => {
                let no_such = || ApplyError::Contradiction(format!("a return of order {id} is of other lines"));
                let returned = sold.parts(parts).ok_or_else(no_such)?;
                returned.count(&mut self.sums, Trade::Returned, *received_at)
            }
            OrderEvent::Refunded { amount, refunded_at, .. } => refund(*amount, 1, *refunded_at),
            OrderEvent::RefundBounced { amount, bounced_at, .. } => refund(*amount, -1, *bounced_at),
            _ => Ok(()), // See `counts_order`.
        }
    }

    fn fold_cart(&mut self, id: CartId, event: &CartEvent) -> Result<(), ApplyError> {
        let counted = match event {
            CartEvent::Opened(Opened { currency, opened_at, .. }) => {
                self.opened.insert(id, OpenedCart { currency: *currency, opened_at: *opened_at });
                (Count::Carts, 1)
            }
            CartEvent::CheckedOut(_) => (Count::Converted, 1),
            CartEvent::ClosedInto { .. } => (Count::Carts, -1), // It goes on as another.
            _ => return Ok(()),                                 // See `counts_cart`.
        };
        let cart = self.opened.get(&id).or_else(|| self.earlier_carts.get(&id));
        let cart = cart.ok_or_else(|| ApplyError::Contradiction(format!("cart {id} is not there")))?;
        cart.count(&mut self.sums, counted)
    }

    pub async fn write(mut self, view: &mut PgConnection) -> Result<(), ApplyError> {
        self.customers.write(view, &mut self.sums).await?;
        self.sums.write(view).await?;
        orders::write(view, &self.placed).await?;
        carts::write(view, &self.opened).await?;
        write_stock(view, &self.on_hand).await?;
        Ok(())
    }
}

/// The SKUs that it sells or takes back, whose categories it does not say.
fn sold(fact: &Fact) -> impl Iterator<Item = &Sku> {
    let lines = match fact {
        Fact::Order(_, OrderEvent::Placed(order)) => order.lines.as_slice(),
        Fact::Cancellation(_, CancellationEvent::Booked(booked)) => booked.lines.as_slice(),
        _ => &[], // Sells nothing.
    };
    orders::skus(lines)
}

/// The order that it takes something back of.
fn takes_back(fact: &Fact) -> Option<OrderId> {
    match fact {
        Fact::Order(_, OrderEvent::Placed(_)) => None,
        Fact::Order(id, event) if counts_order(event) => Some(*id),
        _ => None, // It takes nothing back, or names no order.
    }
}

fn placed_in<'a>(facts: &[&'a Fact]) -> HashMap<OrderId, &'a Placed> {
    let placed = facts.iter().filter_map(|fact| match fact {
        Fact::Order(id, OrderEvent::Placed(order)) => Some((*id, order)),
        _ => None, // Is not placed.
    });
    placed.collect()
}

/// The cart that it ends.
fn ends(fact: &Fact) -> Option<CartId> {
    match fact {
        Fact::Cart(id, CartEvent::CheckedOut(_) | CartEvent::ClosedInto { .. }) => Some(*id),
        _ => None, // Ends none.
    }
}

fn opened_in<'a>(facts: &[&'a Fact]) -> HashMap<CartId, &'a Opened> {
    let opened = facts.iter().filter_map(|fact| match fact {
        Fact::Cart(id, CartEvent::Opened(opened)) => Some((*id, opened)),
        _ => None, // Is not opened.
    });
    opened.collect()
}

async fn write_stock(view: &mut PgConnection, on_hand: &BTreeMap<&Sku, Quantity>) -> sqlx::Result<()> {
    if on_hand.is_empty() {
        return Ok(());
    }
    let units = |units: &Quantity| units.units().cast_signed();
    sqlx::query(
        "insert into analytics_stock (sku, on_hand) select * from unnest($1::text[], $2::bigint[])
         on conflict (sku) do update set on_hand = excluded.on_hand",
    )
    .bind(on_hand.keys().map(|sku| sku.as_str()).collect::<Vec<_>>())
    .bind(on_hand.values().map(units).collect::<Vec<_>>())
    .execute(view)
    .await?;
    Ok(())
}
