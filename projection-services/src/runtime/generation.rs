//! Generations: each is one complete build of a projection. What they are, in Postgres, whatever store their rows are in.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgExecutor};
use std::fmt;
use uuid::Uuid;

/// Where changes of the control tables are told, so that nobody has to wait for the next look at them.
pub const CHANNEL: &str = "projections";

/// One build of a projection, as the control table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Generation {
    pub projection: String,
    /// 1, 2 ... of its projection.
    pub generation: i32,
    /// Of the projection's fold and tables when it was made.
    pub version: i32,
    /// Where its rows are: `postgres`.
    pub store: String,
    #[sqlx(try_from = "String")]
    pub state: State,
    /// Filled by projectors, not by an operator's rebuild.
    pub automatic: bool,
    pub paused: bool,
    pub name: Option<String>,
    /// It is filled up to there, and not further.
    pub until_position: Option<i64>,
    /// All that is up to here is applied.
    pub position: i64,
    /// Of the event at `position`; `None` before the first.
    pub event_id: Option<Uuid>,
    /// Epoch of the log when that was applied.
    pub log_epoch: i64,
    pub written_at: DateTime<Utc>,
    /// Who holds the lease.
    pub worker: Option<Uuid>,
    pub fence: i64,
    pub lease_until: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// When queries began to see it, or ceased to.
    pub switched_at: Option<DateTime<Utc>>,
}

/// What becomes of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Not shown yet.
    Filling,
    /// Queries see it.
    Live,
    /// Queries saw it; it is kept for a rollback.
    Retired,
    /// Kept as it is, to be asked for by its name.
    Named,
    /// A fresh fold to compare the live one with, gone as soon as that is done.
    Verifying,
}

impl State {
    const ALL: [State; 5] = [State::Filling, State::Live, State::Retired, State::Named, State::Verifying];

    pub fn name(self) -> &'static str {
        match self {
            State::Filling => "filling",
            State::Live => "live",
            State::Retired => "retired",
            State::Named => "named",
            State::Verifying => "verifying",
        }
    }
}

impl TryFrom<String> for State {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        State::ALL.into_iter().find(|state| state.name() == name).ok_or_else(|| format!("no generation is {name}"))
    }
}

impl fmt::Display for Generation {
    /// `orders_3`: also its schema or its prefix in the store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.projection.replace('-', "_"), self.generation)
    }
}

/// What a new generation is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGeneration<'a> {
    pub state: State,
    pub automatic: bool,
    pub name: Option<&'a str>,
    pub until_position: Option<i64>,
}

/// Every generation of `projection`, in the order of their making.
pub async fn of(control: impl PgExecutor<'_>, projection: &str) -> sqlx::Result<Vec<Generation>> {
    sqlx::query_as("select * from projections.generations where projection = $1 order by generation")
        .bind(projection)
        .fetch_all(control)
        .await
}

/// One of them, if it is there.
pub async fn find(control: impl PgExecutor<'_>, projection: &str, generation: i32) -> sqlx::Result<Option<Generation>> {
    sqlx::query_as("select * from projections.generations where projection = $1 and generation = $2")
        .bind(projection)
        .bind(generation)
        .fetch_optional(control)
        .await
}

/// Makes the transaction that `control` is in the only one that makes, switches or drops generations.
pub async fn alone(control: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("select pg_advisory_xact_lock(hashtext('kontor projections'))").execute(control).await?;
    Ok(())
}

/// Books a new generation, at position 0. The caller is [`alone`], and makes room in the store.
pub async fn book(
    control: &mut PgConnection,
    (projection, version, store): (&str, i32, &str),
    new: &NewGeneration<'_>,
) -> sqlx::Result<Generation> {
    sqlx::query_as(
        "insert into projections.generations (projection, generation, version, store, state, automatic, name,
             until_position, switched_at)
         values ($1, (select coalesce(max(generation), 0) + 1 from projections.generations where projection = $1), $2,
             $3, $4, $5, $6, $7, case when $4 = 'live' then now() end)
         returning *",
    )
    .bind(projection)
    .bind(version)
    .bind(store)
    .bind(new.state.name())
    .bind(new.automatic)
    .bind(new.name)
    .bind(new.until_position)
    .fetch_one(control)
    .await
}

/// Tells every projector, as soon as the transaction commits, that there is something new.
pub async fn tell(control: impl PgExecutor<'_>) -> sqlx::Result<()> {
    sqlx::query("select pg_notify($1, '')").bind(CHANNEL).execute(control).await?;
    Ok(())
}
