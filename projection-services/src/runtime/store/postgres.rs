//! Rows in Postgres: a schema for each generation, and views of the live one in schema `projections`.

use super::{Batch, Row, Rows, Store, StoreError, StoreOptions, Writer};
use crate::runtime::dead_letters;
use crate::runtime::generation::{self, Generation};
use crate::runtime::lanes::{Mark, Progress};
use crate::runtime::lease::Lease;
use crate::runtime::projection::{ApplyError, Event, Projection};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use parking_lot::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, FromRow, PgConnection, PgPool, Postgres};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A connection without work for so long is closed, but for one: whoever writes a generation has a pool.
const IDLE: Duration = Duration::from_secs(10);

/// A projection whose rows are in Postgres.
pub trait PostgresProjection: Projection {
    /// SQL that makes its tables. Names are unqualified, and no other projection's: they become those of views that queries
    /// see. Each table has a primary key.
    fn tables(&self) -> &'static str;

    /// Folds `events`, in the order of their positions, into the tables, which `view` finds by their names alone. Runs in the
    /// transaction that also writes the checkpoint, so it may be repeated after an error but never sees an event whose effect
    /// is already there. Beside it may run another with events of other aggregates.
    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>>;
}

/// Keeps one projection in Postgres.
pub struct PostgresStore {
    projection: Arc<dyn PostgresProjection>,
    options: PgConnectOptions,
    writers_max: usize,
}

impl PostgresStore {
    pub fn of(projection: Arc<dyn PostgresProjection>, options: &StoreOptions) -> Arc<dyn Store> {
        let StoreOptions { postgres, writers_max, .. } = options.clone();
        Arc::new(PostgresStore { projection, options: postgres, writers_max })
    }

    /// Connections that find the tables of a generation by their names alone.
    fn options(&self, generation: &Generation) -> PgConnectOptions {
        self.options.clone().options([
            ("search_path", generation.to_string().as_str()),
            // Rows are found by their keys. A plan made while a table was small would go on reading all of it for each
            // batch.
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            // So there is one plan for each statement, and it need not be made for each batch.
            ("plan_cache_mode", "force_generic_plan"),
        ])
    }
}

/// Who may read what projectors write.
const READERS: &str = "kontor_query, kontor_auditor";

impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn create<'a>(
        &'a self,
        control: &'a mut PgConnection,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let Generation { projection, generation: number, .. } = generation;
            let tables = self.projection.tables();
            let statements = format!(
                "create schema {generation};
                 grant usage on schema {generation} to {READERS};
                 set local search_path = {generation};
                 {tables}
                 create view checkpoints as select projection, position from projections.generations
                     where projection = '{projection}' and generation = {number};
                 grant select on all tables in schema {generation} to {READERS};
                 set local search_path to default"
            );
            control.execute(statements.as_str()).await?;
            Ok(())
        }
        .boxed()
    }

    fn open<'a>(
        &'a self,
        generation: &'a Generation,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<Box<dyn Writer>, StoreError>> {
        async move {
            let pool = PgPoolOptions::new()
                .max_connections(self.writers_max as u32)
                .min_connections(1)
                .idle_timeout(IDLE) // Those who have caught up write one transaction at a time.
                .acquire_timeout(Duration::from_secs(10))
                .test_before_acquire(false) // A round trip for each batch otherwise; a dead connection is seen by its error.
                .connect_lazy_with(self.options(generation));
            let progress = progress(&mut *pool.acquire().await?, generation).await?;
            let projection = self.projection.clone();
            let (lease, at_hand) = (lease.clone(), Mutex::default());
            Ok(Box::new(PostgresWriter { projection, pool, at_hand, lease, progress }) as Box<dyn Writer>)
        }
        .boxed()
    }

    fn settle<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            // Without statistics queries are planned for tables that are all but empty, and read all of them.
            let mut view = self.options(generation).connect().await?;
            for (table, _) in tables(&mut view, generation).await? {
                view.execute(format!("analyze \"{table}\"").as_str()).await?;
            }
            view.close().await?;
            Ok(())
        }
        .boxed()
    }

    fn show<'a>(
        &'a self,
        control: &'a mut PgConnection,
        generation: &'a Generation,
        before: Option<&'a Generation>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            // A view with other columns cannot be replaced, and is made anew: plans that queries have kept notice either.
            let statements = format!(
                "do $$
                 declare
                     name text;
                 begin
                     for name in select relname from pg_class
                         where relnamespace = '{generation}'::regnamespace and relkind = 'r' order by relname
                     loop
                         begin
                             execute format('create or replace view projections.%I as select * from {generation}.%I',
                                 name, name);
                         exception when invalid_table_definition then
                             execute format('drop view projections.%I', name);
                             execute format('create view projections.%I as select * from {generation}.%I', name, name);
                         end;
                         execute format('grant select on projections.%I to {READERS}', name);
                     end loop;
                 end $$"
            );
            control.execute(statements.as_str()).await?;
            let Some(before) = before else { return Ok(()) };
            let statements = format!(
                "do $$
                 declare
                     name text;
                 begin
                     for name in select relname from pg_class o
                         where relnamespace = to_regnamespace('{before}') and relkind = 'r' and not exists (
                             select from pg_class where relnamespace = '{generation}'::regnamespace and relname = o.relname
                         )
                     loop
                         execute format('drop view if exists projections.%I', name);
                     end loop;
                 end $$"
            );
            control.execute(statements.as_str()).await?;
            Ok(())
        }
        .boxed()
    }

    fn rows<'a>(&'a self, generation: &'a Generation) -> BoxFuture<'a, Result<Rows, StoreError>> {
        async move {
            let mut connection = self.options(generation).connect().await?;
            let mut view = connection.begin().await?;
            view.execute("set transaction isolation level repeatable read, read only; set local statement_timeout = 0")
                .await?;
            let (projection, number) = (&generation.projection, generation.generation);
            let found = generation::find(&mut *view, projection, number).await?;
            let progress = progress(&mut view, &found.ok_or(StoreError::Fenced)?).await?;
            let letters = dead_letters::list(&mut *view, generation).await?;
            let mut rows = Vec::new();
            for (table, key) in tables(&mut view, generation).await? {
                let table: Arc<str> = table.into();
                let statement =
                    format!("select {key}, md5(t::text)::uuid from \"{table}\" t order by ({key}) collate \"C\"");
                let mut found = sqlx::query_as::<_, (String, Uuid)>(&statement).fetch(&mut *view);
                while let Some((key, digest)) = found.try_next().await? {
                    rows.push(Row { table: table.clone(), key, digest: digest.as_u128() });
                }
            }
            view.rollback().await?;
            connection.close().await?;
            let passed_over = letters.into_iter().map(|letter| letter.position).collect();
            Ok(Rows { progress, passed_over, rows })
        }
        .boxed()
    }

    fn remove<'a>(
        &'a self,
        control: &'a mut PgConnection,
        generation: &'a Generation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            control.execute(format!("drop schema if exists {generation} cascade").as_str()).await?;
            Ok(())
        }
        .boxed()
    }
}

/// How far a generation is that was just read.
async fn progress(view: &mut PgConnection, generation: &Generation) -> Result<Progress, StoreError> {
    let Generation { position, event_id, log_epoch, .. } = *generation;
    let mut progress = Progress { mark: Mark { position, event_id, log_epoch }, ..Progress::default() };
    let lanes: Vec<LaneRow> = sqlx::query_as(
        "select lane, position, event_id from projections.lanes
         where projection = $1 and generation = $2 and position > $3",
    )
    .bind(&generation.projection)
    .bind(generation.generation)
    .bind(position)
    .fetch_all(view)
    .await?;
    for LaneRow { lane, position, event_id } in lanes {
        let ahead = progress.ahead.get_mut(usize::try_from(lane).unwrap_or(usize::MAX)).ok_or_else(|| {
            ApplyError::Contradiction(format!("{generation} has a lane {lane}, which this release has not"))
        })?;
        *ahead = Mark { position, event_id: Some(event_id), log_epoch };
    }
    Ok(progress)
}

/// The tables of a generation, each with the SQL of its primary key as text.
async fn tables(view: &mut PgConnection, generation: &Generation) -> sqlx::Result<Vec<(String, String)>> {
    sqlx::query_as(
        "select c.relname::text, string_agg(format('%I::text', a.attname), ' || '' '' || ' order by k.n)
         from pg_class c
         join pg_index i on i.indrelid = c.oid and i.indisprimary
         cross join lateral unnest(i.indkey) with ordinality as k (attnum, n)
         join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
         where c.relnamespace = to_regnamespace($1) and c.relkind = 'r'
         group by c.relname order by c.relname collate \"C\"",
    )
    .bind(generation.to_string())
    .fetch_all(view)
    .await
}

