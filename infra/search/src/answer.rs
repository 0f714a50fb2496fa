//! What was found.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A page of what was found, and what there is to narrow it by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    pub hits: Vec<Hit>,
    /// How many there are, on all pages.
    pub total: usize,
    /// `None`: they were not asked for.
    pub facets: Option<Facets>,
    /// How long the store took.
    pub took: Duration,
    /// The collection that was searched.
    pub collection: String,
    /// Every event up to this position is in the documents that were searched.
    pub position: i64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hit {
    pub product: String,
    /// The higher, the better it matches. Comparable within one answer only.
    pub score: f64,
    /// The title in HTML: escaped, with what matched between `<mark>` and `</mark>`.
    pub title: String,
    /// The same of the part of the description that matches, if one does. At most 200 characters, and the marks.
    pub excerpt: Option<String>,
    /// As it was written: [`card`](crate::Document::card).
    pub card: String,
}

/// How many of the products that the text finds there are of each kind. A facet counts what all filters but its own let
/// through, so that its other values can be chosen too.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facets {
    /// Those with the most products first; at most [`FACET_VALUES_MAX`](crate::query::FACET_VALUES_MAX).
    pub categories: Vec<Value>,
    /// Values by attribute, those that the most products have first; each list as `categories`.
    pub attributes: Vec<Attribute>,
    /// Every band of [`price_bands`](crate::Query::price_bands), the lowest first; empty without a currency.
    pub prices: Vec<Band>,
    pub in_stock: usize,
    pub out_of_stock: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    pub name: String,
    pub values: Vec<Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// What the filter takes: the id of a category, or the value of an attribute.
    pub value: String,
    /// What people read: the name of a category, or the value of an attribute.
    pub label: String,
    pub count: usize,
}

/// Prices from `from` to below `to`, in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Band {
    pub from: i64,
    /// `None`: there is no end.
    pub to: Option<i64>,
    pub count: usize,
}
