//! An order for tests: two units of A at 1.50 and one of B at 0.05, from checkout with 0.40 for shipping.

use super::{
    Checkout, Fulfilment, Line, LinePart, Order, OrderCommand, OrderEvent, OrderNumber, Picked, Placed, total,
};
use crate::personal::{Address, CountryCode, Personal};
use crate::pricing::{BasisPoints, Breakdown, PricedLine, ShippingCharge};
use crate::text::{Country, PaymentMethod, Reason};
use crate::{CartId, Currency, Money, OrderId, PaymentId, Quantity};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

pub const ORDER: OrderId = OrderId(Uuid::from_u128(0xA));
pub const PAYMENT: PaymentId = PaymentId(Uuid::from_u128(0xF));

pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_259_668_800, 0).expect("a time in 2009")
}

pub fn pence(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::GBP)
}

pub fn units(n: u64) -> Quantity {
    Quantity::new(n).expect("few units")
}

pub fn reason() -> Reason {
    Reason::new("changed my mind").expect("a valid reason")
}

pub fn line(sku: &str, n: u64, price: i64) -> Line {
    Line { sku: sku.parse().expect("a valid SKU"), quantity: units(n), unit_price: pence(price) }
}

pub fn two_lines() -> Vec<Line> {
    vec![line("A", 2, 150), line("B", 1, 5)]
}

pub fn picked<const N: usize>(lines: [(u32, u64); N]) -> Picked {
    lines.into_iter().map(|(line, n)| (line, units(n))).collect()
}

pub fn part(line: u32, sku: &str, n: u64) -> LinePart {
    LinePart { line, sku: sku.parse().expect("a valid SKU"), quantity: units(n) }
}

pub fn checkout(lines: &[Line], shipping: i64) -> Checkout {
    let personal = || Personal { subject: "13085".parse().expect("a subject"), sealed: "c2VhbGVk".into() };
    let address = || Address { country: CountryCode::from_code("IE").expect("a country code"), addressee: personal() };
    let rate = BasisPoints(0);
    let priced = |Line { sku, quantity, unit_price }: &Line| {
        let net = unit_price.checked_mul(*quantity).expect("small prices");
        let (sku, quantity, unit_price) = (sku.clone(), *quantity, *unit_price);
        PricedLine { sku, quantity, unit_price, tax_rate: rate, net, tax: pence(0), total: net }
    };
    let charge = |net| ShippingCharge {
        method: "standard".parse().expect("a method"),
        tax_rate: rate,
        net,
        tax: pence(0),
        total: net,
    };
    Checkout {
        cart_id: CartId(Uuid::from_u128(0xCA)),
        number: OrderNumber::of(ORDER),
        email: personal(),
        shipping_address: address(),
        billing_address: address(),
        breakdown: Breakdown {
            currency: Currency::GBP,
            lines: lines.iter().map(priced).collect(),
            shipping: (shipping > 0).then(|| charge(pence(shipping))),
            taxes: vec![],
            total: pence(total(lines).expect("small prices").amount_minor + shipping),
        },
        payment_id: PAYMENT,
        payment_method: PaymentMethod::new("tok_success").expect("a token"),
        pay_by: noon() + TimeDelta::minutes(15),
    }
}

pub fn place(lines: Vec<Line>, fulfilment: Fulfilment) -> OrderCommand {
    let checkout = (fulfilment == Fulfilment::Checkout).then(|| Box::new(checkout(&lines, 40)));
    OrderCommand::Place {
        order_id: ORDER,
        reference: None,
        customer_id: None,
        country: Country::new("EIRE").expect("a valid country"),
        lines,
        fulfilment,
        placed_at: noon(),
        checkout,
    }
}

pub fn placed(lines: Vec<Line>, fulfilment: Fulfilment) -> OrderEvent {
    OrderEvent::Placed(Placed {
        order_id: ORDER,
        reference: None,
        customer_id: None,
        country: Country::new("EIRE").expect("a valid country"),
        total: total(&lines).expect("small prices"),
        checkout: (fulfilment == Fulfilment::Checkout).then(|| Box::new(checkout(&lines, 40))),
        lines,
        fulfilment,
        placed_at: noon(),
    })
}

pub fn cancel() -> OrderCommand {
    OrderCommand::Cancel { reason: reason(), cancelled_at: noon() }
}

pub fn cancelled(total: i64) -> OrderEvent {
    OrderEvent::Cancelled { order_id: ORDER, total: pence(total), reason: reason(), cancelled_at: noon() }
}

pub fn authorised() -> OrderEvent {
    OrderEvent::Authorised { order_id: ORDER, payment_id: PAYMENT, amount: pence(345), authorised_at: noon() }
}

pub fn confirmed() -> OrderEvent {
    let (number, due) = (OrderNumber::of(ORDER), pence(345));
    OrderEvent::Confirmed { order_id: ORDER, number, due, confirmed_at: noon() }
}

/// From checkout, paid and confirmed, waiting to be shipped.
pub fn confirmed_order() -> Vec<OrderEvent> {
    vec![placed(two_lines(), Fulfilment::Checkout), authorised(), confirmed()]
}

/// The order after `commands`, none of which may be refused.
pub fn after(mut order: Order, commands: impl IntoIterator<Item = OrderCommand>) -> Order {
    for command in commands {
        crate::scenario::handle(&mut order, command).expect("a command that is not refused");
    }
    order
}
