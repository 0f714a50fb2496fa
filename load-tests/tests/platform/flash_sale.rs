//! The race for the last units, at two command processes on one log.

use crate::start;
use kontor_load_tests::books::{Books, Sums};
use kontor_load_tests::flash_sale::{FlashSale, Outcome};
use kontor_load_tests::goods::put_on_sale;
use kontor_local::Tier;

const UNITS: usize = 20;
const BUYERS: usize = 400;

/// Step 1: 400 buyers at two processes want one of 20 units. Half of the cards are declined, a quarter of the payments is
/// confirmed later. Step 2: what came back too late for them is sold to others. Step 3: the books are right.
#[tokio::test]
async fn twenty_units_go_to_twenty_of_four_hundred_buyers() {
    let running = start().await;
    let (plan, port) = running.platform.another_command();
    let _another = Tier::start(&plan, |_, _| {}).await.expect("it starts");
    put_on_sale(&running.apis().0, &["HOT".to_owned()].into(), UNITS as i64).await.expect("it is on sale");
    let processes = [running.platform.ports().command, port];

    // 1
    let pays_with = |buyer: usize| ["tok_decline", "tok_decline", "tok_async", "tok_success"][buyer / 2 % 4];
    let sale = FlashSale { processes: &processes, sku: "HOT", buyers: BUYERS, connections: 64, pays_with };
    let race = race(&sale).await;
    assert!(race.confirmed <= UNITS && race.cancelled > 0 && race.sold_out > 0, "{race:?}");
    assert_eq!(race.confirmed + race.cancelled + race.sold_out, BUYERS);

    // 2
    let later = self::race(&FlashSale { buyers: UNITS, connections: 4, pays_with: |_| "tok_success", ..sale }).await;
    assert_eq!(race.confirmed + later.confirmed, UNITS, "{later:?}");

    // 3
    let sums = Books::open(running.platform.postgres()).await.expect("a log").check().await.expect("no faults");
    let expected = Sums {
        confirmed: UNITS,
        cancelled: race.cancelled,
        shipped: 0,
        authorised: UNITS,
        voided: 0,
        units: UNITS as i64,
    };
    assert_eq!(sums, expected);
}

async fn race(sale: &FlashSale<'_>) -> Outcome {
    sale.fill_carts().await.expect("carts are filled").run().await.expect("all are settled")
}
