//! Orders, in the words of GraphQL. Who ordered and where it goes is answered by REST alone, where each answer is for one order.

use super::catalogue::{Money, ProductNode, parsed};
use super::loaders::Loaders;
use crate::orders::{Order, OrderSummary};
use crate::products::Price;
use async_graphql::{ComplexObject, Context, Object, Result, SimpleObject};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;

pub struct OrderNode(pub Order);

/// An order.
#[Object(name = "Order")]
impl OrderNode {
    #[graphql(flatten)]
    async fn summary(&self) -> SummaryNode {
        SummaryNode(self.0.summary.clone())
    }

    #[graphql(complexity = "10 * child_complexity + 1")]
    async fn lines(&self) -> Result<Vec<Line>> {
        let lines: Vec<LineDocument> = parsed(&self.0.lines)?;
        Ok(lines.into_iter().map(Line::from).collect())
    }

    async fn captured(&self) -> Money {
        (&self.0.captured).into()
    }

    async fn refunded(&self) -> Money {
        (&self.0.refunded).into()
    }

    async fn cancel_reason(&self) -> Option<&str> {
        self.0.cancel_reason.as_deref()
    }

    #[graphql(complexity = "3 * child_complexity + 1")]
    async fn shipments(&self) -> Result<Vec<Shipment>> {
        parsed(&self.0.shipments)
    }

    #[graphql(complexity = "3 * child_complexity + 1")]
    async fn returns(&self) -> Result<Vec<Return>> {
        parsed(&self.0.returns)
    }
}

pub struct SummaryNode(pub OrderSummary);

/// An order, in short.
#[Object(name = "OrderSummary")]
impl SummaryNode {
    async fn order_id(&self) -> String {
        self.0.order_id.to_string()
    }

    /// For people, such as `AZF9-R9XZ-8KZK`.
    async fn number(&self) -> Option<&str> {
        self.0.number.as_deref()
    }

    /// `placed`, `authorised`, `confirmed`, `partly-shipped`, `shipped`, `delivered` or `cancelled`.
    async fn status(&self) -> &str {
        &self.0.status
    }

    async fn placed_at(&self) -> String {
        time(self.0.placed_at)
    }

    async fn cancelled_at(&self) -> Option<String> {
        self.0.cancelled_at.map(time)
    }

    /// Over all lines.
    async fn units(&self) -> i64 {
        self.0.units
    }

    /// Of the lines.
    async fn total(&self) -> Money {
        (&self.0.total).into()
    }

    /// What is to be paid.
    async fn due(&self) -> Money {
        (&self.0.due).into()
    }
}

/// RFC 3339, in UTC.
fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// One line of an order.
#[derive(SimpleObject)]
#[graphql(complex, name = "OrderLine")]
pub struct Line {
    sku: String,
    quantity: i64,
    unit_price: Money,
}

#[derive(Deserialize)]
struct LineDocument {
    sku: String,
    quantity: i64,
    unit_price: Price,
}

impl From<LineDocument> for Line {
    fn from(LineDocument { sku, quantity, unit_price }: LineDocument) -> Self {
        Line { sku, quantity, unit_price: (&unit_price).into() }
    }
}

#[ComplexObject]
impl Line {
    /// As it is now; null: it is not shown any more.
    async fn product(&self, context: &Context<'_>) -> Result<Option<ProductNode>> {
        context.data::<Loaders>()?.product(&self.sku).await
    }
}

/// What left in one go.
#[derive(SimpleObject, Deserialize)]
pub struct Shipment {
    shipment_id: String,
    /// The carrier's number.
    tracking: Option<String>,
    shipped_at: String,
    delivered_at: Option<String>,
}

/// What comes back in one go.
#[derive(SimpleObject, Deserialize)]
pub struct Return {
    return_id: String,
    /// `requested`, `received` or `refunded`.
    state: String,
    reason: String,
    requested_at: String,
}

/// A page of orders.
#[derive(SimpleObject)]
pub struct OrderPage {
    pub items: Vec<SummaryNode>,
    /// The `after` of the next page; null: this is the last. It is the `next_cursor` of REST.
    pub next_cursor: Option<String>,
}