#[derive(FromRow)]
struct LaneRow {
    lane: i16,
    position: i64,
    event_id: Uuid,
}

struct PostgresWriter {
    projection: Arc<dyn PostgresProjection>,
    /// Goes with the writer: generations come and go, and a server takes a hundred connections.
    pool: PgPool,
    /// The connection of the batch before: a pool sends a round trip after each that it is given back.
    at_hand: Mutex<Option<PoolConnection<Postgres>>>,
    lease: Lease,
    progress: Progress,
}

impl Writer for PostgresWriter {
    fn progress(&self) -> Progress {
        self.progress
    }

    fn write<'a>(&'a self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let at_hand = self.at_hand.lock().take();
            let mut connection = match at_hand {
                Some(connection) => connection,
                None => self.pool.acquire().await?,
            };
            self.write_on(&mut connection, batch).await?;
            *self.at_hand.lock() = Some(connection);
            Ok(())
        }
        .boxed()
    }
}

impl PostgresWriter {
    async fn write_on(&self, connection: &mut PgConnection, batch: &Batch<'_>) -> Result<(), StoreError> {
        if batch.is_empty() && batch.moves_all() {
            // One statement is a transaction by itself.
            return match self.move_all(connection, batch).await? {
                true => Ok(()),
                false => Err(StoreError::Fenced),
            };
        }
        let mut view = connection.begin().await?;
        let moved = match batch.moves_all() {
            true => self.move_all(&mut view, batch).await?,
            false => self.move_lanes(&mut view, batch).await?,
        };
        if !moved {
            view.rollback().await?;
            return Err(StoreError::Fenced);
        }
        if !batch.events.is_empty() {
            self.projection.apply(&mut view, batch.events).await?;
        }
        if !batch.letters.is_empty() {
            dead_letters::set_aside(&mut *view, &self.lease, batch.letters).await?;
        }
        if !batch.settled.is_empty() {
            dead_letters::settle(&mut *view, &self.lease, batch.settled).await?;
        }
        view.commit().await?;
        Ok(())
    }

    /// Moves the generation, and renews the lease: before the rows are written, so that the row stays locked until the commit,
    /// and whoever wants to take the lease waits here. `false`: it is another's.
    async fn move_all(&self, view: &mut PgConnection, batch: &Batch<'_>) -> sqlx::Result<bool> {
        let Lease { projection, generation, fence, lasts, .. } = &self.lease;
        let moved = sqlx::query(
            "update projections.generations
             set position = $5, event_id = $6, log_epoch = $7, written_at = now(),
                 lease_until = clock_timestamp() + make_interval(secs => $8)
             where projection = $1 and generation = $2 and fence = $3 and position = $4",
        )
        .bind(projection)
        .bind(generation)
        .bind(fence)
        .bind(batch.from)
        .bind(batch.to.position)
        .bind(batch.to.event_id)
        .bind(batch.to.log_epoch)
        .bind(lasts.as_secs_f64())
        .execute(view)
        .await?;
        Ok(moved.rows_affected() == 1)
    }

    /// Moves some lanes. The lock on the generation is shared with the transactions of the other lanes, and keeps out whoever
    /// wants to take the lease.
    async fn move_lanes(&self, view: &mut PgConnection, batch: &Batch<'_>) -> sqlx::Result<bool> {
        let Lease { projection, generation, fence, .. } = &self.lease;
        let lanes: Vec<i16> = batch.lanes.clone().map(|lane| lane as i16).collect();
        let moved = sqlx::query(
            "with held as (
                 select projection, generation from projections.generations
                 where projection = $1 and generation = $2 and fence = $3 and position = $4 for share
             )
             insert into projections.lanes (projection, generation, lane, position, event_id)
             select projection, generation, lane, $6, $7 from held cross join unnest($5::smallint[]) as l (lane)
             on conflict (projection, generation, lane) do update
             set position = excluded.position, event_id = excluded.event_id",
        )
        .bind(projection)
        .bind(generation)
        .bind(fence)
        .bind(batch.from)
        .bind(&lanes)
        .bind(batch.to.position)
        .bind(batch.to.event_id)
        .execute(view)
        .await?;
        Ok(moved.rows_affected() == lanes.len() as u64)
    }
}
