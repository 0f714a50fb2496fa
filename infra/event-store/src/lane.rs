//! One connection that appends batches, and what it does when that connection breaks.

use crate::append::{AppendError, Appended, StreamId};
use crate::arrays::{Arrays, JsonArray};
use crate::batch::{Queue, Waiting};
use crate::key::Kept;
use crate::log::Shared;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError};
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use uuid::Uuid;

const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Lane {
    options: PgConnectOptions,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    give_up_after: Duration,
    open: Option<PgConnection>,
    /// The server process of the last connection: it must be gone before the outcome of its work is asked for.
    backend: Option<i32>,
}

/// Why a batch was not appended.
enum Failure {
    /// A stream is at another version, or a key is known.
    Stale,
    /// The log has a new epoch.
    Epoch,
    /// The connection broke: the batch is in the log whole, or not at all.
    Broken(String),
    /// Try again: a lock or a resource could not be had.
    Later(String),
    /// One of the appends cannot be stored.
    Unfit(String),
}

impl Lane {
    pub fn new(options: PgConnectOptions, queue: Arc<Queue>, shared: Arc<Shared>, give_up_after: Duration) -> Self {
        Self { options, queue, shared, give_up_after, open: None, backend: None }
    }

    /// Appends batches until the queue is closed and empty.
    pub async fn run(mut self) {
        while let Some(batch) = self.queue.take().await {
            let (appends, streams) = batch.into_parts();
            self.append(appends).await;
            self.queue.release(streams);
        }
    }

    async fn append(&mut self, appends: Vec<Waiting>) {
        let deadline = Instant::now() + self.give_up_after;
        let nothing_known = HashMap::new();
        let mut appends = self.queue.sift(appends, HashMap::new(), &nothing_known);
        while !appends.is_empty() {
            let failure = match self.try_append(&appends).await {
                Ok(head) => return self.settle(appends, head),
                Err(failure) => failure,
            };
            appends = match failure {
                Failure::Stale => {
                    self.shared.counts.refused_batches.fetch_add(1, Ordering::Relaxed);
                    match in_time(self.give_up_after, self.inspect(&appends)).await {
                        Ok((versions, known)) => self.queue.sift(appends, versions, &known),
                        Err(error) => self.recover(appends, deadline, error.to_string()).await,
                    }
                }
                Failure::Epoch | Failure::Broken(_) if Instant::now() >= deadline => {
                    self.open = None; // It may hang: the next batch is not to wait for it again.
                    return self.give_up(appends, &failure);
                }
                Failure::Epoch => self.recover(appends, deadline, "the log has a new epoch".into()).await,
                Failure::Broken(reason) => self.recover(appends, deadline, reason).await,
                Failure::Later(_) if Instant::now() >= deadline => return self.give_up(appends, &failure),
                Failure::Later(reason) => {
                    warn!(%reason, "The log could not append a batch of {}; it will be tried again", appends.len());
                    sleep(RECONNECT_PAUSE).await;
                    appends
                }
                Failure::Unfit(reason) if appends.len() == 1 => {
                    return self.queue.refuse(appends, &AppendError::Refused { reason });
                }
                Failure::Unfit(_) => {
                    // The others must not suffer for it: each goes alone, in order.
                    for waiting in appends {
                        Box::pin(self.append(vec![waiting])).await;
                    }
                    return;
                }
            };
        }
    }

    fn give_up(&self, appends: Vec<Waiting>, failure: &Failure) {
        let reason = match failure {
            Failure::Broken(reason) | Failure::Later(reason) | Failure::Unfit(reason) => reason.clone(),
            Failure::Epoch | Failure::Stale => "the log keeps changing".into(),
        };
        warn!(%reason, "Gave up on {} appends: the log cannot be reached", appends.len());
        self.queue.refuse(appends, &AppendError::Unknown { reason });
    }

