//! A cart: what somebody means to buy, until it is checked out, closed into another cart, or left behind.
//!
//! A cart knows no prices: they are asked for when it is looked at, and agreed to when it is checked out.

mod check_out;
mod merge;
#[cfg(test)]
mod tests;

pub use check_out::{CheckOut, CheckedOut};

use crate::personal::{Address, CountryCode, Personal};
use crate::pricing::CartLine;
use crate::{CartId, Currency, CustomerId, Money, OrderId, Quantity, ShippingMethodId, Sku};
use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most lines that one cart may have.
pub const LINES_MAX: usize = 500;
/// The most units of one SKU in one cart.
pub const UNITS_MAX: u64 = 1_000_000;

/// What has happened to one cart. Stored and published: a field may be added, none renamed or removed.
///
/// `changed_at` (UTC) is when the buyer last did something, so that who waits for a cart to be left needs no other
/// event. A change to an abandoned cart also takes it up again: what is not abandoned last is open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CartEvent {
    /// The cart exists from now on, without lines.
    Opened(Opened),
    /// `quantity` units of the SKU are wanted now, `previous` were before. 0: none.
    QuantitySet { sku: Sku, quantity: Quantity, previous: Quantity, changed_at: DateTime<Utc> },
    /// A guest's cart belongs to a customer now.
    Assigned { customer_id: CustomerId, changed_at: DateTime<Utc> },
    /// Another cart's lines were taken over, and that cart is closed in the same append. `lines` are those that this
    /// changed, with what is wanted of them now.
    Merged { source: CartId, lines: Vec<CartLine>, changed_at: DateTime<Utc> },
    /// The cart is at an end: its lines are in `target`, which belongs to `customer_id`.
    ClosedInto { target: CartId, customer_id: Option<CustomerId>, changed_at: DateTime<Utc> },
    /// Mail about the purchase goes here.
    EmailSet { email: Personal, changed_at: DateTime<Utc> },
    /// The goods go here.
    ShippingAddressSet { address: Address, changed_at: DateTime<Utc> },
    /// The invoice goes here. Before this it goes where the goods go.
    BillingAddressSet { address: Address, changed_at: DateTime<Utc> },
    /// The goods are to travel this way.
    ShippingMethodChosen { method: ShippingMethodId, changed_at: DateTime<Utc> },
    /// The cart is at an end and its order is to be placed.
    CheckedOut(Box<CheckedOut>),
    /// Nothing has happened since `changed_at`; the lines are kept. With whom to remind of what.
    Abandoned {
        customer_id: Option<CustomerId>,
        email: Option<Personal>,
        currency: Currency,
        lines: Vec<CartLine>,
        changed_at: DateTime<Utc>,
        abandoned_at: DateTime<Utc>,
    },
}

/// A cart as it was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Opened {
    pub cart_id: CartId,
    /// `None`: a guest.
    pub customer_id: Option<CustomerId>,
    pub currency: Currency,
    /// UTC; the first `changed_at`.
    pub opened_at: DateTime<Utc>,
}

