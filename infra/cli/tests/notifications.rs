//! `kontor notifications`, as an operator calls it.

use kontor_command_services::notifications::outbox::migrate;
use kontor_event_store::MIGRATIONS;
use kontor_local::{Need, Role, Servers};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::process::{Command, Output, Stdio};

const SENT: &str = "0199b6e0-0000-7000-8000-000000000001";
const DEAD: &str = "0199b6e0-0000-7000-8000-000000000002";
const ORDER: &str = "0199b6e0-0000-7000-8000-00000000000a";

struct Shop {
    servers: Servers,
}

/// A database with one mail that was sent, about an order, and two that were given up.
async fn shop() -> Shop {
    let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
    let owner = servers.postgres().url(Role::Migrator);
    let mut connection = PgConnection::connect(&owner).await.expect("it takes connections");
    MIGRATIONS.run(&mut connection).await.expect("the log has its tables");
    migrate(owner.parse().expect("a URL")).await.expect("the outbox has its tables");
    let mails = format!(
        "insert into notifications.outbox (id, position, kind, order_id, sequence, status, attempts, last_error, settled_at) values
             ('{SENT}', 1, 'order-confirmed', '{ORDER}', 3, 'sent', 1, null, now()),
             ('{DEAD}', 2, 'shipped', gen_random_uuid(), 4, 'dead', 15, 'permanent error (550)', now()),
             (gen_random_uuid(), 3, 'shipped', gen_random_uuid(), 4, 'dead', 1, 'permanent error (550)', now())"
    );
    servers.postgres().sql(&mails).await.expect("they are there");
    Shop { servers }
}

impl Shop {
    fn notifications(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
        command.stdin(Stdio::null()).env_remove("KONTOR_DATABASE_URL").arg("notifications").args(arguments);
        command.arg("--data").arg(self.servers.folder()).output().expect("it runs")
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.notifications(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).expect("a list")
    }
}

#[tokio::test]
async fn a_person_reads_a_table_and_a_script_json() {
    let shop = shop().await;
    let output = shop.notifications(&["list", "--status", "dead"]);
    let table = String::from_utf8(output.stdout).expect("text");
    let rows: Vec<_> = table.lines().collect();
    assert!(rows[0].starts_with("ID ") && rows.len() == 3, "{table}");
    assert!(rows[2].starts_with(DEAD) && rows[2].ends_with("permanent error (550)"), "{table}");

    let of_order = shop.json(&["list", "--order", ORDER]);
    assert_eq!(of_order.len(), 1);
    assert_eq!((&of_order[0]["id"], &of_order[0]["status"]), (&SENT.into(), &"sent".into()));
    assert_eq!(shop.json(&["list", "--limit", "1", "--before", "3"])[0]["id"], DEAD);
    let none = shop.notifications(&["list", "--status", "due"]);
    assert_eq!(String::from_utf8_lossy(&none.stdout), "There are none.\n");
}

#[tokio::test]
async fn a_dead_mail_is_retried_or_dropped() {
    let shop = shop().await;
    let retried = shop.json(&["retry", DEAD]);
    assert_eq!((&retried[0]["status"], &retried[0]["attempts"]), (&"due".into(), &0.into()));
    assert_eq!(shop.json(&["drop", DEAD])[0]["status"], "dropped");
    assert_eq!(shop.json(&["retry", "--all-dead"]).len(), 1);
    assert_eq!(shop.json(&["list", "--status", "dead"]).len(), 0);
}

#[tokio::test]
async fn what_was_sent_or_is_not_known_is_named() {
    let shop = shop().await;
    for (id, complaint) in [(SENT, "is sent"), (ORDER, "there is no notification")] {
        for verb in ["retry", "drop"] {
            let output = shop.notifications(&[verb, id]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && said.contains(complaint), "{verb}: {said}");
        }
    }
}
