//! The servers, against the real programs.

use kontor_local::{Error, Folder, Nats, Need, Postgres, PostgresProfile, Redis, Role, Servers, http_get, ports};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(SOON / 1_000).await;
    }
    panic!("not within {SOON:?}: {what}");
}

/// Runs SQL as a role, as a tier would, over TCP; what psql printed, also when it failed.
fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", url, "--command", sql])
        .output()
        .expect("psql is there");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).trim().to_owned()
}

#[tokio::test]
async fn everything_is_gone_after_the_drop() {
    let servers =
        Servers::start(&[Need::Postgres, Need::Replica, Need::Nats, Need::Redis]).await.expect("the servers start");
    let pids = pids(&servers);
    assert!(pids.into_iter().all(is_running));
    let folder = servers.folder().to_owned();
    drop(servers);
    assert!(!pids.into_iter().any(is_running));
    assert!(!folder.exists());
}

#[tokio::test]
async fn everything_is_gone_after_a_panic() {
    let (told, hear) = std::sync::mpsc::channel();
    let test = tokio::spawn(async move {
        let servers = Servers::start(&[Need::Nats, Need::Redis]).await.expect("the servers start");
        let pids = [servers.nats().pid().expect("it runs"), servers.redis().pid().expect("it runs")];
        told.send((pids, servers.folder().to_owned())).expect("the test listens");
        panic!("as a failed assertion would");
    });
    assert!(test.await.expect_err("it panicked").is_panic());
    let (pids, folder) = hear.recv().expect("told before the panic");
    assert!(!pids.into_iter().any(is_running));
    assert!(!folder.exists());
}

/// Step 1: another process starts servers. Step 2: it is killed with SIGKILL. Step 3: the servers end all the same, and what
/// they leave on disk goes with the next folder that somebody makes.
#[tokio::test]
async fn everything_is_gone_after_the_parent_was_killed() {
    let note = Folder::temporary("note").expect("a folder");
    let note_path = note.path().join("pids");
    let mut parent = Command::new(std::env::current_exe().expect("our own path"))
        .args(["--exact", "helper_that_is_killed", "--nocapture"])
        .env("KONTOR_TEST_NOTE", &note_path)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("we can start ourselves");
    wait_until("the servers started", || note_path.exists()).await;
    let text = std::fs::read_to_string(&note_path).expect("the note");
    let (folder, pids) = text.split_once('\n').expect("a folder, then process ids");
    let pids: Vec<u32> = pids.lines().map(|pid| pid.parse().expect("a process id")).collect();
    assert!(pids.len() == 4 && pids.iter().all(|&pid| is_running(pid)));

    parent.kill().expect("SIGKILL is sent");
    parent.wait().expect("it ends");
    wait_until("the servers ended", || !pids.iter().any(|&pid| is_running(pid))).await;

    let folder = PathBuf::from(folder);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("nobody uses it any more"); // Our own sweep has already happened.
    }
}

/// Plays the parent above; alone it does nothing.
#[tokio::test]
async fn helper_that_is_killed() {
    let Some(note) = std::env::var_os("KONTOR_TEST_NOTE").map(PathBuf::from) else { return };
    // From a worker thread that ends at once: the servers must not end with it.
    let start = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(Servers::start(&[Need::Replica, Need::Nats, Need::Redis])).expect("the servers start")
    };
    let servers = std::thread::spawn(start).join().expect("no panic");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let pids: Vec<String> = pids(&servers).iter().map(u32::to_string).collect();
    let text = format!("{}\n{}", servers.folder().display(), pids.join("\n"));
    let draft = note.with_extension("draft");
    std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, &note)).expect("the note");
    tokio::time::sleep(3 * SOON).await;
}

fn pids(servers: &Servers) -> [u32; 4] {
    let pids = [servers.postgres().pid(), servers.replica().pid(), servers.nats().pid(), servers.redis().pid()];
    pids.map(|pid| pid.expect("it runs"))
}