    fn settle(&self, mut appends: Vec<Waiting>, head: i64) {
        let counts = &self.shared.counts;
        let mut outcomes = Vec::with_capacity(appends.len());
        let mut position = head;
        for Waiting { append, .. } in &appends {
            position += append.streams.iter().map(|of_stream| of_stream.events.len() as i64).sum::<i64>();
            let first = &append.streams[0];
            let version = first.expected_version + first.events.len() as i64;
            outcomes.push(Appended { position, version, replayed: false });
        }
        counts.batches.fetch_add(1, Ordering::Relaxed);
        counts.appends.fetch_add(appends.len() as u64, Ordering::Relaxed);
        counts.events.fetch_add((position - head) as u64, Ordering::Relaxed);
        if position > head {
            // Two lanes may come here in the other order than they committed.
            self.shared.head.send_if_modified(|last| {
                let later = position > *last;
                *last = (*last).max(position);
                later
            });
        }
        self.shared.feed.tell(head, &mut appends);
        for (waiting, outcome) in appends.into_iter().zip(outcomes) {
            waiting.settle(Ok(outcome));
        }
    }

    /// One round trip, one commit. Returns the position before the first event.
    async fn try_append(&mut self, appends: &[Waiting]) -> Result<i64, Failure> {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        let are_there = |stream: &StreamId, sequence| self.shared.seen.has(epoch, stream, sequence);
        let arrays = Arrays::of(appends, are_there).ok_or(Failure::Stale)?;
        let Some(connection) = &mut self.open else {
            return Err(Failure::Broken("not connected".into()));
        };
        let call = sqlx::query_scalar(
            "select append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
             $17, $18, $19)",
        )
        .bind(epoch)
        .bind(&arrays.present.types)
        .bind(&arrays.present.ids)
        .bind(&arrays.present.sequences)
        .bind(&arrays.absent.types)
        .bind(&arrays.absent.ids)
        .bind(&arrays.absent.sequences)
        .bind(&arrays.keys)
        .bind(&arrays.fingerprints)
        .bind(&arrays.first_events)
        .bind(&arrays.last_events)
        .bind(&arrays.key_versions)
        .bind(&arrays.events.types)
        .bind(&arrays.events.ids)
        .bind(&arrays.events.sequences)
        .bind(&arrays.event_types)
        .bind(&arrays.event_versions)
        .bind(JsonArray(&arrays.payloads))
        .bind(JsonArray(&arrays.metadata))
        .fetch_one(connection);
        let head = in_time(self.give_up_after, call).await.map_err(Failure::of)?;
        self.shared.seen.note(epoch, appends);
        Ok(head)
    }

    /// The versions that the streams of `appends` are at, and the outcomes kept under their keys.
    async fn inspect(&mut self, appends: &[Waiting]) -> sqlx::Result<(HashMap<StreamId, i64>, HashMap<Uuid, Kept>)> {
        let connection = self.open.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let mut streams: Vec<&StreamId> =
            appends.iter().flat_map(|waiting| &waiting.append.streams).map(|of_stream| &of_stream.stream).collect();
        streams.sort_unstable();
        streams.dedup();
        let types: Vec<_> = streams.iter().map(|stream| stream.aggregate_type).collect();
        let ids: Vec<_> = streams.iter().map(|stream| stream.aggregate_id.as_str()).collect();
        let versions: Vec<i64> =
            sqlx::query_scalar("select stream_versions($1, $2)").bind(&types).bind(&ids).fetch_all(connection).await?;
        let versions = streams.into_iter().cloned().zip(versions).collect();
        Ok((versions, self.known_keys(appends).await?))
    }

    async fn known_keys(&mut self, appends: &[Waiting]) -> sqlx::Result<HashMap<Uuid, Kept>> {
        let connection = self.open.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        let keys: Vec<_> = appends.iter().map(|waiting| waiting.append.key.key).collect();
        crate::key::kept(connection, &keys).await
    }

    /// Connects anew and settles what the broken connection had done; returns what is still to be appended.
    async fn recover(&mut self, appends: Vec<Waiting>, deadline: Instant, reason: String) -> Vec<Waiting> {
        warn!(%reason, "The connection to the log broke with {} appends on it", appends.len());
        self.shared.counts.reconnects.fetch_add(1, Ordering::Relaxed);
        self.open = None;
        loop {
            let known = match self.connect().await {
                Ok(()) => in_time(self.give_up_after, self.known_keys(&appends)).await,
                Err(error) => Err(error),
            };
            match known {
                Ok(known) => return self.queue.sift(appends, HashMap::new(), &known),
                Err(error) if Instant::now() >= deadline => {
                    self.give_up(appends, &Failure::Broken(error.to_string()));
                    return Vec::new();
                }
                Err(_) => sleep(RECONNECT_PAUSE).await,
            }
        }
    }

    /// Connects and makes sure that the former connection does no more work on the server.
    pub async fn connect(&mut self) -> sqlx::Result<()> {
        in_time(self.give_up_after, self.connect_anew()).await
    }

    async fn connect_anew(&mut self) -> sqlx::Result<()> {
        let mut connection = self.options.connect().await?;
        if let Some(backend) = self.backend {
            let ended: bool = sqlx::query_scalar(
                "select coalesce((select pg_terminate_backend(pid, 5000) from pg_stat_activity
                  where pid = $1 and usename = current_user and pid <> pg_backend_pid()), true)",
            )
            .bind(backend)
            .fetch_one(&mut connection)
            .await?;
            if !ended {
                return Err(sqlx::Error::Protocol("the former connection is still at work".into()));
            }
        }
        let (epoch, backend): (i64, i32) =
            sqlx::query_as("select open_log(), pg_backend_pid()").fetch_one(&mut connection).await?;
        if self.backend.is_some() {
            *self.shared.reads_since.lock() = std::time::Instant::now();
        }
        let before = self.shared.epoch.load(Ordering::Acquire);
        if before != 0 && before != epoch {
            info!(before, epoch, "The log has a new epoch: all that was read before is read again");
            self.queue.forget_lineages();
        }
        // After forgetting, so that no lane appends in the new epoch what was decided in the old one.
        self.shared.epoch.store(epoch, Ordering::Release);
        self.backend = Some(backend);
        if let Some(former) = self.open.replace(connection) {
            let _ = former.close_hard().await; // It is of no use any more, whatever closing it says.
        }
        Ok(())
    }
}

