//! The files `products.csv.gz` and `orders.csv.gz`, read as they stream by.

use anyhow::{Context, bail};
use csv::StringRecord;
use flate2::read::MultiGzDecoder;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// The most lines that the command API takes in one order.
const LINES_MAX: usize = 2_000;

pub const PRODUCT_COLUMNS: [&str; 4] = ["sku", "name", "unit_price_minor", "first_seen"];
pub const ORDER_COLUMNS: [&str; 8] =
    ["invoice", "customer_id", "country", "timestamp", "sku", "quantity", "unit_price_minor", "cancelled"];

#[derive(Debug, Clone, PartialEq)]
pub struct Product {
    pub sku: String,
    pub name: String,
    pub unit_price_minor: i64,
    /// When it was first sold; RFC 3339, as the file has it.
    pub first_seen: String,
}

/// The rows of one invoice, which stand together.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoice {
    /// Six digits; `C` before them on a cancellation.
    pub number: String,
    /// `None`: a guest.
    pub customer_id: Option<String>,
    pub country: String,
    /// RFC 3339, as the file has it.
    pub timestamp: String,
    pub cancelled: bool,
    pub lines: Vec<InvoiceLine>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InvoiceLine {
    pub sku: String,
    /// Above 0, on cancellations too.
    pub quantity: i64,
    pub unit_price_minor: i64,
}

/// `products.csv.gz` in `folder`.
pub fn products(folder: &Path) -> anyhow::Result<Vec<Product>> {
    let mut rows = Rows::open(folder, "products.csv.gz", &PRODUCT_COLUMNS)?;
    let mut products = Vec::new();
    while rows.next()? {
        let product = Product {
            sku: rows.text(0)?.to_owned(),
            name: rows.text(1)?.to_owned(),
            unit_price_minor: rows.positive(2)?,
            first_seen: rows.text(3)?.to_owned(),
        };
        products.push(product);
    }
    Ok(products)
}

/// `orders.csv.gz` in `folder`, an invoice at a time.
pub struct Invoices {
    rows: Rows,
    /// The first row of the next invoice has been read.
    ahead: bool,
}

impl Invoices {
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let mut rows = Rows::open(folder, "orders.csv.gz", &ORDER_COLUMNS)?;
        let ahead = rows.next()?;
        Ok(Self { rows, ahead })
    }

    fn read(&mut self) -> anyhow::Result<Option<Invoice>> {
        if !self.ahead {
            return Ok(None);
        }
        let rows = &mut self.rows;
        let cancelled = match rows.text(7)? {
            "true" => true,
            "false" => false,
            other => bail!("{}: cancelled is \"{other}\", not true or false", rows.place()),
        };
        let mut invoice = Invoice {
            number: rows.text(0)?.to_owned(),
            customer_id: Some(rows.field(1)).filter(|id| !id.is_empty()).map(str::to_owned),
            country: rows.text(2)?.to_owned(),
            timestamp: rows.text(3)?.to_owned(),
            cancelled,
            lines: Vec::new(),
        };
        loop {
            let quantity = rows.number(5)?;
            if quantity == 0 || (quantity < 0) != cancelled || (rows.field(7) == "true") != cancelled {
                bail!("{}: {quantity} units do not fit cancelled = {}", rows.place(), rows.field(7));
            }
            invoice.lines.push(InvoiceLine {
                sku: rows.text(4)?.to_owned(),
                quantity: quantity.abs(),
                unit_price_minor: rows.positive(6)?,
            });
            if invoice.lines.len() > LINES_MAX {
                let number = &invoice.number;
                bail!("{}: invoice {number} has more than {LINES_MAX} lines, the most of an order", rows.place());
            }
            self.ahead = rows.next()?;
            if !self.ahead || rows.field(0) != invoice.number {
                return Ok(Some(invoice));
            }
        }
    }
}

