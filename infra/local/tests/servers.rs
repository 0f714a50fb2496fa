//! The servers against the real programs.

use kontor_local::{Need, Servers};
use std::path::Path;
use std::time::Instant;

fn is_running(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[tokio::test]
async fn everything_starts_at_once_and_is_gone_after_the_drop() {
    let started = Instant::now();
    let servers =
        Servers::start(&[Need::Postgres, Need::Replica, Need::Nats, Need::Redis]).await.expect("the servers start");
    eprintln!("Started after {:?}", started.elapsed());
    let pids = [
        servers.postgres().pid().expect("it runs"),
        servers.replica().pid().expect("it runs"),
        servers.nats().pid().expect("it runs"),
        servers.redis().pid().expect("it runs"),
    ];
    assert!(pids.into_iter().all(is_running));
    let folder = servers.folder().to_owned();
    let stopping = Instant::now();
    drop(servers);
    eprintln!("Stopped after {:?}", stopping.elapsed());
    assert!(!pids.into_iter().any(is_running));
    assert!(!folder.exists());
}

#[tokio::test]
async fn postgres_and_nats_are_there_in_about_a_second() {
    let started = Instant::now();
    let _servers = Servers::start(&[Need::Postgres, Need::Nats]).await.expect("the servers start");
    eprintln!("Started after {:?}", started.elapsed());
}