impl DomainEvent for CartEvent {
    fn event_type(&self) -> String {
        match self {
            CartEvent::Opened(_) => "Opened",
            CartEvent::QuantitySet { .. } => "QuantitySet",
            CartEvent::Assigned { .. } => "Assigned",
            CartEvent::Merged { .. } => "Merged",
            CartEvent::ClosedInto { .. } => "ClosedInto",
            CartEvent::EmailSet { .. } => "EmailSet",
            CartEvent::ShippingAddressSet { .. } => "ShippingAddressSet",
            CartEvent::BillingAddressSet { .. } => "BillingAddressSet",
            CartEvent::ShippingMethodChosen { .. } => "ShippingMethodChosen",
            CartEvent::CheckedOut(_) => "CheckedOut",
            CartEvent::Abandoned { .. } => "Abandoned",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum CartCommand {
    Open {
        cart_id: CartId,
        customer_id: Option<CustomerId>,
        currency: Currency,
        opened_at: DateTime<Utc>,
    },
    /// Adds, changes or, with 0, removes: a retry cannot add twice.
    SetQuantity {
        sku: Sku,
        quantity: Quantity,
        changed_at: DateTime<Utc>,
    },
    /// The buyer has logged in.
    Assign {
        customer_id: CustomerId,
        changed_at: DateTime<Utc>,
    },
    /// Takes over the lines of `source`, which is told to close in the same append.
    Merge {
        source: CartId,
        currency: Currency,
        lines: Vec<CartLine>,
        changed_at: DateTime<Utc>,
    },
    /// Closes the cart, whose lines `target` takes over in the same append. `customer_id` is the owner of `target`.
    CloseInto {
        target: CartId,
        customer_id: Option<CustomerId>,
        changed_at: DateTime<Utc>,
    },
    SetEmail {
        email: Personal,
        changed_at: DateTime<Utc>,
    },
    SetShippingAddress {
        address: Address,
        changed_at: DateTime<Utc>,
    },
    SetBillingAddress {
        address: Address,
        changed_at: DateTime<Utc>,
    },
    ChooseShippingMethod {
        method: ShippingMethodId,
        changed_at: DateTime<Utc>,
    },
    CheckOut(CheckOut),
    /// Marks the cart as left behind, if at `now` nothing has happened for `idle`.
    Abandon {
        idle: TimeDelta,
        now: DateTime<Utc>,
    },
}

/// Why a cart command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CartError {
    #[error("no cart has this id")]
    Unknown,
    #[error("another cart, in {currency}, was opened under this id")]
    OpenedDifferently { currency: Currency },
    #[error("the cart was checked out as order {order_id} for {total}")]
    CheckedOut { order_id: OrderId, total: Money },
    #[error("the cart was merged into cart {target}")]
    ClosedInto { target: CartId },
    // Does not say whose: the one who asks is not the owner.
    #[error("the cart belongs to another customer")]
    OwnedByAnother,
    #[error("a cart may have {LINES_MAX} lines, this would make {lines}")]
    TooManyLines { lines: usize },
    #[error("a cart may have {UNITS_MAX} units of one SKU, {quantity} of {sku} were asked for")]
    TooManyUnits { sku: Sku, quantity: Quantity },
    #[error("a cart cannot be merged into itself")]
    MergedIntoItself,
    #[error("the cart is in {expected}, not in {found}")]
    Currency { expected: Currency, found: Currency },
    #[error("changed at {changed_at}, the cart was not idle for {idle} at {now}")]
    NotIdle { changed_at: DateTime<Utc>, idle: TimeDelta, now: DateTime<Utc> },
    #[error("there is nothing in the cart")]
    Empty,
    #[error("the cart has no e-mail address")]
    NoEmail,
    #[error("the cart has no shipping address")]
    NoShippingAddress,
    #[error("no shipping method was chosen")]
    NoShippingMethod,
    #[error("{in_cart} units of {sku} are in the cart, {priced} were priced")]
    QuantityPricedDifferently { sku: Sku, in_cart: Quantity, priced: Quantity },
    #[error("the goods go to {destination}, the price is for {priced}")]
    DestinationPricedDifferently { destination: CountryCode, priced: CountryCode },
    #[error("the goods go by {method}, the price is for {}", .priced.as_ref().map_or("none", ShippingMethodId::as_str))]
    ShippingPricedDifferently { method: ShippingMethodId, priced: Option<ShippingMethodId> },
    #[error("{agreed} were agreed to, the total is {total} now")]
    TotalChanged { agreed: Money, total: Money },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cart {
    opened: Option<Opened>,
    status: Status,
    customer_id: Option<CustomerId>,
    lines: BTreeMap<Sku, Quantity>,
    /// The carts whose lines are in this one: a retry must not bring back what the buyer has removed since.
    merged: BTreeSet<CartId>,
    email: Option<Personal>,
    shipping_address: Option<Address>,
    billing_address: Option<Address>,
    shipping_method: Option<ShippingMethodId>,
    changed_at: DateTime<Utc>,
}

/// Where a cart is in its life. Only the first two can change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Status {
    #[default]
    Open,
    Abandoned,
    ClosedInto {
        target: CartId,
    },
    CheckedOut(Box<CheckedOut>),
}

impl Cart {
    /// The cart as it was opened; `None` before.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Whose cart it is; `None`: a guest's.
    pub fn customer_id(&self) -> Option<&CustomerId> {
        self.customer_id.as_ref()
    }

    /// In the order of the SKUs, each once and with at least one unit.
    pub fn lines(&self) -> Vec<CartLine> {
        self.lines.iter().map(|(sku, &quantity)| CartLine { sku: sku.clone(), quantity }).collect()
    }

    pub fn email(&self) -> Option<&Personal> {
        self.email.as_ref()
    }

    pub fn shipping_address(&self) -> Option<&Address> {
        self.shipping_address.as_ref()
    }

    /// Where the invoice goes: where the goods go unless said otherwise.
    pub fn billing_address(&self) -> Option<&Address> {
        self.billing_address.as_ref().or(self.shipping_address.as_ref())
    }

    pub fn shipping_method(&self) -> Option<&ShippingMethodId> {
        self.shipping_method.as_ref()
    }

    /// When the buyer last did something.
    pub fn changed_at(&self) -> DateTime<Utc> {
        self.changed_at
    }

    fn decide(&self, command: CartCommand) -> Result<Option<CartEvent>, CartError> {
        match command {
            CartCommand::Open { cart_id, customer_id, currency, opened_at } => {
                self.open(Opened { cart_id, customer_id, currency, opened_at })
            }
            CartCommand::SetQuantity { sku, quantity, changed_at } => self.set_quantity(sku, quantity, changed_at),
            CartCommand::Assign { customer_id, changed_at } => self.assign(customer_id, changed_at),
            CartCommand::Merge { source, currency, lines, changed_at } => {
                self.merge(source, currency, lines, changed_at)
            }
            CartCommand::CloseInto { target, customer_id, changed_at } => {
                self.close_into(target, customer_id, changed_at)
            }
            CartCommand::SetEmail { email, changed_at } => self.set_email(email, changed_at),
            CartCommand::SetShippingAddress { address, changed_at } => self.set_shipping_address(address, changed_at),
            CartCommand::SetBillingAddress { address, changed_at } => self.set_billing_address(address, changed_at),
            CartCommand::ChooseShippingMethod { method, changed_at } => self.choose_shipping_method(method, changed_at),
            CartCommand::CheckOut(check_out) => self.check_out(check_out),
            CartCommand::Abandon { idle, now } => self.abandon(idle, now),
        }
    }

    /// Opens the cart. `None`: it was opened like this, whatever time the retry names and whoever owns it since.
    fn open(&self, cart: Opened) -> Result<Option<CartEvent>, CartError> {
        match &self.opened {
            Some(opened) if (Opened { opened_at: cart.opened_at, ..opened.clone() }) == cart => Ok(None),
            Some(opened) => Err(CartError::OpenedDifferently { currency: opened.currency }),
            None => Ok(Some(CartEvent::Opened(cart))),
        }
    }

    /// Wants `quantity` units of the SKU from now on. `None`: so many are wanted already.
    fn set_quantity(
        &self,
        sku: Sku,
        quantity: Quantity,
        changed_at: DateTime<Utc>,
    ) -> Result<Option<CartEvent>, CartError> {
        self.changeable()?;
        let previous = self.wanted(&sku);
        if quantity == previous {
            return Ok(None);
        }
        if quantity.units() > UNITS_MAX {
            return Err(CartError::TooManyUnits { sku, quantity });
        }
        if previous.is_zero() && self.lines.len() == LINES_MAX {
            return Err(CartError::TooManyLines { lines: LINES_MAX + 1 });
        }
        Ok(Some(CartEvent::QuantitySet { sku, quantity, previous, changed_at }))
    }

    /// Gives a guest's cart to the customer who logged in. `None`: it is theirs already.
    fn assign(&self, customer_id: CustomerId, changed_at: DateTime<Utc>) -> Result<Option<CartEvent>, CartError> {
        self.changeable()?;
        match &self.customer_id {
            Some(owner) if *owner == customer_id => Ok(None),
            Some(_) => Err(CartError::OwnedByAnother),
            None => Ok(Some(CartEvent::Assigned { customer_id, changed_at })),
        }
    }

    /// `None`: it is this one already; and likewise for what follows.
    fn set_email(&self, email: Personal, changed_at: DateTime<Utc>) -> Result<Option<CartEvent>, CartError> {
        self.changeable()?;
        let is_new = self.email.as_ref() != Some(&email);
        Ok(is_new.then_some(CartEvent::EmailSet { email, changed_at }))
    }

    fn set_shipping_address(
        &self,
        address: Address,
        changed_at: DateTime<Utc>,
    ) -> Result<Option<CartEvent>, CartError> {
        self.changeable()?;
        let is_new = self.shipping_address.as_ref() != Some(&address);
        Ok(is_new.then_some(CartEvent::ShippingAddressSet { address, changed_at }))
    }

    fn set_billing_address(&self, address: Address, changed_at: DateTime<Utc>) -> Result<Option<CartEvent>, CartError> {
        self.changeable()?;
        let is_new = self.billing_address.as_ref() != Some(&address);
        Ok(is_new.then_some(CartEvent::BillingAddressSet { address, changed_at }))
    }

    /// Whether the method exists, and goes where the goods go, is for pricing to say.
    fn choose_shipping_method(
        &self,
        method: ShippingMethodId,
        changed_at: DateTime<Utc>,
    ) -> Result<Option<CartEvent>, CartError> {
        self.changeable()?;
        let is_new = self.shipping_method.as_ref() != Some(&method);
        Ok(is_new.then_some(CartEvent::ShippingMethodChosen { method, changed_at }))
    }

    /// Marks the cart as left behind. `None`: it is. The next change takes it up again, without being told to: who
    /// comes back finds the lines, and may check out.
    fn abandon(&self, idle: TimeDelta, now: DateTime<Utc>) -> Result<Option<CartEvent>, CartError> {
        if self.status == Status::Abandoned {
            return Ok(None);
        }
        let currency = self.changeable()?.currency;
        let changed_at = self.changed_at;
        if now - changed_at < idle {
            return Err(CartError::NotIdle { changed_at, idle, now });
        }
        Ok(Some(CartEvent::Abandoned {
            customer_id: self.customer_id.clone(),
            email: self.email.clone(),
            currency,
            lines: self.lines(),
            changed_at,
            abandoned_at: now,
        }))
    }

    fn changeable(&self) -> Result<&Opened, CartError> {
        let opened = self.opened.as_ref().ok_or(CartError::Unknown)?;
        match &self.status {
            Status::Open | Status::Abandoned => Ok(opened),
            &Status::ClosedInto { target } => Err(CartError::ClosedInto { target }),
            Status::CheckedOut(order) => {
                Err(CartError::CheckedOut { order_id: order.order_id, total: order.breakdown.total })
            }
        }
    }

    fn wanted(&self, sku: &Sku) -> Quantity {
        self.lines.get(sku).copied().unwrap_or_default()
    }

    fn put(&mut self, sku: Sku, quantity: Quantity) {
        if quantity.is_zero() {
            self.lines.remove(&sku);
        } else {
            self.lines.insert(sku, quantity);
        }
    }

    fn move_to(&mut self, status: Status, changed_at: DateTime<Utc>) {
        (self.status, self.changed_at) = (status, changed_at);
    }
}

impl Aggregate for Cart {
    const TYPE: &'static str = "cart";
    type Command = CartCommand;
    type Event = CartEvent;
    type Error = CartError;
    type Services = ();

    async fn handle(&mut self, command: CartCommand, _: &(), sink: &EventSink<Self>) -> Result<(), CartError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: CartEvent) {
        match event {
            CartEvent::Opened(opened) => {
                self.customer_id = opened.customer_id.clone();
                self.move_to(Status::Open, opened.opened_at);
                self.opened = Some(opened);
            }
            CartEvent::QuantitySet { sku, quantity, changed_at, .. } => {
                self.put(sku, quantity);
                self.move_to(Status::Open, changed_at);
            }
            CartEvent::Assigned { customer_id, changed_at } => {
                self.customer_id = Some(customer_id);
                self.move_to(Status::Open, changed_at);
            }
            CartEvent::Merged { source, lines, changed_at } => {
                self.merged.insert(source);
                lines.into_iter().for_each(|CartLine { sku, quantity }| self.put(sku, quantity));
                self.move_to(Status::Open, changed_at);
            }
            CartEvent::ClosedInto { target, changed_at, .. } => self.move_to(Status::ClosedInto { target }, changed_at),
            CartEvent::EmailSet { email, changed_at } => {
                self.email = Some(email);
                self.move_to(Status::Open, changed_at);
            }
            CartEvent::ShippingAddressSet { address, changed_at } => {
                self.shipping_address = Some(address);
                self.move_to(Status::Open, changed_at);
            }
            CartEvent::BillingAddressSet { address, changed_at } => {
                self.billing_address = Some(address);
                self.move_to(Status::Open, changed_at);
            }
            CartEvent::ShippingMethodChosen { method, changed_at } => {
                self.shipping_method = Some(method);
                self.move_to(Status::Open, changed_at);
            }
            CartEvent::CheckedOut(order) => {
                let checked_out_at = order.checked_out_at;
                self.move_to(Status::CheckedOut(order), checked_out_at);
            }
            CartEvent::Abandoned { changed_at, .. } => self.move_to(Status::Abandoned, changed_at),
        }
    }
}
