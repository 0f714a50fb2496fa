//! What the tests of all stories share, the stored form of the events, and the laws under random commands.

use super::*;
use crate::scenario::{handle, state};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;

pub const ORDER_A: OrderId = OrderId(Uuid::from_u128(0xA));
pub const ORDER_B: OrderId = OrderId(Uuid::from_u128(0xB));
pub const ORDER_C: OrderId = OrderId(Uuid::from_u128(0xC));

pub fn berlin() -> LocationId {
    "berlin".parse().expect("a valid id")
}

pub fn paris() -> LocationId {
    "paris".parse().expect("a valid id")
}

pub fn units(n: u64) -> Quantity {
    Quantity::new(n).expect("few units")
}

pub fn reason() -> Reason {
    Reason::new("water damage").expect("a valid reason")
}

/// A time on the day of the tests.
pub fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_259_668_800 + 60 * minute, 0).expect("a time in 2009")
}

pub fn received(n: u64) -> StockEvent {
    StockEvent::Received {
        quantity: units(n),
        reference: None,
        on_hand_after: units(n),
        available_after: units(n),
        location: LocationId::MAIN,
    }
}

pub fn reserved(order_id: OrderId, n: u64, left: u64) -> StockEvent {
    StockEvent::Reserved {
        order_id,
        quantity: units(n),
        available_after: units(left),
        shares: Shares::default(),
        back_ordered: units(0),
        back_ordered_after: units(0),
        expires_at: None,
    }
}

pub fn shipped(order_id: OrderId, n: u64, on_hand: u64, available: u64) -> StockEvent {
    StockEvent::Shipped {
        order_id,
        quantity: units(n),
        on_hand_after: units(on_hand),
        available_after: units(available),
        shares: Shares::default(),
        remaining: units(0),
    }
}

pub fn receive(n: u64) -> StockCommand {
    receive_at(LocationId::MAIN, n)
}

pub fn receive_at(location: LocationId, n: u64) -> StockCommand {
    StockCommand::Receive { quantity: units(n), reference: None, location }
}

pub fn adjust(location: LocationId, change: Change) -> StockCommand {
    StockCommand::Adjust { location, change, reason: reason() }
}

pub fn count(location: LocationId, n: u64) -> StockCommand {
    StockCommand::Count { location, counted: units(n), reason: reason() }
}

pub fn transfer(n: u64, from: LocationId, to: LocationId) -> StockCommand {
    StockCommand::Transfer { quantity: units(n), from, to, reference: None }
}

pub fn reserve(order_id: OrderId, n: u64) -> StockCommand {
    StockCommand::Reserve { order_id, quantity: units(n), expires_at: None }
}

pub fn reserve_until(minute: i64, order_id: OrderId, n: u64) -> StockCommand {
    StockCommand::Reserve { order_id, quantity: units(n), expires_at: Some(at(minute)) }
}

pub fn release(order_id: OrderId) -> StockCommand {
    StockCommand::Release { order_id }
}

pub fn ship(order_id: OrderId) -> StockCommand {
    StockCommand::Ship { order_id, quantity: None }
}

pub fn ship_part(order_id: OrderId, n: u64) -> StockCommand {
    StockCommand::Ship { order_id, quantity: Some(units(n)) }
}

pub fn ship_unreserved(order_id: OrderId, n: u64) -> StockCommand {
    StockCommand::ShipUnreserved { order_id, quantity: units(n) }
}

/// The events that these commands led to.
pub fn history(commands: impl IntoIterator<Item = StockCommand>) -> Vec<StockEvent> {
    let mut stock = Stock::default();
    commands.into_iter().flat_map(|command| handle(&mut stock, command).expect("the rules allow it")).collect()
}

