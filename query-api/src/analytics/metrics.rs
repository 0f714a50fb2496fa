//! What can be asked for: sums as they are kept, and what follows from them.

use kontor_projection_services::projections::analytics::Count;
use serde_json::Value;

/// Something that a report can say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    pub name: &'static str,
    pub formula: Formula,
}

/// What it is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Formula {
    /// Counts, each with its sign. Adds up over rows.
    Sum(&'static [(Count, i64)]),
    /// One by the other, rounded to a whole number.
    Average { of: Count, by: Count },
    /// One by the other, to four places.
    Share { of: Count, by: Count },
    /// Units sold that were not taken back, by the units in the building now.
    StockTurn,
}

const NET_UNITS: &[(Count, i64)] = &[(Count::Units, 1), (Count::CancelledUnits, -1), (Count::ReturnedUnits, -1)];

pub const METRICS: [Metric; 22] = {
    use Count::*;
    use Formula::*;
    const fn metric(name: &'static str, formula: Formula) -> Metric {
        Metric { name, formula }
    }
    [
        metric("orders", Sum(&[(Orders, 1)])),
        metric("order_lines", Sum(&[(OrderLines, 1)])),
        metric("units", Sum(&[(Units, 1)])),
        metric("sales_minor", Sum(&[(SalesMinor, 1)])),
        metric("average_order_minor", Average { of: SalesMinor, by: Orders }),
        metric("net_units", Sum(NET_UNITS)),
        metric("net_sales_minor", Sum(&[(SalesMinor, 1), (CancelledMinor, -1), (ReturnedMinor, -1)])),
        metric("cancellations", Sum(&[(Cancellations, 1)])),
        metric("cancellation_lines", Sum(&[(CancellationLines, 1)])),
        metric("cancelled_units", Sum(&[(CancelledUnits, 1)])),
        metric("cancelled_minor", Sum(&[(CancelledMinor, 1)])),
        metric("returns", Sum(&[(Returns, 1)])),
        metric("returned_units", Sum(&[(ReturnedUnits, 1)])),
        metric("returned_minor", Sum(&[(ReturnedMinor, 1)])),
        metric("refunded_minor", Sum(&[(RefundedMinor, 1)])),
        metric("new_customers", Sum(&[(NewCustomers, 1)])),
        metric("returning_customers", Sum(&[(Customers, 1), (NewCustomers, -1)])),
        metric("customers", Sum(&[(Customers, 1)])),
        metric("carts", Sum(&[(Carts, 1)])),
        metric("converted_carts", Sum(&[(Converted, 1)])),
        metric("conversion", Share { of: Converted, by: Carts }),
        metric("stock_turn", StockTurn),
    ]
};

pub fn names() -> Vec<&'static str> {
    METRICS.iter().map(|metric| metric.name).collect()
}

impl Metric {
    /// Of money, so that it can only be added up in one currency.
    pub fn is_amount(&self) -> bool {
        self.name.ends_with("_minor")
    }

    pub fn needs(&self) -> Vec<Count> {
        match self.formula {
            Formula::Sum(counts) => counts.iter().map(|(count, _)| *count).collect(),
            Formula::Average { of, by } | Formula::Share { of, by } => vec![of, by],
            Formula::StockTurn => NET_UNITS.iter().map(|(count, _)| *count).collect(),
        }
    }

    /// What it comes to. `on_hand`: units in the building now.
    pub fn value(&self, sum: impl Fn(Count) -> i64, on_hand: i64) -> Value {
        let net = |counts: &[(Count, i64)]| {
            counts.iter().fold(0_i64, |net, (count, sign)| net.saturating_add(sign.saturating_mul(sum(*count))))
        };
        match self.formula {
            Formula::Sum(counts) => net(counts).into(),
            Formula::Average { of, by } => match sum(by) {
                0 => Value::Null,
                by => ((sum(of) as f64 / by as f64).round() as i64).into(),
            },
            Formula::Share { of, by } => share(sum(of), sum(by)),
            Formula::StockTurn => share(net(NET_UNITS), on_hand),
        }
    }
}

/// `null`: of nothing.
fn share(of: i64, by: i64) -> Value {
    match by {
        0 => Value::Null,
        by => ((of as f64 / by as f64 * 1e4).round() / 1e4).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(name: &str, sum: impl Fn(Count) -> i64, on_hand: i64) -> Value {
        METRICS.iter().find(|metric| metric.name == name).expect("there is one").value(sum, on_hand)
    }

    #[test]
    fn metrics_follow_from_sums() {
        let sum = |count| match count {
            Count::SalesMinor => 1_001,
            Count::Orders | Count::Customers => 2,
            Count::Units => 9,
            Count::CancelledUnits | Count::CancelledMinor | Count::Converted | Count::NewCustomers => 1,
            Count::ReturnedUnits | Count::ReturnedMinor => 2,
            Count::Carts => 3,
            _ => 0,
        };
        for (name, expected) in [
            ("average_order_minor", json!(501)),
            ("net_units", json!(6)),
            ("net_sales_minor", json!(998)),
            ("returning_customers", json!(1)),
            ("conversion", json!(0.3333)),
            ("stock_turn", json!(1.5)),
        ] {
            assert_eq!(value(name, sum, 4), expected, "{name}");
        }
        for name in ["average_order_minor", "conversion", "stock_turn"] {
            assert_eq!(value(name, |_| 0, 0), Value::Null, "{name}");
        }
    }

    #[test]
    fn each_metric_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = names().into_iter().collect();
        assert_eq!(names.len(), METRICS.len());
    }
}