/// Nothing that a lane asks of the log takes twice as long as it would try, unless the connection hangs.
async fn in_time<T>(give_up_after: Duration, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let stalled_after = give_up_after * 2;
    let stalled = |_| sqlx::Error::Protocol(format!("no answer within {} ms", stalled_after.as_millis()));
    timeout(stalled_after, answer).await.map_err(stalled)?
}

impl Failure {
    fn of(error: sqlx::Error) -> Self {
        let reason = error.to_string();
        let sqlx::Error::Database(database) = &error else {
            return match error {
                sqlx::Error::Encode(_) | sqlx::Error::ColumnDecode { .. } => Failure::Unfit(reason),
                _ => Failure::Broken(reason),
            };
        };
        let code = database.code().unwrap_or_default();
        let constraint = database.try_downcast_ref::<PgDatabaseError>().and_then(|error| error.constraint());
        match (&*code, constraint) {
            ("KT001", _) => Failure::Epoch,
            ("KT002", _) => Failure::Stale,
            ("23505", Some("idempotency_keys_pkey")) => Failure::Stale,
            ("23505", Some(constraint)) if constraint.starts_with("events_") => Failure::Stale,
            // A lock that could not be had, a resource that ran out: neither is the append's fault.
            ("40001" | "40P01" | "55P03" | "57014", _) => Failure::Later(reason),
            (code, _) if code.starts_with("53") => Failure::Later(reason),
            // The server is going down, or has become a standby.
            (code, _) if code.starts_with("57P") || code.starts_with("08") || code == "25006" => {
                Failure::Broken(reason)
            }
            _ => Failure::Unfit(reason),
        }
    }
}
