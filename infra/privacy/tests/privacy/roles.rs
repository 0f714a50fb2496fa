//! Who may do what with the keys.

use crate::support::{Fixture, open, subject};
use kontor_local::Role;
use kontor_privacy::{PrivacyError, PrivacySettings};
use sqlx::PgConnection;

/// SQLSTATE insufficient_privilege, which the triggers behind the grants use, too.
const DENIED: &str = "42501";
const SERVICES: [Role; 5] = [Role::Command, Role::Relay, Role::Projector, Role::Query, Role::Auditor];

/// The SQLSTATE that `statement` was refused with; panics when it was not.
async fn refused(connection: &mut PgConnection, statement: &str) -> String {
    match sqlx::raw_sql(statement).execute(connection).await {
        Ok(_) => panic!("not refused: {statement}"),
        Err(error) => match error.as_database_error().and_then(|error| error.code()) {
            Some(code) => code.into_owned(),
            None => panic!("{statement}: {error}"),
        },
    }
}

#[tokio::test]
async fn no_service_changes_a_key_or_undoes_an_erasure() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    keyring.seal(&subject("ada"), "Ada").await.expect("it is sealed");
    keyring.seal(&subject("bob"), "Bob").await.expect("it is sealed");
    keyring.erase(&subject("bob")).await.expect("it is erased");
    for role in SERVICES {
        let mut connection = fixture.connect(role).await;
        for statement in [
            "update privacy.subject_keys set wrapped = wrapped",
            "update privacy.subject_keys set erased_at = null where subject = 'bob'",
            "update privacy.subject_keys set belongs_to = 'bob' where subject = 'ada'",
            "delete from privacy.subject_keys",
            "truncate privacy.subject_keys",
            "select from privacy.subject_keys for update",
            "insert into privacy.subject_keys (subject, erased_at) values ('carl', now())",
            "alter table privacy.subject_keys disable trigger all",
            "drop table privacy.subject_keys",
            "create table privacy.of_ones_own (a int)",
        ] {
            assert_eq!(refused(&mut connection, statement).await, DENIED, "{} {statement}", role.name());
        }
    }
    let rows = fixture.sql("select subject, wrapped is null from privacy.subject_keys order by subject").await;
    assert_eq!(rows, "ada|f\nbob|t");
}

#[tokio::test]
async fn not_even_the_owner_undoes_an_erasure() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    keyring.seal(&subject("ada"), "Ada").await.expect("it is sealed");
    keyring.seal(&subject("bob"), "Bob").await.expect("it is sealed");
    keyring.erase(&subject("bob")).await.expect("it is erased");
    let mut owner = fixture.connect(Role::Migrator).await;
    for statement in [
        "update privacy.subject_keys as k set wrapped = a.wrapped, master_key = a.master_key, erased_at = null \
         from privacy.subject_keys a where k.subject = 'bob' and a.subject = 'ada'",
        "delete from privacy.subject_keys where subject = 'bob'",
        "truncate privacy.subject_keys",
    ] {
        assert_eq!(refused(&mut owner, statement).await, DENIED, "{statement}");
    }
}

#[tokio::test]
async fn each_service_may_do_what_it_needs() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    let sealed = keyring.seal(&subject("ada"), "Ada").await.expect("it is sealed");
    let add = "insert into privacy.subject_keys (subject, wrapped, master_key) values ('carl', ''::bytea, 1)";
    for role in SERVICES {
        let (adds, opens) = (role == Role::Command, matches!(role, Role::Command | Role::Query));
        let mut connection = fixture.connect(role).await;
        // It is too short for a key: who may add one is told so.
        let expected = if adds { "23514" } else { DENIED };
        assert_eq!(refused(&mut connection, add).await, expected, "{}", role.name());
        for function in ["privacy.erase_subject('ada')", "privacy.give_guest('ada', 'bob')"] {
            if !adds {
                let refused = refused(&mut connection, &format!("select {function}")).await;
                assert_eq!(refused, DENIED, "{} {function}", role.name());
            }
        }
        let opened = fixture.keyring_as(role, PrivacySettings::default()).await.open(&sealed).await;
        match opened {
            Ok(text) => assert!(opens && text == open("Ada"), "{} opens", role.name()),
            Err(PrivacyError::Database(_)) => assert!(!opens, "{} cannot open", role.name()),
            Err(error) => panic!("{}: {error}", role.name()),
        }
    }
    // The auditor sees that somebody was erased and when, but no key.
    let mut auditor = fixture.connect(Role::Auditor).await;
    let read = "select subject, created_at, erased_at from privacy.subject_keys";
    sqlx::raw_sql(read).execute(&mut auditor).await.expect("it may");
    assert_eq!(refused(&mut auditor, "select wrapped from privacy.subject_keys").await, DENIED);
}

/// erase_subject runs with its owner's rights, so it must not be led to tables of its caller's choice.
#[tokio::test]
async fn erasing_is_not_led_astray_by_tables_of_the_same_name() {
    let fixture = Fixture::start().await;
    let keyring = fixture.keyring().await;
    let sealed = keyring.seal(&subject("ada"), "Ada").await.expect("it is sealed");
    fixture
        .sql(
            "create schema decoy; create table decoy.subject_keys (like privacy.subject_keys); \
             grant usage on schema decoy to kontor_command; grant all on all tables in schema decoy to kontor_command; \
             alter role kontor_command set search_path = decoy, public",
        )
        .await;
    fixture.keyring().await.erase(&subject("ada")).await.expect("it is erased");
    assert_eq!(fixture.keyring().await.open(&sealed).await.expect("an answer"), None);
}
