//! Tiers, played by this test's own binary: it answers `/readyz` as its environment says.

use kontor_local::{Error, Folder, Tier, TierPlan, ports};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// What it is not ready for yet, a check a line.
const REPORT: &str = "postgres: ok for 3 s\nlog: not ok for 2 s: behind\nnot ready\n";

/// Plays the tier; alone it does nothing. Says 503 to the first two questions, then 200; ends, or is never ready, when its mode
/// says so.
#[test]
fn stand_in() {
    let Ok(port) = std::env::var("KONTOR_STAND_IN_PORT") else { return };
    let mode = std::env::var("KONTOR_STAND_IN_MODE").expect("a mode");
    if mode == "fails" {
        eprintln!("nats.url: must begin with nats://");
        std::process::exit(2);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse().expect("a port"))).expect("the port is free");
    eprintln!("the log cannot be read");
    for (number, stream) in listener.incoming().enumerate() {
        let mut stream = stream.expect("a connection");
        let _ = stream.read(&mut [0; 1024]);
        let status = if number < 2 || mode == "waits" { "503 Service Unavailable" } else { "200 OK" };
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{REPORT}", REPORT.len());
    }
}

fn plan(folder: &Path, mode: &str) -> TierPlan {
    let ops_port = ports::free();
    TierPlan {
        name: "the stand-in".to_owned(),
        program: std::env::current_exe().expect("our own path"),
        arguments: ["--exact", "stand_in", "--nocapture"].map(str::to_owned).to_vec(),
        environment: vec![
            ("KONTOR_STAND_IN_PORT".to_owned(), ops_port.to_string()),
            ("KONTOR_STAND_IN_MODE".to_owned(), mode.to_owned()),
        ],
        ops_port,
        log: folder.join("stand-in.log"),
        ready_within: Duration::from_secs(20),
    }
}

#[tokio::test]
async fn a_tier_is_there_once_it_says_that_it_is_ready() {
    let folder = Folder::temporary("tier").expect("a folder");
    let mut heard = Vec::new();
    let tier =
        Tier::start(&plan(folder.path(), "works"), |_, why| heard.push(why.to_owned())).await.expect("it starts");
    assert!(heard.contains(&"/readyz answers 503: log: not ok for 2 s: behind".to_owned()), "{heard:?}");
    assert!(Path::new("/proc").join(tier.pid().to_string()).exists());
    let ended = tier.ended();
    let status = tier.stop().await;
    assert_eq!(status.to_string(), "signal: 15 (SIGTERM)");
    assert_eq!(ended.await, status);
}

#[tokio::test]
async fn a_tier_that_ends_instead_says_why() {
    let folder = Folder::temporary("tier").expect("a folder");
    let error = Tier::start(&plan(folder.path(), "fails"), |_, _| {}).await.expect_err("it ends");
    assert!(matches!(error, Error::Ended { .. }));
    let error = error.to_string();
    assert!(error.contains("exit status: 2") && error.contains("nats.url: must begin with nats://"), "{error}");
}

#[tokio::test]
async fn a_tier_that_is_never_ready_says_what_it_lacks_and_what_it_has_told() {
    let folder = Folder::temporary("tier").expect("a folder");
    let plan = TierPlan { ready_within: Duration::from_secs(3), ..plan(folder.path(), "waits") };
    let error = Tier::start(&plan, |_, _| {}).await.expect_err("it waits");
    assert!(matches!(error, Error::NotReady { .. }));
    let error = error.to_string();
    assert!(error.contains("(/readyz answers 503: log: not ok for 2 s: behind)"), "{error}");
    assert!(error.ends_with("the log cannot be read"), "{error}");
}
