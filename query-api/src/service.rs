//! The query API at work.

use crate::cache::{Cache, CacheMetrics};
use crate::consistency::Positions;
use crate::live::{self, Figures, Hub};
use crate::past::Streams;
use crate::problem::Problem;
use crate::product_search::{self, Searcher};
use crate::recommendations::{self, Advisor};
use crate::replica::{Replica, Watch};
use crate::settings::QuerySettings;
use crate::{
    analytics, callers, categories, customers, graphql, openapi, orders, positions, product_cards, products, reports,
    stock,
};
use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use kontor_identity::{KeyError, Permission, Verifier};
use kontor_privacy::{Keyring, MasterKey, MasterKeyError};
use kontor_redis::{Redis, RedisError};
use kontor_search::SearchError;
use kontor_telemetry::{Health, HttpTelemetry, Metrics};
use kontor_vectors::VectorsError;
use sqlx::PgPool;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

/// The API, listening. Ends with [`Service::stop`].
pub struct Service {
    address: SocketAddr,
    handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
    /// Aborted when dropped.
    _watches: JoinSet<()>,
    replica: PgPool,
    hub: Data<Hub>,
}

/// Why the API could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("replica.url (KONTOR_REPLICA__URL) must be set: a replica or the primary, for role kontor_query")]
    NoUrl,
    #[error("replica.url (KONTOR_REPLICA__URL) is no URL of a Postgres database: {0}")]
    Url(#[source] sqlx::Error),
    #[error("redis.url (KONTOR_REDIS__URL) is no URL of Redis: {0}")]
    Redis(#[from] RedisError),
    #[error("vectors.url (KONTOR_VECTORS__URL) is no URL of Qdrant: {0}")]
    Vectors(#[from] VectorsError),
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error("identity.public_key_file (KONTOR_IDENTITY__PUBLIC_KEY_FILE): {0}")]
    Key(#[from] KeyError),
    #[error("privacy.master_key_file (KONTOR_PRIVACY__MASTER_KEY_FILE): {0}")]
    MasterKey(#[from] MasterKeyError),
    #[error("http.bind (KONTOR_HTTP__BIND) is {bind}: {source}")]
    Bind { bind: String, source: std::io::Error },
}

impl Service {
    /// Listens. The database need not be there yet: `health` tells when it is.
    pub fn start(settings: &QuerySettings, metrics: &Metrics, health: &Health) -> Result<Service, StartError> {
        let url = settings.replica.url.as_ref().ok_or(StartError::NoUrl)?;
        let database = Replica::of(url, &settings.replica).map_err(StartError::Url)?;
        let replica = database.pool();
        let (wait_max, poll) = (settings.query.wait_max_ms, settings.query.poll_interval_ms);
        let positions =
            Positions::new(replica.clone(), Duration::from_millis(wait_max), Duration::from_millis(poll), metrics);
        let mut watches = JoinSet::new();
        watches.spawn(positions.clone().watch());
        let check = health.register("replica");
        watches.spawn(Watch::new(replica.clone(), check, &settings.replica, metrics).run());
        let timeout = Duration::from_millis(settings.vectors.timeout_ms);
        let vectors = kontor_vectors::connect(&settings.vectors, &replica, timeout)?;
        let advisor = Advisor::new(replica.clone(), vectors, health.register_detail("vectors"), metrics);
        watches.spawn(advisor.clone().watch());
        let streams = Data::new(Streams::new(replica.clone()));
        let hub = Hub::new(streams.clone(), settings.live.clone(), settings.nats.clone(), metrics);
        watches.spawn(hub.clone().run());
        let figures = Figures::new(hub.clone(), replica.clone());
        watches.spawn(figures.clone().run());

        let verifier = Data::new(Verifier::new(&settings.identity)?);
        let master_key = MasterKey::read(&settings.privacy.master_key_file)?;
        let keyring = Data::new(Keyring::new(replica.clone(), master_key, &settings.privacy));
        let engine = settings.search.engine()?;
        let searcher = Data::new(Searcher::new(engine, health.register_detail("search"), metrics));
        let redis = Redis::of(&settings.redis)?;
        let (cache_metrics, timeout) = (CacheMetrics::new(metrics), Duration::from_millis(settings.redis.timeout_ms));
        let telemetry = HttpTelemetry::new(metrics);
        let (positions, hub) = (Data::from(positions), Data::from(hub));
        let (figures, schema) = (Data::from(figures), Data::new(graphql::schema()));
        let of_app = (positions, streams, hub.clone(), figures, schema, Data::from(advisor));
        let app = move || {
            // Each thread has connections of its own: no answer comes by another.
            let cache = Data::new(Cache::connect(redis.as_ref(), timeout, &cache_metrics));
            let pool = Data::new(database.pool());
            let (positions, streams, hub, figures, schema, advisor) = of_app.clone();
            App::new()
                .app_data(cache)
                .app_data(positions)
                .app_data(pool)
                .app_data(streams)
                .app_data(hub)
                .app_data(figures)
                .app_data(schema)
                .app_data(advisor)
                .app_data(verifier.clone())
                .app_data(keyring.clone())
                .app_data(searcher.clone())
                .wrap(kontor_api_docs::headers())
                .wrap(telemetry.clone())
                .configure(configure)
        };
        let bind = settings.http.bind.clone();
        let server = HttpServer::new(app)
            .workers(settings.http.workers)
            .disable_signals()
            .h1_allow_half_closed(false) // A client that has gone does not wait any more.
            .shutdown_timeout(settings.http.shutdown_timeout_s)
            .bind(&bind)
            .map_err(|source| StartError::Bind { bind, source })?;
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();
        Ok(Service { address, handle, server: tokio::spawn(server), _watches: watches, replica, hub })
    }

    /// Where it listens; tells the port if the settings left it open.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers the requests that have begun, and ends.
    pub async fn stop(self) -> std::io::Result<()> {
        self.hub.ending.cancel(); // Updates never end by themselves.
        self.handle.stop(true).await;
        let ended = self.server.await;
        self.replica.close().await;
        ended.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }
}

/// Every path, with what a caller must be allowed to do.
fn configure(config: &mut ServiceConfig) {
    let queries = [
        ("/v1/products", Permission::ReadCatalogue, web::get().to(products::listing::list)),
        ("/v1/products/{sku}", Permission::ReadCatalogue, web::get().to(products::one)),
        ("/v1/products/by-slug/{slug}", Permission::ReadCatalogue, web::get().to(products::by_slug)),
        ("/v1/product-cards", Permission::ReadCatalogue, web::get().to(product_cards::several)),
        ("/v1/product-cards/{sku}", Permission::ReadCatalogue, web::get().to(product_cards::one)),
        ("/v1/product-cards/by-slug/{slug}", Permission::ReadCatalogue, web::get().to(product_cards::by_slug)),
        ("/v1/product-search", Permission::ReadCatalogue, web::get().to(product_search::search)),
        ("/v1/stock/{sku}", Permission::ReadCatalogue, web::get().to(stock::one)),
        ("/v1/catalogue", Permission::EditCatalogue, web::get().to(products::in_full)),
        ("/v1/categories", Permission::ReadCatalogue, web::get().to(categories::tree)),
        ("/v1/orders", Permission::ReadOrders, web::get().to(orders::list)),
        ("/v1/orders/{order_id}", Permission::ReadOrders, web::get().to(orders::one)),
        ("/v1/customers", Permission::ListCustomers, web::get().to(customers::list)),
        ("/v1/orders/{order_id}/timeline", Permission::ReadOrders, web::get().to(orders::timeline::timeline)),
        ("/v1/orders/{order_id}/events", Permission::ReadOrders, web::get().to(live::order)),
        ("/v1/stock/{sku}/events", Permission::ReadCatalogue, web::get().to(live::stock)),
        ("/v1/stock/{sku}/history", Permission::ReadHistory, web::get().to(stock::history::history)),
        ("/v1/customers/{customer_id}", Permission::ReadCustomer, web::get().to(customers::one)),
        ("/v1/reports/sales", Permission::ReadReports, web::get().to(reports::sales)),
        ("/v1/analytics", Permission::ReadReports, web::get().to(analytics::report)),
        ("/v1/analytics/movers", Permission::ReadReports, web::get().to(analytics::movers::movers)),
        ("/v1/analytics/live", Permission::ReadReports, web::get().to(live::figures::analytics)),
        ("/v1/recommendations/similar", Permission::ReadCatalogue, web::get().to(recommendations::similar)),
        ("/v1/recommendations/together", Permission::ReadCatalogue, web::get().to(recommendations::together)),
        ("/v1/recommendations/trending", Permission::ReadCatalogue, web::get().to(recommendations::trending)),
        ("/v1/recommendations/for-you", Permission::ReadCustomer, web::get().to(recommendations::for_you)),
        ("/v1/recommendations/buy-again", Permission::ReadCustomer, web::get().to(recommendations::buy_again)),
        ("/v1/positions", Permission::ReadCatalogue, web::get().to(positions::all)),
        ("/v1/graphql", Permission::ReadCatalogue, web::get().to(graphql::get)),
        ("/v1/graphql/schema", Permission::ReadCatalogue, web::get().to(graphql::definition)),
        ("/v1/openapi.json", Permission::ReadCatalogue, web::get().to(openapi::document)),
    ];
    for (path, permission, query) in queries {
        let mut resource = web::resource(path).route(query).default_service(web::to(refuse_method));
        if path == "/v1/graphql" {
            resource = resource.route(web::post().to(graphql::post));
        }
        config.service(resource.wrap(from_fn(move |request, next| callers::allow(permission, request, next))));
    }
    kontor_api_docs::configure(config);
    config.default_service(web::to(refuse_path));
}

async fn refuse_method(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(Problem::method(request.method().as_str(), request.path()))
}

async fn refuse_path(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(Problem::no_such_path(request.path()))
}
