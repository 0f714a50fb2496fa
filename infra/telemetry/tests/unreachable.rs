//! A collector that is not there: told once, and the tier ends in time.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kontor_telemetry::{TelemetrySettings, TraceParent, spans};

/// Set for the process that exports in vain, so that its log can be read.
const ENDPOINT: &str = "KONTOR_TEST_ENDPOINT";

fn export_in_vain(endpoint: String) {
    let settings = TelemetrySettings { otlp_endpoint: Some(endpoint), ..Default::default() };
    let guard = kontor_telemetry::init("kontor-test", &settings).expect("the settings are usable");
    let parent = TraceParent::new_root(true);
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(3500) {
        drop(spans::batch("batch", 1, [&parent]));
        std::thread::sleep(Duration::from_millis(20));
    }
    let started = Instant::now();
    drop(guard);
    assert!(started.elapsed() < Duration::from_millis(5500), "{:?}", started.elapsed());
}

#[test]
fn a_collector_that_is_away_is_told_once_a_minute_and_holds_nobody_up() {
    if let Ok(endpoint) = std::env::var(ENDPOINT) {
        return export_in_vain(endpoint);
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("is bound");
    let Output { status, stderr, .. } = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_collector_that_is_away_is_told_once_a_minute_and_holds_nobody_up", "--nocapture"])
        .env(ENDPOINT, format!("http://{closed}"))
        .output()
        .expect("this test runs again");
    let log = String::from_utf8(stderr).expect("the log is text");
    assert!(status.success(), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("could not be exported")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("WARN"), "{log}");
}
