//! The n-th order: what there is to know of it, and how it comes about.

use super::Size;
use super::buyer::Buyer;
use super::product::Product;
use super::valid;
use crate::dice::Dice;
use chrono::{DateTime, TimeDelta, Utc};
use kontor_domain::order::{Checkout, Fulfilment, Line, OrderCommand, OrderNumber, total};
use kontor_domain::payment::{Outcome, PaymentCommand, Provider};
use kontor_domain::personal::{Address, CountryCode};
use kontor_domain::pricing::{BasisPoints, Breakdown, PricedLine};
use kontor_domain::text::{Country, PaymentMethod};
use kontor_domain::{AttemptId, CartId, Currency, Money, OrderId, PaymentId, Quantity};
use uuid::{Builder, Uuid};

/// 2026-05-04T08:00:00Z, as the demo shop.
const OPENED_MS: u64 = 1_777_881_600_000;
const BETWEEN_ORDERS: TimeDelta = TimeDelta::seconds(15);
const LINES_MAX: usize = 3;
/// How long goods are held for an order that is not paid.
const HELD_FOR: TimeDelta = TimeDelta::minutes(15);

/// An order by its number, in a shop of that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub number: usize,
    pub size: Size,
}

/// One line, and the shelf that its units are on.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub line: Line,
    pub product: Product,
    /// Among the SKUs of its product.
    pub sku: usize,
}

impl Order {
    pub fn id(self) -> OrderId {
        OrderId(uuid(self.placed_at(), 1, self.number as u64))
    }

    pub fn placed_at(self) -> DateTime<Utc> {
        opened() + BETWEEN_ORDERS * self.number as i32
    }

    /// Until when its goods are held; `None`: for as long as it takes.
    pub fn held_until(self) -> Option<DateTime<Utc>> {
        self.is_from_checkout().then(|| self.placed_at() + HELD_FOR)
    }

    /// Every other is bought by somebody who pays, and confirmed; the rest are only placed.
    pub fn is_from_checkout(self) -> bool {
        !self.number.is_multiple_of(2)
    }

    /// As queries have it.
    pub fn status(self) -> &'static str {
        if self.is_from_checkout() { "confirmed" } else { "placed" }
    }

    /// Number of who buys.
    pub fn buyer(self) -> usize {
        self.dice().roll(self.size.buyers())
    }

    /// One to three, each of another product.
    pub fn wanted(self) -> Vec<Wanted> {
        let mut dice = self.dice();
        let first = dice.roll(self.size.products);
        let lines = 1 + dice.roll(LINES_MAX);
        let wanted = |line: usize| {
            let product = Product((first + line * 7_919) % self.size.products);
            let skus = product.skus();
            let sku = dice.roll(skus.len());
            let (code, unit_price) = skus[sku].clone();
            let quantity = units(1 + dice.roll(2) as u64);
            Wanted { line: Line { sku: code, quantity, unit_price }, product, sku }
        };
        (0..lines).map(wanted).collect()
    }

    pub fn total(self) -> Money {
        valid(total(&self.lines()))
    }

    fn lines(self) -> Vec<Line> {
        self.wanted().into_iter().map(|wanted| wanted.line).collect()
    }

    fn dice(self) -> Dice {
        Dice::new(self.number as u64)
    }

    pub(super) fn place(self, buyer: &Buyer) -> OrderCommand {
        let fulfilment = if self.is_from_checkout() { Fulfilment::Checkout } else { Fulfilment::Reserve };
        OrderCommand::Place {
            order_id: self.id(),
            reference: None,
            customer_id: Some(buyer.customer_id.clone()),
            country: valid(Country::new("GB")),
            lines: self.lines(),
            fulfilment,
            placed_at: self.placed_at(),
            checkout: self.is_from_checkout().then(|| Box::new(self.checkout(buyer))),
        }
    }

    fn checkout(self, buyer: &Buyer) -> Checkout {
        let country = CountryCode::from_code("GB").expect("two letters");
        let address = Address { country, addressee: buyer.addressee.clone() };
        let untaxed = |Line { sku, quantity, unit_price }: Line| {
            let net = unit_price.checked_mul(quantity).expect("small prices");
            let tax = Money::zero(Currency::GBP);
            PricedLine { sku, quantity, unit_price, tax_rate: BasisPoints(0), net, tax, total: net }
        };
        Checkout {
            cart_id: CartId(self.id().0),
            number: OrderNumber::of(self.id()),
            email: buyer.email.clone(),
            shipping_address: address.clone(),
            billing_address: address,
            breakdown: Breakdown {
                currency: Currency::GBP,
                lines: self.lines().into_iter().map(untaxed).collect(),
                shipping: None,
                taxes: Vec::new(),
                total: self.total(),
            },
            payment_id: self.payment_id(),
            payment_method: method(),
            pay_by: self.placed_at() + HELD_FOR,
        }
    }

    pub(super) fn payment_id(self) -> PaymentId {
        PaymentId(self.id().0)
    }

    fn attempt(self) -> AttemptId {
        AttemptId(uuid(self.placed_at(), 2, self.number as u64))
    }

    pub(super) fn request_payment(self) -> PaymentCommand {
        PaymentCommand::RequestAuthorisation {
            order_id: self.id(),
            attempt: self.attempt(),
            provider: valid(Provider::new("simulator")),
            method: method(),
            amount: self.total(),
            requested_at: self.placed_at(),
        }
    }

    pub(super) fn record_payment(self) -> PaymentCommand {
        let expires_at = self.placed_at() + TimeDelta::days(7);
        let outcome =
            Outcome::Authorised { amount: self.total(), expires_at, provider_reference: None, captures_once: false };
        PaymentCommand::Record { attempt: self.attempt(), outcome, provider_event: None, at: self.paid_at() }
    }

    /// What is done once it is paid.
    pub(super) fn settle(self) -> [OrderCommand; 2] {
        let (payment_id, amount) = (self.payment_id(), self.total());
        [
            OrderCommand::Authorise { payment_id, amount, authorised_at: self.paid_at() },
            OrderCommand::Confirm { confirmed_at: self.paid_at() },
        ]
    }

    fn paid_at(self) -> DateTime<Utc> {
        self.placed_at() + TimeDelta::seconds(1)
    }
}

fn method() -> PaymentMethod {
    valid(PaymentMethod::new("tok_success"))
}

pub fn units(n: u64) -> Quantity {
    Quantity::new(n).expect("few units")
}

pub fn opened() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(OPENED_MS.cast_signed()).expect("a time in 2026")
}

/// A UUID of version 7 that is the same each time: `kind` and `number` tell it from others.
pub fn uuid(at: DateTime<Utc>, kind: u8, number: u64) -> Uuid {
    let mut chance = [kind; 10];
    chance[2..].copy_from_slice(&number.to_be_bytes());
    Builder::from_unix_timestamp_millis(at.timestamp_millis().unsigned_abs(), &chance).into_uuid()
}
