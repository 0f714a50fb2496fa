//! `kontor payments`, as an operator calls it.

use kontor_command_services::payments::simulator;
use kontor_event_store::MIGRATIONS;
use kontor_local::{Need, Role, Servers};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::process::{Command, Output, Stdio};

/// A database with the log and the ledger, in the data folder of a platform as `kontor` looks for it.
async fn shop() -> Servers {
    let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
    let url = servers.postgres().url(Role::Migrator);
    let mut owner = PgConnection::connect(&url).await.expect("it takes connections");
    MIGRATIONS.run(&mut owner).await.expect("the log has its tables");
    simulator::migrate(url.parse().expect("a URL")).await.expect("the ledger has its tables");
    servers
}

/// Has the simulator authorise 3.45 for a payment that nobody has asked for.
async fn charge(servers: &Servers) {
    let url = servers.postgres().url(Role::Command);
    let mut shop = PgConnection::connect(&url).await.expect("it takes connections");
    let charge = "select simulator.perform(array['00000000-0000-0000-0000-000000000001']::uuid[],
        array['00000000-0000-0000-0000-000000000002']::uuid[], array['00000000-0000-0000-0000-000000000003']::uuid[],
        '{authorise}', '{tok_success}', '{345}', '{GBP}', '{done}', '{null}', '{}', '{}', '{}', '{}', '{}', '{}')";
    sqlx::raw_sql(charge).execute(&mut shop).await.expect("it is done");
}

fn reconcile(servers: &Servers, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
    command.stdin(Stdio::null()).env_remove("KONTOR_DATABASE_URL");
    command.args(["payments", "reconcile"]).args(arguments).arg("--data").arg(servers.folder());
    command.output().expect("it runs")
}

#[tokio::test]
async fn it_says_whether_payments_and_ledger_agree() {
    let servers = shop().await;
    let agree = reconcile(&servers, &[]);
    assert!(agree.status.success(), "{agree:?}");
    assert_eq!(String::from_utf8_lossy(&agree.stdout), "0 attempts compared: payments and ledger agree\n");

    charge(&servers).await;
    let differ = reconcile(&servers, &[]);
    assert_eq!(differ.status.code(), Some(1), "{differ:?}");
    let table = String::from_utf8_lossy(&differ.stdout).into_owned();
    assert!(table.starts_with("1 attempts compared, 1 differ\n\nattempt "), "{table}");
    let row = table.lines().last().expect("a row");
    let cells: Vec<_> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    let [attempt, payment] = ["00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"];
    assert_eq!(cells, [attempt, payment, "authorise", "not-ours", "nothing", "done, 3.45 GBP"]);

    let json = reconcile(&servers, &["--json"]);
    assert_eq!(json.status.code(), Some(1), "{json:?}");
    let found: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!((&found["attempts"], &found["differences"][0]["kind"]), (&1.into(), &"not-ours".into()));
}

#[test]
fn without_a_platform_it_says_what_to_do() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
    command.env_remove("KONTOR_DATABASE_URL").args(["payments", "reconcile", "--data", "nowhere"]);
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(complaint.starts_with("kontor: there is no platform that runs: start it with infra/up"), "{complaint}");
}
