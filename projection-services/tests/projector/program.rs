//! The program, as an operator meets it.

use std::process::Command;

const UNKNOWN: &str = "kontor-projector: there is no projection \"oders\", only catalogue, orders, product-cards, \
                       product-search, stock, customers, analytics, recommendations";

fn kontor_projector(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kontor-projector"))
        .args(arguments)
        .envs(variables.iter().copied())
        .output()
        .expect("the program can be run");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_setting_that_cannot_be_used_is_one_line_and_exit_2() {
    let url = ("KONTOR_PROJECTIONS__URL", "postgres://kontor_projector@127.0.0.1:1/kontor");
    for (arguments, variables, told) in [
        (&["serve"][..], vec![], "kontor-projector: projections.url (KONTOR_PROJECTIONS__URL) must be set"),
        (&["migrate"], vec![], "kontor-projector: log.migrator_url (KONTOR_LOG__MIGRATOR_URL) must be set"),
        (&["serve", "oders"], vec![url], UNKNOWN),
        (&["orders", "oders"], vec![url], UNKNOWN),
        (
            &[],
            vec![("KONTOR_PROJECTIONS__URL", "mysql://kontor_projector@127.0.0.1/kontor")],
            "kontor-projector: projections.url (KONTOR_PROJECTIONS__URL) is \"mysql://kontor_projector@127.0.0.1/kontor\": \
             must begin with postgres://",
        ),
        (
            &["serve", "product-cards"],
            vec![url],
            "kontor-projector: redis.url (KONTOR_REDIS__URL) must be set: that is where product-cards is kept",
        ),
        (
            &[],
            vec![url, ("KONTOR_REDIS__URL", "http://127.0.0.1")],
            "kontor-projector: redis.url (KONTOR_REDIS__URL) is \"http://127.0.0.1/\": must be such as \
             redis://user:password@host:6379/0",
        ),
        (
            &[],
            vec![url, ("KONTOR_PROJECTIONS__SILENCE_MS", "1")],
            "kontor-projector: projections.silence_ms (KONTOR_PROJECTIONS__SILENCE_MS) is 1: must be from 10 to 60000",
        ),
        (
            &[],
            vec![
                url,
                ("KONTOR_REDIS__URL", "redis://127.0.0.1:1"),
                ("KONTOR_SEARCH_URL", "http://127.0.0.1:1"),
                ("KONTOR_SEARCH__API_KEY", "key"),
                ("KONTOR_TELEMETRY__LOG_LEVEL", "error"), // The client of NATS may have something to say first.
                ("KONTOR_OPS__BIND", "192.0.2.1:80"),
            ],
            "kontor-projector: ops.bind (KONTOR_OPS__BIND) is 192.0.2.1:80: ",
        ),
    ] {
        // The command tier's settings may stand beside ours.
        let variables: Vec<_> =
            variables.into_iter().chain([("KONTOR_LOG__URL", "postgres://elsewhere/kontor")]).collect();
        let (code, error) = kontor_projector(arguments, &variables);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.starts_with(told) && error.lines().count() == 1, "{told}\n{error}");
    }
}

#[test]
fn a_database_that_is_not_there_is_an_error_of_migrate() {
    let url = ("KONTOR_LOG__MIGRATOR_URL", "postgres://kontor_migrator@127.0.0.1:1/kontor");
    let (code, error) = kontor_projector(&["migrate"], &[url]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.starts_with("kontor-projector: the read models cannot be migrated: "), "{error}");
}
