//! What orders are made of, as OpenAPI describes it: the read model's own documents, which are answered unparsed.
#![expect(dead_code, reason = "only described")]

use crate::products::Price;
use chrono::{DateTime, Utc};
use utoipa::ToSchema;
use uuid::Uuid;

/// One line of an order: `quantity` units at `unit_price` each.
#[derive(ToSchema)]
pub struct Line {
    sku: String,
    quantity: i64,
    unit_price: Price,
}

/// `quantity` units of the order's line `line`, which counts from 1.
#[derive(ToSchema)]
pub struct LinePart {
    line: u32,
    sku: String,
    quantity: i64,
}

/// What left in one go.
#[derive(ToSchema)]
pub struct Shipment {
    shipment_id: Uuid,
    parts: Vec<LinePart>,
    /// What was charged for it, with shipping in the first shipment.
    charge: Price,
    /// The carrier's number.
    tracking: Option<String>,
    shipped_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
}

/// What comes back in one go.
#[derive(ToSchema)]
pub struct Return {
    return_id: Uuid,
    /// `requested`, `received`, `refunded`, or `refund-bounced`: the money has come back and is owed again.
    state: String,
    /// What was received or, until then, what is to be sent back.
    parts: Vec<LinePart>,
    reason: String,
    /// What is owed for it. `null` until it is received.
    refund: Option<Price>,
    requested_at: DateTime<Utc>,
    received_at: Option<DateTime<Utc>>,
    restocked_at: Option<DateTime<Utc>>,
    refunded_at: Option<DateTime<Utc>>,
}

/// What is to be paid and why. Each `total` is the sum of what is above it, to the penny.
#[derive(ToSchema)]
pub struct Breakdown {
    currency: String,
    lines: Vec<PricedLine>,
    shipping: Option<ShippingCharge>,
    /// One entry a rate, ascending.
    taxes: Vec<TaxShare>,
    total: Price,
}

/// One line with its price. Rates are in hundredths of a per cent: 2,000 is 20 %.
#[derive(ToSchema)]
pub struct PricedLine {
    sku: String,
    quantity: i64,
    unit_price: Price,
    tax_rate: u32,
    net: Price,
    tax: Price,
    total: Price,
}

/// What shipping costs.
#[derive(ToSchema)]
pub struct ShippingCharge {
    method: String,
    tax_rate: u32,
    net: Price,
    tax: Price,
    total: Price,
}

/// All that is taxed at one rate.
#[derive(ToSchema)]
pub struct TaxShare {
    rate: u32,
    net: Price,
    tax: Price,
}
