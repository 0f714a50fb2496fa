//! The HTTP APIs, as the catalogue's tasks use them.

use anyhow::{Context, bail};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::{Duration, Instant};
use url::Url;

/// Without any progress for so long we give up.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// One of the APIs. What fails for the moment is asked again.
pub struct Api {
    http: reqwest::Client,
    base: Url,
}

/// Why a request had no answer that could be used: for the moment, or for good.
pub enum Trouble {
    Passing(String),
    Lasting(anyhow::Error),
}

impl Api {
    /// `url`: `http://127.0.0.1:8080`, without a path.
    pub fn new(url: &Url, token: &str) -> anyhow::Result<Self> {
        // The only provider that is compiled in; somebody else may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).context("--token is no header's text")?;
        bearer.set_sensitive(true);
        let mut http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(Duration::from_secs(60))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]));
        if url.scheme() == "http" {
            http = http.tls_certs_only([]); // A machine without certificates will do.
        }
        Ok(Self { http: http.build()?, base: url.clone() })
    }

    /// Sends commands, a line each. Returns the result lines as far as they came, and what cut them off.
    pub async fn bulk(&self, lines: String) -> (Vec<Value>, Result<(), Trouble>) {
        let mut results = Vec::new();
        let outcome = async {
            let request = self.http.post(self.url("v1/bulk")?).header(CONTENT_TYPE, "application/x-ndjson");
            let mut response = accepted(request.body(lines).send().await).await?;
            let mut buffer = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| Trouble::Passing(cause(&error)))? {
                buffer.extend_from_slice(&chunk);
                while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    results.push(parse(&line)?);
                }
            }
            Ok(())
        };
        let outcome = outcome.await;
        (results, outcome)
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let mut patience = Patience::new();
        loop {
            let answer = async {
                let response = accepted(self.http.get(self.url(path)?).send().await).await?;
                parse(&response.bytes().await.map_err(|error| Trouble::Passing(cause(&error)))?)
            };
            match answer.await {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(reason)) => patience.lose(&reason).await?,
            }
        }
    }

    fn url(&self, path: &str) -> Result<Url, Trouble> {
        self.base.join(path).map_err(|error| Trouble::Lasting(error.into()))
    }
}

/// Waits longer each time, and not for ever.
pub struct Patience {
    since: Instant,
    pause: Duration,
}

impl Patience {
    pub fn new() -> Self {
        Self { since: Instant::now(), pause: Duration::from_millis(50) }
    }

    /// Nothing came of it, for this reason.
    pub async fn lose(&mut self, reason: &str) -> anyhow::Result<()> {
        if self.since.elapsed() > GIVE_UP_AFTER {
            bail!("gave up after {} s: {reason}", GIVE_UP_AFTER.as_secs());
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_secs(2));
        Ok(())
    }
}

/// Too Many Requests, Bad Gateway, Service Unavailable, Gateway Timeout: nothing is wrong with the request.
pub fn is_passing(status: u64) -> bool {
    matches!(status, 429 | 502..=504)
}

async fn accepted(sent: reqwest::Result<Response>) -> Result<Response, Trouble> {
    let response = sent.map_err(|error| Trouble::Passing(cause(&error)))?;
    let (status, url) = (response.status(), response.url().clone());
    if status.is_success() {
        return Ok(response);
    }
    let body: Value = response.json().await.unwrap_or_default();
    let detail = body["detail"].as_str().unwrap_or("without a reason");
    let told = format!("{url} answers {}: {detail}", status.as_u16());
    match is_passing(u64::from(status.as_u16())) {
        true => Err(Trouble::Passing(told)),
        false if status == StatusCode::UNAUTHORIZED => {
            Err(Trouble::Lasting(anyhow::anyhow!("{told}; is --token of this platform?")))
        }
        false => Err(Trouble::Lasting(anyhow::anyhow!(told))),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|error| {
        Trouble::Lasting(anyhow::Error::from(error).context("the answer is of another form than expected"))
    })
}

/// What is at the bottom of it: the outermost error only says that the request failed.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match error.url() {
        Some(url) => format!("{url} cannot be used now: {cause}"),
        None => cause.to_string(),
    }
}
