//! Without an endpoint nothing of tracing is there, but the trace context still travels.

use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, HttpMessage, HttpRequest, HttpResponse, web};
use kontor_telemetry::{HttpTelemetry, Metrics, TelemetrySettings, TraceParent, spans};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn stored(request: HttpRequest) -> String {
    request.extensions().get::<TraceParent>().expect("the middleware has put it there").to_string()
}

async fn refused() -> HttpResponse {
    HttpResponse::Conflict().finish()
}

#[actix_web::test]
async fn without_an_endpoint_requests_are_measured_and_the_trace_goes_on() {
    let guard = kontor_telemetry::init("kontor-test", &TelemetrySettings::default()).expect("the defaults are usable");
    assert!(!kontor_telemetry::exporting());
    assert!(kontor_telemetry::init("kontor-test", &TelemetrySettings::default()).is_err());

    let metrics = Metrics::new();
    let app = App::new()
        .wrap(HttpTelemetry::new(&metrics))
        .route("/v1/orders/{order_id}", web::get().to(stored))
        .route("/v1/refused", web::post().to(refused));
    let app = init_service(app).await;

    let request = TestRequest::get().uri("/v1/orders/7").insert_header(("traceparent", CALLER)).to_request();
    let answer = call_service(&app, request).await;
    let header = answer.headers().get("traceresponse").expect("is there").to_str().expect("is text").to_owned();
    let text = String::from_utf8(read_body(answer).await.to_vec()).expect("is text");
    assert_eq!(header, text);
    assert_eq!(text[..36], CALLER[..36], "same trace");
    assert_ne!(text[36..52], CALLER[36..52], "own span");
    assert!(text.ends_with("-01"), "whoever exports later is told that the trace is sampled");

    for ignored in ["", "nonsense", &CALLER.to_uppercase()] {
        let request = TestRequest::get().uri("/v1/orders/8").insert_header(("traceparent", ignored)).to_request();
        let text = String::from_utf8(read_body(call_service(&app, request).await).await.to_vec()).expect("is text");
        assert!(text.parse::<TraceParent>().is_ok_and(|new| !new.sampled()) && !text.contains("4bf92f35"), "{text}");
    }
    drop(call_service(&app, TestRequest::post().uri("/v1/refused").to_request()).await);
    drop(call_service(&app, TestRequest::get().uri("/nowhere/1").to_request()).await);

    let text = metrics.text();
    for line in [
        r#"http_server_requests_total{http_request_method="GET",http_route="/v1/orders/{order_id}",http_response_status_code="200"} 4"#,
        r#"http_server_requests_total{http_request_method="POST",http_route="/v1/refused",http_response_status_code="409"} 1"#,
        r#"http_server_requests_total{http_request_method="GET",http_route="",http_response_status_code="404"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/v1/orders/{order_id}"} 4"#,
        "http_server_active_requests 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }

    let span = spans::server("GET", "/", None);
    assert!(span.is_none() && spans::of_span(&span).is_none());
    drop(guard);
}
