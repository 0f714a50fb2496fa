//! The operators' listener, asked over HTTP.

use kontor_telemetry::{Health, Metrics, OpsServer};

fn get(server: &OpsServer, path: &str) -> (u16, String, String) {
    let answer = reqwest::blocking::get(format!("http://{}{path}", server.address())).expect("is answered");
    let kind = answer.headers()["content-type"].to_str().expect("is text").to_owned();
    (answer.status().as_u16(), kind, answer.text().expect("has a body"))
}

fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[test]
fn readiness_follows_the_checks_and_liveness_does_not() {
    install_tls();
    let (metrics, health) = (Metrics::new(), Health::new());
    let postgres = health.register("postgres");
    let server = OpsServer::start("127.0.0.1:0", metrics, health.clone()).expect("a free port");

    let plain = "text/plain; charset=utf-8".to_owned();
    assert_eq!(get(&server, "/livez"), (200, plain.clone(), "ok\n".to_owned()));
    assert_eq!(get(&server, "/readyz"), (503, plain.clone(), "not ready\n".to_owned()));
    let verbose = "postgres: not ok for 0 s: starting\nnot ready\n".to_owned();
    assert_eq!(get(&server, "/readyz?verbose"), (503, plain.clone(), verbose));
    postgres.ok();
    assert_eq!(get(&server, "/readyz"), (200, plain.clone(), "ok\n".to_owned()));
    health.drain();
    assert_eq!(get(&server, "/readyz").0, 503);
    assert_eq!(get(&server, "/livez").0, 200);
}

#[test]
fn metrics_are_openmetrics_text() {
    install_tls();
    let metrics = Metrics::new();
    metrics.counter("kontor_test_things", "Things").inc();
    let server = OpsServer::start("127.0.0.1:0", metrics, Health::new()).expect("a free port");
    let (status, kind, text) = get(&server, "/metrics");
    assert_eq!((status, kind.as_str()), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(text.contains("kontor_test_things_total 1\n") && text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn a_port_in_use_is_told_with_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let bind = taken.local_addr().expect("is bound").to_string();
    let error = OpsServer::start(&bind, Metrics::new(), Health::new()).err().expect("it is in use");
    let told = error.to_string();
    assert!(told.starts_with(&format!("ops.bind (KONTOR_OPS__BIND) is {bind}: ")), "{told}");
    assert!(told.contains("in use"), "{told}");
}

#[tokio::test]
async fn it_stops_listening_when_asked_and_when_dropped() {
    for stopped in [true, false] {
        let server = OpsServer::start("127.0.0.1:0", Metrics::new(), Health::new()).expect("a free port");
        let address = server.address();
        if stopped {
            server.stop().await;
        } else {
            drop(server);
        }
        std::net::TcpListener::bind(address).expect("the port is free again");
    }
}