/// Golden: events as they were stored before there were locations, expiry and back-orders.
#[test]
fn the_first_stored_events_are_still_read() {
    let order_a = "00000000-0000-0000-0000-00000000000a";
    let order_b = "00000000-0000-0000-0000-00000000000b";
    let stored = [
        json!({"Received": {"quantity": 5, "reference": "DN 7", "on_hand_after": 5, "available_after": 5}}),
        json!({"Reserved": {"order_id": order_a, "quantity": 2, "available_after": 3}}),
        json!({"Released": {"order_id": order_a, "quantity": 2, "available_after": 5}}),
        json!({"Reserved": {"order_id": order_b, "quantity": 3, "available_after": 2}}),
        json!({"Shipped": {"order_id": order_b, "quantity": 3, "on_hand_after": 2, "available_after": 2}}),
        json!({"Shipped": {"order_id": order_a, "quantity": 1, "on_hand_after": 1, "available_after": 1}}),
    ];
    let events = stored.map(|event| serde_json::from_value::<StockEvent>(event).expect("it can be read"));
    assert_eq!(events[1], reserved(ORDER_A, 2, 3));
    assert_eq!(events[4], shipped(ORDER_B, 3, 2, 2));
    assert!(matches!(&events[2], StockEvent::Released { cause: ReleaseCause::Requested, .. }));
    let stock: Stock = state(events);
    holds(&stock).expect("the laws hold");
    assert_eq!(stock.places.at(&LocationId::MAIN).on_hand, units(1));
    assert_eq!(stock.shipped, units(4));
}

/// Golden: what is at its default is not stored, what is not is stored in this form, which may only ever gain fields.
#[test]
fn the_stored_form_of_a_reservation_is_fixed() {
    let plain = serde_json::to_value(reserved(ORDER_A, 2, 3)).expect("it has a JSON form");
    let order_id = ORDER_A.to_string();
    assert_eq!(plain, json!({"Reserved": {"order_id": order_id, "quantity": 2, "available_after": 3}}));
    let limit = StockCommand::LimitBackOrders { up_to: units(4) };
    let events = history([receive_at(paris(), 2), receive(1), limit, reserve_until(15, ORDER_A, 5)]);
    let rich = json!({"Reserved": {
        "order_id": order_id, "quantity": 3, "available_after": 0, "shares": {"main": 1, "paris": 2},
        "back_ordered": 2, "back_ordered_after": 2, "expires_at": "2009-12-01T12:15:00Z",
    }});
    assert_eq!(serde_json::to_value(&events[3]).expect("it has a JSON form"), rich);
}

fn any_location() -> impl Strategy<Value = LocationId> {
    prop_oneof![Just(LocationId::MAIN), Just(berlin()), Just(paris())]
}

fn any_command() -> impl Strategy<Value = StockCommand> {
    let order = || prop_oneof![Just(ORDER_A), Just(ORDER_B), Just(ORDER_C)];
    let few = || (0_u64..5).prop_map(units);
    let change = prop_oneof![few().prop_map(Change::Up), few().prop_map(Change::Down)];
    prop_oneof![
        3 => (any_location(), few()).prop_map(|(location, n)| receive_at(location, n.units())),
        1 => (any_location(), change).prop_map(|(location, change)| adjust(location, change)),
        1 => (any_location(), 0_u64..5).prop_map(|(location, n)| count(location, n)),
        1 => (0_u64..5, any_location(), any_location()).prop_map(|(n, from, to)| transfer(n, from, to)),
        4 => (order(), few(), prop::option::of(0_i64..9)).prop_map(|(order_id, quantity, minute)| {
            StockCommand::Reserve { order_id, quantity, expires_at: minute.map(at) }
        }),
        1 => order().prop_map(|order_id| StockCommand::Confirm { order_id }),
        1 => order().prop_map(release),
        1 => (order(), 0_i64..9).prop_map(|(order_id, minute)| StockCommand::Expire { order_id, now: at(minute) }),
        2 => (order(), prop::option::of(few())).prop_map(|(order_id, quantity)| StockCommand::Ship { order_id, quantity }),
        1 => (order(), 0_u64..5).prop_map(|(order_id, n)| ship_unreserved(order_id, n)),
        1 => (order(), few(), any_location()).prop_map(|(order_id, quantity, location)| {
            StockCommand::Return { order_id, quantity, location }
        }),
        1 => (0_u64..9).prop_map(|n| StockCommand::LimitBackOrders { up_to: units(n) }),
        // So many that a sum comes to its end.
        1 => any_location().prop_map(|location| receive_at(location, Quantity::MAX.units() - 20)),
    ]
}

