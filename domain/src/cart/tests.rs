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
    given::<Cart>([opened()]).when(open(euro())).then_refused(CartError::OpenedDifferently { currency: Currency::GBP });
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
    given::<Cart>(filled().into_iter().chain([abandoned()])).when(abandon(60, minutes_past_noon(90))).then_nothing();
    let (now, idle) = (minutes_past_noon(59), TimeDelta::minutes(60));
    given::<Cart>(filled()).when(abandon(60, now)).then_refused(CartError::NotIdle { changed_at: noon(), idle, now });
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
