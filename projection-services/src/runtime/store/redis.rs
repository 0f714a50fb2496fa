//! Rows in Redis: a prefix for each generation, and one key that says which of them queries see.
//!
//! Checkpoint and fence are beside the rows, and written with them; the control tables have a copy. Redis may lose all it
//! has: a generation that is gone is filled again from the log, and one that has become older goes on from where it is. Queries
//! ask Postgres until it is where it was.

mod scripts;
mod view;
mod writer;

use super::{Row, Rows, Store, StoreError, StoreOptions, Writer};
use crate::runtime::dead_letters;
use crate::runtime::generation::{Generation, State};
use crate::runtime::lanes::{LANES, Mark, Progress};
use crate::runtime::lease::Lease;
use crate::runtime::projection::{ApplyError, Event, Projection};
use futures::FutureExt;
use futures::future::BoxFuture;
use kontor_redis::keys;
use redis::Value;
use redis::aio::ConnectionManager;
use scripts::{SHOW, TAKE};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing::warn;
use writer::RedisWriter;

pub use view::View;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Keys that are looked at or dropped at once.
const PAGE: usize = 1_000;
/// How long whoever reads all rows keeps its writer waiting after it has died.
const HOLD: Duration = Duration::from_secs(10);

/// A projection whose rows are in Redis.
pub trait RedisProjection: Projection {
    /// Folds `events`, in the order of their positions, into what `view` shows. Must assign, not add: after a crash it may see
    /// events whose effect is there.
    fn apply<'a>(&'a self, view: &'a mut View<'_>, events: &'a [Event]) -> BoxFuture<'a, Result<(), StoreError>>;
}

/// Keeps one projection in Redis.
pub struct RedisStore {
    projection: Arc<dyn RedisProjection>,
    redis: Option<kontor_redis::Redis>,
    connection: OnceLock<ConnectionManager>,
    control: PgPool,
}

/// Keys of a generation.
#[derive(Debug, Clone)]
struct Names {
    prefix: String,
    checkpoint: String,
    /// There while somebody reads all rows.
    hold: String,
    live: String,
}

impl Names {
    fn of(generation: &Generation) -> Names {
        let prefix = keys::prefix(generation);
        Names {
            checkpoint: format!("{prefix}{}", keys::CHECKPOINT),
            hold: format!("{prefix}hold"),
            live: keys::live(&generation.projection),
            prefix,
        }
    }
}

impl RedisStore {
    pub fn of(projection: Arc<dyn RedisProjection>, options: &StoreOptions) -> Arc<dyn Store> {
        let control = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false) // A round trip for each batch otherwise; a dead connection is seen by its error.
            .connect_lazy_with(options.postgres.clone());
        let redis = options.redis.clone();
        Arc::new(RedisStore { projection, redis, connection: OnceLock::new(), control })
    }

    fn connection(&self) -> Result<ConnectionManager, StoreError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        let made = self.redis.as_ref().ok_or(StoreError::NoRedis)?.connection(TIMEOUT)?;
        Ok(self.connection.get_or_init(|| made).clone())
    }

    /// Takes the generation for the holder of the lease, and clears away what is left of one whose checkpoint is gone.
    async fn take(&self, names: &Names, generation: &Generation, fence: i64) -> Result<(), StoreError> {
        let mut connection = self.connection()?;
        // Queries are to see what they have seen before, or all that there is if they have not seen anything yet.
        let is_live = generation.state == State::Live;
        let mut shown_from = if is_live { generation.position } else { 0 };
        for make in ["", "new"] {
            let mut take = TAKE.key(&names.checkpoint);
            take.key(&names.live).arg(&names.prefix).arg(fence);
            take.arg(if is_live { "live" } else { "" }).arg(shown_from).arg(make);
            let answer: String = take.invoke_async(&mut connection).await?;
            match answer.as_str() {
                "taken" => return Ok(()),
                "fenced" => return Err(StoreError::Fenced),
                _ => {}
            }
            if generation.position > 0 {
                warn!(%generation, "Redis has lost generation {generation}: it is filled again from the log");
            }
            if is_live {
                shown_from = sqlx::query_scalar("select coalesce(max(position), 0) from log_batches")
                    .fetch_one(&self.control)
                    .await?;
            }
            clear(&mut connection, &names.prefix).await?;
        }
        Err(StoreError::Lost)
    }
}

impl Store for RedisStore {
    fn kind(&self) -> &'static str {
        "redis"
    }

    fn create<'a>(&'a self, _: &'a mut PgConnection, _: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        async { Ok(()) }.boxed() // It is made when it is opened, as one that was lost.
    }

    fn open<'a>(
        &'a self,
        generation: &'a Generation,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<Box<dyn Writer>, StoreError>> {
        async move {
            let (connection, names) = (self.connection()?, Names::of(generation));
            self.take(&names, generation, lease.fence).await?;
            let writer = RedisWriter {
                projection: self.projection.clone(),
                progress: progress(&mut connection.clone(), &names).await?,
                connection,
                control: self.control.clone(),
                names,
                lease: lease.clone(),
                is_live: generation.state == State::Live,
            };
            writer.copy(writer.progress.mark).await?;
            Ok(Box::new(writer) as Box<dyn Writer>)
        }
        .boxed()
    }

    fn show<'a>(
        &'a self,
        _: &'a mut PgConnection,
        generation: &'a Generation,
        before: Option<&'a Generation>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            // The first one is shown by its worker, when it has come to where the log is. If the transaction does not
            // commit, the worker of the one before shows that again when it opens it.
            if before.is_some() {
                let names = Names::of(generation);
                let mut show = SHOW.key(&names.checkpoint);
                let _: Value = show.key(&names.live).arg(&names.prefix).invoke_async(&mut self.connection()?).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn rows<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Rows, StoreError>> {
        async move {
            let (mut connection, names) = (self.connection()?, Names::of(generation));
            hold(&mut connection, &names).await?;
            let read = async {
                let progress = progress(&mut connection, &names).await?;
                let letters = dead_letters::list(&self.control, generation).await?;
                let passed_over = letters.into_iter().map(|letter| letter.position).collect();
                Ok(Rows { progress, passed_over, rows: rows(&mut connection, &names).await? })
            };
            let read = read.await;
            let _: Value = redis::cmd("DEL").arg(&names.hold).query_async(&mut self.connection()?).await?;
            read
        }
        .boxed()
    }

    fn remove<'a>(
        &'a self,
        _: &'a mut PgConnection,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let (mut connection, names) = (self.connection()?, Names::of(generation));
            // The checkpoint first: without it nobody writes.
            let _: Value = redis::cmd("DEL").arg(&names.checkpoint).query_async(&mut connection).await?;
            clear(&mut connection, &names.prefix).await
        }
        .boxed()
    }
}

