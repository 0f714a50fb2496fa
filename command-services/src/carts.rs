//! Carts: opened, filled, addressed, merged. [`check_out`] makes orders of them, [`view`] shows them.
//!
//! A cart without an owner is anybody's who knows its id, which cannot be guessed; one with an owner is the owner's alone.

pub mod check_out;
pub mod view;

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use chrono::{DateTime, Utc};
use kontor_domain::cart::{Cart, CartCommand, CartError};
use kontor_domain::personal::{Address, Addressee, CountryCode, EmailAddress};
use kontor_domain::pricing::CartLine;
use kontor_domain::{CartId, Currency, CustomerId, Quantity, ShippingMethodId, Sku};
use kontor_identity::{Caller, Role};
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

/// Opens a cart for the customer who asks, or for a guest, with what is put into it first. `customer_id` is for staff to say.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenCart {
    #[serde(default = "new_cart_id")]
    cart_id: CartId,
    customer_id: Option<CustomerId>,
    currency: Currency,
    #[serde(default)]
    lines: Vec<CartLine>,
    #[serde(skip, default = "Utc::now")]
    now: DateTime<Utc>,
}

fn new_cart_id() -> CartId {
    CartId(Uuid::now_v7())
}

impl Decision for OpenCart {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let customer_id = match (unit.caller().customer(), unit.caller().role()) {
            (Some(customer), _) => Some(customer.clone()),
            (None, Role::Staff | Role::Admin) => self.customer_id.clone(),
            (None, _) => None,
        };
        if self.customer_id.is_some() && self.customer_id != customer_id {
            return Err(Refusal::Cart(CartError::OwnedByAnother).into());
        }
        let Self { cart_id, currency, now: opened_at, .. } = *self;
        let open = CartCommand::Open { cart_id, customer_id, currency, opened_at };
        let opened = unit.create::<Cart>(&cart_id.to_string(), open).await;
        if opened.map_err(|refused| refused.or(Refusal::Cart))?.is_unchanged() {
            return Ok(()); // What was put into it at first may have been taken out since.
        }
        for CartLine { sku, quantity } in self.lines.iter().cloned() {
            handle(unit, cart_id, CartCommand::SetQuantity { sku, quantity, changed_at: opened_at }).await?;
        }
        Ok(())
    }
}

/// Sets what a check-out needs besides goods, as far as it is named; what is not named stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCartDetails {
    cart_id: CartId,
    email: Option<EmailAddress>,
    shipping_address: Option<Box<PlainAddress>>,
    billing_address: Option<Box<PlainAddress>>,
    shipping_method: Option<ShippingMethodId>,
    #[serde(skip, default = "Utc::now")]
    now: DateTime<Utc>,
}

/// An address before it is sealed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlainAddress {
    country: CountryCode,
    addressee: Addressee,
}

impl Decision for SetCartDetails {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { cart_id, now: changed_at, .. } = *self;
        let owner = owned(unit, cart_id).await?.customer_id().cloned();
        if let Some(email) = &self.email {
            let email = unit.shop().seal(cart_id, owner.as_ref(), email.as_str()).await?;
            handle(unit, cart_id, CartCommand::SetEmail { email, changed_at }).await?;
        }
        if let Some(PlainAddress { country, addressee }) = self.shipping_address.as_deref() {
            let address = seal(unit, cart_id, owner.as_ref(), *country, addressee).await?;
            handle(unit, cart_id, CartCommand::SetShippingAddress { address, changed_at }).await?;
        }
        if let Some(PlainAddress { country, addressee }) = self.billing_address.as_deref() {
            let address = seal(unit, cart_id, owner.as_ref(), *country, addressee).await?;
            handle(unit, cart_id, CartCommand::SetBillingAddress { address, changed_at }).await?;
        }
        if let Some(method) = self.shipping_method.clone() {
            handle(unit, cart_id, CartCommand::ChooseShippingMethod { method, changed_at }).await?;
        }
        Ok(())
    }
}

