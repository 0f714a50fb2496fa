//! What becomes of an order: random commands that it may refuse.

use kontor_domain::order::{Checkout, Fulfilment, Line, Order, OrderCommand, OrderNumber, Picked, Placed, total};
use kontor_domain::personal::{Address, CountryCode, Personal};
use kontor_domain::pricing::{BasisPoints, Breakdown, PricedLine, ShippingCharge};
use kontor_domain::text::{PaymentMethod, Reason, Reference};
use kontor_domain::{AttemptId, CartId, Currency, Money, OrderId, PaymentId, Quantity, ReturnId, ShipmentId};
use rand::Rng;
use rand::rngs::StdRng;
use uuid::Uuid;

/// What an order of these lines knows from checkout, with 40 pence for shipping.
pub fn checkout(order_id: OrderId, lines: &[Line]) -> Checkout {
    let personal = |sealed: &str| Personal { subject: "13001".parse().expect("a subject"), sealed: sealed.into() };
    let address = |sealed| Address {
        country: CountryCode::from_code("IE").expect("a country code"),
        addressee: personal(sealed),
    };
    let (tax_rate, nothing, shipping) = (BasisPoints(0), pence(0), pence(40));
    let priced = |Line { sku, quantity, unit_price }: &Line| {
        let net = unit_price.checked_mul(*quantity).expect("small prices");
        let (sku, quantity, unit_price) = (sku.clone(), *quantity, *unit_price);
        PricedLine { sku, quantity, unit_price, tax_rate, net, tax: nothing, total: net }
    };
    Checkout {
        cart_id: CartId(order_id.0),
        number: OrderNumber::of(order_id),
        email: personal("ZW1haWw"),
        shipping_address: address("c2hpcHBpbmc"),
        billing_address: address("YmlsbGluZw"),
        breakdown: Breakdown {
            currency: Currency::GBP,
            lines: lines.iter().map(priced).collect(),
            shipping: Some(ShippingCharge {
                method: "standard".parse().expect("a method"),
                tax_rate,
                net: shipping,
                tax: nothing,
                total: shipping,
            }),
            taxes: vec![],
            total: total(lines).expect("small prices").checked_add(shipping).expect("small prices"),
        },
        payment_id: PaymentId(order_id.0),
        payment_method: PaymentMethod::new("tok_success").expect("a token"),
        pay_by: crate::trade::moment(0),
    }
}

/// A command for an order that was placed.
pub fn next(random: &mut StdRng, order: &Order) -> OrderCommand {
    let placed = order.placed().expect("only placed orders are kept");
    let at = crate::trade::moment(random.random_range(50_000_000..60_000_000));
    // Few, so that some are shipped, delivered and returned more than once.
    let id = Uuid::from_u128(placed.order_id.0.as_u128() ^ random.random_range(1..4));
    let (shipment_id, return_id) = (ShipmentId(id), ReturnId(id));
    let attempt = AttemptId(Uuid::from_u128(random.random_range(1..3)));
    let picked = picked(random, placed);
    let back = order.returned_parts(return_id).unwrap_or_default();
    match random.random_range(0..14) {
        0..2 if placed.fulfilment == Fulfilment::Checkout && !order.is_confirmed() => match random.random() {
            true => OrderCommand::Confirm { confirmed_at: at },
            false => {
                OrderCommand::Authorise { payment_id: payment_of(placed), amount: placed.due(), authorised_at: at }
            }
        },
        0..4 => OrderCommand::Ship {
            shipment_id,
            picked: if random.random() { order.left_to_ship() } else { picked },
            tracking: Reference::new("RM123456785GB").ok().filter(|_| random.random()),
            shipped_at: at,
        },
        4 => OrderCommand::Deliver { shipment_id, delivered_at: at },
        5 => OrderCommand::BookCapture { captured_total: pence(random.random_range(1..900)), captured_at: at },
        6 => OrderCommand::RequestReturn {
            return_id,
            picked,
            reason: Reason::new("too many").expect("a valid reason"),
            requested_at: at,
        },
        7 => OrderCommand::Restock { return_id, restocked_at: at },
        8..10 => OrderCommand::BookRefund { return_id, attempt, amount: pence(1), refunded_at: at },
        10..12 => OrderCommand::BookRefundBounce { return_id, attempt, bounced_at: at },
        _ => OrderCommand::ReceiveReturn {
            return_id,
            picked: back.iter().map(|part| (part.line, part.quantity)).collect(),
            refund: Some(pence(random.random_range(0..4).min(1))), // Mostly what is then refunded.
            received_at: at,
        },
    }
}

fn payment_of(placed: &Placed) -> PaymentId {
    PaymentId(placed.order_id.0)
}

/// One unit of some line.
fn picked(random: &mut StdRng, placed: &Placed) -> Picked {
    let line = random.random_range(1..=placed.lines.len() as u32);
    Picked::from([(line, Quantity::new(1).expect("one unit"))])
}

fn pence(amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::GBP)
}
