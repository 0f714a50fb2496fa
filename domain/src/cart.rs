//! A cart: what somebody means to buy, until it is checked out, closed into another cart, or left behind.
//!
//! A cart knows no prices: they are asked for when it is looked at, and agreed to when it is checked out.

mod check_out;
mod merge;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pricing::{BasisPoints, Breakdown, Price, ShippingBand, ShippingMethod, ShippingRules};
    use crate::pricing::{ShippingTax, TaxRules, Wanted, price};
    use crate::scenario::{given, handle, state};
    use proptest::prelude::*;
    use uuid::Uuid;

    pub const CART_A: CartId = CartId(Uuid::from_u128(0xA));
    pub const CART_B: CartId = CartId(Uuid::from_u128(0xB));
    pub const ORDER_A: OrderId = OrderId(Uuid::from_u128(0xA));

    pub fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_259_668_800, 0).expect("a time in 2009")
    }

    pub fn minutes_past_noon(minutes: i64) -> DateTime<Utc> {
        noon() + TimeDelta::minutes(minutes)
    }

    pub fn pence(amount_minor: i64) -> Money {
        Money::new(amount_minor, Currency::GBP)
    }

    pub fn euro() -> Currency {
        Currency::from_code("EUR").expect("EUR is in ISO 4217")
    }

    pub fn country(code: &str) -> CountryCode {
        CountryCode::from_code(code).expect("two capital letters")
    }

    pub fn sku(text: &str) -> Sku {
        text.parse().expect("a valid SKU")
    }

    pub fn units(n: u64) -> Quantity {
        Quantity::new(n).expect("not too many units")
    }

    pub fn line(text: &str, n: u64) -> CartLine {
        CartLine { sku: sku(text), quantity: units(n) }
    }

    pub fn method(text: &str) -> ShippingMethodId {
        text.parse().expect("a valid shipping method")
    }

    pub fn personal(sealed: &str) -> Personal {
        Personal { subject: "guest-1".parse().expect("a valid subject"), sealed: sealed.into() }
    }

    pub fn address(code: &str) -> Address {
        Address { country: country(code), addressee: personal("street and town") }
    }

    pub fn customer(text: &str) -> CustomerId {
        text.parse().expect("a valid customer")
    }

    pub fn opened() -> CartEvent {
        opened_for(None)
    }

    pub fn opened_for(customer_id: Option<CustomerId>) -> CartEvent {
        CartEvent::Opened(Opened { cart_id: CART_A, customer_id, currency: Currency::GBP, opened_at: noon() })
    }

    fn open(currency: Currency) -> CartCommand {
        CartCommand::Open { cart_id: CART_A, customer_id: None, currency, opened_at: noon() }
    }

    pub fn set(text: &str, n: u64, previous: u64) -> CartEvent {
        CartEvent::QuantitySet { sku: sku(text), quantity: units(n), previous: units(previous), changed_at: noon() }
    }

    fn set_quantity(text: &str, n: u64) -> CartCommand {
        CartCommand::SetQuantity { sku: sku(text), quantity: units(n), changed_at: noon() }
    }

    fn assign(text: &str) -> CartCommand {
        CartCommand::Assign { customer_id: customer(text), changed_at: noon() }
    }

    pub fn merge(source: CartId, lines: Vec<CartLine>) -> CartCommand {
        CartCommand::Merge { source, currency: Currency::GBP, lines, changed_at: noon() }
    }

    fn abandon(idle_minutes: i64, now: DateTime<Utc>) -> CartCommand {
        CartCommand::Abandon { idle: TimeDelta::minutes(idle_minutes), now }
    }

    fn abandoned() -> CartEvent {
        CartEvent::Abandoned {
            customer_id: None,
            email: None,
            currency: Currency::GBP,
            lines: vec![line("MUG", 2)],
            changed_at: noon(),
            abandoned_at: minutes_past_noon(60),
        }
    }

    /// One of each command that changes a cart or leaves it behind.
    pub fn changes() -> Vec<CartCommand> {
        let changed_at = noon();
        vec![
            set_quantity("MUG", 7),
            assign("C1"),
            merge(CART_B, vec![line("MUG", 7)]),
            CartCommand::CloseInto { target: CART_B, customer_id: None, changed_at },
            CartCommand::SetEmail { email: personal("another e-mail"), changed_at },
            CartCommand::SetShippingAddress { address: address("FR"), changed_at },
            CartCommand::SetBillingAddress { address: address("FR"), changed_at },
            CartCommand::ChooseShippingMethod { method: method("express"), changed_at },
            abandon(0, noon()),
        ]
    }

    /// What the lines cost where each unit costs 2.00, 20 % tax included, and shipping is 5.00.
    pub fn breakdown(lines: &[CartLine], destination: &str, shipping_method: &str) -> Breakdown {
        let (destination, shipping_method) = (country(destination), method(shipping_method));
        let tax_class: crate::TaxClass = "standard".parse().expect("a valid tax class");
        let tax_rules = TaxRules {
            prices_include_tax: true,
            shipping: ShippingTax::HighestRateOfGoods,
            rates: [(destination, [(tax_class.clone(), BasisPoints(2_000))].into())].into(),
        };
        let rules = ShippingMethod {
            countries: [destination].into(),
            bands: vec![ShippingBand { from: pence(0), price: pence(500) }],
        };
        let shipping_rules = ShippingRules { methods: [(shipping_method.clone(), rules)].into() };
        let unit_price = || Price { unit_price: pence(200), tax_class: tax_class.clone() };
        let prices = lines.iter().map(|line| (line.sku.clone(), unit_price())).collect();
        let wanted = Wanted { currency: Currency::GBP, lines, destination, shipping_method: Some(&shipping_method) };
        price(&wanted, &prices, &tax_rules, &shipping_rules).expect("everything is on sale")
    }

    #[test]
    fn a_cart_is_opened_once() {
        given::<Cart>([]).when(open(Currency::GBP)).then(opened());
        given::<Cart>([opened()]).when(open(Currency::GBP)).then_nothing();
        let assigned = CartEvent::Assigned { customer_id: customer("C1"), changed_at: noon() };
        given::<Cart>([opened(), assigned]).when(open(Currency::GBP)).then_nothing();
        given::<Cart>([opened()])
            .when(open(euro()))
            .then_refused(CartError::OpenedDifferently { currency: Currency::GBP });
    }

    #[test]
    fn a_quantity_is_set_and_names_the_one_before() {
        given::<Cart>([opened()]).when(set_quantity("MUG", 2)).then(set("MUG", 2, 0));
        given::<Cart>([opened(), set("MUG", 2, 0)]).when(set_quantity("MUG", 2)).then_nothing();
        given::<Cart>([opened(), set("MUG", 2, 0)]).when(set_quantity("MUG", 3)).then(set("MUG", 3, 2));
        given::<Cart>([]).when(set_quantity("MUG", 2)).then_refused(CartError::Unknown);
    }

    #[test]
    fn a_quantity_of_zero_removes_the_line() {
        given::<Cart>([opened(), set("MUG", 2, 0)]).when(set_quantity("MUG", 0)).then(set("MUG", 0, 2));
        given::<Cart>([opened(), set("MUG", 2, 0), set("MUG", 0, 2)]).when(set_quantity("MUG", 0)).then_nothing();
        assert_eq!(state::<Cart>([opened(), set("MUG", 2, 0), set("MUG", 0, 2)]).lines(), []);
    }

    #[test]
    fn a_cart_has_at_most_so_many_units_of_a_sku() {
        given::<Cart>([opened()]).when(set_quantity("MUG", UNITS_MAX)).then(set("MUG", UNITS_MAX, 0));
        let error = CartError::TooManyUnits { sku: sku("MUG"), quantity: units(UNITS_MAX + 1) };
        given::<Cart>([opened()]).when(set_quantity("MUG", UNITS_MAX + 1)).then_refused(error.clone());
        given::<Cart>([opened()]).when(merge(CART_B, vec![line("MUG", UNITS_MAX + 1)])).then_refused(error);
    }

    #[test]
    fn a_cart_has_at_most_so_many_lines() {
        let full = || (0..LINES_MAX).map(|number| set(&format!("S{number}"), 1, 0));
        let too_many = |lines| CartError::TooManyLines { lines };
        let full = || [opened()].into_iter().chain(full());
        given::<Cart>(full()).when(set_quantity("MUG", 1)).then_refused(too_many(LINES_MAX + 1));
        given::<Cart>(full()).when(set_quantity("S0", 2)).then(set("S0", 2, 1));
        given::<Cart>(full())
            .when(merge(CART_B, vec![line("S0", 1), line("MUG", 1), line("CUP", 1)]))
            .then_refused(too_many(LINES_MAX + 2));
    }

    #[test]
    fn a_guests_cart_goes_to_who_logs_in() {
        let assigned = CartEvent::Assigned { customer_id: customer("C1"), changed_at: noon() };
        given::<Cart>([opened()]).when(assign("C1")).then(assigned.clone());
        given::<Cart>([opened(), assigned.clone()]).when(assign("C1")).then_nothing();
        given::<Cart>([opened(), assigned]).when(assign("C2")).then_refused(CartError::OwnedByAnother);
        given::<Cart>([opened_for(Some(customer("C1")))]).when(assign("C1")).then_nothing();
        given::<Cart>([]).when(assign("C1")).then_refused(CartError::Unknown);
    }

    #[test]
    fn what_the_buyer_says_is_kept_once() {
        let (email, to, changed_at) = (personal("e-mail"), address("GB"), noon());
        let method = method("standard");
        let steps = [
            (CartCommand::SetEmail { email: email.clone(), changed_at }, CartEvent::EmailSet { email, changed_at }),
            (
                CartCommand::SetShippingAddress { address: to.clone(), changed_at },
                CartEvent::ShippingAddressSet { address: to.clone(), changed_at },
            ),
            (
                CartCommand::SetBillingAddress { address: to.clone(), changed_at },
                CartEvent::BillingAddressSet { address: to, changed_at },
            ),
            (
                CartCommand::ChooseShippingMethod { method: method.clone(), changed_at },
                CartEvent::ShippingMethodChosen { method, changed_at },
            ),
        ];
        for (command, event) in steps {
            given::<Cart>([]).when(command.clone()).then_refused(CartError::Unknown);
            given::<Cart>([opened()]).when(command.clone()).then(event.clone());
            given::<Cart>([opened(), event]).when(command).then_nothing();
        }
    }

    #[test]
    fn an_idle_cart_is_abandoned_with_its_lines() {
        let filled = || [opened(), set("MUG", 2, 0)];
        given::<Cart>(filled()).when(abandon(60, minutes_past_noon(60))).then(abandoned());
        given::<Cart>(filled().into_iter().chain([abandoned()]))
            .when(abandon(60, minutes_past_noon(90)))
            .then_nothing();
        let (now, idle) = (minutes_past_noon(59), TimeDelta::minutes(60));
        given::<Cart>(filled()).when(abandon(60, now)).then_refused(CartError::NotIdle {
            changed_at: noon(),
            idle,
            now,
        });
        given::<Cart>([]).when(abandon(60, now)).then_refused(CartError::Unknown);
    }

    #[test]
    fn the_next_change_takes_an_abandoned_cart_up_again() {
        let left = || [opened(), set("MUG", 2, 0), abandoned()];
        given::<Cart>(left()).when(set_quantity("MUG", 3)).then(set("MUG", 3, 2));
        let changed = left().into_iter().chain([set("MUG", 3, 2)]);
        assert_eq!(state::<Cart>(changed).status(), &Status::Open);
        given::<Cart>(left()).when(set_quantity("MUG", 2)).then_nothing();
    }

    /// What is tried on a cart; a check-out comes with the price of the cart, or of another one: of a mug.
    #[derive(Debug, Clone)]
    enum Attempt {
        Command(CartCommand),
        CheckOut { order_id: OrderId, stale: bool },
    }

    impl Attempt {
        fn on(self, cart: &Cart) -> CartCommand {
            match self {
                Attempt::Command(command) => command,
                Attempt::CheckOut { order_id, stale } => {
                    let lines = if stale || cart.lines.is_empty() { vec![line("MUG", 1)] } else { cart.lines() };
                    CartCommand::CheckOut(CheckOut {
                        order_id,
                        destination: country("GB"),
                        breakdown: breakdown(&lines, "GB", "standard"),
                        agreed_total: None,
                        checked_out_at: noon(),
                    })
                }
            }
        }
    }

    fn any_attempt() -> impl Strategy<Value = Attempt> {
        let changed_at = noon();
        let minutes = || (0_i64..10).prop_map(minutes_past_noon);
        let customer_id = || "C[1-2]".prop_map(|text| customer(&text));
        let quantity = prop_oneof![8 => 0_u64..5, 1 => UNITS_MAX..UNITS_MAX + 2];
        let many_lines = (0_u64..400, 0_u64..400, 0_u64..5)
            .prop_map(|(from, count, n)| (from..from + count).map(|number| line(&format!("S{number}"), n)).collect());
        let cart_id = || (0xA_u128..0xF).prop_map(|number| CartId(Uuid::from_u128(number)));
        let command = prop_oneof![
            2 => prop_oneof![Just(open(Currency::GBP)), Just(open(euro()))],
            8 => ("S[0-9]", quantity, minutes()).prop_map(|(text, n, changed_at)| CartCommand::SetQuantity {
                sku: sku(&text), quantity: units(n), changed_at
            }),
            1 => customer_id().prop_map(move |customer_id| CartCommand::Assign { customer_id, changed_at }),
            2 => (cart_id(), many_lines).prop_map(|(source, lines)| merge(source, lines)),
            1 => (cart_id(), prop::option::of(customer_id())).prop_map(move |(target, customer_id)| {
                CartCommand::CloseInto { target, customer_id, changed_at }
            }),
            2 => "[a-b]".prop_map(move |text| CartCommand::SetEmail { email: personal(&text), changed_at }),
            2 => "GB|FR".prop_map(move |code| {
                CartCommand::SetShippingAddress { address: address(&code), changed_at }
            }),
            1 => "GB|FR".prop_map(move |code| CartCommand::SetBillingAddress { address: address(&code), changed_at }),
            2 => "standard|express".prop_map(move |text| {
                CartCommand::ChooseShippingMethod { method: method(&text), changed_at }
            }),
            1 => (0_i64..10, minutes()).prop_map(|(idle, now)| abandon(idle, now)),
        ];
        prop_oneof![
            20 => command.prop_map(Attempt::Command),
            2 => (0xA_u128..0xC, any::<bool>()).prop_map(|(number, stale)| {
                Attempt::CheckOut { order_id: OrderId(Uuid::from_u128(number)), stale }
            }),
        ]
    }

    proptest! {
        #[test]
        fn no_sequence_of_commands_breaks_a_cart(attempts in prop::collection::vec(any_attempt(), 0..60)) {
            let mut cart = Cart::default();
            for attempt in attempts {
                let before = cart.clone();
                let command = attempt.on(&cart);
                match handle(&mut cart, command.clone()) {
                    Err(_) => prop_assert_eq!(&cart, &before, "refused, so nothing changes"),
                    Ok(events) => {
                        let after = cart.clone();
                        prop_assert_eq!(handle(&mut cart, command), Ok(vec![]), "a retry changes nothing");
                        prop_assert_eq!(&cart, &after);
                        let was_closed = before.opened.is_some() && before.changeable().is_err();
                        prop_assert!(!was_closed || events.is_empty(), "a closed cart stays as it is");
                    }
                }
                prop_assert!(cart.lines.len() <= LINES_MAX);
                prop_assert!(cart.lines.values().all(|quantity| (1..=UNITS_MAX).contains(&quantity.units())));
                if let Status::CheckedOut(order) = &cart.status {
                    let bought = order.breakdown.lines.iter().map(|l| line(l.sku.as_str(), l.quantity.units()));
                    prop_assert_eq!(bought.collect::<Vec<_>>(), cart.lines());
                }
            }
        }
    }
}
