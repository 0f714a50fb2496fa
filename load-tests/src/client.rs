//! The HTTP APIs, as a client sees them.

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::time::Duration;
use url::Url;

/// A request that waits for the read side may take as long as that.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// One of the APIs.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    /// Ends with a slash.
    base: Url,
}

/// Why a request had no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody answered, or somebody who could not now: the same request may do later.
    #[error("{url} cannot be used now: {reason}")]
    Unavailable { url: String, reason: String, retry_after: Option<Duration> },
    #[error("{url} answered {status}: {reason}")]
    Refused { url: String, status: StatusCode, reason: String },
    #[error("{url} answered with something else than expected: {reason}")]
    Unexpected { url: String, reason: String },
}

/// RFC 9457.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Problem {
    pub status: u16,
    pub title: String,
    #[serde(default)]
    pub detail: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.title)?;
        self.detail.as_deref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

/// What became of one command of a bulk.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BulkResult {
    /// From 1.
    pub line: usize,
    pub key: Option<String>,
    pub status: u16,
    /// Position of its last event; `None` when it was refused.
    pub position: Option<i64>,
    #[serde(default)]
    pub replayed: bool,
    pub problem: Option<Problem>,
}

/// What the query API says, and how far it has come.
#[derive(Debug)]
pub struct Answer<T> {
    pub position: i64,
    pub body: T,
}

impl Api {
    /// `url`: `http://127.0.0.1:8080`, without a path. `token`: who asks; a guest without one.
    pub fn new(url: &Url, token: Option<&str>) -> anyhow::Result<Self> {
        // The only provider that is compiled in; somebody else may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder().connect_timeout(Duration::from_secs(5));
        http = http.read_timeout(REQUEST_TIMEOUT).tcp_nodelay(true);
        if let Some(token) = token {
            let mut bearer =
                HeaderValue::try_from(format!("Bearer {token}")).context("the token is no header's text")?;
            bearer.set_sensitive(true);
            http = http.default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
        }
        if url.scheme() == "http" {
            http = http.tls_certs_only([]); // A machine without certificates will do.
        }
        let mut base = url.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { http: http.build()?, base })
    }

    pub fn url(&self) -> &Url {
        &self.base
    }

    /// Sends many commands, a line each; `each` hears the results as they come.
    pub async fn bulk(&self, body: Bytes, mut each: impl FnMut(BulkResult)) -> Result<(), ApiError> {
        let url = self.path("v1/bulk");
        let sent = self.http.post(url.clone()).header(CONTENT_TYPE, "application/x-ndjson").body(body).send().await;
        let mut response = accepted(&url, sent).await?;
        let mut buffer = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&url, &error))? {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                each(parse(&url, &buffer.split_to(end + 1))?);
            }
        }
        Ok(())
    }

    /// Sends one command under an idempotency key.
    pub async fn post(&self, path: &str, key: &str, body: impl Into<Bytes>) -> Result<Posted, ApiError> {
        let url = self.path(path);
        let request = self.http.post(url.clone()).timeout(REQUEST_TIMEOUT).header("Idempotency-Key", key);
        let sent = request.header(CONTENT_TYPE, "application/json").body(body.into()).send().await;
        let body = accepted(&url, sent).await?.bytes().await.map_err(|error| unavailable(&url, &error))?;
        parse(&url, &body)
    }

    /// Asks; `min_position` makes the answer reflect at least that position.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, min_position: Option<i64>) -> Result<Answer<T>, ApiError> {
        let url = self.path(path);
        let mut request = self.http.get(url.clone()).timeout(REQUEST_TIMEOUT);
        if let Some(position) = min_position {
            request = request.header("Kontor-Min-Position", position);
        }
        let response = accepted(&url, request.send().await).await?;
        let position = header(response.headers(), "Kontor-Position").unwrap_or(0);
        let body = response.bytes().await.map_err(|error| unavailable(&url, &error))?;
        Ok(Answer { position, body: parse(&url, &body)? })
    }

    fn path(&self, path: &str) -> Url {
        self.base.join(path).expect("our own paths are valid")
    }
}

/// Where a command's events are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Posted {
    pub id: String,
    pub version: i64,
    pub position: i64,
    pub replayed: bool,
}

async fn accepted(url: &Url, sent: reqwest::Result<Response>) -> Result<Response, ApiError> {
    let response = sent.map_err(|error| unavailable(url, &error))?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retry_after = header(response.headers(), RETRY_AFTER.as_str()).map(Duration::from_secs);
    let body = response.bytes().await.unwrap_or_default();
    let reason = match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => problem.to_string(),
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned(),
    };
    let url = url.to_string();
    Err(match is_transient(status.as_u16()) {
        true => ApiError::Unavailable { url, reason, retry_after },
        false => ApiError::Refused { url, status, reason },
    })
}

/// Too Many Requests, Bad Gateway, Service Unavailable, Gateway Timeout: nothing is wrong with the request.
pub fn is_transient(status: u16) -> bool {
    matches!(status, 429 | 502..=504)
}

fn unavailable(url: &Url, error: &reqwest::Error) -> ApiError {
    // The outermost error only says that the request failed; what it failed of is at the bottom.
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    ApiError::Unavailable { url: url.to_string(), reason: cause.to_string(), retry_after: None }
}

fn header<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn parse<T: DeserializeOwned>(url: &Url, body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let body = String::from_utf8_lossy(&body[..body.len().min(200)]);
        ApiError::Unexpected { url: url.to_string(), reason: format!("{error} in {body}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_a_bulk_are_read() {
        let url = Url::parse("http://127.0.0.1/").expect("a URL");
        let done: BulkResult =
            parse(&url, br#"{"line":1,"key":"a","status":201,"id":"x","version":1,"position":17,"replayed":false}"#)
                .expect("a result");
        assert_eq!((done.line, done.position, done.problem), (1, Some(17), None));
        let refused: BulkResult = parse(
            &url,
            br#"{"line":2,"key":"b","status":409,"problem":{"type":"t","title":"Not enough","status":409,"detail":"3 wanted"}}"#,
        )
        .expect("a result");
        assert_eq!(refused.problem.map(|problem| problem.to_string()), Some("409 Not enough: 3 wanted".to_owned()));
    }
}
