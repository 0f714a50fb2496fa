//! Read-your-writes: a query waits for the position that its client asks for, and not for ever.

use crate::api::{Api, checkpoint, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

const MUG: &str = "insert into projections.products (sku, name, product_position) values ('85048', 'MUG', 10);";

/// Step 1: a client asks for an answer that reflects position 10. Step 2: the read model comes to 9, which is not enough.
/// Step 3: it comes to 10, with the row. Step 4: the client is answered, with that row.
#[tokio::test]
async fn a_query_waits_for_the_position_that_is_asked_for() {
    let api = Api::start_with(|settings| settings.query.wait_max_ms = 30_000).await;
    api.write(&checkpoint("catalogue", 8)).await;
    let asked = [("Kontor-Min-Position", "10")];
    let (answer, ()) = tokio::join!(api.get_with("/v1/products/85048", &asked), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        api.write_now(&checkpoint("catalogue", 9)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        api.write_now(&format!("begin; {} {MUG} commit;", checkpoint("catalogue", 10))).await;
    });
    assert_eq!((answer.status, answer.position()), (200, 10), "{answer:?}");
    assert_eq!(answer.body["name"], "MUG");
    assert_eq!(api.metric("kontor_query_wait_seconds_count"), 1.0);

    let begun = Instant::now();
    assert_eq!(api.get_with("/v1/products/85048", &asked).await.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(api.metric("kontor_query_wait_seconds_count"), 1.0, "it did not have to wait");
}

#[tokio::test]
async fn a_position_that_is_not_reached_in_time_is_a_problem() {
    let api = Api::start_with(|settings| settings.query.wait_max_ms = 150).await;
    api.write(&(checkpoint("catalogue", 8) + &checkpoint("orders", 9) + MUG)).await;
    for (path, projection, reached) in [
        ("/v1/products/85048", "catalogue", 8),
        ("/v1/products", "catalogue", 8),
        ("/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057", "orders", 9),
        ("/v1/orders?customer_id=1", "orders", 9),
        ("/v1/reports/sales?by=country", "orders", 9),
        ("/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057/timeline", "log", 0),
        ("/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057/events", "log", 0),
        ("/v1/orders/01890a5d-ac96-774b-bcce-b302099a8057?version=1", "log", 0),
        ("/v1/products/85048?at=2026-01-01T00:00:00Z", "log", 0),
        ("/v1/stock/85048/history", "log", 0),
        ("/v1/stock/85048/events", "log", 0),
    ] {
        let begun = Instant::now();
        let answer = api.get_with(path, &[("Kontor-Min-Position", "10")]).await;
        assert!(begun.elapsed() >= Duration::from_millis(150), "{path} has not waited");
        assert_eq!((answer.status, answer.problem()), (503, "position-not-reached"), "{path}: {answer:?}");
        assert_eq!((answer.header("retry-after"), answer.position()), (Some("1"), reached));
        assert_eq!(answer.body["asked"], 10);
        assert_eq!(answer.body["reached"], reached);
        assert_eq!(answer.body["projection"], projection);
    }
    assert_eq!(api.metric("kontor_query_positions_not_reached_total"), 11.0);
}

#[tokio::test]
async fn nobody_asks_the_replica_while_nobody_waits() {
    let api = Api::start_with(|settings| settings.query.wait_max_ms = 30_000).await;
    api.write(&checkpoint("catalogue", 8)).await;
    let looks = "select calls from (select sum(xact_commit + xact_rollback) as calls from pg_stat_database) s";
    let count =
        async || -> i64 { api.servers.replica().sql(looks).await.expect("it answers").parse().expect("a number") };
    let waiting = async {
        // The client goes away while it waits.
        let gone = api.get_with("/v1/products", &[("Kontor-Min-Position", "9")]);
        let _ = tokio::time::timeout(Duration::from_millis(300), gone).await;
    };
    waiting.await;
    eventually("the replica is left alone", async || {
        let before = count().await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        // Our own questions, the readiness check each second, and autovacuum; a watcher would ask hundreds of times.
        count().await - before < 50
    })
    .await;
}

#[tokio::test]
async fn positions_are_those_of_the_replica() {
    let api = Api::start().await;
    let all = [
        ("catalogue", 8),
        ("orders", 9),
        ("product-cards", 10),
        ("product-search", 13),
        ("stock", 11),
        ("customers", 12),
        ("analytics", 14),
        ("recommendations", 15),
    ];
    api.write(&all.map(|(projection, position)| checkpoint(projection, position)).concat()).await;
    let answer = api.ok("/v1/positions").await;
    let told: serde_json::Map<_, _> =
        all.into_iter().map(|(name, position)| (name.to_owned(), json!(position))).collect();
    assert_eq!(answer.body, json!(told));
    assert_eq!(answer.position(), 8, "the one that is furthest behind");
}
