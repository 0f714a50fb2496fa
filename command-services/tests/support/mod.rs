//! A command tier of one's own: servers on free ports, the API on another, a client.
#![allow(dead_code)] // Each test file uses its part.

pub mod payments;
pub mod shop;
pub mod stripe;

use kontor_command_services::notifications::outbox;
use kontor_command_services::payments::simulator;
use kontor_command_services::processes;
use kontor_command_services::service::{Role, Service};
use kontor_command_services::settings::Settings;
use kontor_event_schemas::RecordedEvent;
use kontor_event_store::{LogReader, MIGRATIONS};
use kontor_identity::Role as Caller;
use kontor_local::{Need, Role as DbRole, Servers, TierPlan};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub struct App {
    pub service: Service,
    pub settings: Settings,
    pub client: Client,
    pub servers: Arc<Servers>,
}

/// An answer: status, body, and the headers of interest.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
    pub etag: Option<String>,
    pub position: Option<i64>,
    pub retry_after: Option<String>,
    pub media_type: Option<String>,
}

/// The command API on a database of its own.
pub async fn spawn_app() -> App {
    spawn(&[Need::Postgres], &[Role::Commands], |_| {}).await
}

/// The same with other servers, roles and settings.
pub async fn spawn(needs: &[Need], roles: &[Role], adjust: impl FnOnce(&mut Settings)) -> App {
    let servers = Arc::new(Servers::start(needs).await.expect("the servers start"));
    migrate(&servers).await;
    let nats = needs.contains(&Need::Nats).then(|| servers.nats().url());
    let adjust = |settings: &mut Settings| {
        settings.nats.url = nats.unwrap_or_default();
        adjust(settings);
    };
    join(servers.clone(), roles, adjust).await
}

/// One more command tier on servers that are running.
pub async fn join(servers: Arc<Servers>, roles: &[Role], adjust: impl FnOnce(&mut Settings)) -> App {
    let mut settings = settings(&servers);
    adjust(&mut settings);
    let service = Service::start(&settings, roles).await.expect("the service starts");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let token = servers.identity().token("test", Caller::Staff, None);
    let client = client(Some(&token));
    App { service, settings, client, servers }
}

/// A client that is who `token` says, or a guest.
pub fn client(token: Option<&str>) -> Client {
    let bearer =
        token.map(|token| (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).expect("a token is ASCII")));
    Client::builder().tls_certs_only([]).default_headers(HeaderMap::from_iter(bearer)).build().expect("a client")
}

pub async fn migrate(servers: &Servers) {
    let url = servers.postgres().url(DbRole::Migrator);
    let mut connection = PgConnection::connect(&url).await.expect("the database is there");
    MIGRATIONS.run(&mut connection).await.expect("the log has its tables");
    let options: PgConnectOptions = url.parse().expect("a URL");
    kontor_privacy::migrate(options.clone()).await.expect("the keys have their table");
    simulator::migrate(options.clone()).await.expect("the payment simulator has its tables");
    processes::migrate(options.clone()).await.expect("the process managers have their tables");
    outbox::migrate(options).await.expect("the outbox has its tables");
}

/// Settings for these servers, listening on any free port.
pub fn settings(servers: &Servers) -> Settings {
    let mut settings = Settings::default();
    settings.log.url = servers.postgres().url(DbRole::Command).parse().expect("a URL");
    settings.relay.log_url = servers.postgres().url(DbRole::Relay).parse().expect("a URL");
    settings.identity = servers.identity().settings().clone();
    settings.privacy.master_key_file = servers.master_key_file().to_owned();
    settings.http.bind = "127.0.0.1:0".into();
    settings.ops.bind = "127.0.0.1:0".into();
    settings
}

impl App {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.service.api_address().expect("the API is served"))
    }

    /// Posts a command under `key`.
    pub async fn post(&self, path: &str, key: &str, body: Value) -> Answer {
        send(self.client.post(self.url(path)).header("Idempotency-Key", key).json(&body)).await
    }

    /// Posts what must succeed; returns the position.
    pub async fn done(&self, path: &str, key: &str, body: Value) -> i64 {
        let answer = self.post(path, key, body).await;
        assert!(answer.status == 201 || answer.status == 200, "{path}: {answer:?}");
        answer.body["position"].as_i64().expect("a position")
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.client.get(self.url(path))).await
    }

    /// Sends a bulk; returns its result lines.
    pub async fn bulk(&self, lines: &str) -> Vec<Value> {
        let request = self.client.post(self.url("/v1/bulk")).header("Content-Type", "application/x-ndjson");
        let response = request.body(lines.to_owned()).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        let text = response.text().await.expect("the results");
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// The whole log.
    pub async fn log(&self) -> Vec<RecordedEvent> {
        let reader = log_reader(&self.servers).await;
        reader.read(0, 1_000_000).await.expect("the log")
    }
}

pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let (etag, retry_after, media_type) = (header("etag"), header("retry-after"), header("content-type"));
    let position = header("kontor-position").and_then(|position| position.parse().ok());
    let status = response.status().as_u16();
    let body = serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or(Value::Null);
    Answer { status, body, etag, position, retry_after, media_type }
}

pub async fn log_reader(servers: &Servers) -> LogReader {
    let url = servers.postgres().url(DbRole::Relay);
    let pool = PgPoolOptions::new().max_connections(2).connect(&url).await.expect("the database is there");
    LogReader::new(pool, Arc::default())
}

/// The last part of a problem's type.
pub fn problem(answer: &Answer) -> &str {
    answer.body["type"].as_str().and_then(|kind| kind.rsplit('/').next()).unwrap_or_default()
}

/// A command tier as a process of its own, which can be killed, with the port of its API.
pub fn process(servers: &Servers, roles: &[&str], name: &str) -> (TierPlan, u16) {
    let settings = settings(servers);
    let (api, ops) = (kontor_local::ports::free(), kontor_local::ports::free());
    let shown = |path: &Path| path.display().to_string();
    let plan = TierPlan {
        name: "the command API".into(),
        program: PathBuf::from(env!("CARGO_BIN_EXE_kontor-command")),
        arguments: ["serve"].iter().chain(roles).map(|argument| argument.to_string()).collect(),
        environment: vec![
            ("KONTOR_LOG__URL".into(), settings.log.url.expose().to_owned()),
            ("KONTOR_HTTP__BIND".into(), format!("127.0.0.1:{api}")),
            ("KONTOR_IDENTITY__PUBLIC_KEY_FILE".into(), shown(&settings.identity.public_key_file)),
            ("KONTOR_PRIVACY__MASTER_KEY_FILE".into(), shown(&settings.privacy.master_key_file)),
            ("KONTOR_OPS__BIND".into(), format!("127.0.0.1:{ops}")),
        ],
        ops_port: ops,
        log: servers.folder().join(format!("{name}.log")),
        ready_within: Duration::from_secs(30),
    };
    (plan, api)
}
