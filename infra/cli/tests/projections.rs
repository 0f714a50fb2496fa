//! `kontor projections`, as an operator calls it.

use kontor_event_store::MIGRATIONS;
use kontor_local::{Need, Role, Servers};
use kontor_projection_services::runtime::store::StoreOptions;
use kontor_projection_services::runtime::{Kept, switch};
use kontor_projection_services::{migrate, projections};
use serde_json::Value;
use sqlx::{Connection, PgConnection, PgPool};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const POISONED: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

struct Shop {
    servers: Servers,
}

/// A log with so many products, and read models that no projector keeps.
async fn shop(products: usize) -> Shop {
    let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
    let owner = servers.postgres().url(Role::Migrator);
    let mut connection = PgConnection::connect(&owner).await.expect("it takes connections");
    MIGRATIONS.run(&mut connection).await.expect("the log has its tables");
    migrate(owner.parse().expect("a URL")).await.expect("the read models have theirs");
    let url = servers.postgres().url(Role::Projector);
    let control = PgPool::connect(&url).await.expect("it takes connections");
    let stores = StoreOptions { postgres: url.parse().expect("a URL"), redis: None, search: None, writers_max: 1 };
    for projection in projections::all().into_iter().filter(|projection| projection.lacks(&stores).is_none()) {
        switch::ensure(&control, &Kept::new(projection, &stores)).await.expect("it is made");
    }
    let shop = Shop { servers };
    let registered = r#"{"Registered": {"name": "Mug", "description": null, "draft": false}}"#;
    shop.append(1, products, ("product", "'SKU-' || n", "Registered"), registered).await;
    shop
}

impl Shop {
    /// Appends events of as many aggregates, at positions from `first` on.
    async fn append(&self, first: usize, events: usize, (kind, id, event): (&str, &str, &str), payload: &str) {
        let last = first + events - 1;
        let statements = format!(
            "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                 position, recorded_at)
             select '{kind}', {id}, 1, '{event}', '1.0', '{payload}', json_build_object('event_id', gen_random_uuid(),
                 'correlation_id', gen_random_uuid(), 'causation_id', gen_random_uuid(), 'actor', 'test'), n, now()
             from generate_series({first}, {last}) n;
             insert into log_batches (position, recorded_at) values ({last}, now())"
        );
        self.sql(&statements).await;
    }

    async fn sql(&self, statements: &str) -> String {
        self.servers.postgres().sql(statements).await.unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
        command.stdin(Stdio::null()).env_remove("KONTOR_DATABASE_URL").arg("projections").args(arguments);
        command.arg("--data").arg(self.servers.folder());
        command
    }

