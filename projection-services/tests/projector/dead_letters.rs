//! An event that cannot be applied is set aside with the later ones of its aggregate, and everything else goes on.

use crate::shop::{Shop, eventually};
use crate::trade::Decided;
use kontor_projection_services::projections::orders::Orders;
use kontor_projection_services::runtime::dead_letters::{self, DeadLetter, LetterError};
use sqlx::Connection;
use std::sync::Arc;
use std::time::Duration;

const LASTS: Duration = Duration::from_secs(2);
const POISONED: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn letters(shop: &Shop) -> Vec<DeadLetter> {
    dead_letters::list(&shop.database, &shop.live("orders").await).await.expect("they can be read")
}

/// An event of an order that no release can read.
async fn poison(shop: &mut Shop) -> i64 {
    shop.append(vec![Decided {
        aggregate_type: "order",
        aggregate_id: POISONED.to_owned(),
        events: vec![("Placed".to_owned(), r#"{"Placed":{"order_id":17}}"#.to_owned())],
    }])
    .await
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_only_its_aggregate() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    projector.until_reading().await;
    let positions = shop.trade(40).await;
    shop.publish(positions).await;
    let (first, second) = (poison(&mut shop).await, poison(&mut shop).await);
    shop.trade(40).await;
    let third = poison(&mut shop).await;
    for projection in ["orders", "catalogue"] {
        shop.until_at(projection, shop.head().await).await;
    }
    let letters = letters(&shop).await;
    let told: Vec<_> =
        letters.iter().map(|letter| (letter.position, letter.aggregate_id.as_str(), letter.error.is_some())).collect();
    assert_eq!(told, [(first, POISONED, true), (second, POISONED, false), (third, POISONED, false)]);
    assert!(letters[0].error.as_deref().is_some_and(|error| error.contains("payload")), "{letters:?}");
    eventually("they are counted", async || projector.of("kontor_projection_dead_letters", "orders") == 3.0).await;
    assert!(projector.of("kontor_projection_dead_letter_seconds", "orders") > 0.0);
    assert_eq!(projector.of("kontor_projection_dead_letters", "catalogue"), 0.0);
    eventually("it is ready", async || projector.health.is_ready()).await;
    let event = dead_letters::show(&shop.means(), &letters[0]).await.expect("the log has it");
    assert_eq!((event.position, event.event_type.as_str()), (first, "Placed"));
    projector.stop().await;
}

/// Step 1: among thousands of events there are those of an order that a constraint refuses. Step 2: it is found by halving, and
/// set aside. Step 3: while it is refused, a retry says so and changes nothing. Step 4: the constraint is gone, and a retry
/// applies all its events in order. Step 5: what becomes of it then is applied as usual.
#[tokio::test]
async fn a_row_that_is_refused_is_found_in_its_batch_and_applied_later() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    eventually("there are tables", async || projector.health.is_ready()).await;
    projector.stop().await;
    shop.trade(3_000).await;
    let of_order =
        "select aggregate_id from events where aggregate_type = 'order' group by 1 having count(*) > 2 limit 1";
    let order = shop.sql(of_order).await;
    let constraint = format!("alter table orders_1.orders add constraint refused check (order_id <> '{order}')");
    shop.sql(&constraint).await;

    let projector = shop.projector().await;
    shop.until_at("orders", shop.head().await).await;
    let count = format!("select count(*) from events where aggregate_type = 'order' and aggregate_id = '{order}'");
    let events: usize = shop.sql(&count).await.parse().expect("a number");
    let there = letters(&shop).await;
    assert_eq!(there.len(), events);
    assert!(there.iter().all(|letter| letter.aggregate_id == order), "{there:?}");
    assert!(there[0].error.as_deref().is_some_and(|error| error.contains("refused")), "{there:?}");
    assert_eq!(there[0].attempts, 4);
    assert!(there[1..].iter().all(|letter| letter.error.is_none()));

    let (means, kept) = (shop.means(), shop.kept(Arc::new(Orders)));
    let wanted = [there[1].position];
    let retry = async || dead_letters::retry(&means, &kept, &shop.live("orders").await, &wanted, LASTS).await;
    let refused = retry().await.expect_err("it is refused still");
    assert!(
        matches!(&refused, LetterError::StillFails { position, .. } if *position == there[0].position),
        "{refused}"
    );
    assert_eq!(letters(&shop).await[0].attempts, 5);
    shop.sql("alter table orders_1.orders drop constraint refused").await;
    assert_eq!(retry().await.expect("it is applied").len(), events);
    assert_eq!(letters(&shop).await, []);
    shop.until_caught_up().await;

    shop.trade(200).await;
    shop.until_caught_up().await;
    assert_eq!(letters(&shop).await, []);
    projector.stop().await;
}

#[tokio::test]
async fn a_letter_that_is_dropped_lets_its_aggregate_go_on() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    let first = poison(&mut shop).await;
    shop.until_at("orders", first).await;
    let live = shop.live("orders").await;
    let mut control = shop.database.acquire().await.expect("a connection").detach();
    let dropped = dead_letters::drop_letters(&mut control, &live, &[first]).await.expect("it is there");
    assert!(dropped[0].dropped_at.is_some());
    let again = dead_letters::drop_letters(&mut control, &live, &[first]).await.expect_err("it is gone");
    assert_eq!(again.to_string(), format!("orders_1 has no dead letter {first} that waits"));
    control.close().await.expect("it ends");
    let second = poison(&mut shop).await;
    shop.until_at("orders", second).await;
    let there = letters(&shop).await;
    assert!(there[1].error.is_some(), "it was tried, not queued: {there:?}");
    projector.stop().await;
}
