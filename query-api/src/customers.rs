//! Customers: what their orders and carts say of them, and how to reach them.

use crate::cache::{Cache, Kind};
use crate::callers::Asker;
use crate::consistency::{MinPosition, POSITION, Positions};
use crate::etag;
use crate::openapi::{IfNoneMatchHeader, MinPositionHeader, PageParameters, Refused};
use crate::orders::contact::{Contact, Sealed};
use crate::paging::{Asked, CURSOR, LIMIT, Page};
use crate::parameters::{Parameters, from_path};
use crate::problem::Problem;
use crate::products::Price;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use kontor_domain::CustomerId;
use kontor_privacy::Keyring;
use kontor_redis::Found;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgPool, Row};
use std::collections::BTreeMap;
use utoipa::ToSchema;

const PROJECTION: &str = "customers";

/// A customer, in short.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerSummary {
    pub customer_id: String,
    /// That were placed.
    pub orders: i64,
    /// Of them, that do not stand any more.
    pub cancelled: i64,
    /// That they opened, or were given.
    pub carts: i64,
    /// Business time.
    pub first_order_at: Option<DateTime<Utc>>,
    pub last_order_at: Option<DateTime<Utc>>,
    /// What is due for orders that stand, less what was taken back, in each currency.
    pub totals: Vec<Price>,
}

/// A customer with how to reach them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Customer {
    #[serde(flatten)]
    pub summary: CustomerSummary,
    /// Of the last order from checkout. `null`: there is none.
    pub contact: Option<Contact>,
}

/// A customer as the read model, and for a moment Redis, has it: who it is is sealed.
#[derive(Debug, Serialize, Deserialize)]
struct Profile {
    customer_id: String,
    orders: i64,
    cancelled: i64,
    carts: i64,
    first_order_at: Option<DateTime<Utc>>,
    last_order_at: Option<DateTime<Utc>>,
    totals: BTreeMap<String, i64>,
    contact: Option<Sealed>,
    /// Position of the last event in it.
    changed_at: i64,
}

impl Profile {
    /// `None`: the row has no customer.
    fn of(row: &PgRow) -> sqlx::Result<Option<Self>> {
        let Some(customer_id) = row.try_get("customer_id")? else { return Ok(None) };
        let Json(totals) = row.try_get("totals")?;
        let contact: Option<Json<Sealed>> = row.try_get("contact")?;
        Ok(Some(Profile {
            customer_id,
            orders: row.try_get("orders")?,
            cancelled: row.try_get("cancelled")?,
            carts: row.try_get("carts")?,
            first_order_at: row.try_get("first_order_at")?,
            last_order_at: row.try_get("last_order_at")?,
            totals,
            contact: contact.map(|Json(contact)| contact),
            changed_at: row.try_get("position")?,
        }))
    }

    fn summary(self) -> CustomerSummary {
        let Profile { customer_id, orders, cancelled, carts, first_order_at, last_order_at, totals, .. } = self;
        let totals = totals.into_iter().map(|(currency, amount_minor)| Price { amount_minor, currency }).collect();
        CustomerSummary { customer_id, orders, cancelled, carts, first_order_at, last_order_at, totals }
    }
}

/// Position in the list of customers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterCustomer {
    customer_id: String,
}

