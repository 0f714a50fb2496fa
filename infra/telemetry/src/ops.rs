//! The listener for operators: `/livez`, `/readyz` and `/metrics`, on a port of its own that no client reaches.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::http::header::ContentType;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use kontor_settings::{Check, Rule};
use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The listener for operators: section `ops`, or `KONTOR_OPS__BIND`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpsSettings {
    /// Address and port, such as `127.0.0.1:9080`. Port 0 takes a free one.
    pub bind: String,
}

impl Default for OpsSettings {
    fn default() -> Self {
        OpsSettings { bind: "127.0.0.1:9080".to_owned() }
    }
}

impl Check for OpsSettings {
    fn check(&self) -> Result<(), Rule> {
        match self.bind.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(()),
            _ => Err(Rule::new("bind", "must be an address and a port, such as 127.0.0.1:9080")),
        }
    }
}

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("ops.bind (KONTOR_OPS__BIND) is {bind}: {source}")]
pub struct BindError {
    bind: String,
    source: std::io::Error,
}

/// The listener at work, on one thread with its own runtime, so that it answers however busy the tier is. Ends when it is
/// dropped.
pub struct OpsServer {
    address: SocketAddr,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl OpsServer {
    /// Listens on `bind`, a value of `ops.bind`. Can be called with or without a runtime.
    ///
    /// # Errors
    /// [`BindError`] if the address is not one, is not ours, or is in use.
    pub fn start(bind: &str, metrics: Metrics, health: Health) -> Result<OpsServer, BindError> {
        let failed = |source| BindError { bind: bind.to_owned(), source };
        let (started, answer) = std::sync::mpsc::sync_channel(1);
        let address = bind.to_owned();
        let thread = std::thread::Builder::new().name("ops".to_owned()).spawn(move || {
            rt::System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(web::Data::new(metrics.clone()))
                        .app_data(web::Data::new(health.clone()))
                        .route("/livez", web::get().to(livez))
                        .route("/readyz", web::get().to(readyz))
                        .route("/metrics", web::get().to(scrape))
                };
                let server = HttpServer::new(app).workers(1).disable_signals().shutdown_timeout(1).bind(address);
                let (server, address) = match server {
                    Ok(server) => {
                        let address = server.addrs()[0];
                        (server.run(), address)
                    }
                    Err(error) => return drop(started.send(Err(error))),
                };
                // It has gone if `start` has, and then nobody wants the server.
                if started.send(Ok((address, server.handle()))).is_ok() {
                    let _ = server.await;
                }
            });
        });
        let thread = thread.map_err(failed)?;
        let (address, handle) = answer.recv().expect("the thread answers before it ends").map_err(failed)?;
        Ok(OpsServer { address, handle, thread: Some(thread) })
    }

    /// Where it listens; tells the port if `bind` left it open.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the requests that have begun, for at most a second, and stops listening.
    pub async fn stop(mut self) {
        self.handle.stop(true).await;
        self.thread = None; // It has nothing left to do, so that there is no need to wait for it.
    }
}

impl Drop for OpsServer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Sent by calling it; what it returns only waits for the end.
            drop(self.handle.stop(false));
            let _ = thread.join();
        }
    }
}

/// The process answers. Asks for nothing else: a restart does not bring back a database.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n")
}

/// 200 if all checks are ok, otherwise 503. With `?verbose`, a line for each check.
async fn readyz(request: HttpRequest, health: web::Data<Health>) -> HttpResponse {
    let ready = health.is_ready();
    let mut answer = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let verbose = request.query_string().split('&').any(|word| word == "verbose" || word.starts_with("verbose="));
    let summary = if ready { "ok\n" } else { "not ready\n" };
    let report = if verbose { health.report() } else { String::new() };
    answer.content_type(ContentType::plaintext()).body(report + summary)
}

async fn scrape(metrics: web::Data<Metrics>) -> HttpResponse {
    HttpResponse::Ok().content_type(OPENMETRICS).body(metrics.text())
}
