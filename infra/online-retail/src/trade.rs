//! The files as trade to learn from.

use crate::files::{Invoice, Invoices, Product, products};
use anyhow::Context;
use chrono::{DateTime, Utc};
use kontor_domain::{CustomerId, Sku};
use kontor_recommend::goods::is_goods;
use kontor_recommend::{Product as Described, Trade};
use std::path::Path;

/// What was sold and taken back at `until` or before (`None`: all of it), and the products that were known by then. `tell`
/// hears each invoice.
pub fn trade(folder: &Path, until: Option<DateTime<Utc>>, tell: impl Fn(&Invoice)) -> anyhow::Result<Trade> {
    let known = |at: DateTime<Utc>| until.is_none_or(|until| at <= until);
    let mut trade = Trade::default();
    for Product { sku, name, first_seen, .. } in products(folder)? {
        let first_seen = time(&first_seen).with_context(|| format!("product {sku}"))?;
        if known(first_seen) && is_goods(&sku) {
            let sku = sku.parse().with_context(|| format!("sku \"{sku}\""))?;
            trade.describe(Described { sku, name, categories: Vec::new() });
        }
    }
    for invoice in Invoices::open(folder)? {
        let invoice = invoice?;
        tell(&invoice);
        enter(&mut trade, &invoice, known).with_context(|| format!("invoice {}", invoice.number))?;
    }
    Ok(trade)
}

fn enter(trade: &mut Trade, invoice: &Invoice, known: impl Fn(DateTime<Utc>) -> bool) -> anyhow::Result<()> {
    let at = time(&invoice.timestamp)?;
    if !known(at) {
        return Ok(());
    }
    let customer: Option<CustomerId> = invoice.customer_id.as_deref().map(str::parse).transpose()?;
    let goods = invoice.lines.iter().filter(|line| is_goods(&line.sku)); // Codes of the rest may be no SKUs at all.
    let lines: Vec<(Sku, u64)> = goods
        .map(|line| {
            Ok((line.sku.parse().with_context(|| format!("sku \"{}\"", line.sku))?, line.quantity.unsigned_abs()))
        })
        .collect::<anyhow::Result<_>>()?;
    let lines = lines.iter().map(|(sku, units)| (sku, *units));
    match invoice.cancelled {
        false => trade.sell(customer.as_ref(), at, lines),
        true => trade.take_back(customer.as_ref(), at, lines),
    }
    Ok(())
}

fn time(text: &str) -> anyhow::Result<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).with_context(|| format!("the time \"{text}\" is not RFC 3339"))?;
    Ok(time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::fs::File;
    use std::io::Write;

    fn files(products: &str, orders: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, header: &str, rows: &str| {
            let file = File::create(folder.path().join(name)).expect("a file");
            let mut file = GzEncoder::new(file, Compression::fast());
            write!(file, "{header}\n{rows}").and_then(|()| file.finish()).expect("it is written");
        };
        write("products.csv.gz", "sku,name,unit_price_minor,first_seen", products);
        let header = "invoice,customer_id,country,timestamp,sku,quantity,unit_price_minor,cancelled";
        write("orders.csv.gz", header, orders);
        folder
    }

    const PRODUCTS: &str = "MUG,MUG,100,2010-01-01T00:00:00Z\nCUP,CUP,100,2010-06-01T00:00:00Z\n";
    const ORDERS: &str = "1,13085,EIRE,2010-01-01T00:00:00Z,MUG,5,100,false\n\
                          1,13085,EIRE,2010-01-01T00:00:00Z,POST,1,100,false\n\
                          2,13085,EIRE,2010-01-02T00:00:00Z,BANK CHARGES,1,100,false\n\
                          C3,13085,EIRE,2010-01-03T00:00:00Z,MUG,-2,100,true\n\
                          4,13085,EIRE,2010-06-01T00:00:00Z,CUP,1,100,false\n";

    fn bought(until: &str) -> Vec<(String, u64)> {
        let until = until.parse().expect("a time");
        let trade = trade(files(PRODUCTS, ORDERS).path(), Some(until), |_| {}).expect("valid files");
        let histories = trade.histories(until);
        let bought = histories.values().flat_map(|history| history.bought());
        bought.map(|bought| (bought.sku.to_string(), bought.units)).collect()
    }

    #[test]
    fn goods_are_learnt_from_less_what_was_taken_back() {
        assert_eq!(bought("2011-01-01T00:00:00Z"), [("MUG".to_owned(), 3), ("CUP".to_owned(), 1)]);
    }

    #[test]
    fn what_came_later_is_not_known() {
        assert_eq!(bought("2010-01-02T00:00:00Z"), [("MUG".to_owned(), 5)]);
    }
}