#[utoipa::path(
    get,
    path = "/v1/customers",
    params(PageParameters, MinPositionHeader),
    responses((status = 200, body = Page<CustomerSummary>, headers(("Kontor-Position" = i64))), Refused)
)]
/// A page of the customers, in the order of their ids.
pub async fn list(
    request: HttpRequest,
    min: MinPosition,
    replica: Data<PgPool>,
    positions: Data<Positions>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::<AfterCustomer>::of(&Parameters::of(&request, &[LIMIT, CURSOR])?)?;
    let find = async || {
        let rows = sqlx::query(
            "select coalesce(c.position, 0) as reached, p.*
             from (select 1) as always
             left join checkpoints c on c.projection = 'customers'
             left join (
                 select * from customers where customer_id > $1 order by customer_id limit $2
             ) p on true
             order by p.customer_id",
        )
        .bind(asked.after.as_ref().map_or("", |after| &after.customer_id))
        .bind(asked.rows())
        .fetch_all(&**replica)
        .await?;
        let found: sqlx::Result<Vec<_>> = rows.iter().filter_map(|row| Profile::of(row).transpose()).collect();
        Ok((rows[0].try_get("reached")?, found?))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let summaries = found.into_iter().map(Profile::summary).collect();
    let page = Page::of(position, summaries, &asked, |customer: &CustomerSummary| AfterCustomer {
        customer_id: customer.customer_id.clone(),
    });
    Ok(HttpResponse::Ok().insert_header((POSITION, position)).json(page))
}

#[utoipa::path(
    get,
    path = "/v1/customers/{customer_id}",
    params(("customer_id" = String, Path), MinPositionHeader, IfNoneMatchHeader),
    responses(
        (status = 200, body = Customer, headers(("Kontor-Position" = i64), ("ETag" = String))),
        (status = 304, description = "The row is the one that If-None-Match names"),
        (status = 404, description = "unknown-customer: there is nothing of theirs, or it is another", body = Problem,
            content_type = "application/problem+json"),
        Refused,
    )
)]
/// One customer; customers see themselves only. 304 with `If-None-Match`; 404 `unknown-customer`; 503 `keys-unavailable`.
#[expect(clippy::too_many_arguments, reason = "each is something that the request or the application has")]
pub async fn one(
    request: HttpRequest,
    Asker(caller): Asker,
    customer_id: Path<String>,
    min: MinPosition,
    cache: Data<Cache>,
    replica: Data<PgPool>,
    positions: Data<Positions>,
    keyring: Data<Keyring>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let rule = "must be 1 to 64 letters, digits, '.', '_' or '-'";
    let customer_id: CustomerId = from_path("customer_id", &customer_id, rule)?;
    // Whether there are others is not a customer's to know.
    if !caller.concerns(Some(&customer_id)) {
        return Err(Problem::not_found("customer", customer_id.as_str(), 0));
    }
    let (position, mut profile) = match cached(&cache, &customer_id, min).await {
        Some(found) => found,
        None => found(&customer_id, min, &cache, &replica, &positions).await?,
    };
    let (sealed, changed_at) = (profile.contact.take(), profile.changed_at);
    let contact = match sealed {
        Some(sealed) => sealed.open(&caller, &keyring).await?,
        None => None,
    };
    let tag = match &contact {
        Some(contact) if contact.erased => etag::of_erased(changed_at),
        _ => etag::of(changed_at),
    };
    let customer = Customer { summary: profile.summary(), contact };
    Ok(etag::answer_in_confidence(&request, position, tag, &customer))
}

/// As Postgres has answered a moment ago.
async fn cached(cache: &Cache, customer_id: &CustomerId, MinPosition(min): MinPosition) -> Option<(i64, Profile)> {
    let found = cache.read(Kind::Profile, &[customer_id.as_str()], min).await?;
    let Found { position, value } = found.into_iter().next()??;
    Some((position, serde_json::from_slice(&value).ok()?)) // Of another release: Postgres is asked.
}

async fn found(
    customer_id: &CustomerId,
    min: MinPosition,
    cache: &Cache,
    replica: &PgPool,
    positions: &Positions,
) -> Result<(i64, Profile), Problem> {
    let find = async || {
        let row = sqlx::query(
            "select coalesce(c.position, 0) as reached, p.*
             from (select 1) as always
             left join checkpoints c on c.projection = 'customers'
             left join customers p on p.customer_id = $1",
        )
        .bind(customer_id.as_str())
        .fetch_one(replica)
        .await?;
        Ok((row.try_get("reached")?, Profile::of(&row)?))
    };
    let (position, found) = positions.reflect(PROJECTION, min, find).await?;
    let profile = found.ok_or_else(|| Problem::not_found("customer", customer_id.as_str(), position))?;
    let value = serde_json::to_vec(&profile).expect("a profile has a JSON form");
    cache.heal(Kind::Profile, customer_id.as_str(), Found { position, value });
    Ok((position, profile))
}
