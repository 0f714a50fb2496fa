//! The end of the log, followed for all clients at once while there are any: one look at the replica tells them all. NATS says
//! when there is something to see; while it is away, and in case it misses something, the replica is looked at now and then.

use crate::past::{COLUMNS, Streams};
use crate::problem::Problem;
use crate::settings::{LiveSettings, NatsSettings};
use actix_web::web::Data;
use async_nats::{ConnectOptions, Message, Subscriber};
use cqrs_es::Aggregate;
use futures::stream::{SelectAll, select_all};
use futures::{FutureExt, StreamExt};
use kontor_domain::order::Order;
use kontor_domain::stock::Stock;
use kontor_event_schemas::{RecordedEvent, subject};
use kontor_telemetry::Metrics;
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Whose events are told.
const TYPES: [&str; 2] = [Order::TYPE, Stock::TYPE];
/// Of one look.
const EVENTS_MAX: i64 = 1_000;
/// A client that is further behind reads the log by itself.
const LOOKS_KEPT: usize = 64;
/// The replica has what NATS has told of within this time, or it is as good as not told.
const REPLICA_FOLLOWS_WITHIN: Duration = Duration::from_secs(1);
const REPLICA_PAUSE: Duration = Duration::from_millis(2);
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What listeners are told.
#[derive(Debug, Clone)]
pub enum Told {
    /// Events of orders and stock, in the order of their positions.
    Events(Arc<[RecordedEvent]>),
    /// Something may have happened that nobody was told of.
    LookAgain,
}

pub struct Hub {
    pub streams: Data<Streams>,
    pub settings: LiveSettings,
    /// Cancelled when the service ends.
    pub ending: CancellationToken,
    nats: NatsSettings,
    told: broadcast::Sender<Told>,
    listening: AtomicUsize,
    someone_listens: Notify,
    connections: Gauge,
}

impl Hub {
    pub fn new(streams: Data<Streams>, settings: LiveSettings, nats: NatsSettings, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Hub {
            streams,
            settings,
            ending: CancellationToken::new(),
            nats,
            told: broadcast::Sender::new(LOOKS_KEPT),
            listening: AtomicUsize::new(0),
            someone_listens: Notify::new(),
            connections: metrics.gauge("kontor_query_live_connections", "Clients that are told of changes"),
        })
    }

    /// From now on, without a gap after what is read from the log later.
    ///
    /// # Errors
    /// 503 `too-many-connections`.
    pub fn listen(self: &Arc<Self>) -> Result<Listener, Problem> {
        let most = self.settings.connections_max;
        let taken = self.listening.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| {
            (taken < most && !self.ending.is_cancelled()).then_some(taken + 1)
        });
        if taken.is_err() {
            return Err(Problem::too_many_connections(most));
        }
        self.connections.inc();
        let listener = Listener { told: self.told.subscribe(), hub: self.clone() };
        self.someone_listens.notify_one();
        Ok(listener)
    }

    /// What listeners are told, for one who has no place among them; nothing comes while they are none.
    pub fn news(&self) -> broadcast::Receiver<Told> {
        self.told.subscribe()
    }

    /// Follows the log while somebody listens.
    pub async fn run(self: Arc<Self>) {
        loop {
            if self.listening.load(Ordering::Acquire) == 0 {
                self.someone_listens.notified().await;
                continue;
            }
            if let Err(error) = self.follow().await {
                warn!("Clients are not told of changes until the log can be read: {error}");
                sleep(TROUBLE_PAUSE).await;
            }
        }
    }

    async fn follow(&self) -> sqlx::Result<()> {
        let mut news = self.subscribe().await;
        let mut tail = self.head().await?;
        // Whoever has looked before us may have missed what came in between.
        let _ = self.told.send(Told::LookAgain);
        while self.listening.load(Ordering::Acquire) > 0 {
            let heard = timeout(Duration::from_millis(self.settings.poll_interval_ms), self.hear(&mut news)).await;
            let heard = heard.unwrap_or_default();
            let begun = Instant::now();
            loop {
                tail = self.look(tail).await?;
                if tail >= heard || begun.elapsed() > REPLICA_FOLLOWS_WITHIN {
                    break;
                }
                sleep(REPLICA_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Until NATS tells of an event: of which position.
    async fn hear(&self, news: &mut SelectAll<Subscriber>) -> i64 {
        let Some(message) = news.next().await else { return std::future::pending().await };
        let mut heard = position(&message);
        // One look is enough for all that is there already.
        while let Some(Some(message)) = news.next().now_or_never() {
            heard = heard.max(position(&message));
        }
        heard
    }

    /// Tells what is new after `tail`. Returns up to where that was.
    async fn look(&self, mut tail: i64) -> sqlx::Result<i64> {
        let head = self.head().await?;
        while tail < head {
            let up_to = head.min(tail + EVENTS_MAX);
            // Nothing is looked up by the type: with statistics of a smaller log, Postgres would look for all events of these
            // types that there are.
            let rows = sqlx::query(&format!(
                "select {COLUMNS} from public.events e
                 where e.position > $1 and e.position <= $2 and e.aggregate_type || '' = any($3) order by e.position"
            ))
            .bind(tail)
            .bind(up_to)
            .bind(TYPES)
            .fetch_all(self.streams.replica())
            .await?;
            if !rows.is_empty() {
                let _ = self.told.send(Told::Events(self.streams.recorded(&rows)?.into()));
            }
            tail = up_to;
        }
        Ok(tail)
    }

    async fn head(&self) -> sqlx::Result<i64> {
        let head = "select coalesce(max(position), 0) from public.log_batches";
        sqlx::query_scalar(head).fetch_one(self.streams.replica()).await
    }

    /// Nothing if there is no NATS; once connected, the client finds back to it by itself.
    async fn subscribe(&self) -> SelectAll<Subscriber> {
        let Some(url) = &self.nats.url else { return select_all([]) };
        let options = ConnectOptions::new().name("kontor-query").retry_on_initial_connect();
        let subscribe = async {
            let client = options.connect(url.expose()).await?;
            let mut subscribers = Vec::new();
            for aggregate_type in TYPES {
                subscribers.push(client.subscribe(format!("kontor.v1.{aggregate_type}.>")).await?);
            }
            Ok::<_, async_nats::Error>(subscribers)
        };
        match timeout(CONNECT_WITHIN, subscribe).await {
            Ok(Ok(subscribers)) => select_all(subscribers),
            Ok(Err(error)) => {
                warn!("The replica is looked at every {} ms: NATS: {error}", self.settings.poll_interval_ms);
                select_all([])
            }
            Err(_) => select_all([]),
        }
    }
}

fn position(message: &Message) -> i64 {
    let header = message.headers.as_ref().and_then(|headers| headers.get(subject::POSITION));
    header.and_then(|text| text.as_str().parse().ok()).unwrap_or_default()
}

/// One who is told, until dropped.
pub struct Listener {
    pub told: broadcast::Receiver<Told>,
    pub hub: Arc<Hub>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hub.listening.fetch_sub(1, Ordering::AcqRel);
        self.hub.connections.dec();
    }
}