#[tokio::test]
async fn each_role_connects_and_none_is_superuser() {
    let servers = Servers::start(&[Need::Postgres]).await.expect("it starts");
    for role in Role::ALL {
        let answer = psql(&servers.postgres().url(role), "select current_user, current_setting('is_superuser')");
        assert_eq!(answer, format!("{}|off", role.name()));
    }
    assert_eq!(psql(&servers.postgres().url(Role::Migrator), "create table t (a int)"), "");
    assert!(psql(&servers.postgres().url(Role::Command), "create table u (a int)").contains("permission denied"));
    assert!(psql(&servers.postgres().url(Role::Query), "select * from t").contains("permission denied"));
    let wrong = servers.postgres().url(Role::Command).replace("kontor_command:", "kontor_command:x");
    assert!(psql(&wrong, "select 1").contains("password authentication failed"));
}

#[tokio::test]
async fn a_killed_postgres_comes_back_with_what_it_had_committed() {
    let servers = Servers::start(&[Need::Postgres]).await.expect("it starts");
    let postgres = servers.postgres();
    postgres.sql("create table t as select 1 as a").await.expect("a table");
    // A backend in the middle of something, which does not notice by itself.
    let url = postgres.superuser_url();
    let busy = std::thread::spawn(move || psql(&url, "select pg_sleep(600)"));
    wait_until("the backend sleeps", || psql(&postgres.superuser_url(), SLEEPERS) == "1").await;

    postgres.kill().await.expect("it ran");
    assert_eq!(postgres.pid(), None);
    assert!(matches!(postgres.kill().await, Err(Error::NotRunning { .. })));
    postgres.restart().await.expect("it starts again");
    assert_eq!(postgres.sql("select a from t").await.expect("the table"), "1");
    postgres.stop().await.expect("it ends");
    postgres.restart().await.expect("it starts again");
    assert_eq!(postgres.sql("select a from t").await.expect("the table"), "1");
    assert!(busy.join().expect("no panic").contains("server closed the connection"));
}

const SLEEPERS: &str =
    "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()";

#[tokio::test]
async fn the_replica_follows_through_restarts_of_either() {
    let servers = Servers::start(&[Need::Replica]).await.expect("they start");
    let (primary, replica) = (servers.postgres(), servers.replica());
    primary.sql("create table t as select 1 as a; grant select on t to kontor_query").await.expect("a table");
    replica.catch_up(primary, SOON).await.expect("it follows");
    assert_eq!(psql(&replica.url(Role::Query), "select a, pg_is_in_recovery() from t"), "1|t");

    replica.stop().await.expect("it ends");
    primary.sql("update t set a = 2").await.expect("the update");
    replica.restart().await.expect("it starts again");
    replica.catch_up(primary, SOON).await.expect("it follows");
    assert_eq!(psql(&replica.url(Role::Query), "select a from t"), "2");

    primary.kill().await.expect("it ran");
    assert_eq!(psql(&replica.url(Role::Query), "select a from t"), "2");
    primary.restart().await.expect("it starts again");
    primary.sql("update t set a = 3").await.expect("the update");
    replica.catch_up(primary, SOON).await.expect("it follows");
    assert_eq!(psql(&replica.url(Role::Query), "select a from t"), "3");
}

#[tokio::test]
async fn a_replica_that_lost_its_slot_starts_over() {
    let servers = Servers::start(&[Need::Postgres]).await.expect("it starts");
    let primary = servers.postgres();
    let folder = servers.folder().join("follower");
    let replica = Postgres::start_replica(primary, &folder, 0).await.expect("it follows");
    drop(replica);
    primary.sql("create table t as select 1 as a").await.expect("a table");

    let replica = Postgres::start_replica(primary, &folder, 0).await.expect("it goes on from where it was");
    replica.catch_up(primary, SOON).await.expect("it follows");
    assert_eq!(replica.sql("select a from t").await.expect("the table"), "1");
    drop(replica);

    primary.sql("select pg_drop_replication_slot('kontor_replica'); update t set a = 2").await.expect("it goes");
    let replica = Postgres::start_replica(primary, &folder, 0).await.expect("it takes a new base backup");
    replica.catch_up(primary, SOON).await.expect("it follows");
    assert_eq!(replica.sql("select a from t").await.expect("the table"), "2");
    assert!(replica.streams_from(primary).await.expect("an answer"));
}

#[tokio::test]
async fn a_promoted_replica_takes_writes() {
    let servers = Servers::start(&[Need::Replica]).await.expect("they start");
    assert!(servers.replica().sql("create table t (a int)").await.is_err());
    servers.postgres().kill().await.expect("it ran");
    servers.replica().promote().await.expect("it becomes a primary");
    servers.replica().sql("create table t (a int)").await.expect("a table");
}

