//! Which products are wanted, of a list or of a search.

use crate::parameters::Parameters;
use crate::problem::Problem;
use utoipa::IntoParams;

pub const CATEGORY: &str = "category";
pub const CURRENCY: &str = "currency";
pub const PRICE_MIN: &str = "price_min";
pub const PRICE_MAX: &str = "price_max";
pub const AVAILABLE: &str = "available";
pub const ATTRIBUTE: &str = "attribute";

/// Of one request.
const ATTRIBUTES_MAX: usize = 5;
/// Longer values are not looked for.
const ATTRIBUTE_CHARACTERS_MAX: usize = 200;

#[derive(Debug, Default)]
pub struct Filters {
    /// Those in this category or in one below it.
    pub category: Option<String>,
    /// Those with a price in it; of which `price_min` and `price_max` are minor units.
    pub currency: Option<String>,
    pub price_min: Option<i64>,
    pub price_max: Option<i64>,
    /// Those that can be had now, or a variant of which can.
    pub available: bool,
    /// Each as `name:value`.
    pub attributes: Vec<String>,
}

impl Filters {
    pub fn of(parameters: &Parameters) -> Result<Self, Problem> {
        let amount = "must be an amount in minor units, a whole number from 0 on";
        Ok(Filters {
            category: parameters.text(CATEGORY).map(str::to_owned),
            currency: parameters.text(CURRENCY).map(str::to_owned),
            price_min: parameters.value(PRICE_MIN, amount)?,
            price_max: parameters.value(PRICE_MAX, amount)?,
            available: parameters.value(AVAILABLE, "must be true or false")?.unwrap_or_default(),
            attributes: parameters.texts(ATTRIBUTE).map(str::to_owned).collect(),
        })
    }

    /// What breaks a rule, or is not wanted together.
    pub fn check(&self, is_by_price: bool) -> Result<(), Problem> {
        let is_code = |code: &String| code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase());
        if self.currency.as_ref().is_some_and(|code| !is_code(code)) {
            return Err(Problem::parameter(CURRENCY, "must be an ISO 4217 code such as GBP"));
        }
        for (name, amount) in [(PRICE_MIN, self.price_min), (PRICE_MAX, self.price_max)] {
            match amount {
                Some(amount) if amount < 0 => return Err(Problem::parameter(name, "must be from 0 on")),
                Some(_) if self.currency.is_none() => {
                    return Err(Problem::parameter(CURRENCY, format_args!("must be given with {name}")));
                }
                _ => {}
            }
        }
        if is_by_price && self.currency.is_none() {
            return Err(Problem::parameter(CURRENCY, "must be given to sort by price"));
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(Problem::parameter(ATTRIBUTE, format_args!("may be given {ATTRIBUTES_MAX} times")));
        }
        let is_attribute = |text: &String| {
            text.split_once(':').is_some_and(|(name, value)| {
                !name.is_empty() && (1..=ATTRIBUTE_CHARACTERS_MAX).contains(&value.chars().count())
            })
        };
        if !self.attributes.iter().all(is_attribute) {
            let rule = format!("must be name:value, with a value of 1 to {ATTRIBUTE_CHARACTERS_MAX} characters");
            return Err(Problem::parameter(ATTRIBUTE, rule));
        }
        Ok(())
    }
}

/// Of a list of products, or a search for them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub struct FilterParameters {
    /// Only those in this category, or in one below it.
    category: Option<String>,
    /// Only those with a price in it, an ISO 4217 code.
    currency: Option<String>,
    /// Only those that cost at least this, in minor units of `currency`.
    #[param(minimum = 0)]
    price_min: Option<i64>,
    /// Only those that cost at most this.
    #[param(minimum = 0)]
    price_max: Option<i64>,
    /// `true`: only those that can be had now, or a variant of which can.
    available: Option<bool>,
    /// Only those with this attribute, as `name:value`; up to five times.
    #[param(max_items = 5)]
    attribute: Option<Vec<String>>,
}
