//! An order that was paid, and is cancelled before it has left.

use crate::start;
use kontor_load_tests::books::{Books, Sums};
use kontor_load_tests::goods::put_on_sale;
use kontor_load_tests::shopper::{Ending, Shopper};
use serde_json::{Value, json};

/// Step 1: somebody buys, and the staff cancels the order. Step 2: its payment is voided, in our books and in the provider's
/// ledger, and its goods are on sale again. Step 3: both APIs say so.
#[tokio::test]
async fn an_order_that_is_cancelled_after_it_was_paid_gives_back_its_money_and_its_goods() {
    let running = start().await;
    let (commands, queries) = running.apis();
    put_on_sale(&commands, &["MUG".to_owned()].into(), 5).await.expect("it is on sale");
    // 1
    let mut shopper = Shopper::new(&[running.platform.ports().command]);
    let id = shopper.fill(&[("MUG", 2)]).await.expect("a cart");
    assert_eq!(shopper.check_out(id, "tok_success").await.expect("it is settled"), Ending::Confirmed);
    let cancel = json!({"reason": "changed their mind"}).to_string();
    let cancelled = commands.post(&format!("v1/orders/{id}/cancel"), "cancel", cancel).await.expect("it is cancelled");
    // 2
    let sums = Books::open(running.platform.postgres()).await.expect("a log").check().await.expect("no faults");
    assert_eq!(sums, Sums { confirmed: 0, cancelled: 1, shipped: 0, authorised: 0, voided: 1, units: 0 });
    // 3
    let ask = async |path: &str| commands.get::<Value>(path, None).await.expect("an answer").body;
    assert_eq!(ask(&format!("v1/orders/{id}/settlement")).await["status"], "cancelled");
    let payment = ask(&format!("v1/payments/{id}")).await;
    let last = payment["attempts"].as_array().and_then(|attempts| attempts.last()).expect("two attempts");
    assert_eq!((&last["operation"], &last["progress"]), (&json!("void"), &json!("done")), "{payment}");
    let query = async |path: &str| queries.get::<Value>(path, Some(cancelled.position)).await.expect("an answer").body;
    let order = query(&format!("v1/orders/{id}")).await;
    assert_eq!(
        (&order["status"], &order["cancel_reason"], &order["captured"]["amount_minor"]),
        (&json!("cancelled"), &json!("changed their mind"), &json!(0)),
        "{order}"
    );
    let product = query("v1/products/MUG").await;
    assert_eq!((&product["on_hand"], &product["available"]), (&json!(5), &json!(5)), "{product}");
}
