//! A cart as its owner sees it: what is in it, what it costs now, and how it can be shipped.

use crate::executor::{Executor, Failure};
use crate::prices;
use kontor_domain::cart::{Cart, Status};
use kontor_domain::personal::{Address, Addressee, CountryCode};
use kontor_domain::pricing::{Breakdown, CartLine};
use kontor_domain::{CartId, Currency, CustomerId, Money, OrderId, ShippingMethodId};
use schemars::JsonSchema;
use serde::Serialize;

/// A cart with what it costs now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CartView {
    pub id: CartId,
    pub version: i64,
    #[serde(flatten)]
    pub status: StatusView,
    /// `null`: a guest's.
    pub customer_id: Option<CustomerId>,
    pub currency: Currency,
    pub lines: Vec<CartLine>,
    /// `null`: not given, or erased.
    pub email: Option<String>,
    pub shipping_address: Option<AddressView>,
    pub billing_address: Option<AddressView>,
    pub shipping_method: Option<ShippingMethodId>,
    /// What it costs now, or was bought for. `null` as long as there is no price; `unpriced` says why.
    pub breakdown: Option<Breakdown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpriced: Option<String>,
    /// The ways in which the goods can be shipped, with what each costs.
    pub shipping_offers: Vec<Offer>,
}

/// Where the cart is in its life.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum StatusView {
    Open,
    Abandoned,
    /// Its lines are in `target`.
    Merged {
        target: CartId,
    },
    CheckedOut {
        order_id: OrderId,
    },
}

/// An address with its addressee in plain words; without, when they have been erased.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AddressView {
    pub country: CountryCode,
    pub addressee: Option<Addressee>,
}

/// A way in which the goods can be shipped.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Offer {
    pub method: ShippingMethodId,
    pub price: Money,
}

/// `None`: there is no such cart.
pub async fn of(executor: &Executor, id: CartId, cart: &Cart, version: i64) -> Result<Option<CartView>, Failure> {
    let Some(opened) = cart.opened() else { return Ok(None) };
    let (status, priced) = match cart.status() {
        Status::Open => (StatusView::Open, prices::of_cart(executor, cart).await?),
        Status::Abandoned => (StatusView::Abandoned, prices::of_cart(executor, cart).await?),
        &Status::ClosedInto { target } => (StatusView::Merged { target }, prices::of_cart(executor, cart).await?),
        Status::CheckedOut(agreed) => {
            (StatusView::CheckedOut { order_id: agreed.order_id }, Ok(agreed.breakdown.clone()))
        }
    };
    let (breakdown, unpriced) = match priced {
        Ok(breakdown) => (Some(breakdown), None),
        Err(refusal) => (None, Some(refusal.to_string())),
    };
    Ok(Some(CartView {
        id,
        version,
        status,
        customer_id: cart.customer_id().cloned(),
        currency: opened.currency,
        lines: cart.lines(),
        email: match cart.email() {
            Some(email) => executor.shop().keyring.open(email).await?,
            None => None,
        },
        shipping_address: address(executor, cart.shipping_address()).await?,
        billing_address: address(executor, cart.billing_address()).await?,
        shipping_method: cart.shipping_method().cloned(),
        shipping_offers: offers(executor, cart, breakdown.as_ref()),
        breakdown,
        unpriced,
    }))
}

async fn address(executor: &Executor, address: Option<&Address>) -> Result<Option<AddressView>, Failure> {
    let Some(Address { country, addressee }) = address else { return Ok(None) };
    let text = executor.shop().keyring.open(addressee).await?;
    let addressee = text.map(|text| serde_json::from_str(&text)).transpose();
    let addressee = addressee.map_err(|error| Failure::Sealing { reason: error.to_string() })?;
    Ok(Some(AddressView { country: *country, addressee }))
}

fn offers(executor: &Executor, cart: &Cart, breakdown: Option<&Breakdown>) -> Vec<Offer> {
    let (Some(address), Some(breakdown)) = (cart.shipping_address(), breakdown) else { return Vec::new() };
    let goods = breakdown.lines.iter().try_fold(Money::zero(breakdown.currency), |sum, line| {
        sum.checked_add(line.unit_price.checked_mul(line.quantity)?)
    });
    let Some(goods) = goods else { return Vec::new() };
    let offers = executor.shop().rules.shipping.offers(address.country, goods);
    offers.map(|(method, price)| Offer { method: method.clone(), price }).collect()
}
