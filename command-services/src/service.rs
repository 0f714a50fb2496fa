//! The command tier as it runs: the HTTP API, the executor, the relay, the process managers and the sender of mail, of
//! which a process serves what it is told to.

use crate::executor::Executor;
use crate::http::routes;
use crate::notifications::letter::Letters;
use crate::notifications::mailer::Mailer;
use crate::notifications::outbox::{self, Outbox};
use crate::notifications::post::PostOffice;
use crate::notifications::templates::Templates;
use crate::notifications::{NotificationCounts, Notifications};
use crate::payments::simulator::{self, Simulator};
use crate::payments::stripe::Stripe;
use crate::payments::{Payments, http_client};
use crate::processes::follower::Managers;
use crate::processes::{self, Follower, ProcessCounts, Settlements};
use crate::relay::{Relay, RelayCounts};
use crate::settings::{LogSection, Settings};
use crate::shop::{Rules, Shop};
use actix_web::dev::ServerHandle;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::{Context, Result};
use async_nats::jetstream;
use chrono::TimeDelta;
use kontor_domain::cancellation::Cancellation;
use kontor_domain::cart::Cart;
use kontor_domain::category::CategoryTree;
use kontor_domain::order::Order;
use kontor_domain::payment::Payment;
use kontor_domain::product::Product;
use kontor_domain::sku::SkuClaim;
use kontor_domain::slug::SlugClaim;
use kontor_domain::stock::Stock;
use kontor_domain::timer::Timer;
use kontor_event_schemas::upcast;
use kontor_event_store::{Log, LogReader, LogSettings, MIGRATIONS};
use kontor_identity::Verifier;
use kontor_privacy::{Keyring, MasterKey};
use kontor_settings::SecretUrl;
use kontor_telemetry::{Health, HttpTelemetry, Metrics, OpsServer};
use metrics::CommandMetrics;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

mod metrics;

/// Connections that read and make the keys of personal data, which are mostly remembered.
const KEY_CONNECTIONS_MAX: u32 = 4;

/// How long mails under way may take to end when the service stops.
const MAILS_END_WITHIN: Duration = Duration::from_secs(10);

/// What a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// The HTTP command API.
    Commands,
    /// The relay from the log to JetStream.
    Relay,
    /// The process managers: what follows from what has happened to orders, payments and carts. Served with the commands.
    Processes,
    /// Mail to customers.
    Notifications,
}

impl Role {
    pub const ALL: &[Role] = &[Role::Commands, Role::Relay, Role::Processes, Role::Notifications];
}

/// A connection to NATS, which reconnects by itself.
#[derive(Clone)]
pub struct NatsClient {
    pub client: async_nats::Client,
    pub jetstream: jetstream::Context,
}

impl NatsClient {
    /// Connects, now or as soon as the server is there.
    pub async fn connect(url: &str) -> Result<Self> {
        let client = async_nats::ConnectOptions::new()
            .name("kontor-command")
            .retry_on_initial_connect()
            .connect(url)
            .await
            .with_context(|| format!("nats.url ({url}) cannot be used"))?;
        Ok(Self { jetstream: jetstream::new(client.clone()), client })
    }
}

/// Brings the log's tables, and those of all that is kept beside it, to this release's form.
pub async fn migrate(settings: &LogSection) -> Result<()> {
    let url = settings.migrator_url.as_ref().context("log.migrator_url (KONTOR_LOG__MIGRATOR_URL) is not set")?;
    let mut connection = options(url)?.connect().await.context("log.migrator_url: the database cannot be reached")?;
    MIGRATIONS.run(&mut connection).await.context("the log's tables could not be migrated")?;
    connection.close().await?;
    kontor_privacy::migrate(options(url)?).await.context("the keys' table could not be migrated")?;
    simulator::migrate(options(url)?).await.context("the payment simulator's tables could not be migrated")?;
    processes::migrate(options(url)?).await.context("the process managers' tables could not be migrated")?;
    outbox::migrate(options(url)?).await.context("the outbox's tables could not be migrated")?;
    info!("The log, and all that commands keep beside it, has its tables");
    Ok(())
}

