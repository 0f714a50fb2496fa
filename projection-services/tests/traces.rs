//! A request's trace goes on into the projections. Sets up the process's log, so it is a test program of its own, with one
//! test; it shares the shop of the others.

#[path = "projector/life.rs"]
mod life;
#[path = "projector/shop.rs"]
#[allow(dead_code)] // The other stories need more of it.
mod shop;
#[path = "projector/trade.rs"]
mod trade;
#[path = "projector/views.rs"]
mod views;

use kontor_projection_services::projections::catalogue::Catalogue;
use kontor_projection_services::projections::orders::Orders;
use kontor_telemetry::TelemetrySettings;
use kontor_telemetry::collector::{CollectedSpan, Collector};
use shop::{Shop, TRACEPARENT};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn an_event_s_trace_goes_on_in_each_projection_that_folds_it() {
    let collector = Collector::start();
    let settings = TelemetrySettings { otlp_endpoint: Some(collector.endpoint.clone()), ..Default::default() };
    let telemetry = kontor_telemetry::init("kontor-projector", &settings).expect("the settings are usable");
    let mut shop = Shop::open().await;

    // From the log, then from the stream.
    let logged = shop.trade(10).await;
    let projector = shop.projector_of(vec![Arc::new(Catalogue), Arc::new(Orders)]).await;
    shop.until_caught_up().await;
    projector.until_reading().await;
    let streamed = shop.trade(10).await;
    shop.publish(streamed.clone()).await;
    shop.until_caught_up().await;
    projector.stop().await;
    telemetry.shutdown();

    // The last batch is exported by the end of the export, so nothing is waited for.
    let spans = collector.wait_for(1, Duration::from_secs(10)).await;
    let position = |span: &CollectedSpan| -> Option<i64> { span.attribute("kontor.position")?.parse().ok() };
    let mut projected: Vec<_> =
        spans.iter().filter(|span| span.name.starts_with("project ")).filter_map(position).collect();
    projected.sort_unstable();
    let all: Vec<_> = logged.into_iter().chain(streamed).collect();
    assert_eq!(projected, all, "each event is folded by one of the two projections");
    for span in spans.iter().filter(|span| position(span).is_some()) {
        assert_eq!((span.trace_id.as_str(), span.parent_span_id.as_str()), (&TRACEPARENT[3..35], &TRACEPARENT[36..52]));
        assert_eq!((span.kind, span.failed), ("consumer", false));
        let subject = span.attribute("messaging.destination.name").expect("a subject");
        let of_orders = subject.starts_with("kontor.v1.order.") || subject.starts_with("kontor.v1.cancellation.");
        assert_eq!(span.name, if of_orders { "project orders" } else { "project catalogue" });
    }
    let links: usize = spans.iter().filter(|span| span.name == "project batch").map(|span| span.links.len()).sum();
    assert_eq!(links, all.len());
}
