//! The rules of commerce: aggregates, commands, events and money. Pure: no clock, no I/O.
//!
//! One noun, one file, read downwards: events, commands, refusals, state and `apply`, `decide` and its rules, the cqrs-es
//! adapter, tests. Times, prices and new ids arrive in the command.

pub mod cancellation;
pub mod cart;
pub mod category;
pub mod ids;
pub mod money;
pub mod order;
pub mod payment;
pub mod personal;
pub mod pricing;
pub mod processes;
pub mod product;
pub mod quantity;
pub mod sku;
pub mod slug;
pub mod stock;
pub mod text;
pub mod timer;

#[cfg(test)]
mod scenario;

pub use ids::{
    AttemptId, AttributeName, CancellationId, CartId, CategoryId, CategoryTreeId, CustomerId, LocationId, OptionName,
    OrderId, PaymentId, ReturnId, ShipmentId, ShippingMethodId, Sku, Slug, SubjectId, TaxClass,
};
pub use money::{Currency, Money};
pub use quantity::Quantity;