/// Serves until SIGTERM or SIGINT, then ends what has begun.
pub async fn serve(settings: &Settings, roles: &[Role]) -> Result<()> {
    let mut stop = StopSignal::new()?; // Before anything is started, so that no signal is lost.
    let service = Service::start(settings, roles).await?;
    info!(?roles, api = ?service.api_address(), ops = %service.ops_address(), "The command tier is up");
    stop.wait().await;
    info!("The command tier is stopping");
    service.stop().await;
    Ok(())
}

/// The tier, running.
pub struct Service {
    executor: Option<Arc<Executor>>,
    payments: Option<Arc<Payments>>,
    api: Option<(ServerHandle, SocketAddr)>,
    ops: OpsServer,
    health: Health,
    tasks: JoinSet<()>,
    /// The sender of mail, which ends what it has begun once it is told to stop.
    sender: JoinSet<()>,
    stop_sender: watch::Sender<bool>,
}

impl Service {
    pub async fn start(settings: &Settings, roles: &[Role]) -> Result<Self> {
        let health = Health::new();
        let metrics = Metrics::new();
        let mut tasks = JoinSet::new();
        let executor = if roles.contains(&Role::Commands) { Some(open_executor(settings).await?) } else { None };
        let relay_counts = Arc::new(RelayCounts::default());
        let process_counts = Arc::new(ProcessCounts::default());
        let mail_counts = Arc::new(NotificationCounts::default());
        metrics.register_collector(CommandMetrics {
            executor: executor.clone(),
            relay: relay_counts.clone(),
            processes: process_counts.clone(),
            notifications: mail_counts.clone(),
        });
        if roles.contains(&Role::Relay) {
            let relay = relay(settings, executor.as_ref(), health.register("relay"), relay_counts).await?;
            tasks.spawn(async move {
                // The API goes on without it: every event is safe in the log, and /readyz tells what is wrong.
                let _stopped = relay.run().await;
            });
        }
        let (mut sender, (stop_sender, stopping)) = (JoinSet::new(), watch::channel(false));
        if roles.contains(&Role::Notifications) {
            let check = health.register("notifications");
            let notifications = notifications(settings, executor.as_ref(), check, mail_counts).await?;
            sender.spawn(notifications.run(stopping));
        }
        let (mut api, mut payments) = (None, None);
        if let Some(executor) = &executor {
            let at_work = Arc::new(open_payments(settings, executor.clone())?);
            let settlements = Settlements::default();
            let acts = roles.contains(&Role::Processes);
            let follower = Follower {
                executor: executor.clone(),
                settlements: settlements.clone(),
                settings: settings.processes.clone(),
                managers: match acts {
                    true => Some(Managers { payments: at_work.clone(), database: options(&settings.log.url)? }),
                    false => None,
                },
                counts: process_counts,
                health: health.register("processes"),
            };
            tasks.spawn(follower.run());
            tasks.spawn(watch_log(executor.log().clone(), health.register("log")));
            tasks.spawn(prune_keys(executor.log().clone(), Duration::from_secs(settings.log.keep_keys_h * 3_600)));
            let telemetry = HttpTelemetry::new(&metrics);
            let (handle, address) = start_api(settings, executor.clone(), at_work.clone(), settlements, telemetry)?;
            tasks.spawn(deliver_webhooks(settings, &at_work, address)?);
            api = Some((handle, address));
            payments = Some(at_work);
        }
        let ops = OpsServer::start(&settings.ops.bind, metrics, health.clone())?;
        Ok(Self { executor, payments, api, ops, health, tasks, sender, stop_sender })
    }

    /// Where the API listens, if it is served.
    pub fn api_address(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(|(_, address)| *address)
    }

    /// Payments, if commands are served.
    pub fn payments(&self) -> Option<&Arc<Payments>> {
        self.payments.as_ref()
    }

    pub fn ops_address(&self) -> SocketAddr {
        self.ops.address()
    }

    /// Lets requests, mails and appends end.
    pub async fn stop(mut self) {
        self.health.drain();
        if let Some((api, _)) = self.api {
            api.stop(true).await;
        }
        self.stop_sender.send_replace(true);
        if timeout(MAILS_END_WITHIN, self.sender.join_next()).await.is_err() {
            warn!("Mails under way have not ended in time; they are sent again");
        }
        self.tasks.shutdown().await;
        if let Some(executor) = self.executor {
            executor.log().close().await;
        }
        self.ops.stop().await;
    }
}

