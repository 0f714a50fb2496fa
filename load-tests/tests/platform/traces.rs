//! One trace runs from the HTTP request through append, relay and projection, over three processes.

use crate::start;
use kontor_telemetry::collector::{CollectedSpan, Collector};
use std::time::Duration;
use tokio::process::Command;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// Set in the process that has the platform, so that its tiers, but not this test's collector, export.
const TRACED: &str = "KONTOR_TEST_TRACED";

#[tokio::test]
async fn one_trace_runs_from_the_request_to_the_read_model() {
    if std::env::var_os(TRACED).is_some() {
        return one_command().await;
    }
    // 1. A platform that exports to our collector carries out one command of a sampled trace.
    let collector = Collector::start();
    let name = "traces::one_trace_runs_from_the_request_to_the_read_model";
    let mut platform = Command::new(std::env::current_exe().expect("this test"));
    platform.args(["--exact", name]).env(TRACED, "1").env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint);
    let platform = platform.output().await.expect("it runs");
    assert!(platform.status.success(), "{}", String::from_utf8_lossy(&platform.stdout));
    // 2. Its spans are one tree: request, append, publication, and one projection of the event for each read model.
    let ours = |span: &CollectedSpan| span.trace_id == TRACE;
    let named = |spans: &[CollectedSpan], name: &str| spans.iter().find(|s| ours(s) && s.name == name).cloned();
    let there = |spans: &[CollectedSpan]| named(spans, "project catalogue").is_some();
    let spans = collector.wait_until("the projection's span", there, Duration::from_secs(10)).await;
    let span = |name: &str| {
        let names: Vec<_> = spans.iter().filter(|span| ours(span)).map(|span| &span.name).collect();
        named(&spans, name).unwrap_or_else(|| panic!("no span {name} among {names:?}"))
    };
    let (request, append) = (span("POST /v1/products"), span("log append"));
    let (publish, project) = (span("relay publish"), span("project catalogue"));
    assert_eq!(request.parent_span_id, "00f067aa0ba902b7");
    assert_eq!(append.parent_span_id, request.span_id);
    assert_eq!(publish.parent_span_id, request.span_id);
    assert_eq!(project.parent_span_id, publish.span_id);
    let services = [&request, &append, &publish, &project].map(|span| span.service.as_str());
    assert_eq!(services, ["kontor-command", "kontor-command", "kontor-command", "kontor-projector"]);
}

async fn one_command() {
    let running = start().await;
    let (_, queries) = running.apis();
    let client = reqwest::Client::builder().tls_certs_only([]).build().expect("a client");
    let request = client.post(format!("{}/v1/products", running.platform.command_url()));
    let request = request.header("Idempotency-Key", "traced").header("Content-Type", "application/json");
    let request = request.bearer_auth(running.token());
    let request = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let answer = request.body(r#"{"sku":"MUG","name":"Mug"}"#).send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    queries.get::<serde_json::Value>("v1/products/MUG", Some(1)).await.expect("it is visible");
    running.platform.stop(&mut |_| {}).await.expect("all stop, and send what they have");
}
