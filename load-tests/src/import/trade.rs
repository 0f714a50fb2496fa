//! The shop's trade as commands, each with a key of its own that is the same in every run.

use crate::bulk::{Cancellation, Command, Line, Order, Written, pence};
use anyhow::Context;
use chrono::DateTime;
use kontor_online_retail::{Invoice, InvoiceLine, Product};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

pub fn registration(product: &Product) -> Written {
    let Product { sku, name, .. } = product;
    Written::new(&format!("online-retail/product/{sku}"), &Command::RegisterProduct { sku, name })
}

pub fn price(product: &Product) -> Written {
    let Product { sku, unit_price_minor, .. } = product;
    let command = Command::PriceProduct { sku, price: pence(*unit_price_minor) };
    Written::new(&format!("online-retail/price of/{sku}"), &command)
}

/// `None` for a product that was never sold.
pub fn opening_stock(sku: &str, quantity: i64) -> Option<Written> {
    let command = Command::ReceiveStock { sku, quantity, reference: "opening stock" };
    (quantity > 0).then(|| Written::new(&format!("online-retail/opening stock of/{sku}"), &command))
}

/// A sale becomes an order that ships at once, a cancellation a cancellation that names no order: so does the file.
pub fn invoice<'a>(invoice: &'a Invoice) -> anyhow::Result<Written> {
    let Invoice { number, country, timestamp, .. } = invoice;
    let id = id(invoice)?.to_string();
    let customer_id = invoice.customer_id.as_deref();
    let line = |line: &'a InvoiceLine| Line {
        sku: &line.sku,
        quantity: line.quantity,
        unit_price: pence(line.unit_price_minor),
    };
    let lines = invoice.lines.iter().map(line).collect();
    let command = match invoice.cancelled {
        false => Command::PlaceOrder(Order {
            order_id: &id,
            reference: number,
            customer_id,
            country,
            lines,
            fulfilment: "ship",
            placed_at: timestamp,
        }),
        true => Command::BookCancellation(Cancellation {
            cancellation_id: &id,
            reference: number,
            customer_id,
            country,
            lines,
            cancelled_at: timestamp,
        }),
    };
    Ok(Written::new(&format!("online-retail/invoice/{number}"), &command))
}

/// A UUID of version 7 with the business time as its time and, so that every run makes the same, a hash of the number where
/// others have chance.
fn id(invoice: &Invoice) -> anyhow::Result<Uuid> {
    let time = DateTime::parse_from_rfc3339(&invoice.timestamp).with_context(|| {
        format!("invoice {}: the timestamp \"{}\" is not RFC 3339", invoice.number, invoice.timestamp)
    })?;
    let millis = u64::try_from(time.timestamp_millis())
        .with_context(|| format!("invoice {}: {} is before 1970", invoice.number, invoice.timestamp))?;
    let hash = Sha256::digest(&invoice.number);
    let chance = hash[..10].try_into().expect("SHA-256 has more than 10 bytes");
    Ok(Builder::from_unix_timestamp_millis(millis, chance).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invoice_has_the_same_id_in_every_run() {
        let invoice = |number: &str| Invoice {
            number: number.to_owned(),
            customer_id: None,
            country: "EIRE".to_owned(),
            timestamp: "2009-12-01T07:45:00Z".to_owned(),
            cancelled: false,
            lines: vec![],
        };
        let first = id(&invoice("489434")).expect("a valid time");
        assert_eq!(first, id(&invoice("489434")).expect("a valid time"));
        assert_ne!(first, id(&invoice("489435")).expect("a valid time"));
        assert_eq!(first.get_version_num(), 7);
        let time = first.get_timestamp().expect("version 7 has a time").to_unix();
        assert_eq!(time.0, 1_259_653_500);
    }

    #[test]
    fn an_invoice_without_a_time_is_named() {
        let timestamp = "yesterday".to_owned();
        let invoice = Invoice {
            number: "489434".to_owned(),
            customer_id: None,
            country: "EIRE".to_owned(),
            timestamp,
            cancelled: false,
            lines: vec![],
        };
        let error = id(&invoice).expect_err("no time");
        assert_eq!(error.to_string(), "invoice 489434: the timestamp \"yesterday\" is not RFC 3339");
    }
}