async fn open_executor(settings: &Settings) -> Result<Arc<Executor>> {
    let log = Log::open(options(&settings.log.url)?, settings.log.log_settings(), upcast::released())
        .await
        .context("log.url (KONTOR_LOG__URL): the log cannot be opened; is it migrated?")?;
    let executor = Executor::new(log, open_shop(settings)?, settings.executor.clone())
        .serving::<Product>()
        .serving::<SkuClaim>()
        .serving::<SlugClaim>()
        .serving::<CategoryTree>()
        .serving::<Stock>()
        .serving::<Cart>()
        .serving::<Order>()
        .serving::<Payment>()
        .serving::<Timer>()
        .serving::<Cancellation>();
    Ok(Arc::new(executor))
}

fn open_payments(settings: &Settings, executor: Arc<Executor>) -> Result<Payments> {
    // Two: one writes the ledger, the other reads what is due. An entry is on disk before it is answered: this process may
    // survive the database's crash, and would append what came of an entry that is gone.
    let pool = PgPoolOptions::new().max_connections(2).test_before_acquire(false);
    let pool = pool.connect_lazy_with(options(&settings.log.url)?);
    let simulator = Arc::new(Simulator::new(pool, settings.simulator.clone()));
    let stripe = Stripe::new(&settings.stripe, Duration::from_millis(settings.payments.timeout_ms))?;
    let payments = Payments::new(executor, &settings.payments, simulator, stripe);
    if payments.provider().as_str() == simulator::NAME {
        warn!("payments.provider is the simulator: payments move no money");
    }
    Ok(payments)
}

/// The simulator's webhooks go where the settings say, or to this process's own API.
fn deliver_webhooks(
    settings: &Settings,
    payments: &Payments,
    api: SocketAddr,
) -> Result<impl Future<Output = ()> + use<>> {
    let host = if api.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], api.port())) } else { api };
    let own = || format!("http://{host}/v1/payments/webhooks/{}", simulator::NAME);
    let url = settings.simulator.webhook_url.clone().unwrap_or_else(own);
    let client = http_client(&url, Duration::from_millis(settings.payments.timeout_ms))?;
    let simulator = payments.simulator().clone();
    Ok(async move { simulator.deliver_webhooks(&url, &client).await })
}

/// The rules of the shop and the keys of its customers.
pub fn open_shop(settings: &Settings) -> Result<Arc<Shop>> {
    Ok(Arc::new(Shop {
        rules: Rules::read(&settings.shop)?,
        keyring: open_keyring(settings)?,
        provider: settings.payments.provider(),
        pay_within: TimeDelta::seconds(settings.shop.pay_within_s as i64),
    }))
}

fn open_keyring(settings: &Settings) -> Result<Arc<Keyring>> {
    let master = MasterKey::read(&settings.privacy.master_key_file)
        .context("privacy.master_key_file (KONTOR_PRIVACY__MASTER_KEY_FILE): the master key cannot be read")?;
    let keys = PgPoolOptions::new()
        .max_connections(KEY_CONNECTIONS_MAX)
        .test_before_acquire(false)
        .connect_lazy_with(options(&settings.log.url)?);
    Ok(Arc::new(Keyring::new(keys, master, &settings.privacy)))
}

/// The sender of mail, with connections of its own, so that mails and commands do not wait for each other's.
async fn notifications(
    settings: &Settings,
    executor: Option<&Arc<Executor>>,
    health: kontor_telemetry::Check,
    counts: Arc<NotificationCounts>,
) -> Result<Notifications> {
    let lock = options(&settings.log.url)?;
    let log_settings = LogSettings { lanes: 1, readers_max: 4, ..settings.log.log_settings() };
    let log = Log::open(lock.clone(), log_settings, upcast::released())
        .await
        .context("log.url (KONTOR_LOG__URL): the log cannot be opened; is it migrated?")?;
    // Not on disk at once: what a power cut takes from the outbox is taken from its checkpoint too, and done again.
    let unhurried = lock.clone().options([("synchronous_commit", "off")]);
    let outbox = PgPoolOptions::new().max_connections(3).test_before_acquire(false).connect_lazy_with(unhurried);
    // What was sealed here a moment ago is opened without asking for its key.
    let keyring = executor.map_or_else(|| open_keyring(settings), |executor| Ok(executor.shop().keyring.clone()))?;
    let office = PostOffice {
        settings: settings.mail.clone(),
        letters: Letters::new(log.clone(), executor.cloned(), keyring),
        templates: Templates::load(&settings.mail)?,
        mailer: Mailer::new(&settings.mail)?,
        counts,
    };
    Ok(Notifications {
        office: Arc::new(office),
        outbox: Outbox::new(outbox),
        log: log.reader(),
        lock,
        appended: executor.map(|executor| executor.log().appended()),
        health,
    })
}

