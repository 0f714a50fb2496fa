//! What is wanted of a collection.

use crate::engine::SearchError;
use std::collections::BTreeMap;

/// Characters of [`Query::text`] at most.
pub const TEXT_CHARACTERS_MAX: usize = 200;
/// [`Query::limit`] at most.
pub const LIMIT_MAX: usize = 250;
/// [`Query::offset`] at most: who looks further has not found it.
pub const OFFSET_MAX: usize = 10_000;
/// Values of one facet that are counted in an answer, those with the most products.
pub const FACET_VALUES_MAX: usize = 20;
/// Attributes that are counted in an answer, those that the most products have.
pub const FACET_ATTRIBUTES_MAX: usize = 20;

/// Which products are wanted, in which order. All filters hold together; of one filter's values any.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What somebody typed. The last word may be unfinished. Empty: all products.
    pub text: String,
    /// Categories by id: those in any of them, or below one.
    pub categories: Vec<String>,
    /// Values by the name of the attribute.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// Of which prices are meant (ISO 4217). Needed for `price_min`, `price_max`, price bands and sorting by price.
    pub currency: Option<String>,
    /// Minor units, itself included.
    pub price_min: Option<i64>,
    /// Minor units, itself included.
    pub price_max: Option<i64>,
    pub in_stock: bool,
    /// Whether those that are not public are found, too.
    pub hidden: bool,
    /// Whether to count what the filters could be. A filter does not count against its own facet.
    pub facets: bool,
    /// Where a price band ends and the next begins, in minor units, rising. Empty: no bands.
    pub price_bands: Vec<i64>,
    pub order: Order,
    /// How many hits to pass over.
    pub offset: usize,
    /// How many hits to answer with.
    pub limit: usize,
}

/// In which order hits are answered. Those that are equal follow by relevance, then by product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// How well they match, and of those that match alike what sells best.
    #[default]
    Relevance,
    /// From the lowest, in `currency`; what has no price in it comes last.
    Price,
    PriceDescending,
    Newest,
    BestSelling,
}

impl Default for Query {
    fn default() -> Self {
        Query {
            text: String::new(),
            categories: Vec::new(),
            attributes: BTreeMap::new(),
            currency: None,
            price_min: None,
            price_max: None,
            in_stock: false,
            hidden: false,
            facets: false,
            price_bands: vec![500, 1_000, 2_000, 5_000, 10_000],
            order: Order::Relevance,
            offset: 0,
            limit: 20,
        }
    }
}

impl Query {
    /// For this text, everything else as by default.
    pub fn of(text: impl Into<String>) -> Self {
        Query { text: text.into(), ..Query::default() }
    }

    /// # Errors
    /// [`SearchError::Refused`] with the first field that breaks a rule.
    pub fn check(&self) -> Result<(), SearchError> {
        let refused = |field, must: String| Err(SearchError::Refused { field, must });
        if self.text.chars().count() > TEXT_CHARACTERS_MAX {
            return refused("text", format!("must have at most {TEXT_CHARACTERS_MAX} characters"));
        }
        let is_code = |code: &String| code.len() == 3 && code.bytes().all(|letter| letter.is_ascii_uppercase());
        match &self.currency {
            Some(code) if !is_code(code) => return refused("currency", "must be an ISO 4217 code such as GBP".into()),
            None if self.price_min.is_some() || self.price_max.is_some() => {
                return refused("currency", "must be given with price_min and price_max".into());
            }
            None if matches!(self.order, Order::Price | Order::PriceDescending) => {
                return refused("currency", "must be given to sort by price".into());
            }
            _ => {}
        }
        if !self.price_bands.is_sorted_by(|low, high| low < high)
            || self.price_bands.first().is_some_and(|&low| low < 0)
        {
            return refused("price_bands", "must rise, from 0 on".into());
        }
        if self.limit > LIMIT_MAX {
            return refused("limit", format!("must be at most {LIMIT_MAX}"));
        }
        if self.offset > OFFSET_MAX {
            return refused("offset", format!("must be at most {OFFSET_MAX}"));
        }
        Ok(())
    }
}
