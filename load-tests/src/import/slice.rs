//! Files in the form of the real ones, generated: with guests, cancellations, rows that repeat, several lines for one SKU,
//! and commas in names.

use crate::dice::Dice;
use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta};
use flate2::Compression;
use flate2::write::GzEncoder;
use kontor_online_retail::{Invoice, Invoices, ORDER_COLUMNS, PRODUCT_COLUMNS};
use std::fs::File;
use std::path::Path;

/// 2009-12-01T07:45:00Z.
const FIRST_SALE_S: i64 = 1_259_653_500;
const PRODUCTS: usize = 60;
const COUNTRIES: [&str; 6] = ["United Kingdom", "EIRE", "Germany", "RSA", "Channel Islands", "Unspecified"];

/// Writes `products.csv.gz` and `orders.csv.gz` with `invoices` invoices into `folder`; the same ones each time.
pub fn generate(folder: &Path, invoices: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut products = Csv::create(folder, "products.csv.gz", &PRODUCT_COLUMNS)?;
    for product in 0..PRODUCTS {
        let (sku, name, price) = (sku(product), name(product), price(product).to_string());
        products.row(&[&sku, &name, &price, "2009-12-01T07:45:00Z"])?;
    }
    products.finish()?;

    let mut orders = Csv::create(folder, "orders.csv.gz", &ORDER_COLUMNS)?;
    let mut dice = Dice::new(7);
    for at in 0..invoices {
        let cancelled = at % 7 == 6;
        let number = format!("{}{}", if cancelled { "C" } else { "" }, 489_434 + at);
        let customer = if at % 5 == 4 { String::new() } else { (12_346 + dice.roll(40)).to_string() };
        let country = COUNTRIES[dice.roll(COUNTRIES.len())];
        // Three hundred invoices are forty days: a month's end lies between them.
        let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(FIRST_SALE_S) + TimeDelta::minutes(190 * at as i64);
        let timestamp = time.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut row = |product: usize, quantity: usize, price: usize| {
            let quantity = format!("{}{quantity}", if cancelled { "-" } else { "" });
            let (sku, price) = (sku(product), price.to_string());
            orders.row(&[&number, &customer, country, &timestamp, &sku, &quantity, &price, &cancelled.to_string()])
        };
        for _ in 0..=dice.roll(if at % 50 == 0 { 200 } else { 12 }) {
            // Cancellations come from the first products only, and little of each: they have been sold before.
            let product = dice.roll(if cancelled { 5 } else { PRODUCTS });
            let quantity = 1 + dice.roll(if cancelled { 3 } else { 48 });
            let price = price(product) - dice.roll(2);
            row(product, quantity, price)?;
            match dice.roll(10) {
                0 => row(product, quantity, price)?,     // The same row once more.
                1 => row(product, quantity + 1, price)?, // The SKU once more.
                _ => {}
            }
        }
    }
    orders.finish()
}

/// Copies the products and the first `invoices` invoices from the files in `from` into `to`.
pub fn beginning(from: &Path, to: &Path, invoices: usize) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let path = from.join("products.csv.gz");
    std::fs::copy(&path, to.join("products.csv.gz")).with_context(|| format!("cannot copy {}", path.display()))?;
    let mut orders = Csv::create(to, "orders.csv.gz", &ORDER_COLUMNS)?;
    for invoice in Invoices::open(from)?.take(invoices) {
        let invoice = invoice?;
        let (customer_id, cancelled) =
            (invoice.customer_id.as_deref().unwrap_or_default(), invoice.cancelled.to_string());
        for line in &invoice.lines {
            let quantity = if invoice.cancelled { -line.quantity } else { line.quantity }.to_string();
            let price = line.unit_price_minor.to_string();
            let Invoice { number, country, timestamp, .. } = &invoice;
            orders.row(&[number, customer_id, country, timestamp, &line.sku, &quantity, &price, &cancelled])?;
        }
    }
    orders.finish()
}

fn sku(product: usize) -> String {
    format!("{}{}", 10_002 + product * 7, ["", "A", "BL"][product % 3])
}

fn name(product: usize) -> String {
    let thing = ["TEA LIGHT HOLDER", "MUG", "LUNCH BOX", "DOORMAT"][product % 4];
    let looks = ["RED", "RETRO SPOT", "SET OF 6, WOODEN", "VINTAGE \"PARIS\""][product / 4 % 4];
    format!("{thing}, {looks}")
}

fn price(product: usize) -> usize {
    85 + product * 37 % 900
}

struct Csv(csv::Writer<GzEncoder<File>>);

impl Csv {
    fn create(folder: &Path, name: &str, columns: &[&str]) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut csv = Self(csv::Writer::from_writer(GzEncoder::new(file, Compression::default())));
        csv.row(columns)?;
        Ok(csv)
    }

    fn row(&mut self, fields: &[&str]) -> anyhow::Result<()> {
        Ok(self.0.write_record(fields)?)
    }

    fn finish(self) -> anyhow::Result<()> {
        let gzip = self.0.into_inner().map_err(|error| error.into_error())?;
        gzip.finish()?.sync_all().context("cannot write to disk")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::totals::Totals;
    use kontor_online_retail::{InvoiceLine, products};

    #[test]
    fn the_slice_has_all_that_makes_the_real_files_hard() {
        let folder = tempfile::tempdir().expect("a folder");
        generate(folder.path(), 300).expect("files");
        let products = products(folder.path()).expect("products");
        assert!(products.iter().any(|product| product.name.contains(", ") && product.name.contains('"')));
        let invoices: Vec<_> =
            Invoices::open(folder.path()).expect("orders").collect::<Result<_, _>>().expect("valid rows");
        assert_eq!(invoices.len(), 300);
        assert!(invoices.iter().any(|invoice| invoice.customer_id.is_none()), "guests");
        assert!(invoices.iter().any(|invoice| invoice.lines.len() > 100), "long ones");
        let twice = |equal: fn(&InvoiceLine, &InvoiceLine) -> bool| {
            invoices.iter().any(|invoice| invoice.lines.windows(2).any(|pair| equal(&pair[0], &pair[1])))
        };
        assert!(twice(|one, other| one == other), "rows that repeat");
        assert!(twice(|one, other| one.sku == other.sku && one != other));
        let mut totals = Totals::default();
        invoices.iter().for_each(|invoice| totals.add(invoice));
        assert!(totals.all.cancellations > 30 && totals.by_country.len() == 6 && totals.by_month.len() == 2);
        assert!(totals.units.values().all(|units| units.cancelled <= units.sold));
    }

    #[test]
    fn the_beginning_of_the_files_is_the_files_when_it_is_long_enough() {
        let (folder, copy) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        generate(folder.path(), 20).expect("files");
        beginning(folder.path(), copy.path(), 20).expect("files");
        let read = |folder: &Path| {
            Invoices::open(folder).expect("orders").collect::<anyhow::Result<Vec<_>>>().expect("valid rows")
        };
        assert_eq!(read(folder.path()), read(copy.path()));
        beginning(folder.path(), copy.path(), 3).expect("files");
        assert_eq!(read(folder.path())[..3], read(copy.path()));
    }
}