async fn relay(
    settings: &Settings,
    executor: Option<&Arc<Executor>>,
    health: kontor_telemetry::Check,
    counts: Arc<RelayCounts>,
) -> Result<Relay> {
    let lock = options(&settings.relay.log_url)?;
    let pool = PgPoolOptions::new()
        .max_connections(2) // One batch is read while the one before is published.
        .test_before_acquire(false)
        .connect_with(lock.clone())
        .await
        .context("relay.log_url (KONTOR_RELAY__LOG_URL): the log cannot be reached")?;
    Ok(Relay {
        settings: settings.relay.clone(),
        log: LogReader::new(pool, Arc::new(upcast::Upcasters::default())), // Published as stored: readers upcast.
        lock,
        nats: NatsClient::connect(&settings.nats.url).await?,
        appended: executor.map(|executor| executor.log().appended()),
        health,
        counts,
    })
}

fn start_api(
    settings: &Settings,
    executor: Arc<Executor>,
    payments: Arc<Payments>,
    settlements: Settlements,
    telemetry: HttpTelemetry,
) -> Result<(ServerHandle, SocketAddr)> {
    let http = settings.http.clone();
    let (executor, settlements) = (Data::new(executor), Data::new(settlements));
    let payments = Data::from(payments);
    let verifier = Verifier::new(&settings.identity)
        .context("identity.public_key_file (KONTOR_IDENTITY__PUBLIC_KEY_FILE): the key of tokens cannot be read")?;
    let verifier = Data::new(verifier);
    let outbox = PgPoolOptions::new().max_connections(2).connect_lazy_with(options(&settings.log.url)?);
    let outbox = Data::new(Outbox::new(outbox));
    let server = HttpServer::new(move || {
        let http = http.clone();
        App::new()
            .wrap(from_fn(routes::name_trace))
            .wrap(kontor_api_docs::headers().add((CACHE_CONTROL, "no-store")))
            .wrap(telemetry.clone())
            .app_data(executor.clone())
            .app_data(payments.clone())
            .app_data(settlements.clone())
            .app_data(verifier.clone())
            .app_data(outbox.clone())
            .configure(move |config| routes::configure(config, &http))
    })
    .workers(settings.http.workers)
    .shutdown_timeout(settings.http.shutdown_timeout_s)
    .disable_signals()
    .bind(&settings.http.bind)
    .with_context(|| format!("http.bind (KONTOR_HTTP__BIND): {} cannot be listened on", settings.http.bind))?;
    let address = *server.addrs().first().context("http.bind (KONTOR_HTTP__BIND) names no address")?;
    let server = server.run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok((handle, address))
}

/// Tells `/readyz` whether the log answers.
async fn watch_log(log: Arc<Log>, health: kontor_telemetry::Check) {
    loop {
        match log.reader().head().await {
            Ok(_) => health.ok(),
            Err(error) => health.failing(error.to_string()),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Forgets old idempotency keys, in steps too small to be noticed.
async fn prune_keys(log: Arc<Log>, keep: Duration) {
    const MOST: i64 = 1_000;
    loop {
        let pause = match log.prune_keys(keep, MOST).await {
            Ok(MOST) => Duration::from_millis(200),
            Ok(_) => Duration::from_secs(600),
            Err(error) => {
                warn!(%error, "Old idempotency keys could not be pruned; it will be tried again");
                Duration::from_secs(60)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn options(url: &SecretUrl) -> Result<PgConnectOptions> {
    // The error would repeat the URL, and with it the password.
    let options: PgConnectOptions = url.expose().parse().map_err(|_| anyhow::anyhow!("{url} is no Postgres URL"))?;
    Ok(options.application_name("kontor-command").disable_statement_logging())
}

/// SIGTERM or SIGINT.
struct StopSignal {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignal {
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