/// Whether the same command again must change nothing, without its idempotency key.
fn is_repeatable(command: &StockCommand) -> bool {
    match command {
        StockCommand::Count { .. }
        | StockCommand::Reserve { .. }
        | StockCommand::Confirm { .. }
        | StockCommand::LimitBackOrders { .. } => true,
        StockCommand::Receive { .. }
        | StockCommand::Adjust { .. }
        | StockCommand::Transfer { .. }
        | StockCommand::Ship { .. }
        | StockCommand::ShipUnreserved { .. }
        | StockCommand::Return { .. }
        | StockCommand::Release { .. }
        | StockCommand::Expire { .. } => false,
    }
}

/// Checks what must hold after every event.
fn holds(stock: &Stock) -> Result<(), TestCaseError> {
    let total = |quantities: &mut dyn Iterator<Item = Quantity>| quantities.map(Quantity::units).sum::<u64>();
    let came_in = stock.received.units() + stock.found.units() + stock.returned.units();
    prop_assert_eq!(came_in, stock.lost.units() + stock.on_hand.units() + stock.shipped.units());
    let held = || stock.reservations.values();
    let set_aside = total(&mut held().map(|reservation| reservation.filled));
    prop_assert_eq!(stock.available.units() + set_aside, stock.on_hand.units());
    prop_assert_eq!(total(&mut held().map(|reservation| reservation.back_ordered)), stock.back_ordered.units());

    let mut reserved_at = BTreeMap::new();
    for reservation in held() {
        let shares = reservation.shares.of(reservation.filled);
        prop_assert_eq!(total(&mut shares.values().copied()), reservation.filled.units());
        prop_assert!(shares.values().all(|share| !share.is_zero()));
        reserved_at = together(reserved_at, shares);
    }
    for (location, place) in stock.places.iter() {
        prop_assert_eq!(place.reserved(), reserved_at.get(location).copied().unwrap_or_default());
    }
    prop_assert_eq!(total(&mut stock.places.iter().map(|(_, place)| place.on_hand)), stock.on_hand.units());
    prop_assert_eq!(total(&mut stock.places.iter().map(|(_, place)| place.available)), stock.available.units());

    prop_assert!(stock.returned <= stock.shipped);
    let mut waiting: Vec<_> = stock.waiting.iter().copied().collect();
    waiting.sort();
    let missing = stock.reservations.iter().filter(|(_, reservation)| !reservation.back_ordered.is_zero());
    prop_assert_eq!(waiting, missing.map(|(order_id, _)| *order_id).collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #[test]
    fn units_are_conserved(commands in prop::collection::vec(any_command(), 0..60)) {
        let mut stock = Stock::default();
        for command in commands {
            let before = stock.clone();
            match handle(&mut stock, command.clone()) {
                Err(_) => prop_assert_eq!(&stock, &before),
                Ok(events) => {
                    let mut replayed = before;
                    for event in events {
                        let stored = serde_json::to_string(&event).expect("an event has a JSON form");
                        let read: StockEvent = serde_json::from_str(&stored).expect("it is read back");
                        prop_assert_eq!(&read, &event);
                        replayed.apply(read);
                        holds(&replayed)?;
                    }
                    prop_assert_eq!(&replayed, &stock);
                    if is_repeatable(&command) {
                        prop_assert_eq!(handle(&mut stock, command), Ok(vec![]));
                        prop_assert_eq!(&replayed, &stock);
                    }
                }
            }
            prop_assert!(stock.waiting.is_empty() || stock.available.is_zero());
        }
        let snapshot = serde_json::to_value(&stock).expect("a state has a JSON form");
        prop_assert_eq!(serde_json::from_value::<Stock>(snapshot).expect("it is read back"), stock);
    }
}
