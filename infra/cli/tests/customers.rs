//! `kontor customers`, as an operator calls it.

use kontor_domain::SubjectId;
use kontor_domain::personal::Personal;
use kontor_local::{Need, Role, Servers};
use kontor_privacy::{Keyring, MasterKey, PrivacySettings, migrate};
use serde_json::Value;
use sqlx::PgPool;
use std::process::{Command, Output, Stdio};

struct Shop {
    servers: Servers,
}

/// A database with the keys, and the data folder of a platform as `kontor` looks for it.
async fn shop() -> Shop {
    let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
    let owner = servers.postgres().url(Role::Migrator).parse().expect("a URL");
    migrate(owner).await.expect("the migrations run");
    Shop { servers }
}

impl Shop {
    async fn keyring(&self) -> Keyring {
        let pool = PgPool::connect(&self.servers.postgres().url(Role::Command)).await.expect("it takes connections");
        let master = MasterKey::read(self.servers.master_key_file()).expect("the master key");
        Keyring::new(pool, master, &PrivacySettings::default())
    }

    async fn seal(&self, subject: &str) -> Personal {
        let subject: SubjectId = subject.parse().expect("a subject's id");
        self.keyring().await.seal(&subject, "Ada Lovelace").await.expect("it is sealed")
    }

    fn erase(&self, arguments: &[&str]) -> Output {
        let mut command = kontor();
        command.args(["customers", "erase"]).args(arguments).arg("--data").arg(self.servers.folder());
        command.output().expect("it runs")
    }
}

fn kontor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
    command.stdin(Stdio::null()).env_remove("KONTOR_DATABASE_URL");
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complained(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_customer_is_erased_for_ever() {
    let shop = shop().await;
    let (sealed, others) = (shop.seal("17850").await, shop.seal("17851").await);
    let output = shop.erase(&["17850", "--yes"]);
    assert!(output.status.success() && told(&output).starts_with("Destroyed the key of 17850, made 2"), "{output:?}");
    let keyring = shop.keyring().await;
    assert_eq!(keyring.open(&sealed).await.expect("an answer"), None);
    assert_eq!(keyring.open(&others).await.expect("an answer").as_deref(), Some("Ada Lovelace"));

    let output = shop.erase(&["17850", "--yes"]);
    assert!(output.status.success() && told(&output).contains("was destroyed before"), "{output:?}");
}

#[tokio::test]
async fn a_script_reads_json() {
    let shop = shop().await;
    shop.seal("17850").await;
    let [first, again] = [(); 2].map(|()| {
        let output = shop.erase(&["17850", "--yes", "--json"]);
        serde_json::from_str::<Value>(&told(&output)).expect("JSON")
    });
    assert_eq!((&first["subject"], &first["outcome"]), (&"17850".into(), &"destroyed".into()));
    assert_eq!((&again["outcome"], &again["erased_at"]), (&"already-erased".into(), &first["erased_at"]));
    assert_eq!(first["created_at"].as_str().map(str::len), Some("2026-11-24T03:00:00.000000Z".len()), "{first}");
}

#[tokio::test]
async fn who_is_not_there_cannot_be_erased() {
    let shop = shop().await;
    let output = shop.erase(&["4711", "--yes"]);
    assert_eq!(complained(&output), "kontor: there is no 4711 with personal data: nothing was erased\n");
}

#[tokio::test]
async fn without_a_terminal_nothing_is_erased_unasked() {
    let shop = shop().await;
    let sealed = shop.seal("17850").await;
    let expected = "kontor: there is no terminal to ask on: say --yes to erase 17850 without being asked\n";
    assert_eq!(complained(&shop.erase(&["17850"])), expected);
    assert!(shop.keyring().await.open(&sealed).await.expect("an answer").is_some());
}

#[tokio::test]
async fn a_database_elsewhere_is_named_by_its_url() {
    let shop = shop().await;
    let sealed = shop.seal("17850").await;
    let url = shop.servers.postgres().url(Role::Command);
    let output = kontor().args(["customers", "erase", "17850", "--yes"]).env("KONTOR_DATABASE_URL", url).output();
    let output = output.expect("it runs");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(shop.keyring().await.open(&sealed).await.expect("an answer"), None);
}

#[test]
fn without_a_platform_it_says_what_to_do() {
    let output =
        kontor().args(["customers", "erase", "17850", "--yes", "--data", "nowhere"]).output().expect("it runs");
    let complaint = complained(&output);
    assert!(complaint.starts_with("kontor: there is no platform that runs: start it with infra/up"), "{complaint}");
    let secret = ["customers", "erase", "17850", "--yes", "--database-url", "postgres://:hunter2@[/kontor"];
    let complaint = complained(&kontor().args(secret).output().expect("it runs"));
    assert_eq!(complaint, "kontor: --database-url is no Postgres URL\n");
}
