//! Who may do what in the database: nobody edits the log, and append_batch is the only way in.

use crate::support::{Fixture, append, on, refused};
use kontor_event_store::Key;
use kontor_local::Role;

/// SQLSTATE insufficient_privilege, which the trigger behind the grants uses, too.
const DENIED: &str = "42501";
const SERVICES: [Role; 5] = [Role::Command, Role::Relay, Role::Projector, Role::Query, Role::Auditor];
const LOG_TABLES: [&str; 5] = ["events", "events_0", "events_1", "events_2", "events_3"];
const FUNCTIONS: [&str; 3] = ["append_batch", "open_log", "prune_idempotency_keys"];

/// A log with events in each partition: a row trigger says nothing about a table without rows.
async fn filled() -> Fixture {
    let fixture = Fixture::start().await;
    let log = fixture.open().await;
    for number in 0..40 {
        log.append(append(Key::unique(), [on(&log, &format!("S{number}"), 0, ["word"])])).await.expect("it is new");
    }
    for table in LOG_TABLES {
        let rows = fixture.servers.postgres().sql(&format!("select count(*) > 0 from {table}")).await;
        assert_eq!(rows.expect("a count"), "t", "{table} has rows");
    }
    fixture
}

#[tokio::test]
async fn no_service_writes_to_the_log_but_by_appending() {
    let fixture = filled().await;
    for role in SERVICES {
        let mut connection = fixture.connect(role).await;
        for table in LOG_TABLES {
            let row = "('notes', 'A', 1, 'Noted', '1.0', '{}', '{}', 99, now())";
            for statement in [
                format!("insert into {table} values {row}"),
                format!("update {table} set payload = '{{}}'"),
                format!("delete from {table}"),
                format!("truncate {table}"),
                format!("alter table {table} disable trigger all"),
                format!("drop table {table}"),
            ] {
                assert_eq!(refused(&mut connection, &statement).await, DENIED, "{} {statement}", role.name());
            }
        }
        for statement in [
            "update log_head set epoch = 7",
            "delete from log_head",
            "select from log_head for update", // Who holds the gate stops the shop.
            "insert into idempotency_keys values (gen_random_uuid(), 1, 1, 1, 1, 1)",
            "update idempotency_keys set version = 1",
            "delete from idempotency_keys",
            "truncate idempotency_keys",
            "set session_replication_role = replica",
            "create table of_ones_own (a int)",
            "create or replace function open_log() returns bigint language sql as 'select 1'",
        ] {
            assert_eq!(refused(&mut connection, statement).await, DENIED, "{} {statement}", role.name());
        }
    }
    assert_eq!(fixture.events().await.len(), 40);
}

#[tokio::test]
async fn not_even_the_owner_of_the_log_edits_it() {
    let fixture = filled().await;
    let mut owner = fixture.connect(Role::Migrator).await;
    for table in LOG_TABLES {
        for statement in [
            format!("update {table} set payload = '{{}}'"),
            format!("delete from {table}"),
            format!("delete from {table} where position = (select max(position) from {table})"),
            format!("truncate {table}"),
        ] {
            assert_eq!(refused(&mut owner, &statement).await, DENIED, "{statement}");
        }
    }
    assert_eq!(refused(&mut owner, "truncate events, idempotency_keys").await, DENIED);
    assert_eq!(fixture.events().await.len(), 40);
}

#[tokio::test]
async fn only_the_command_services_append() {
    let fixture = Fixture::start().await;
    for role in SERVICES {
        let mut connection = fixture.connect(role).await;
        for function in FUNCTIONS {
            let may = "select has_function_privilege(current_user, oid, 'execute') from pg_proc where proname = $1";
            let may: Vec<bool> =
                sqlx::query_scalar(may).bind(function).fetch_all(&mut connection).await.expect("an answer");
            assert_eq!(may, [role == Role::Command], "{} {function}", role.name());
        }
        if role != Role::Command {
            assert_eq!(refused(&mut connection, "select open_log()").await, DENIED);
            assert_eq!(refused(&mut connection, "select prune_idempotency_keys(now(), 1)").await, DENIED);
        }
    }
}

#[tokio::test]
async fn each_service_reads_what_it_needs() {
    let fixture = filled().await;
    for role in SERVICES {
        let mut connection = fixture.connect(role).await;
        let read = "select (select count(*) from events) + (select epoch from log_head)";
        let read: i64 = sqlx::query_scalar(read).fetch_one(&mut connection).await.expect("it may read the log");
        assert_eq!(read, 41);
        // Keys are the clients' affair; snapshots may lack what an event has.
        let may_read = async |connection: &mut _, table: &str| {
            let may = "select has_table_privilege(current_user, $1, 'select')";
            sqlx::query_scalar::<_, bool>(may).bind(table).fetch_one(connection).await.expect("an answer")
        };
        let keys = may_read(&mut connection, "idempotency_keys").await;
        assert_eq!(keys, matches!(role, Role::Command | Role::Auditor), "{}", role.name());
        assert_eq!(may_read(&mut connection, "snapshots").await, role == Role::Command, "{}", role.name());
    }
}

/// Snapshots are a cache, which the command services may empty.
#[tokio::test]
async fn snapshots_belong_to_the_command_services() {
    let fixture = Fixture::start().await;
    let row = "insert into snapshots values ('notes', 'A', 1, 1, '{}')";
    for role in SERVICES {
        let mut connection = fixture.connect(role).await;
        for statement in [row, "update snapshots set sequence = 2", "delete from snapshots"] {
            if role == Role::Command {
                sqlx::raw_sql(statement).execute(&mut connection).await.expect("it may");
            } else {
                assert_eq!(refused(&mut connection, statement).await, DENIED, "{} {statement}", role.name());
            }
        }
    }
}

/// append_batch runs with its owner's rights, so it must not be led to tables of its caller's choice.
#[tokio::test]
async fn appending_is_not_led_astray_by_tables_of_the_same_name() {
    let fixture = Fixture::start().await;
    let decoys = "create schema decoy; \
                  create table decoy.events (like events including all); \
                  create table decoy.idempotency_keys (like idempotency_keys including all); \
                  create table decoy.log_head (like log_head including all); \
                  insert into decoy.log_head values (true, 1, 'x'); \
                  grant usage on schema decoy to kontor_command; \
                  grant all on all tables in schema decoy to kontor_command; \
                  alter role kontor_command set search_path = decoy, public";
    fixture.servers.postgres().sql(decoys).await.expect("they are made");
    let log = fixture.open().await;
    log.append(append(Key::unique(), [on(&log, "A", 0, ["a1"])])).await.expect("A is new");
    assert_eq!(fixture.words().await, ["a1"]);
    let strayed = "select count(*) from decoy.events, decoy.idempotency_keys";
    assert_eq!(fixture.servers.postgres().sql(strayed).await.expect("a count"), "0");
}
