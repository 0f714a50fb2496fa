//! What every purchase needs to know of the shop: its rules of tax and shipping, and the keys of personal data.

use crate::executor::{Failure, Stop};
use crate::refusal::Refusal;
use anyhow::{Context, Result};
use chrono::TimeDelta;
use kontor_domain::payment::Provider;
use kontor_domain::personal::Personal;
use kontor_domain::pricing::{ShippingRules, TaxRules};
use kontor_domain::stock::RESERVATION_TTL;
use kontor_domain::{CartId, CustomerId, SubjectId};
use kontor_privacy::{Keyring, PrivacyError};
use kontor_settings::{Check, Rule, at_least};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The shop: section `shop`, or `KONTOR_SHOP__RULES_FILE` and so on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShopSettings {
    /// Rules of tax and shipping (TOML, of the form of `command-services/src/shop/rules.toml`, which stands for a file that
    /// is not named).
    pub rules_file: Option<PathBuf>,
    /// For how long the goods of an order are held that is not paid, in seconds. At least 1.
    pub pay_within_s: u64,
}

impl Default for ShopSettings {
    fn default() -> Self {
        Self { rules_file: None, pay_within_s: RESERVATION_TTL.num_seconds().unsigned_abs() }
    }
}

impl Check for ShopSettings {
    fn check(&self) -> Result<(), Rule> {
        at_least("pay_within_s", self.pay_within_s, 1)
    }
}

/// What is charged besides the goods.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub tax: TaxRules,
    pub shipping: ShippingRules,
}

const USUAL_RULES: &str = include_str!("shop/rules.toml");

impl Rules {
    /// # Errors
    /// Of a file that cannot be read or is of another form: with its name, the place and the rule.
    pub fn read(settings: &ShopSettings) -> Result<Self> {
        match &settings.rules_file {
            None => Self::parse(USUAL_RULES, Path::new("the rules that come with Kontor")),
            Some(path) => {
                let text = std::fs::read_to_string(path);
                let text = text.with_context(|| format!("shop.rules_file: {} cannot be read", path.display()))?;
                Self::parse(&text, path)
            }
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        toml::from_str(text).with_context(|| format!("shop.rules_file: {} is no file of rules", path.display()))
    }
}

/// What commands may ask of the shop while they are decided.
pub struct Shop {
    pub rules: Rules,
    pub keyring: Arc<Keyring>,
    /// The payment provider of new orders.
    pub provider: Provider,
    /// For how long the goods of an order are held that is not paid.
    pub pay_within: TimeDelta,
}

impl Shop {
    /// Seals `text` for the owner of a cart.
    pub async fn seal(&self, cart_id: CartId, owner: Option<&CustomerId>, text: &str) -> Result<Personal, Stop> {
        let subject = match owner {
            Some(customer) => subject_of(customer),
            None => guest(cart_id),
        };
        Ok(self.keyring.seal(&subject, text).await?)
    }

    /// From now on, erasing the customer erases what was sealed for the guest of this cart.
    pub async fn belongs_to(&self, cart_id: CartId, customer: &CustomerId) -> Result<(), Stop> {
        Ok(self.keyring.give(&guest(cart_id), &subject_of(customer)).await?)
    }
}

/// Whose data a customer's is.
pub fn subject_of(customer: &CustomerId) -> SubjectId {
    customer.as_str().parse().expect("an id of a customer is an id of a subject")
}

/// Whose data that of a guest's cart is: somebody's who is known by this one purchase.
pub fn guest(cart_id: CartId) -> SubjectId {
    format!("guest.{cart_id}").parse().expect("a UUID has 36 characters of those that ids consist of")
}

impl From<PrivacyError> for Failure {
    fn from(error: PrivacyError) -> Self {
        Failure::Sealing { reason: error.to_string() }
    }
}

impl From<PrivacyError> for Stop {
    fn from(error: PrivacyError) -> Self {
        match error {
            PrivacyError::Erased { subject } => Stop::Refused(Refusal::Erased { subject }),
            other => Stop::Failed(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::personal::CountryCode;

    #[test]
    fn the_usual_rules_can_be_read_and_serve_britain() {
        let rules = Rules::read(&ShopSettings::default()).expect("they are of the form that is documented");
        let britain = CountryCode::from_code("GB").expect("two letters");
        assert!(rules.tax.rates.contains_key(&britain));
        assert!(rules.shipping.methods.values().any(|method| method.countries.contains(&britain)));
    }

    #[test]
    fn a_country_is_taxed_if_and_only_if_something_goes_there() {
        let rules = Rules::read(&ShopSettings::default()).expect("they are of the form that is documented");
        let served: std::collections::BTreeSet<_> =
            rules.shipping.methods.values().flat_map(|method| method.countries.iter().copied()).collect();
        assert_eq!(served, rules.tax.rates.keys().copied().collect());
    }

    #[test]
    fn a_file_that_is_no_file_of_rules_is_named_with_what_is_wrong() {
        let error = Rules::parse("[tax]\nprices_include_tax = 1\n", Path::new("shop.toml")).expect_err("no flag");
        let told = format!("{error:#}");
        assert!(told.contains("shop.toml") && told.contains("prices_include_tax"), "{told}");
    }
}
