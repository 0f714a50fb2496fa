//! Reports equal a fold of the rows, done here.

use crate::api::{Api, checkpoint};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// orders, order_lines, units, sales_minor, cancellations, cancellation_lines, cancelled_units, cancelled_minor.
type Sums = [i64; 8];

fn moment(random: &mut StdRng) -> DateTime<Utc> {
    // Two years, and often close to the end of a month in UTC.
    let seconds = 1_259_625_600 + random.random_range(0..24) * 2_629_746 + random.random_range(-3..3);
    DateTime::from_timestamp(seconds, 0).expect("a time in this century")
}

#[tokio::test]
async fn sales_by_country_and_month_equal_a_fold() {
    let api = Api::start().await;
    let mut random = StdRng::seed_from_u64(5);
    let mut statements = checkpoint("orders", 4_000);
    let (mut by_country, mut by_month) = (BTreeMap::<_, Sums>::new(), BTreeMap::<_, Sums>::new());
    for number in 0..600 {
        let country = ["United Kingdom", "EIRE", "Österreich", "Channel Islands"][random.random_range(0..4)];
        let currency = if random.random_range(0..10) == 0 { "EUR" } else { "GBP" };
        let (lines, units) = (random.random_range(1..9), random.random_range(1..99));
        let minor = random.random_range(0..9_000_000_000_000_i64);
        let (placed_at, cancelled_at) = (moment(&mut random), moment(&mut random));
        let kind = random.random_range(0..4);
        let is_sale = kind < 2;
        if kind < 3 {
            let (status, cancelled) = if is_sale {
                ("placed", "null".to_owned())
            } else {
                ("cancelled", format!("'{}'", cancelled_at.to_rfc3339()))
            };
            let _ = write!(
                statements,
                "insert into projections.orders values (gen_random_uuid(), null, null, '{country}', '[]', {lines}, {units},
                     {minor}, '{currency}', 'ship', '{status}', '{}', {cancelled}, {number});",
                placed_at.to_rfc3339()
            );
        } else {
            let _ = write!(
                statements,
                "insert into projections.cancellations values (gen_random_uuid(), null, null, '{country}', '[]', {lines},
                     {units}, {minor}, '{currency}', '{}', {number});",
                cancelled_at.to_rfc3339()
            );
        }
        let month = if is_sale { placed_at } else { cancelled_at }.format("%Y-%m").to_string();
        let offset = if is_sale { 0 } else { 4 };
        for sums in [
            by_country.entry((country.to_owned(), currency)).or_default(),
            by_month.entry((month, currency)).or_default(),
        ] {
            for (sum, addend) in sums[offset..].iter_mut().zip([1, lines, units, minor]) {
                *sum += addend;
            }
        }
    }
    api.write(&statements).await;
    for (by, sums) in [("country", by_country), ("month", by_month)] {
        let answer = api.ok(&format!("/v1/reports/sales?by={by}")).await;
        let expected: Vec<Value> = sums.iter().map(|((key, currency), sums)| row(key, currency, sums)).collect();
        assert_eq!(answer.body, json!({"position": 4_000, "by": by, "rows": expected}));
        assert_eq!(answer.position(), 4_000);
    }
}

fn row(key: &str, currency: &str, sums: &Sums) -> Value {
    let [orders, order_lines, units, sales, cancellations, cancellation_lines, cancelled_units, cancelled] = sums;
    json!({
        "key": key, "currency": currency, "orders": orders, "order_lines": order_lines, "units": units,
        "sales_minor": sales, "cancellations": cancellations, "cancellation_lines": cancellation_lines,
        "cancelled_units": cancelled_units, "cancelled_minor": cancelled,
    })
}

#[tokio::test]
async fn a_shop_without_sales_has_an_empty_report() {
    let api = Api::start().await;
    api.write(&checkpoint("orders", 7)).await;
    let answer = api.ok("/v1/reports/sales?by=month").await;
    assert_eq!(answer.body, json!({"position": 7, "by": "month", "rows": []}));
}
