//! Sales as they are at the moment, live: of this minute, this hour and this day of business time, UTC.
//!
//! Figures are what is, not what has happened, so an update replaces the one before, and one that was missed is not missed: who
//! comes back is told what is now. `Last-Event-ID` keeps a replica that is behind from telling less than the client knows.

use super::connection::{answer_with, heartbeat};
use super::hub::{Hub, Listener, Told};
use super::{LastEventIdHeader, last_told};
use crate::analytics::PROJECTION;
use crate::consistency::{MinPosition, Positions, undisturbed};
use crate::openapi::{MinPositionHeader, Refused};
use crate::parameters::Parameters;
use crate::problem::Problem;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use kontor_domain::order::Order;
use kontor_projection_services::projections::analytics::Resolution;
use serde::Serialize;
use sqlx::{FromRow, PgPool, Row};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::{Instant, Interval, sleep, sleep_until, timeout};
use tracing::warn;
use utoipa::ToSchema;

/// However much is sold, the tables are not looked at more often.
const LOOKS_APART: Duration = Duration::from_millis(50);
/// The read model has what the log has told of within this time, or it is waited for no longer.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(1);
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);
const SHOWN: [Resolution; 3] = [Resolution::Minute, Resolution::Hour, Resolution::Day];

/// What is sold at the moment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FiguresUpdate {
    pub minute: BucketFigures,
    pub hour: BucketFigures,
    pub day: BucketFigures,
}

/// One bucket, as far as it has come.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BucketFigures {
    /// Where it begins. Business time, UTC.
    pub at: DateTime<Utc>,
    /// Each in which something has happened.
    pub currencies: Vec<CurrencyFigures>,
}

/// Amounts are minor units.
#[derive(Debug, Clone, PartialEq, Serialize, FromRow, ToSchema)]
pub struct CurrencyFigures {
    pub currency: String,
    pub orders: i64,
    pub units: i64,
    pub sales_minor: i64,
    pub cancellations: i64,
    pub cancelled_minor: i64,
    pub returned_minor: i64,
    /// Carts that were opened, and those of them that were checked out.
    pub carts: i64,
    pub converted_carts: i64,
}

/// Looks at the read model for all who are told, while there are any.
pub struct Figures {
    hub: Arc<Hub>,
    replica: PgPool,
    latest: watch::Sender<Option<(i64, FiguresUpdate)>>,
    someone_listens: Notify,
}

impl Figures {
    pub fn new(hub: Arc<Hub>, replica: PgPool) -> Arc<Self> {
        Arc::new(Figures { hub, replica, latest: watch::Sender::default(), someone_listens: Notify::new() })
    }

    pub async fn run(self: Arc<Self>) {
        loop {
            if self.latest.receiver_count() == 0 {
                self.someone_listens.notified().await;
                continue;
            }
            if let Err(error) = self.follow().await {
                warn!("Nobody is told of sales until the read model can be read: {error}");
                sleep(TROUBLE_PAUSE).await;
            }
        }
    }

    async fn follow(&self) -> sqlx::Result<()> {
        let mut news = self.hub.news();
        let pause = Duration::from_millis(self.hub.settings.poll_interval_ms);
        let mut awaited = 0;
        let mut heard_at = Instant::now();
        while self.latest.receiver_count() > 0 {
            let (position, figures) = undisturbed(|| self.look(Utc::now())).await?;
            self.latest.send_if_modified(|latest| {
                let is_new = latest.as_ref().is_none_or(|(_, known)| *known != figures);
                if is_new {
                    *latest = Some((position, figures));
                }
                is_new
            });
            sleep(LOOKS_APART).await;
            if position >= awaited || heard_at.elapsed() > FOLLOWS_WITHIN {
                awaited = timeout(pause, order_told(&mut news)).await.unwrap_or_default();
                heard_at = Instant::now();
            }
        }
        Ok(())
    }

