//! What happened to an order when, from its own stream and that of its payment. Nothing in it is personal.

use super::ID_RULE;
use crate::callers::Asker;
use crate::consistency::POSITION;
use crate::openapi::{MinPositionHeader, Refused};
use crate::parameters::{Parameters, from_path};
use crate::past::{Streams, by, decoded};
use crate::problem::Problem;
use crate::view::View;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use kontor_domain::order::{Order, OrderEvent, Placed};
use kontor_domain::payment::{Payment, PaymentEvent};
use kontor_event_schemas::{Fact, RecordedEvent, subject};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What happened to an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    /// The position of the log up to which this is all.
    pub position: i64,
    /// In the order in which it was recorded.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// Business time.
    pub at: DateTime<Utc>,
    /// Such as `order.placed`, `payment.declined` or `order.shipped`: the subjects of the event stream.
    pub what: String,
    /// `customer`, `guest`, `staff` or `system`.
    pub by: &'static str,
    /// Of the event in the log.
    pub position: i64,
    /// The version that the order, or its payment, has come to with it.
    pub version: i64,
}

#[utoipa::path(
    get,
    path = "/v1/orders/{order_id}/timeline",
    params(("order_id" = Uuid, Path), MinPositionHeader),
    responses(
        (status = 200, body = Timeline, headers(("Kontor-Position" = i64))),
        (status = 404, description = "unknown-order", body = Problem, content_type = "application/problem+json"),
        Refused,
    )
)]
/// What happened to an order, when, and who did it. 404 `unknown-order`.
pub async fn timeline(
    request: HttpRequest,
    Asker(caller): Asker,
    order_id: Path<String>,
    view: View,
    streams: Data<Streams>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let id: Uuid = from_path("order_id", &order_id, ID_RULE)?;
    let id = id.to_string();
    let reach = streams.reach(&view.positions, view.min, (Order::TYPE, "order", &id), None).await?;
    let mut recorded = streams.read(Order::TYPE, &id, reach.position).await?;
    let placed = recorded.first().map(placed).transpose()?.flatten();
    let customer = placed.as_ref().and_then(|placed| placed.customer_id.clone());
    let Some(placed) = placed.filter(|_| caller.concerns(customer.as_ref())) else {
        return Err(Problem::not_found("order", &order_id, reach.position));
    };
    if let Some(checkout) = placed.checkout {
        let payment = checkout.payment_id.to_string();
        recorded.extend(streams.read(Payment::TYPE, &payment, reach.position).await?);
        recorded.sort_by_key(|event| event.position);
    }
    let customer = customer.as_ref().map(|customer| customer.as_str());
    let entries = recorded.iter().map(|event| entry(event, customer)).collect::<sqlx::Result<_>>()?;
    let position = reach.position;
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(Timeline { position, entries }))
}

fn placed(event: &RecordedEvent) -> sqlx::Result<Option<Placed>> {
    Ok(match decoded(event)?.fact {
        Fact::Order(_, OrderEvent::Placed(placed)) => Some(placed),
        _ => None,
    })
}

fn entry(event: &RecordedEvent, customer: Option<&str>) -> sqlx::Result<Entry> {
    let at = match decoded(event)?.fact {
        Fact::Order(_, event) => of_order(&event),
        Fact::Payment(_, event) => of_payment(&event),
        _ => event.recorded_at,
    };
    let subject = subject::subject(&event.aggregate_type, &event.event_type);
    let what = subject.strip_prefix("kontor.v1.").unwrap_or(&subject).to_owned();
    Ok(Entry { at, what, by: by(event, customer)?, position: event.position, version: event.sequence })
}

fn of_order(event: &OrderEvent) -> DateTime<Utc> {
    match event {
        OrderEvent::Placed(placed) => placed.placed_at,
        OrderEvent::Cancelled { cancelled_at: at, .. }
        | OrderEvent::Authorised { authorised_at: at, .. }
        | OrderEvent::Confirmed { confirmed_at: at, .. }
        | OrderEvent::Shipped { shipped_at: at, .. }
        | OrderEvent::Delivered { delivered_at: at, .. }
        | OrderEvent::Captured { captured_at: at, .. }
        | OrderEvent::ReturnRequested { requested_at: at, .. }
        | OrderEvent::ReturnReceived { received_at: at, .. }
        | OrderEvent::Restocked { restocked_at: at, .. }
        | OrderEvent::Refunded { refunded_at: at, .. }
        | OrderEvent::RefundBounced { bounced_at: at, .. } => *at,
    }
}

fn of_payment(event: &PaymentEvent) -> DateTime<Utc> {
    match event {
        PaymentEvent::AuthorisationRequested { requested_at: at, .. }
        | PaymentEvent::CaptureRequested { requested_at: at, .. }
        | PaymentEvent::VoidRequested { requested_at: at, .. }
        | PaymentEvent::RefundRequested { requested_at: at, .. }
        | PaymentEvent::OutcomeUnknown { at, .. }
        | PaymentEvent::Pending { at, .. }
        | PaymentEvent::Authorised { at, .. }
        | PaymentEvent::Declined { at, .. }
        | PaymentEvent::Captured { at, .. }
        | PaymentEvent::Voided { at, .. }
        | PaymentEvent::Refunded { at, .. }
        | PaymentEvent::RefundBounced { at, .. }
        | PaymentEvent::Failed { at, .. }
        | PaymentEvent::Expired { at, .. } => *at,
    }
}
