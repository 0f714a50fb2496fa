//! What a mail says: read from the log, and opened, at the moment it is sent.

use super::names::Names;
use super::occasion::{About, Kind};
use super::outbox::Claimed;
use crate::executor::{Executor, Failure};
use chrono::{DateTime, Utc};
use cqrs_es::EventEnvelope;
use kontor_domain::cart::{Cart, CartEvent};
use kontor_domain::order::{Checkout, LinePart, Order, OrderEvent, Placed};
use kontor_domain::personal::{Address, Addressee, Personal};
use kontor_domain::pricing::{BasisPoints, CartLine, TaxShare};
use kontor_domain::text::Text;
use kontor_domain::{CartId, OrderId, Quantity, ReturnId, Sku};
use kontor_event_store::Log;
use kontor_event_store::stream::StreamError;
use kontor_privacy::{Keyring, PrivacyError};
use serde::Serialize;
use std::sync::Arc;

/// A mail before it has a form: what its templates are filled with. Amounts are written out with their currency.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Letter {
    OrderConfirmed {
        number: String,
        placed_on: String,
        lines: Vec<Line>,
        shipping: Option<Shipping>,
        taxes: Vec<Tax>,
        total: String,
        shipping_address: Recipient,
        billing_address: Recipient,
    },
    Shipped {
        number: String,
        shipped_on: String,
        parts: Vec<Part>,
        tracking: Option<String>,
        /// Nothing is left to ship.
        complete: bool,
        shipping_address: Recipient,
    },
    Refunded {
        number: String,
        amount: String,
        refunded_total: String,
        return_id: ReturnId,
        parts: Vec<Part>,
    },
    CartAbandoned {
        cart_id: CartId,
        parts: Vec<Part>,
    },
}

#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub name: String,
    pub sku: Sku,
    pub quantity: Quantity,
    pub unit_price: String,
    pub tax: String,
    pub total: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub name: String,
    pub sku: Sku,
    pub quantity: Quantity,
}