/// A command about one cart of the caller's, as it comes in: its fields, and what it asks of the aggregate.
macro_rules! cart_commands {
    ($($(#[$doc:meta])* $form:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* } =>
        async |$this:ident, $unit:ident, $owner:ident| $command:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub struct $form {
                cart_id: CartId,
                $($(#[$attribute])* $field: $type,)*
                #[serde(skip, default = "Utc::now")]
                now: DateTime<Utc>,
            }

            impl Decision for $form {
                async fn decide(&self, $unit: &mut Unit<'_>) -> Result<(), Stop> {
                    let $owner = owned(&mut *$unit, self.cart_id).await?.customer_id().cloned();
                    let $this = self;
                    let command = $command;
                    handle($unit, self.cart_id, command).await
                }
            }
        )*
    };
}

cart_commands! {
    /// So many units of the SKU are wanted from now on; 0: none.
    SetCartQuantity { sku: Sku, quantity: Quantity, } => async |form, _unit, _owner| {
        CartCommand::SetQuantity { sku: form.sku.clone(), quantity: form.quantity, changed_at: form.now }
    };

    /// Mail about the purchase goes there.
    SetCartEmail { email: EmailAddress, } => async |form, unit, owner| {
        let email = unit.shop().seal(form.cart_id, owner.as_ref(), form.email.as_str()).await?;
        CartCommand::SetEmail { email, changed_at: form.now }
    };

    /// The goods go there.
    SetCartShippingAddress { country: CountryCode, addressee: Addressee, } => async |form, unit, owner| {
        let address = seal(unit, form.cart_id, owner.as_ref(), form.country, &form.addressee).await?;
        CartCommand::SetShippingAddress { address, changed_at: form.now }
    };

    /// The invoice goes there, and not where the goods go.
    SetCartBillingAddress { country: CountryCode, addressee: Addressee, } => async |form, unit, owner| {
        let address = seal(unit, form.cart_id, owner.as_ref(), form.country, &form.addressee).await?;
        CartCommand::SetBillingAddress { address, changed_at: form.now }
    };

    /// The goods are shipped in this way, one of those that the cart offers.
    ChooseCartShipping { method: ShippingMethodId, } => async |form, _unit, _owner| {
        CartCommand::ChooseShippingMethod { method: form.method.clone(), changed_at: form.now }
    };
}

/// Makes a guest's cart that of the customer who asks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignCart {
    cart_id: CartId,
    /// For staff to say; customers assign to themselves.
    customer_id: Option<CustomerId>,
    #[serde(skip, default = "Utc::now")]
    now: DateTime<Utc>,
}

impl Decision for AssignCart {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let was_a_guests = owned(unit, self.cart_id).await?.customer_id().is_none();
        let caller = unit.caller().clone();
        let customer_id = match caller.customer() {
            Some(customer) if self.customer_id.as_ref().is_none_or(|named| named == customer) => customer.clone(),
            Some(_) => return Err(Refusal::Cart(CartError::OwnedByAnother).into()),
            None => self.customer_id.clone().ok_or(Refusal::NoCustomer)?,
        };
        if was_a_guests {
            // What was sealed for the guest is erased with the customer from now on.
            unit.shop().belongs_to(self.cart_id, &customer_id).await?;
        }
        handle(unit, self.cart_id, CartCommand::Assign { customer_id, changed_at: self.now }).await
    }
}

/// Takes over the lines of the cart `source`, which is closed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeCart {
    cart_id: CartId,
    source: CartId,
    #[serde(skip, default = "Utc::now")]
    now: DateTime<Utc>,
}

impl Decision for MergeCart {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let Self { cart_id, source, now: changed_at } = *self;
        if cart_id == source {
            return Err(Refusal::Cart(CartError::MergedIntoItself).into());
        }
        // Both in the order of their ids, as aggregates are held; the command is the target's all the same.
        for id in [cart_id.min(source), cart_id.max(source)] {
            owned(unit, id).await?;
        }
        let source_cart = unit.state::<Cart>(&source.to_string()).await?;
        let opened = source_cart.opened().ok_or(Refusal::Cart(CartError::Unknown))?;
        let (currency, lines) = (opened.currency, source_cart.lines());
        let customer_id = unit.state::<Cart>(&cart_id.to_string()).await?.customer_id().cloned();
        handle(unit, cart_id, CartCommand::Merge { source, currency, lines, changed_at }).await?;
        handle(unit, source, CartCommand::CloseInto { target: cart_id, customer_id, changed_at }).await
    }
}

/// The cart, if it concerns the caller: whether others have one of this id is not theirs to know.
async fn owned<'u>(unit: &'u mut Unit<'_>, cart_id: CartId) -> Result<&'u Cart, Stop> {
    let caller = unit.caller().clone();
    let cart = unit.state::<Cart>(&cart_id.to_string()).await?;
    if is_open_to(cart, &caller) { Ok(cart) } else { Err(Refusal::Cart(CartError::Unknown).into()) }
}

/// Whether the cart exists and is the caller's to see and to change.
pub fn is_open_to(cart: &Cart, caller: &Caller) -> bool {
    cart.opened().is_some() && cart.customer_id().is_none_or(|owner| caller.concerns(Some(owner)))
}

async fn seal(
    unit: &Unit<'_>,
    cart_id: CartId,
    owner: Option<&CustomerId>,
    country: CountryCode,
    addressee: &Addressee,
) -> Result<Address, Stop> {
    let text = serde_json::to_string(addressee).expect("texts have a JSON form");
    Ok(Address { country, addressee: unit.shop().seal(cart_id, owner, &text).await? })
}

async fn handle(unit: &mut Unit<'_>, cart_id: CartId, command: CartCommand) -> Result<(), Stop> {
    unit.handle::<Cart>(&cart_id.to_string(), command).await.map_err(|refused| refused.or(Refusal::Cart))?;
    Ok(())
}