    /// The figures at a time, and the position up to which they are true. One statement is one snapshot.
    async fn look(&self, now: DateTime<Utc>) -> sqlx::Result<(i64, FiguresUpdate)> {
        let begins = SHOWN.map(|resolution| resolution.floor(now));
        let rows = sqlx::query(
            "with bucket as (
                 select * from unnest($1::smallint[], $2::timestamptz[]) as b (resolution, at)
             ), each_row as (
                 select b.resolution, t.currency, t.orders, t.units, t.sales_minor, t.cancellations, t.cancelled_minor,
                     t.returned_minor, 0::bigint as carts, 0::bigint as converted
                 from bucket b join analytics_by_country t using (resolution, at)
                 union all
                 select b.resolution, t.currency, 0, 0, 0, 0, 0, 0, t.carts, t.converted
                 from bucket b join analytics_by_cart t using (resolution, at)
             )
             select coalesce(c.position, 0) as reached, f.*
             from (select 1) as always
             left join checkpoints c on c.projection = $3
             left join (
                 select resolution, currency, sum(orders)::bigint as orders, sum(units)::bigint as units,
                     sum(sales_minor)::bigint as sales_minor, sum(cancellations)::bigint as cancellations,
                     sum(cancelled_minor)::bigint as cancelled_minor, sum(returned_minor)::bigint as returned_minor,
                     sum(carts)::bigint as carts, sum(converted)::bigint as converted_carts
                 from each_row group by resolution, currency
             ) f on true
             order by f.currency collate \"C\"",
        )
        .bind(SHOWN.map(Resolution::code))
        .bind(begins)
        .bind(PROJECTION)
        .fetch_all(&self.replica)
        .await?;
        let bucket = |place: usize| {
            let mut currencies = Vec::new();
            for row in &rows {
                if row.try_get::<Option<i16>, _>("resolution")? == Some(SHOWN[place].code()) {
                    currencies.push(CurrencyFigures::from_row(row)?);
                }
            }
            Ok::<_, sqlx::Error>(BucketFigures { at: begins[place], currencies })
        };
        let figures = FiguresUpdate { minute: bucket(0)?, hour: bucket(1)?, day: bucket(2)? };
        Ok((rows[0].try_get("reached")?, figures))
    }
}

/// Until something happens to an order: at which position; 0: unknown.
async fn order_told(news: &mut broadcast::Receiver<Told>) -> i64 {
    loop {
        match news.recv().await {
            Ok(Told::Events(events)) => {
                let of_orders = events.iter().filter(|event| event.aggregate_type == Order::TYPE);
                if let Some(position) = of_orders.map(|event| event.position).max() {
                    return position;
                }
            }
            Ok(Told::LookAgain) | Err(broadcast::error::RecvError::Lagged(_)) => return 0,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

#[utoipa::path(
    get,
    path = "/v1/analytics/live",
    params(LastEventIdHeader, MinPositionHeader),
    responses((status = 200, body = FiguresUpdate, content_type = "text/event-stream"), Refused)
)]
/// What is sold in this minute, hour and day, live. 503 `too-many-connections`.
pub async fn analytics(
    request: HttpRequest,
    MinPosition(min): MinPosition,
    positions: Data<Positions>,
    figures: Data<Figures>,
) -> Result<HttpResponse, Problem> {
    Parameters::of(&request, &[])?;
    let min = MinPosition(min.max(last_told(&request)?.unwrap_or_default()));
    let listener = figures.hub.listen()?;
    let latest = figures.latest.subscribe();
    figures.someone_listens.notify_one();
    let (position, now) = positions.reflect(PROJECTION, min, async || figures.look(Utc::now()).await).await?;
    let (heartbeat, ends_at) = heartbeat(&listener);
    let mut client =
        Client { _listener: listener, figures: figures.into_inner(), latest, told: None, heartbeat, ends_at };
    let first = client.say(position, now);
    let told = futures::stream::unfold((client, first), async |(mut client, said)| match said {
        Some(said) => Some((said, (client, None))),
        None => client.next().await.map(|said| (said, (client, None))),
    });
    Ok(answer_with(told))
}

/// One who is told.
struct Client {
    /// Its place, until it goes.
    _listener: Listener,
    figures: Arc<Figures>,
    latest: watch::Receiver<Option<(i64, FiguresUpdate)>>,
    told: Option<(i64, FiguresUpdate)>,
    heartbeat: Interval,
    ends_at: Instant,
}

impl Client {
    /// The text of an update, unless the client knows as much.
    fn say(&mut self, position: i64, update: FiguresUpdate) -> Option<String> {
        if self.told.as_ref().is_some_and(|(known_at, known)| *known_at > position || *known == update) {
            return None;
        }
        let mut text = String::new();
        let data = serde_json::to_string(&update).expect("updates have a JSON form");
        let _ = write!(text, "id: {position}\nevent: analytics\ndata: {data}\n\n");
        self.told = Some((position, update));
        Some(text)
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            tokio::select! {
                () = self.figures.hub.ending.cancelled() => return None,
                () = sleep_until(self.ends_at) => return None,
                changed = self.latest.changed() => {
                    changed.ok()?;
                    let latest = self.latest.borrow_and_update().clone();
                    if let Some(text) = latest.and_then(|(position, update)| self.say(position, update)) {
                        return Some(text);
                    }
                }
                _ = self.heartbeat.tick() => return Some(": still here\n\n".to_owned()),
            }
        }
    }
}
