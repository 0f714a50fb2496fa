//! What is told at the end of an import.

use super::totals::{Compared, Figures};
use crate::table::{Table, amount, grouped};
use serde::Serialize;
use serde_json::json;
use std::fmt;
use std::time::Duration;

/// Differing SKUs that are named; the others are counted.
const NAMED_MAX: usize = 10;

/// What an import came to.
#[derive(Debug)]
pub struct Outcome {
    /// Of the files.
    pub totals: Figures,
    /// Commands that an earlier run had done.
    pub replayed: u64,
    /// The last position of the log that the import has led to.
    pub position: i64,
    /// From the first request until the last command was done.
    pub sent_in: Duration,
    /// From the first request until everything was visible and compared.
    pub seconds: f64,
    pub countries: Vec<Compared>,
    pub months: Vec<Compared>,
    pub stock: Stock,
}

/// Units in the building, compared.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Stock {
    pub skus: usize,
    /// SKU, units in Kontor, units by the files.
    pub different: Vec<(String, Option<i64>, i64)>,
}

impl Outcome {
    /// Whether the query API says what the files say, to the penny and the unit.
    pub fn is_equal(&self) -> bool {
        self.countries.iter().chain(&self.months).all(Compared::is_equal) && self.stock.different.is_empty()
    }

    /// Lines of sales and cancellations.
    fn lines(&self) -> i64 {
        self.totals.order_lines + self.totals.cancellation_lines
    }

    fn invoices(&self) -> i64 {
        self.totals.orders + self.totals.cancellations
    }

    /// One JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "import": "online-retail",
            "invoices": self.invoices(),
            "lines": self.lines(),
            "replayed": self.replayed,
            "position": self.position,
            "sent_in_seconds": self.sent_in.as_secs_f64(),
            "seconds": self.seconds,
            "equal": self.is_equal(),
            "countries": self.countries,
            "months": self.months,
            "stock": self.stock,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", table("country", &self.countries))?;
        writeln!(f, "{}", table("month", &self.months))?;
        let (invoices, lines) = (self.invoices() as f64, self.lines() as f64);
        writeln!(
            f,
            "{} invoices with {} lines in {:.1} s, visible and compared: {} invoices/s, {} lines/s.",
            grouped(invoices),
            grouped(lines),
            self.seconds,
            grouped(invoices / self.seconds),
            grouped(lines / self.seconds),
        )?;
        if self.replayed > 0 {
            writeln!(f, "{} of the commands had been done by an earlier run.", grouped(self.replayed as f64))?;
        }
        let Stock { skus, different } = &self.stock;
        for (sku, kontor, files) in different.iter().take(NAMED_MAX) {
            let kontor = kontor.map_or("no".to_owned(), |units| units.to_string());
            writeln!(f, "Stock of {sku}: Kontor has {kontor} units, by the files there are {files}.")?;
        }
        let rows = self.countries.len() + self.months.len();
        let unequal = self.countries.iter().chain(&self.months).filter(|compared| !compared.is_equal()).count();
        match self.is_equal() {
            true => write!(f, "Kontor and the files are equal: {rows} rows, stock of {skus} SKUs."),
            false => write!(
                f,
                "Kontor and the files are DIFFERENT: {unequal} of {rows} rows, stock of {} of {skus} SKUs.",
                different.len()
            ),
        }
    }
}

fn table(by: &str, compared: &[Compared]) -> Table {
    let mut table = Table::new(&[by, "Kontor:", "", "", "", "", "", "files:", "", "", "", "", "", ""]);
    let names = ["orders", "lines", "units", "sales GBP", "cancelled", "GBP"];
    table.row(["", names[0]].into_iter().chain(names[1..].iter().copied()).chain(names).map(str::to_owned).collect());
    let mut row = |key: &str, kontor: Option<Figures>, files: Option<Figures>, verdict: &str| {
        let cells = [key.to_owned()].into_iter().chain(cells(kontor)).chain(cells(files));
        table.row(cells.chain([verdict.to_owned()]).collect());
    };
    let (mut kontor, mut files) = (Figures::default(), Figures::default());
    for compared in compared {
        row(&compared.key, compared.kontor, compared.files, if compared.is_equal() { "equal" } else { "DIFFERENT" });
        kontor.add(&compared.kontor.unwrap_or_default());
        files.add(&compared.files.unwrap_or_default());
    }
    row("all", Some(kontor), Some(files), if kontor == files { "equal" } else { "DIFFERENT" });
    table
}

fn cells(figures: Option<Figures>) -> [String; 6] {
    let Some(figures) = figures else { return std::array::from_fn(|_| "-".to_owned()) };
    let count = |count: i64| grouped(count as f64);
    [
        count(figures.orders),
        count(figures.order_lines),
        count(figures.units),
        amount(figures.sales_minor),
        count(figures.cancellations),
        amount(figures.cancelled_minor),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(sales_minor: i64, cancelled_units: i64) -> Outcome {
        let files = Figures { orders: 1, order_lines: 2, units: 3, sales_minor: 405, ..Figures::default() };
        let kontor = Figures { sales_minor, cancelled_units, ..files };
        let compared = |key: &str| Compared { key: key.to_owned(), kontor: Some(kontor), files: Some(files) };
        Outcome {
            totals: files,
            replayed: 0,
            position: 9,
            sent_in: Duration::from_secs(1),
            seconds: 2.0,
            countries: vec![compared("EIRE")],
            months: vec![compared("2009-12")],
            stock: Stock { skus: 2, different: vec![] },
        }
    }

    #[test]
    fn equal_is_said_row_by_row_and_at_the_end() {
        let outcome = outcome(405, 0);
        assert!(outcome.is_equal());
        let text = outcome.to_string();
        assert!(text.lines().any(|line| line.starts_with("EIRE ") && line.ends_with("  equal")), "{text}");
        assert!(text.ends_with("Kontor and the files are equal: 2 rows, stock of 2 SKUs."), "{text}");
        assert_eq!(outcome.to_json()["equal"], true);
    }

    #[test]
    fn a_difference_is_said_even_in_a_figure_that_the_table_leaves_out() {
        for outcome in [outcome(406, 0), outcome(405, 1)] {
            assert!(!outcome.is_equal());
            let text = outcome.to_string();
            assert!(text.lines().any(|line| line.starts_with("EIRE ") && line.ends_with("  DIFFERENT")), "{text}");
            assert!(text.contains("DIFFERENT: 2 of 2 rows, stock of 0 of 2 SKUs"), "{text}");
        }
    }

    #[test]
    fn stock_that_differs_is_named() {
        let mut outcome = outcome(405, 0);
        outcome.stock.different.push(("85048".to_owned(), Some(4), 3));
        assert!(!outcome.is_equal());
        assert!(outcome.to_string().contains("Stock of 85048: Kontor has 4 units, by the files there are 3."));
    }
}
