//! One client that is told: every event of some streams after the last one it has, in the order of the log, each once.

use super::hub::{Listener, Told};
use crate::past::COLUMNS;
use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Bytes;
use futures::{Stream, StreamExt};
use kontor_event_schemas::RecordedEvent;
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, interval, sleep_until};
use tracing::error;

/// Of one look at the log.
const EVENTS_MAX: i64 = 500;
/// How soon a client comes back, in milliseconds.
const RETRY_MS: u32 = 2_000;

/// What a client is told of one event.
pub trait Voice {
    const EVENT: &'static str;
    type Update: Serialize;

    fn update(&mut self, event: &RecordedEvent) -> sqlx::Result<Self::Update>;
}

pub struct Connection<V> {
    listener: Listener,
    voice: V,
    aggregate_type: &'static str,
    /// The version of each stream up to which the client has been told.
    versions: BTreeMap<String, i64>,
    /// Said, and not sent yet.
    out: String,
    heartbeat: Interval,
    ends_at: Instant,
}

impl<V: Voice + 'static> Connection<V> {
    /// `versions`: of each stream, the last that the client has.
    pub fn new(
        listener: Listener,
        voice: V,
        (aggregate_type, versions): (&'static str, BTreeMap<String, i64>),
    ) -> Self {
        let (heartbeat, ends_at) = heartbeat(&listener);
        Connection { listener, voice, aggregate_type, versions, out: String::new(), heartbeat, ends_at }
    }

    /// Tells the client of an event, unless it has it. `false`: there is one before it that it has not.
    pub fn tell(&mut self, event: &RecordedEvent) -> sqlx::Result<bool> {
        let Some(version) = self.versions.get_mut(event.aggregate_id.as_str()) else { return Ok(true) };
        if event.aggregate_type != self.aggregate_type || event.sequence <= *version {
            return Ok(true);
        }
        if event.sequence > *version + 1 {
            return Ok(false);
        }
        *version = event.sequence;
        let update = self.voice.update(event)?;
        self.say(event.position, &update);
        Ok(true)
    }

    /// Says something with the position of the event that made it so.
    pub fn say(&mut self, position: i64, update: &V::Update) {
        let data = serde_json::to_string(update).expect("updates have a JSON form");
        let _ = write!(self.out, "id: {position}\nevent: {}\ndata: {data}\n\n", V::EVENT);
    }

    /// Tells what is in the log and has not been told.
    pub async fn look(&mut self) -> sqlx::Result<()> {
        loop {
            let (ids, versions): (Vec<&str>, Vec<i64>) =
                self.versions.iter().map(|(id, version)| (id.as_str(), *version)).unzip();
            let rows = sqlx::query(&format!(
                "select e.* from unnest($2::text[], $3::bigint[]) as s (id, version) cross join lateral (
                     select {COLUMNS} from public.events e
                     where e.aggregate_type = $1 and e.aggregate_id = s.id and e.sequence > s.version
                     order by e.sequence limit $4
                 ) e order by e.position limit $4"
            ))
            .bind(self.aggregate_type)
            .bind(ids)
            .bind(versions)
            .bind(EVENTS_MAX)
            .fetch_all(self.listener.hub.streams.replica())
            .await?;
            let events = self.listener.hub.streams.recorded(&rows)?;
            for event in &events {
                self.tell(event)?;
            }
            if (events.len() as i64) < EVENTS_MAX {
                return Ok(());
            }
        }
    }

    /// The answer, which goes on until the client goes, the service ends, or it has lasted long enough.
    pub fn answer(self) -> HttpResponse {
        answer_with(futures::stream::unfold(self, async |mut connection| {
            let text = connection.next().await?;
            Some((text, connection))
        }))
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if !self.out.is_empty() {
                return Some(std::mem::take(&mut self.out));
            }
            let ending = self.listener.hub.ending.clone();
            let heard = tokio::select! {
                () = ending.cancelled() => return None,
                () = sleep_until(self.ends_at) => return None,
                told = self.listener.told.recv() => self.hear(told).await,
                _ = self.heartbeat.tick() => {
                    self.out.push_str(": still here\n\n");
                    Ok(())
                }
            };
            if let Err(reason) = heard {
                // The client comes back, and goes on from where it is.
                error!("Somebody is not told of changes any more: {reason}");
                return None;
            }
        }
    }

    async fn hear(&mut self, told: Result<Told, RecvError>) -> sqlx::Result<()> {
        if let Ok(Told::Events(events)) = told {
            for event in &*events {
                if !self.tell(event)? {
                    return self.look().await;
                }
            }
            return Ok(());
        }
        self.look().await
    }
}

/// When a client is told that it is still connected, and when it has to come back.
pub fn heartbeat(listener: &Listener) -> (Interval, Instant) {
    let settings = &listener.hub.settings;
    let lasts = Duration::from_secs(settings.lasts_max_s);
    (interval(Duration::from_secs(settings.heartbeat_s)), Instant::now() + lasts)
}

/// An answer of what is told, after when to come back.
pub fn answer_with(told: impl Stream<Item = String> + 'static) -> HttpResponse {
    let begin = futures::stream::once(std::future::ready(format!("retry: {RETRY_MS}\n\n")));
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no")) // Of proxies that would wait for the end.
        .streaming(begin.chain(told).map(|text| Ok::<_, Infallible>(Bytes::from(text))))
}