/// How far the generation is, as its checkpoint says.
async fn progress(connection: &mut ConnectionManager, names: &Names) -> Result<Progress, StoreError> {
    let found: HashMap<String, String> = redis::cmd("HGETALL").arg(&names.checkpoint).query_async(connection).await?;
    let number = |field: &str| -> Result<i64, StoreError> {
        let value = found.get(field).ok_or(StoreError::Lost)?;
        value.parse().map_err(|_| contradiction(&names.checkpoint, field))
    };
    let log_epoch = number("log_epoch")?;
    let event_id = found.get("event_id").filter(|id| !id.is_empty());
    let event_id = event_id.map(|id| id.parse()).transpose();
    let event_id = event_id.map_err(|_| contradiction(&names.checkpoint, "event_id"))?;
    let mut progress =
        Progress { mark: Mark { position: number("position")?, event_id, log_epoch }, ..Progress::default() };
    for lane in 0..LANES {
        let field = format!("lane:{lane}");
        let Some(value) = found.get(&field) else { continue };
        let (position, event_id) = value.split_once(' ').unzip();
        let position = position.unwrap_or(value).parse().map_err(|_| contradiction(&names.checkpoint, &field))?;
        let event_id = event_id.map(str::parse).transpose();
        let event_id = event_id.map_err(|_| contradiction(&names.checkpoint, &field))?;
        progress.ahead[lane] = Mark { position, event_id, log_epoch };
    }
    Ok(progress)
}

fn contradiction(key: &str, field: &str) -> StoreError {
    ApplyError::Contradiction(format!("{field} of {key} is unreadable")).into()
}

/// Drops all keys that begin with `prefix`, a page at a time.
async fn clear(connection: &mut ConnectionManager, prefix: &str) -> Result<(), StoreError> {
    let mut cursor = 0;
    loop {
        let (next, keys) = scan(connection, prefix, cursor).await?;
        if !keys.is_empty() {
            let _: Value = redis::cmd("UNLINK").arg(&keys).query_async(connection).await?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}

async fn scan(connection: &mut ConnectionManager, prefix: &str, cursor: u64) -> Result<(u64, Vec<String>), StoreError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(PAGE);
    Ok(scan.query_async(connection).await?)
}

async fn hold(connection: &mut ConnectionManager, names: &Names) -> Result<(), StoreError> {
    let mut hold = redis::cmd("SET");
    let _: Value = hold.arg(&names.hold).arg("").arg("PX").arg(HOLD.as_millis() as u64).query_async(connection).await?;
    Ok(())
}

/// Every row, by digest. Nothing is written meanwhile.
async fn rows(connection: &mut ConnectionManager, names: &Names) -> Result<Vec<Row>, StoreError> {
    let (mut cursor, mut found) = (0, HashMap::new()); // A scan may tell of a key twice.
    loop {
        let (next, keys) = scan(connection, &names.prefix, cursor).await?;
        let keys: Vec<_> = keys.into_iter().filter(|key| *key != names.checkpoint && *key != names.hold).collect();
        let mut ask = redis::pipe();
        for key in &keys {
            let is_set = key[names.prefix.len()..].starts_with("set:");
            ask.cmd(if is_set { "SMEMBERS" } else { "GET" }).arg(key);
        }
        let values: Vec<Value> = if keys.is_empty() { vec![] } else { ask.query_async(connection).await? };
        for (key, value) in keys.into_iter().zip(values) {
            let mut parts = match value {
                Value::Array(members) | Value::Set(members) => members,
                value => vec![value],
            };
            parts.sort_by_key(|part| if let Value::BulkString(part) = part { part.clone() } else { vec![] });
            let mut digest = Sha256::new();
            for part in parts {
                if let Value::BulkString(part) = part {
                    digest.update((part.len() as u64).to_be_bytes());
                    digest.update(part);
                }
            }
            let digest: [u8; 32] = digest.finalize().into();
            let (half, _) = digest.split_first_chunk().expect("32 bytes have 16");
            found.insert(key[names.prefix.len()..].to_owned(), u128::from_be_bytes(*half));
        }
        hold(connection, names).await?;
        if next == 0 {
            break;
        }
        cursor = next;
    }
    let mut tables: HashMap<String, Arc<str>> = HashMap::new();
    let mut rows: Vec<_> = found
        .into_iter()
        .map(|(key, digest)| {
            let (table, key) = key.split_once(':').unwrap_or(("", &key));
            let table = tables.entry(table.to_owned()).or_insert_with(|| table.into()).clone();
            Row { table, key: key.to_owned(), digest }
        })
        .collect();
    rows.sort_by(|a, b| (&a.table, &a.key).cmp(&(&b.table, &b.key)));
    Ok(rows)
}
