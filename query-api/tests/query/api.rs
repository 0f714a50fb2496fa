//! What every story needs: read models on a primary, its replica, the API on that, and words to ask.

use kontor_event_store::MIGRATIONS;
use kontor_identity::Role as Caller;
use kontor_local::{Need, Role, Servers};
use kontor_projection_services::runtime::store::StoreOptions;
use kontor_projection_services::runtime::{Kept, switch};
use kontor_projection_services::{migrate, projections};
use kontor_query_api::{QuerySettings, Service};
use kontor_telemetry::{Health, Metrics};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgPool};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// The API at work on a replica. Gone when dropped.
pub struct Api {
    pub servers: Servers,
    pub metrics: Metrics,
    pub health: Health,
    pub base: String,
    pub client: reqwest::Client,
    service: Service,
}

/// An answer, with its body as JSON (`null` if it has none).
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// The header `Kontor-Position`.
    pub fn position(&self) -> i64 {
        let header = self.header("Kontor-Position").unwrap_or_else(|| panic!("no position in {self:?}"));
        header.parse().expect("a number")
    }

    /// The last part of a problem's `type`. Panics if it is no problem as RFC 9457 has it.
    pub fn problem(&self) -> &str {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.body["status"], self.status, "{self:?}");
        assert!(self.body["title"].is_string() && self.body["detail"].is_string(), "{self:?}");
        let kind = self.body["type"].as_str().expect("a type");
        kind.strip_prefix("https://kontor.dev/problems/").unwrap_or_else(|| panic!("{kind}"))
    }
}

impl Api {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut QuerySettings)) -> Self {
        Self::start_on(&[Need::Replica], |settings, _| change(settings)).await
    }

    /// With Redis, too.
    pub async fn start_with_redis() -> Self {
        Self::start_on(&[Need::Replica, Need::Redis], |settings, servers| {
            settings.redis.url = Some(servers.redis().url().parse().expect("a URL"));
        })
        .await
    }

    pub async fn start_on(needs: &[Need], change: impl FnOnce(&mut QuerySettings, &Servers)) -> Self {
        let servers = Servers::start(needs).await.expect("the servers start");
        let options: PgConnectOptions = servers.postgres().url(Role::Migrator).parse().expect("a URL");
        MIGRATIONS.run(&mut options.connect().await.expect("it connects")).await.expect("they run");
        migrate(options.clone()).await.expect("the migrations run");
        make_read_models(servers.postgres().url(Role::Projector).parse().expect("a URL")).await;
        kontor_privacy::migrate(options).await.expect("the keys have their table");
        let mut settings = QuerySettings::default();
        settings.replica.url = Some(servers.replica().url(Role::Query).parse().expect("a URL"));
        settings.identity = servers.identity().settings().clone();
        settings.privacy.master_key_file = servers.master_key_file().to_owned();
        settings.privacy.keys_cached_s = 0; // What is erased is gone at once.
        settings.http.bind = "127.0.0.1:0".to_owned();
        change(&mut settings, &servers);
        let (metrics, health) = (Metrics::new(), Health::new());
        let service = Service::start(&settings, &metrics, &health).expect("it starts");
        // Somebody else may have installed the provider already. There is no TLS here, so no certificates are needed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let token = servers.identity().token("test", Caller::Staff, None);
        let client = client(Some(&token));
        let base = format!("http://{}", service.address());
        let api = Api { servers, metrics, health, base, client, service };
        api.write("select 1").await; // The replica has the tables.
        api
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answer(request, path).await
    }

    /// As somebody of this role, who may be a customer.
    pub async fn get_as(&self, role: Caller, customer: Option<&str>, path: &str) -> Answer {
        let token = self.servers.identity().token(customer.unwrap_or(role.name()), role, customer);
        self.get_with(path, &[("Authorization", &format!("Bearer {token}"))]).await
    }

    pub async fn get_as_guest(&self, path: &str) -> Answer {
        answer(client(None).get(format!("{}{path}", self.base)), path).await
    }

    /// 200, or the test fails.
    pub async fn ok(&self, path: &str) -> Answer {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer
    }

    /// Ends it, as a rolling update does.
    pub async fn stop(self) {
        self.service.stop().await.expect("it ends");
    }

    pub async fn post(&self, path: &str) -> u16 {
        self.client.post(format!("{}{path}", self.base)).send().await.expect("it is answered").status().as_u16()
    }

    /// Writes as a projector does, on the primary, without waiting for the replica.
    pub async fn write_now(&self, statements: &str) {
        self.servers.postgres().sql(statements).await.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// Writes on the primary, and waits until the replica has it.
    pub async fn write(&self, statements: &str) {
        self.write_now(statements).await;
        self.servers.replica().catch_up(self.servers.postgres(), PATIENCE).await.expect("the replica follows");
    }

    /// A sample of `/metrics`.
    pub fn metric(&self, sample: &str) -> f64 {
        let text = self.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{sample} is missing in\n{text}")).parse().expect("a number")
    }
}

async fn answer(request: reqwest::RequestBuilder, path: &str) -> Answer {
    let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.expect("a body");
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") };
    Answer { status, headers, body }
}

/// A client that is who `token` says, or a guest.
pub fn client(token: Option<&str>) -> reqwest::Client {
    let bearer =
        token.map(|token| (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).expect("a token is ASCII")));
    let client = reqwest::Client::builder().tls_certs_only([]).default_headers(HeaderMap::from_iter(bearer));
    client.build().expect("a client")
}

/// The tables of each read model, empty, as a projector makes them.
async fn make_read_models(options: PgConnectOptions) {
    let control = PgPool::connect_with(options.clone()).await.expect("it connects");
    let stores = StoreOptions { postgres: options, redis: None, search: None, writers_max: 1 };
    for projection in projections::all() {
        switch::ensure(&control, &Kept::new(projection, &stores)).await.expect("it is made");
    }
}

/// SQL that lists the products that are there, as their projection does.
pub const RELIST: &str = "delete from projections.listed; delete from projections.listed_prices;
    insert into projections.listed
        select c, sku, lower(name), shown_position from projections.products cross join unnest(categories || '{\"\"}') c
        where name is not null;
    insert into projections.listed_prices
        select c, key, sku, value::bigint from projections.products cross join unnest(categories || '{\"\"}') c
            cross join jsonb_each_text(prices)
        where name is not null;";

/// SQL that moves the checkpoint of a projection.
pub fn checkpoint(projection: &str, position: i64) -> String {
    format!(
        "update projections.generations set position = {position}, event_id = gen_random_uuid()
         where projection = '{projection}';"
    )
}

/// SQL that adds an order of `total_minor` GBP and one line of one unit, placed by `customer` at `placed_at`.
pub fn order(order_id: &str, customer: &str, placed_at: &str, total_minor: i64, position: i64) -> String {
    let unit_price = format!(r#"{{"amount_minor":{total_minor},"currency":"GBP"}}"#);
    format!(
        "insert into projections.orders (order_id, reference, customer_id, country, lines, order_lines, units,
             total_minor, currency, fulfilment, status, placed_at, position)
         values ('{order_id}', '489434', '{customer}', 'United Kingdom',
             '[{{\"sku\":\"85048\",\"quantity\":1,\"unit_price\":{unit_price}}}]', 1, 1, {total_minor}, 'GBP', 'reserve',
             'placed', '{placed_at}', {position});"
    )
}

/// Until `condition` holds.
pub async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