#[tokio::test]
async fn nats_syncs_always_and_comes_back_with_its_store() {
    let servers = Servers::start(&[Need::Nats]).await.expect("it starts");
    let nats = servers.nats();
    assert_eq!(nats.url(), format!("nats://127.0.0.1:{}", nats.port()));
    let configuration = || async { http_get(nats.monitor_port(), "/varz").await.expect("it answers").1 };
    let before = configuration().await;
    assert!(before.contains("\"sync_always\": true"), "{before}");
    assert!(before.contains(&format!("\"store_dir\": \"{}", nats.store_dir().display())), "{before}");
    let pid = nats.pid();
    nats.kill().await.expect("it ran");
    assert_eq!(nats.pid(), None);
    nats.restart().await.expect("it starts again");
    assert_ne!(nats.pid(), pid);
    assert!(configuration().await.contains("\"sync_always\": true"));
    nats.stop().await.expect("it ends");
    assert!(http_get(nats.monitor_port(), "/varz").await.is_err());
}

#[tokio::test]
async fn redis_comes_back_empty() {
    let servers = Servers::start(&[Need::Redis]).await.expect("it starts");
    let redis = servers.redis();
    let ask = |arguments: &[&str]| {
        let port = redis.port().to_string();
        let output =
            Command::new("redis-cli").args(["-p", &port]).args(arguments).output().expect("redis-cli is there");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_eq!(ask(&["set", "key", "value"]), "OK");
    assert_eq!(ask(&["get", "key"]), "value");
    redis.kill().await.expect("it ran");
    redis.restart().await.expect("it starts again");
    assert_eq!(ask(&["get", "key"]), "");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_server() {
    let folder = Folder::in_memory("ports").expect("a folder");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports::free())).expect("the port is free");
    let port = taken.local_addr().expect("an address").port();
    let errors = [
        Postgres::start(&folder.path().join("postgres"), port, PostgresProfile::Test).await.expect_err("it is taken"),
        Nats::start(&folder.path().join("nats"), port, 0).await.expect_err("it is taken"),
        Nats::start(&folder.path().join("nats"), 0, port).await.expect_err("it is taken"),
        Redis::start(&folder.path().join("redis"), port).await.expect_err("it is taken"),
    ];
    let names = ["Postgres", "NATS", "NATS", "Redis"];
    for (error, name) in errors.into_iter().zip(names) {
        assert_eq!(error.to_string(), format!("port {port}, needed by {name}, is in use"));
    }
}

#[tokio::test]
async fn a_server_that_dies_at_its_start_says_why() {
    let folder = Folder::in_memory("broken").expect("a folder");
    let path = folder.path().join("postgres");
    drop(Postgres::start(&path, 0, PostgresProfile::Test).await.expect("it starts"));
    std::fs::remove_file(path.join("data/global/pg_control")).expect("it was there");
    let error = Postgres::start(&path, 0, PostgresProfile::Test).await.expect_err("it cannot start").to_string();
    assert!(error.starts_with("Postgres ended before it was ready (exit status: "), "{error}");
    assert!(error.contains("pg_control") && error.contains("postgres.log"), "{error}");
}

/// What infra/up runs on: synced to disk, a cluster of its own making, found again by the next start.
#[tokio::test]
async fn the_platform_profile_keeps_its_data() {
    let folder = Folder::temporary("platform").expect("a folder");
    let path = folder.path().join("postgres");
    let postgres = Postgres::start(&path, 0, PostgresProfile::Platform).await.expect("it starts");
    let settings = "select string_agg(setting, ' ' order by name) from pg_settings \
                    where name in ('fsync', 'full_page_writes', 'synchronous_commit')";
    assert_eq!(postgres.sql(settings).await.expect("the settings"), "on on on");
    postgres.sql("create table t as select 1 as a").await.expect("a table");
    let url = postgres.url(Role::Command);
    let first_port = postgres.port();
    drop(postgres);
    let postgres = Postgres::start(&path, 0, PostgresProfile::Platform).await.expect("it starts again");
    assert_eq!(postgres.sql("select a from t").await.expect("the table"), "1");
    let moved = url.replace(&first_port.to_string(), &postgres.port().to_string());
    assert_eq!(postgres.url(Role::Command), moved, "the passwords stay");
}
