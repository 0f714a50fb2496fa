//! When the replica cannot answer, clients are told, soon, and without detail.

use crate::api::{Api, checkpoint, eventually};
use kontor_local::{Folder, Identity};
use kontor_privacy::MasterKey;
use std::process::Command;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_replica_that_is_away_is_told_from_what_is_not_there() {
    let api = Api::start_with(|settings| settings.replica.statement_timeout_ms = 1_000).await;
    api.write(&checkpoint("catalogue", 8)).await;
    eventually("it is ready", async || api.health.is_ready()).await;
    assert_eq!(api.get("/v1/products/NOTHING").await.status, 404);

    api.servers.replica().kill().await.expect("it runs");
    let begun = Instant::now();
    for path in ["/v1/products/NOTHING", "/v1/products", "/v1/positions", "/v1/reports/sales?by=country"] {
        let answer = api.get(path).await;
        assert_eq!((answer.status, answer.problem()), (503, "read-model-unavailable"), "{path}: {answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(!answer.body.to_string().contains("postgres"), "no detail: {answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    eventually("it is not ready", async || !api.health.is_ready()).await;

    api.servers.replica().restart().await.expect("it starts");
    eventually("it answers again", async || api.get("/v1/products/NOTHING").await.status == 404).await;
    eventually("it is ready again", async || api.health.is_ready()).await;
}

/// A migration that locks a table on the primary locks it on the replica, too.
#[tokio::test]
async fn a_query_that_takes_too_long_is_given_up() {
    let api = Api::start_with(|settings| settings.replica.statement_timeout_ms = 300).await;
    api.write(&checkpoint("catalogue", 8)).await;
    let (lock, ()) = tokio::join!(
        // The switch of the log file makes sure that the replica hears of the lock.
        api.servers.postgres().sql(
            "begin; lock table projections.products in access exclusive mode; select pg_switch_wal();
             select pg_sleep(3); rollback;"
        ),
        async {
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            let begun = Instant::now();
            let answer = api.get("/v1/products").await;
            assert_eq!((answer.status, answer.problem()), (503, "read-model-unavailable"), "{answer:?}");
            assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
        }
    );
    lock.expect("it was locked");
    eventually("it answers again", async || api.get("/v1/products").await.status == 200).await;
}

fn kontor_query(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kontor-query"))
        .envs(variables.iter().copied())
        .output()
        .expect("the program can be run");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_setting_that_cannot_be_used_is_one_line_and_exit_2() {
    let folder = Folder::temporary("key").expect("a folder");
    let identity = Identity::in_folder(folder.path()).expect("a key");
    let key = identity.settings().public_key_file.display().to_string();
    MasterKey::find_or_make(folder.path()).expect("a master key");
    let master_key = MasterKey::file(folder.path()).display().to_string();
    for (variables, told) in [
        (vec![], "kontor-query: replica.url (KONTOR_REPLICA__URL) must be set"),
        (
            vec![("KONTOR_REPLICA__URL", "mysql://kontor_query@127.0.0.1/kontor")],
            "kontor-query: replica.url (KONTOR_REPLICA__URL) is \"mysql://kontor_query@127.0.0.1/kontor\": must begin with \
             postgres://",
        ),
        (
            vec![("KONTOR_QUERY__WAIT_MAX_MS", "70000")],
            "kontor-query: query.wait_max_ms (KONTOR_QUERY__WAIT_MAX_MS) is 70000: must be from 0 to 60000",
        ),
        (
            vec![("KONTOR_REPLICA__URL", "postgres://kontor_query@127.0.0.1:1/kontor")],
            "kontor-query: identity.public_key_file (KONTOR_IDENTITY__PUBLIC_KEY_FILE): token-public-key.pem: ",
        ),
        (
            vec![
                ("KONTOR_REPLICA__URL", "postgres://kontor_query@127.0.0.1:1/kontor"),
                ("KONTOR_IDENTITY__PUBLIC_KEY_FILE", &key),
            ],
            "kontor-query: privacy.master_key_file (KONTOR_PRIVACY__MASTER_KEY_FILE): master-key: ",
        ),
        (
            vec![
                ("KONTOR_REPLICA__URL", "postgres://kontor_query@127.0.0.1:1/kontor"),
                ("KONTOR_IDENTITY__PUBLIC_KEY_FILE", &key),
                ("KONTOR_PRIVACY__MASTER_KEY_FILE", &master_key),
                ("KONTOR_HTTP__BIND", "here"),
            ],
            "kontor-query: http.bind (KONTOR_HTTP__BIND) is here: ",
        ),
    ] {
        let (code, error) = kontor_query(&variables);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.starts_with(told) && error.lines().count() == 1, "{error}");
    }
}
