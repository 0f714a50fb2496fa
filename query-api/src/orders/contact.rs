//! Who ordered and where it goes: sealed in the read model, opened for those whom it concerns.

use crate::problem::Problem;
use kontor_domain::personal::{Address, Personal};
use kontor_identity::{Caller, Permission};
use kontor_privacy::{Keyring, PrivacyError, Unreadable};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Who ordered and where it goes, as far as it concerns who asks: the warehouse sees the shipping address alone. After the
/// customer was erased, what was personal is `null`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Contact {
    /// Whether it was personal data once and can never be read again.
    pub erased: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub email: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shipping_address: Option<PostalAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_address: Option<PostalAddress>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PostalAddress {
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// `null`: erased.
    #[schema(value_type = Option<Addressee>)]
    pub addressee: Option<Box<RawValue>>,
}

/// Who lives where; what there is not is left out.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: what was sealed is answered unparsed")]
pub struct Addressee {
    name: String,
    company: Option<String>,
    street: String,
    street_2: Option<String>,
    town: String,
    postcode: Option<String>,
    region: Option<String>,
    phone: Option<String>,
}

/// As the read model has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sealed {
    email: Personal,
    shipping_address: Address,
    billing_address: Address,
}

impl Sealed {
    /// What the caller may see of it, in plain words. `None`: nothing.
    ///
    /// # Errors
    /// 503 `keys-unavailable`.
    pub async fn open(&self, caller: &Caller, keyring: &Keyring) -> Result<Option<Contact>, Problem> {
        let mut contact = Contact::default();
        if caller.may(Permission::ReadBuyer).is_ok() {
            contact.email = Some(keyring.open(&self.email).await?);
            contact.billing_address = Some(PostalAddress::open(&self.billing_address, keyring).await?);
        }
        if caller.may(Permission::ReadShippingAddress).is_ok() {
            contact.shipping_address = Some(PostalAddress::open(&self.shipping_address, keyring).await?);
        }
        let addresses = [&contact.billing_address, &contact.shipping_address].into_iter().flatten();
        let opened: Vec<bool> = addresses.map(|address| address.addressee.is_some()).collect();
        contact.erased = opened.contains(&false) || contact.email == Some(None);
        Ok((!opened.is_empty()).then_some(contact))
    }
}

impl PostalAddress {
    async fn open(Address { country, addressee }: &Address, keyring: &Keyring) -> Result<Self, Problem> {
        let addressee = match keyring.open(addressee).await? {
            Some(text) => Some(RawValue::from_string(text).map_err(|_| {
                let (subject, reason) = (addressee.subject.clone(), Unreadable::NoText);
                PrivacyError::Unreadable { subject, reason }
            })?),
            None => None,
        };
        Ok(Self { country: country.to_string(), addressee })
    }
}