#[derive(Debug, Clone, Serialize)]
pub struct Shipping {
    pub method: String,
    pub total: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Tax {
    pub rate: String,
    pub net: String,
    pub tax: String,
}

/// Where goods or an invoice go.
#[derive(Debug, Clone, Serialize)]
pub struct Recipient {
    /// Name, street, town and so on, as on an envelope.
    pub lines: Vec<String>,
    pub country: String,
}

/// Why there is no mail to be sent.
#[derive(Debug, thiserror::Error)]
pub enum NoLetter {
    /// Nor will there be.
    #[error("{0}")]
    Dropped(&'static str),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    #[error(transparent)]
    Order(#[from] Box<Failure>),
    #[error("an address is sealed in another form: {0}")]
    Address(#[from] serde_json::Error),
    /// Never seen where outbox and log are of one database.
    #[error("the log has no event {sequence} of this kind in the stream")]
    NoEvent { sequence: i64 },
}

const ERASED: NoLetter = NoLetter::Dropped("the customer's personal data has been erased");

impl Letter {
    pub fn kind(&self) -> Kind {
        match self {
            Letter::OrderConfirmed { .. } => Kind::OrderConfirmed,
            Letter::Shipped { .. } => Kind::Shipped,
            Letter::Refunded { .. } => Kind::Refunded,
            Letter::CartAbandoned { .. } => Kind::CartAbandoned,
        }
    }
}

/// Writes letters.
pub struct Letters {
    log: Arc<Log>,
    /// Of this process, if it serves commands.
    executor: Option<Arc<Executor>>,
    keyring: Arc<Keyring>,
    names: Names,
}

impl Letters {
    pub fn new(log: Arc<Log>, executor: Option<Arc<Executor>>, keyring: Arc<Keyring>) -> Self {
        Self { names: Names::new(log.clone()), log, executor, keyring }
    }

    /// The letter, and the e-mail address that it goes to.
    pub async fn write(&self, mail: &Claimed) -> Result<(String, Letter), NoLetter> {
        match mail.about {
            About::Order(id) => self.about_order(id, mail).await,
            About::Cart(id) => self.about_cart(id, mail.sequence).await,
        }
    }

    async fn about_order(&self, id: OrderId, mail: &Claimed) -> Result<(String, Letter), NoLetter> {
        let sequence = mail.sequence;
        // Most mail is about an order that this process has confirmed a moment ago, and still knows.
        let (placed, events) = match (mail.kind, &self.executor) {
            (Kind::OrderConfirmed, Some(executor)) => {
                let (order, _) = executor.peek::<Order>(&id.to_string()).await.map_err(Box::new)?;
                (order.placed().cloned(), Vec::new())
            }
            _ => {
                let events = self.log.stream::<Order>(&id.to_string()).await?;
                (placed(&events), events)
            }
        };
        let Some(Placed { checkout, placed_at, .. }) = placed else { return Err(NoLetter::NoEvent { sequence: 1 }) };
        let Some(checkout) = checkout else {
            return Err(NoLetter::Dropped("the order did not come from the check-out"));
        };
        let number = checkout.number.to_string();
        let [email, shipping_address, billing_address] = self.open(&checkout).await?;
        let happened = if events.is_empty() { None } else { Some(event(&events, sequence)?) };
        let letter = match happened {
            None | Some(OrderEvent::Confirmed { .. }) => {
                let breakdown = &checkout.breakdown;
                let mut lines = Vec::with_capacity(breakdown.lines.len());
                for line in &breakdown.lines {
                    lines.push(Line {
                        name: self.names.of(&line.sku).await?,
                        sku: line.sku.clone(),
                        quantity: line.quantity,
                        unit_price: line.unit_price.to_string(),
                        tax: line.tax.to_string(),
                        total: line.total.to_string(),
                    });
                }
                let shipping = breakdown
                    .shipping
                    .as_ref()
                    .map(|charge| Shipping { method: charge.method.to_string(), total: charge.total.to_string() });
                Letter::OrderConfirmed {
                    number,
                    placed_on: day(placed_at),
                    lines,
                    shipping,
                    taxes: breakdown.taxes.iter().map(tax).collect(),
                    total: breakdown.total.to_string(),
                    shipping_address: recipient(&checkout.shipping_address, &shipping_address)?,
                    billing_address: recipient(&checkout.billing_address, &billing_address)?,
                }
            }
            Some(OrderEvent::Shipped { parts, tracking, complete, shipped_at, .. }) => Letter::Shipped {
                number,
                shipped_on: day(*shipped_at),
                parts: self.parts(parts.iter().map(of_order)).await?,
                tracking: tracking.as_ref().map(ToString::to_string),
                complete: *complete,
                shipping_address: recipient(&checkout.shipping_address, &shipping_address)?,
            },
            Some(OrderEvent::Refunded { return_id, amount, refunded_total, .. }) => Letter::Refunded {
                number,
                amount: amount.to_string(),
                refunded_total: refunded_total.to_string(),
                return_id: *return_id,
                parts: self.parts(received(&events, *return_id).iter().map(of_order)).await?,
            },
            Some(_) => return Err(NoLetter::NoEvent { sequence }),
        };
        Ok((email, letter))
    }

    async fn about_cart(&self, id: CartId, sequence: i64) -> Result<(String, Letter), NoLetter> {
        let events = self.log.stream::<Cart>(&id.to_string()).await?;
        let CartEvent::Abandoned { email: Some(email), lines, .. } = event(&events, sequence)? else {
            return Err(NoLetter::NoEvent { sequence });
        };
        if events.last().is_some_and(|last| last.sequence as i64 > sequence) {
            return Err(NoLetter::Dropped("the cart was taken up again"));
        }
        let email = self.keyring.open(email).await?.ok_or(ERASED)?;
        let parts = self.parts(lines.iter().map(of_cart)).await?;
        Ok((email, Letter::CartAbandoned { cart_id: id, parts }))
    }

    async fn parts(&self, parts: impl Iterator<Item = (Sku, Quantity)>) -> Result<Vec<Part>, StreamError> {
        let mut named = Vec::new();
        for (sku, quantity) in parts {
            named.push(Part { name: self.names.of(&sku).await?, sku, quantity });
        }
        Ok(named)
    }

    /// E-mail, shipping and billing address.
    async fn open(&self, checkout: &Checkout) -> Result<[String; 3], NoLetter> {
        let Checkout { email, shipping_address, billing_address, .. } = checkout;
        let sealed: [&Personal; 3] = [email, &shipping_address.addressee, &billing_address.addressee];
        let opened: Option<Vec<String>> = self.keyring.open_all(sealed).await?.into_iter().collect();
        opened.and_then(|texts| texts.try_into().ok()).ok_or(ERASED)
    }
}

fn event<A: cqrs_es::Aggregate>(events: &[EventEnvelope<A>], sequence: i64) -> Result<&A::Event, NoLetter> {
    let found = events.iter().find(|event| event.sequence as i64 == sequence);
    found.map(|event| &event.payload).ok_or(NoLetter::NoEvent { sequence })
}

/// The order as it was placed.
fn placed(events: &[EventEnvelope<Order>]) -> Option<Placed> {
    match events.first().map(|first| &first.payload) {
        Some(OrderEvent::Placed(placed)) => Some(placed.clone()),
        _ => None,
    }
}

/// What has arrived of a return.
fn received(events: &[EventEnvelope<Order>], id: ReturnId) -> &[LinePart] {
    let of_return = events.iter().find_map(|event| match &event.payload {
        OrderEvent::ReturnReceived { return_id, parts, .. } if *return_id == id => Some(parts.as_slice()),
        _ => None,
    });
    of_return.unwrap_or_default()
}

fn of_order(part: &LinePart) -> (Sku, Quantity) {
    (part.sku.clone(), part.quantity)
}

fn of_cart(line: &CartLine) -> (Sku, Quantity) {
    (line.sku.clone(), line.quantity)
}

fn recipient(address: &Address, addressee: &str) -> serde_json::Result<Recipient> {
    // The telephone number is for the carrier.
    let Addressee { name, company, street, street_2, town, postcode, region, phone: _ } =
        serde_json::from_str(addressee)?;
    let town = match postcode {
        Some(postcode) => format!("{town} {postcode}"),
        None => town.to_string(),
    };
    let own = |text: Option<Text<200>>| text.map(|text| text.to_string());
    let lines = [Some(name.to_string()), own(company), Some(street.to_string()), own(street_2), Some(town)];
    let region = region.map(|region| region.to_string());
    let lines = lines.into_iter().chain([region]).flatten().collect();
    Ok(Recipient { lines, country: address.country.to_string() })
}

fn tax(share: &TaxShare) -> Tax {
    Tax { rate: per_cent(share.rate), net: share.net.to_string(), tax: share.tax.to_string() }
}

/// `20 %`, `5.5 %`.
fn per_cent(rate: BasisPoints) -> String {
    let (whole, rest) = (rate.0 / 100, rate.0 % 100);
    match rest {
        0 => format!("{whole} %"),
        _ => format!("{whole}.{} %", format!("{rest:02}").trim_end_matches('0')),
    }
}

/// `1 December 2026`.
fn day(time: DateTime<Utc>) -> String {
    time.format("%-d %B %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_as_people_write_it() {
        assert_eq!([2_000, 550, 1_905, 0].map(|rate| per_cent(BasisPoints(rate))), ["20 %", "5.5 %", "19.05 %", "0 %"]);
    }

    #[test]
    fn a_day_has_no_leading_zero() {
        assert_eq!(day(DateTime::from_timestamp(1_259_668_800, 0).expect("a time")), "1 December 2009");
    }

    #[test]
    fn an_address_is_written_as_on_an_envelope_without_the_telephone() {
        let country = kontor_domain::personal::CountryCode::from_code("IE").expect("a country");
        let sealed = Personal { subject: "13085".parse().expect("a subject"), sealed: "c2VhbGVk".into() };
        let address = Address { country, addressee: sealed };
        let lines = |addressee| recipient(&address, addressee).map(|recipient| recipient.lines);
        let full = r#"{"name":"Ada","company":"Analytical","street":"1 Quay","street_2":"Flat 2","town":"Cork",
            "postcode":"T12","region":"Munster","phone":"+353 1"}"#;
        assert_eq!(
            lines(full).expect("an addressee"),
            ["Ada", "Analytical", "1 Quay", "Flat 2", "Cork T12", "Munster"]
        );
        let bare = r#"{"name":"Ada","street":"1 Quay","town":"Cork"}"#;
        assert_eq!(lines(bare).expect("an addressee"), ["Ada", "1 Quay", "Cork"]);
        assert!(lines("Ada, Cork").is_err());
    }
}
