//! The browsable page of a tier's OpenAPI document, and the headers that browsers heed.
//!
//! The page reads `/v1/openapi.json` of the tier that serves it. It consists of three files that are part of the binary,
//! loads nothing from elsewhere, and has neither script nor style inline, so that its policy can forbid them.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, Route};

const HTML: &str = include_str!("../page/page.html");
const CSS: &str = include_str!("../page/page.css");
const JS: &str = include_str!("../page/page.js");

/// What the page may do: run and show its own files, and ask its own tier.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What is no page may do nothing, should a browser take it for one.
const NO_PAGE_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Serves `/docs` and its files, to everybody.
pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/docs", file("text/html; charset=utf-8", HTML))
        .route("/docs/page.css", file("text/css; charset=utf-8", CSS))
        .route("/docs/page.js", file("text/javascript; charset=utf-8", JS));
}

/// Of every answer that does not say otherwise: it is what its `Content-Type` says, and no page.
pub fn headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((REFERRER_POLICY, "no-referrer"))
        .add((CONTENT_SECURITY_POLICY, NO_PAGE_POLICY))
}

fn file(media_type: &'static str, text: &'static str) -> Route {
    web::get().to(move || async move {
        HttpResponse::Ok()
            .content_type(media_type)
            .insert_header((CONTENT_SECURITY_POLICY, PAGE_POLICY))
            .insert_header((CACHE_CONTROL, "no-cache")) // Another release has another page.
            .body(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_loads_nothing_from_elsewhere_and_has_nothing_inline() {
        for text in [HTML, CSS, JS] {
            assert!(!text.contains("//cdn") && !text.contains("src=\"http") && !text.contains("@import"));
        }
        assert!(!HTML.contains("<style") && !HTML.contains("style=") && !HTML.contains("onclick"));
        assert!(HTML.contains("<script src=\"docs/page.js\"") && !JS.contains("innerHTML"));
    }
}