    fn projections(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// What it prints, with its exit code.
    fn json(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.projections(&[arguments, &["--json"]].concat());
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (value, output.status.code())
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.projections(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

#[tokio::test]
async fn a_read_model_is_built_anew_verified_and_rolled_back() {
    let shop = shop(1_500).await;
    let (built, code) = shop.json(&["rebuild", "catalogue"]);
    assert_eq!((&built["outcome"], &built["position"], code), (&"shown".into(), &1_500.into(), Some(0)));
    assert_eq!(shop.sql("select count(*) from projections.products").await, "1500");
    // Each product, and its line in the lists.
    let said = shop.said(&["verify", "catalogue"]);
    assert_eq!(said, "catalogue: all 3,000 rows are those of the log up to position 1500\n");

    shop.sql("update catalogue_2.products set name = 'Cup' where sku = 'SKU-7'").await;
    let (verified, code) = shop.json(&["verify", "catalogue"]);
    let difference = serde_json::json!([{"table": "products", "key": "SKU-7", "kind": "differs"}]);
    assert_eq!((&verified["differences"], &verified["rows"], code), (&difference, &3_000.into(), Some(1)));

    let (rolled_back, code) = shop.json(&["rollback", "catalogue"]);
    assert_eq!((&rolled_back["generation"], &rolled_back["position"], code), (&1.into(), &1_500.into(), Some(0)));
    assert!(shop.said(&["drop", "catalogue", "2"]).contains("catalogue_2 is gone"));
    let refused = shop.projections(&["drop", "catalogue", "1"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && complaint.contains("is what queries see"), "{complaint}");
}

#[tokio::test]
async fn the_state_of_all_is_told() {
    let shop = shop(300).await;
    let all = shop.projections(&["rebuild", "--all", "--parallel", "2", "--json"]);
    let without_redis = projections::names().len() - 1; // That is, without product-cards.
    assert_eq!(String::from_utf8_lossy(&all.stdout).lines().count(), without_redis, "{all:?}");
    // In the index in the data folder.
    assert!(shop.said(&["verify", "product-search"]).contains("all 300 rows"));
    shop.json(&["rebuild", "product-search"]);
    let (rolled_back, code) = shop.json(&["rollback", "product-search"]);
    assert_eq!((&rolled_back["generation"], code), (&1.into(), Some(0)));
    let (named, _) = shop.json(&["rebuild", "catalogue", "--until", "100", "--name", "noon"]);
    assert_eq!((&named["outcome"], &named["position"]), (&"named".into(), &100.into()));
    let (named, _) = shop.json(&["rebuild", "orders", "--until", "2999-01-01T00:00:00Z", "--name", "by-time"]);
    assert_eq!(named["position"], 300, "all was recorded before that time");
    let refused = shop.projections(&["rebuild", "orders", "--until", "1999-01-01T00:00:00Z", "--name", "before"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && complaint.contains("position 0 is not in the log"), "{complaint}");
    let listed = Command::new(env!("CARGO_BIN_EXE_kontor")).args(["projections", "list"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.starts_with("catalogue")), "{listed:?}");

    let (told, code) = shop.json(&["status", "catalogue"]);
    assert_eq!(code, Some(1), "nobody keeps it");
    let told: Vec<_> =
        told.as_array().expect("a list").iter().map(|told| (&told["state"], &told["lag_events"])).collect();
    assert_eq!(told[1..], [(&"live".into(), &0.into()), (&"named".into(), &200.into())]);
    assert!(shop.said(&["pause", "catalogue"]).starts_with("catalogue is paused at position 300"));
    let table = shop.said(&["status", "catalogue"]);
    assert!(table.lines().any(|line| line.contains("live, paused")), "{table}");
    shop.said(&["resume", "catalogue"]);
    let unknown = shop.projections(&["rebuild", "prodcuts"]);
    let complaint = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        unknown.status.code() == Some(1) && complaint.contains("there is no projection \"prodcuts\""),
        "{complaint}"
    );
}

#[tokio::test]
async fn dead_letters_are_shown_and_dropped() {
    let shop = shop(10).await;
    let id = format!("'{POISONED}'");
    shop.append(11, 1, ("order", &id, "Placed"), r#"{"Placed": {"order_id": 17}}"#).await;
    shop.json(&["rebuild", "orders"]);
    let (listed, _) = shop.json(&["dead-letters", "list"]);
    assert_eq!((&listed[0]["position"], &listed[0]["aggregate_id"]), (&11.into(), &POISONED.into()));
    let shown = shop.said(&["dead-letters", "show", "orders", "11"]);
    assert!(shown.starts_with("Placed of order") && shown.contains("failed 1 times"), "{shown}");
    let refused = shop.projections(&["dead-letters", "retry", "orders", "--all"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && complaint.contains("still fails"), "{complaint}");
    let (dropped, code) = shop.json(&["dead-letters", "drop", "orders", "11"]);
    assert!(dropped[0]["dropped_at"].is_string() && code == Some(0), "{dropped}");
    assert_eq!(shop.projections(&["dead-letters", "drop", "orders", "11"]).status.code(), Some(1));
    assert!(shop.said(&["verify", "orders"]).contains("all 0 rows"), "what was dropped is no difference");
}

fn interrupted(child: Child) -> Output {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("it runs");
    assert!(killed.success());
    child.wait_with_output().expect("it ends")
}

/// Step 1: a rebuild is under way. Step 2: Ctrl-C. Step 3: it says how far it is. Step 4: the same command goes on from there.
#[tokio::test]
async fn a_rebuild_that_is_interrupted_is_gone_on_with() {
    let shop = shop(60_000).await;
    let mut command = shop.command(&["rebuild", "catalogue", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let begun = Instant::now();
    let position = "select coalesce(max(position), 0) from projections.generations where generation = 2";
    while shop.sql(position).await == "0" {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not begin");
    }
    let output = interrupted(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("it says how far it is");
    let reached = told["position"].as_i64().expect("a number");
    assert!(told["outcome"] == "interrupted" && reached > 0 && reached < 60_000, "{told}");
    let (built, _) = shop.json(&["rebuild", "catalogue"]);
    assert_eq!((&built["outcome"], &built["generation"]), (&"shown".into(), &2.into()));
    assert_eq!(built["events"], 60_000 - reached, "it did not begin anew");
    assert!(shop.said(&["verify", "catalogue"]).contains("all 120,000 rows"));
}
