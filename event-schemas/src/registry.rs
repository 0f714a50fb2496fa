//! Every event type there is: the one list that decoding, projections and schemas share.

use cqrs_es::Aggregate;
use kontor_domain::cancellation::{Cancellation, CancellationEvent};
use kontor_domain::cart::{Cart, CartEvent};
use kontor_domain::category::{CategoryEvent, CategoryTree};
use kontor_domain::ids::IdError;
use kontor_domain::order::{Order, OrderEvent};
use kontor_domain::payment::{Payment, PaymentEvent};
use kontor_domain::product::{Product, ProductEvent};
use kontor_domain::sku::{SkuClaim, SkuEvent};
use kontor_domain::slug::{SlugClaim, SlugEvent};
use kontor_domain::stock::{Stock, StockEvent};
use kontor_domain::timer::{Timer, TimerEvent};
use kontor_domain::{CancellationId, CartId, CategoryTreeId, OrderId, PaymentId, Sku, Slug};
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// Types of aggregate, as they stand in the log.
pub const AGGREGATES: [&str; 10] = [
    Product::TYPE,
    SkuClaim::TYPE,
    SlugClaim::TYPE,
    CategoryTree::TYPE,
    Stock::TYPE,
    Cart::TYPE,
    Order::TYPE,
    Payment::TYPE,
    Timer::TYPE,
    Cancellation::TYPE,
];

/// An event with the aggregate it belongs to, decoded.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    Product(Sku, ProductEvent),
    Sku(Sku, SkuEvent),
    Slug(Slug, SlugEvent),
    Category(CategoryTreeId, CategoryEvent),
    Stock(Sku, StockEvent),
    Cart(CartId, CartEvent),
    Order(OrderId, OrderEvent),
    Payment(PaymentId, PaymentEvent),
    /// Timers have the id of the order that they are of.
    Timer(OrderId, TimerEvent),
    Cancellation(CancellationId, CancellationEvent),
}

/// Why an event could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("no aggregate type is called \"{0}\"")]
    Aggregate(String),
    #[error("\"{id}\" is no id of a {aggregate_type}: it {error}")]
    Id { aggregate_type: String, id: String, error: IdError },
    #[error("a {aggregate_type} event has a payload of another form: {error}")]
    Payload { aggregate_type: String, error: serde_json::Error },
}

impl Fact {
    /// Decodes the payload of an event of the current version; older ones go through [`crate::upcast`] first.
    pub fn decode(aggregate_type: &str, aggregate_id: &str, payload: &[u8]) -> Result<Self, DecodeError> {
        match aggregate_type {
            Product::TYPE => event::<Product, _>(aggregate_id, payload).map(|(id, event)| Fact::Product(id, event)),
            SkuClaim::TYPE => event::<SkuClaim, _>(aggregate_id, payload).map(|(id, event)| Fact::Sku(id, event)),
            SlugClaim::TYPE => event::<SlugClaim, _>(aggregate_id, payload).map(|(id, event)| Fact::Slug(id, event)),
            CategoryTree::TYPE => {
                event::<CategoryTree, _>(aggregate_id, payload).map(|(id, event)| Fact::Category(id, event))
            }
            Stock::TYPE => event::<Stock, _>(aggregate_id, payload).map(|(id, event)| Fact::Stock(id, event)),
            Cart::TYPE => event::<Cart, _>(aggregate_id, payload).map(|(id, event)| Fact::Cart(id, event)),
            Order::TYPE => event::<Order, _>(aggregate_id, payload).map(|(id, event)| Fact::Order(id, event)),
            Payment::TYPE => event::<Payment, _>(aggregate_id, payload).map(|(id, event)| Fact::Payment(id, event)),
            Timer::TYPE => event::<Timer, _>(aggregate_id, payload).map(|(id, event)| Fact::Timer(id, event)),
            Cancellation::TYPE => {
                event::<Cancellation, _>(aggregate_id, payload).map(|(id, event)| Fact::Cancellation(id, event))
            }
            other => Err(DecodeError::Aggregate(other.into())),
        }
    }
}

/// The id of one kind of aggregate, and an event of it.
fn event<A: Aggregate, Id: FromStr<Err = IdError>>(id: &str, payload: &[u8]) -> Result<(Id, A::Event), DecodeError>
where
    A::Event: DeserializeOwned,
{
    let aggregate_type = || A::TYPE.to_owned();
    let parsed = id.parse().map_err(|error| DecodeError::Id { aggregate_type: aggregate_type(), id: id.into(), error });
    let event = serde_json::from_slice(payload);
    Ok((parsed?, event.map_err(|error| DecodeError::Payload { aggregate_type: aggregate_type(), error })?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_registered_aggregate_can_be_decoded() {
        for aggregate_type in AGGREGATES {
            let error =
                Fact::decode(aggregate_type, "01890a5d-ac96-774b-bcce-b302099a8057", b"{}").expect_err("no event");
            assert!(matches!(error, DecodeError::Payload { .. }), "{aggregate_type}: {error}");
        }
        assert!(matches!(Fact::decode("spaceship", "A", b"{}"), Err(DecodeError::Aggregate(_))));
        assert!(matches!(Fact::decode("order", "A", b"{}"), Err(DecodeError::Id { .. })));
    }

    /// Golden: the stored form of an event is a contract, so this text may only ever gain fields.
    #[test]
    fn a_stored_event_is_read_back() {
        let payload = br#"{"Shipped":{"order_id":"01890a5d-ac96-774b-bcce-b302099a8057","quantity":2,"on_hand_after":5,"available_after":4}}"#;
        let fact = Fact::decode("stock", "85123A", payload).expect("a stored event");
        let Fact::Stock(sku, event) = &fact else { panic!("not stock: {fact:?}") };
        assert_eq!(sku.as_str(), "85123A");
        assert_eq!(serde_json::to_vec(event).expect("an event has a JSON form"), payload);
    }
}
