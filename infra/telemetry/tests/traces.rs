//! What is exported, seen from a collector. The tests set up the process's log, so each needs a process of its own:
//! there is one test in each file.

use std::time::{Duration, Instant};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use kontor_telemetry::collector::{CollectedSpan, Collector};
use kontor_telemetry::{HttpTelemetry, Metrics, TelemetrySettings, TraceParent, spans};

const SOON: Duration = Duration::from_secs(10);
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00";

/// Answers with the `TraceParent` that a command would store with its events.
async fn reserve(request: HttpRequest) -> HttpResponse {
    use actix_web::HttpMessage;
    let stored = *request.extensions().get::<TraceParent>().expect("the middleware has put it there");
    HttpResponse::Created().body(stored.to_string())
}

async fn broken() -> HttpResponse {
    HttpResponse::InternalServerError().finish()
}

/// Sends a request and gives back the body and the `traceresponse`.
fn post(url: String, traceparent: Option<&str>) -> (String, String) {
    let request = reqwest::blocking::Client::new().post(url);
    let request = traceparent.iter().fold(request, |request, text| request.header("traceparent", *text));
    let answer = request.send().expect("is answered");
    let header = answer.headers()["traceresponse"].to_str().expect("is text").to_owned();
    (answer.text().expect("has a body"), header)
}

fn named<'a>(spans: &'a [CollectedSpan], name: &str) -> &'a CollectedSpan {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

#[actix_web::test]
async fn a_request_and_what_follows_from_it_are_one_trace() {
    let collector = Collector::start();
    let settings = TelemetrySettings { otlp_endpoint: Some(collector.endpoint.clone()), ..Default::default() };
    let guard = kontor_telemetry::init("kontor-test", &settings).expect("the settings are usable");
    assert!(kontor_telemetry::exporting());

    let telemetry = HttpTelemetry::new(&Metrics::new());
    let app = move || {
        App::new()
            .wrap(telemetry.clone())
            .route("/v1/stock/{sku}/reserve", web::post().to(reserve))
            .route("/v1/broken", web::post().to(broken))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).expect("a free port");
    let base = format!("http://{}", server.addrs()[0]);
    let running = server.run();
    let handle = running.handle();
    actix_web::rt::spawn(running);

    let (stored, _) = web::block(move || {
        let sent = post(format!("{base}/v1/stock/TEA-1/reserve"), Some(CALLER));
        assert_eq!(sent.0, sent.1, "the answer names the span that the events name");
        let (unsampled, _) = post(format!("{base}/v1/stock/TEA-1/reserve"), Some(UNSAMPLED));
        assert!(unsampled.starts_with(&UNSAMPLED[..36]) && unsampled.ends_with("-00"), "{unsampled}");
        post(format!("{base}/v1/broken"), None);
        sent
    })
    .await
    .expect("the requests are answered");

    let parent: TraceParent = stored.parse().expect("is a traceparent");
    let message = spans::Message {
        parent: &parent,
        subject: "kontor.v1.stock.reserved",
        event_id: "0198c2a4-0000-7000-8000-000000000001",
        aggregate_type: "stock",
        position: 17,
    };
    drop(spans::relay_publish(message));
    let projecting = spans::project("availability", message);
    spans::failed(&projecting);
    drop(projecting);
    let others = [parent, UNSAMPLED.parse().expect("is a traceparent")];
    drop(spans::batch("relay batch", 2, &others));
    assert!(spans::relay_publish(spans::Message { parent: &others[1], ..message }).is_none());

    let spans = collector.wait_for(5, SOON).await;
    let server = named(&spans, "POST /v1/stock/{sku}/reserve");
    assert_eq!(server.trace_id, &CALLER[3..35]);
    assert_eq!(server.parent_span_id, &CALLER[36..52]);
    assert_eq!(server.span_id, &stored[36..52]);
    assert_eq!((server.kind, server.service.as_str(), server.failed), ("server", "kontor-test", false));
    assert_eq!(server.attribute("http.request.method"), Some("POST"));
    assert_eq!(server.attribute("http.route"), Some("/v1/stock/{sku}/reserve"));
    assert_eq!(server.attribute("url.path"), Some("/v1/stock/TEA-1/reserve"));
    assert_eq!(server.attribute("http.response.status_code"), Some("201"));

    let broken = named(&spans, "POST /v1/broken");
    assert!(broken.failed);
    assert_eq!(broken.parent_span_id, "");

    let publish = named(&spans, "relay publish");
    assert_eq!((&publish.trace_id, &publish.parent_span_id), (&server.trace_id, &server.span_id));
    assert_eq!(publish.kind, "producer");
    assert_eq!(publish.attribute("kontor.position"), Some("17"));
    assert_eq!(publish.attribute("messaging.destination.name"), Some("kontor.v1.stock.reserved"));

    let project = named(&spans, "project availability");
    assert_eq!((&project.trace_id, &project.parent_span_id), (&server.trace_id, &server.span_id));
    assert_eq!((project.kind, project.failed), ("consumer", true));

    let batch = named(&spans, "relay batch");
    assert_ne!(batch.trace_id, server.trace_id);
    assert_eq!(batch.links, [(server.trace_id.clone(), server.span_id.clone())]);
    assert_eq!(spans.len(), 5, "{spans:#?}");

    // What is made last is exported by the guard, without waiting for the next batch.
    drop(spans::relay_publish(message));
    let started = Instant::now();
    guard.shutdown();
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    assert_eq!(collector.spans().len(), 6);
    assert!(!kontor_telemetry::exporting());
    handle.stop(false).await;
}
