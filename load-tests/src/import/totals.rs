//! What the files come to, and whether the query API says the same.

use kontor_online_retail::Invoice;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Sales and cancellations of one country or month. Amounts in pence, cancelled ones positive too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    pub orders: i64,
    pub order_lines: i64,
    pub units: i64,
    pub sales_minor: i64,
    pub cancellations: i64,
    pub cancellation_lines: i64,
    pub cancelled_units: i64,
    pub cancelled_minor: i64,
}

impl Figures {
    pub fn add(&mut self, other: &Figures) {
        self.orders += other.orders;
        self.order_lines += other.order_lines;
        self.units += other.units;
        self.sales_minor += other.sales_minor;
        self.cancellations += other.cancellations;
        self.cancellation_lines += other.cancellation_lines;
        self.cancelled_units += other.cancelled_units;
        self.cancelled_minor += other.cancelled_minor;
    }

    fn of(invoice: &Invoice) -> Self {
        let lines = invoice.lines.len() as i64;
        let units = invoice.lines.iter().map(|line| line.quantity).sum();
        let minor = invoice.lines.iter().map(|line| line.quantity * line.unit_price_minor).sum();
        match invoice.cancelled {
            false => Self { orders: 1, order_lines: lines, units, sales_minor: minor, ..Self::default() },
            true => Self {
                cancellations: 1,
                cancellation_lines: lines,
                cancelled_units: units,
                cancelled_minor: minor,
                ..Self::default()
            },
        }
    }
}

/// Units of one SKU over the whole file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Units {
    pub sold: i64,
    pub cancelled: i64,
}

/// What the files come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    pub all: Figures,
    pub by_country: BTreeMap<String, Figures>,
    /// By `2009-12`.
    pub by_month: BTreeMap<String, Figures>,
    pub units: BTreeMap<String, Units>,
}

impl Totals {
    pub fn add(&mut self, invoice: &Invoice) {
        let figures = Figures::of(invoice);
        self.all.add(&figures);
        self.by_country.entry(invoice.country.clone()).or_default().add(&figures);
        let month = invoice.timestamp.get(..7).unwrap_or(&invoice.timestamp);
        self.by_month.entry(month.to_owned()).or_default().add(&figures);
        for line in &invoice.lines {
            // Looked up before it is made: a million lines have five thousand SKUs.
            let units = match self.units.get_mut(&line.sku) {
                Some(units) => units,
                None => self.units.entry(line.sku.clone()).or_default(),
            };
            match invoice.cancelled {
                false => units.sold += line.quantity,
                true => units.cancelled += line.quantity,
            }
        }
    }

    /// How many invoices there are, cancellations included.
    pub fn invoices(&self) -> u64 {
        (self.all.orders + self.all.cancellations).unsigned_abs()
    }
}

/// One country or month as the query API has it and as the files have it; `None`: it does not occur there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    pub key: String,
    pub kontor: Option<Figures>,
    pub files: Option<Figures>,
}

impl Compared {
    pub fn is_equal(&self) -> bool {
        self.kontor == self.files
    }
}

/// Both side by side, by key.
pub fn compare(kontor: &BTreeMap<String, Figures>, files: &BTreeMap<String, Figures>) -> Vec<Compared> {
    let keys: std::collections::BTreeSet<&String> = kontor.keys().chain(files.keys()).collect();
    let compared =
        |key: &String| Compared { key: key.clone(), kontor: kontor.get(key).copied(), files: files.get(key).copied() };
    keys.into_iter().map(compared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_online_retail::InvoiceLine;

    fn invoice(number: &str, country: &str, lines: &[(&str, i64, i64)]) -> Invoice {
        let line = |&(sku, quantity, unit_price_minor): &(&str, i64, i64)| InvoiceLine {
            sku: sku.to_owned(),
            quantity,
            unit_price_minor,
        };
        Invoice {
            number: number.to_owned(),
            customer_id: None,
            country: country.to_owned(),
            timestamp: "2009-12-01T07:45:00Z".to_owned(),
            cancelled: number.starts_with('C'),
            lines: lines.iter().map(line).collect(),
        }
    }

    #[test]
    fn sales_and_cancellations_are_counted_apart() {
        let mut totals = Totals::default();
        totals.add(&invoice("1", "EIRE", &[("A", 2, 150), ("A", 1, 100), ("B", 1, 5)]));
        totals.add(&invoice("C2", "EIRE", &[("A", 1, 150)]));
        totals.add(&invoice("3", "RSA", &[("B", 1, 5)]));
        let eire = Figures {
            orders: 1,
            order_lines: 3,
            units: 4,
            sales_minor: 405,
            cancellations: 1,
            cancellation_lines: 1,
            cancelled_units: 1,
            cancelled_minor: 150,
        };
        assert_eq!(totals.by_country["EIRE"], eire);
        assert_eq!((totals.all.sales_minor, totals.invoices()), (410, 3));
        assert_eq!(totals.by_month["2009-12"], totals.all);
        assert_eq!(totals.units["A"], Units { sold: 3, cancelled: 1 });
    }

    #[test]
    fn a_penny_or_a_missing_row_is_a_difference() {
        let figures = |sales_minor| Figures { orders: 1, sales_minor, ..Figures::default() };
        let kontor = BTreeMap::from([("EIRE".to_owned(), figures(5)), ("RSA".to_owned(), figures(7))]);
        let files = BTreeMap::from([("EIRE".to_owned(), figures(5)), ("USA".to_owned(), figures(7))]);
        let equal: Vec<_> =
            compare(&kontor, &files).iter().map(|compared| (compared.key.clone(), compared.is_equal())).collect();
        assert_eq!(equal, [("EIRE".to_owned(), true), ("RSA".to_owned(), false), ("USA".to_owned(), false)]);
    }
}