impl Iterator for Invoices {
    type Item = anyhow::Result<Invoice>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The rows of one file.
struct Rows {
    path: PathBuf,
    columns: Vec<String>,
    reader: csv::Reader<MultiGzDecoder<BufReader<File>>>,
    row: StringRecord,
}

impl Rows {
    fn open(folder: &Path, name: &str, columns: &[&str]) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut reader = csv::Reader::from_reader(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file)));
        let found = reader.headers().with_context(|| format!("cannot read {}", path.display()))?;
        if found != columns {
            let found: Vec<_> = found.iter().collect();
            bail!("{} has the columns {}, not {}", path.display(), found.join(","), columns.join(","));
        }
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Ok(Self { path, columns, reader, row: StringRecord::new() })
    }

    /// Reads the next row; `false` at the end.
    fn next(&mut self) -> anyhow::Result<bool> {
        self.reader.read_record(&mut self.row).with_context(|| format!("cannot read {}", self.path.display()))
    }

    /// Where the row stands, for messages.
    fn place(&self) -> String {
        let line = self.row.position().map_or(0, csv::Position::line);
        format!("{} line {line}", self.path.display())
    }

    /// Every row has as many fields as the header: the reader sees to that.
    fn field(&self, column: usize) -> &str {
        self.row.get(column).unwrap_or_default()
    }

    fn text(&self, column: usize) -> anyhow::Result<&str> {
        match self.field(column) {
            "" => bail!("{}: {} is empty", self.place(), self.columns[column]),
            text => Ok(text),
        }
    }

    fn number(&self, column: usize) -> anyhow::Result<i64> {
        let text = self.field(column);
        text.parse().with_context(|| format!("{}: {} is \"{text}\"", self.place(), self.columns[column]))
    }

    fn positive(&self, column: usize) -> anyhow::Result<i64> {
        match self.number(column)? {
            number @ 1.. => Ok(number),
            number => bail!("{}: {} is {number}, not above 0", self.place(), self.columns[column]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const HEADER: &str = "invoice,customer_id,country,timestamp,sku,quantity,unit_price_minor,cancelled\n";

    fn invoices(rows: &str) -> anyhow::Result<Vec<Invoice>> {
        let folder = tempfile::tempdir()?;
        let mut file = GzEncoder::new(File::create(folder.path().join("orders.csv.gz"))?, Compression::fast());
        write!(file, "{HEADER}{rows}")?;
        file.finish()?;
        Invoices::open(folder.path())?.collect()
    }

    #[test]
    fn rows_of_one_invoice_are_read_together() {
        let rows = "489434,13085,United Kingdom,2009-12-01T07:45:00Z,85048,12,695,false\n\
                    489434,13085,United Kingdom,2009-12-01T07:45:00Z,85048,12,695,false\n\
                    C489449,,EIRE,2009-12-01T10:33:00Z,22087,-12,295,true\n";
        let invoices = invoices(rows).expect("valid rows");
        assert_eq!(invoices.len(), 2);
        assert_eq!((invoices[0].lines.len(), invoices[0].customer_id.as_deref()), (2, Some("13085")));
        let line = InvoiceLine { sku: "22087".to_owned(), quantity: 12, unit_price_minor: 295 };
        assert_eq!((&*invoices[1].number, invoices[1].cancelled), ("C489449", true));
        assert_eq!((&invoices[1].customer_id, &invoices[1].lines), (&None, &vec![line]));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let error = invoices("1,,EIRE,2009-12-01T10:33:00Z,A,1,x,false\n").expect_err("x is no price");
        assert!(format!("{error:#}").contains("orders.csv.gz line 2: unit_price_minor is \"x\""), "{error:#}");
        let error = invoices("1,,EIRE,2009-12-01T10:33:00Z,A,-1,5,false\n").expect_err("a sale is above 0");
        assert!(error.to_string().contains("line 2: -1 units do not fit cancelled = false"), "{error}");
        let many = "1,,EIRE,2009-12-01T10:33:00Z,A,1,5,false\n".repeat(LINES_MAX + 1);
        let error = invoices(&many).expect_err("too many lines");
        assert!(error.to_string().contains("invoice 1 has more than 2000 lines"), "{error}");
    }
}
