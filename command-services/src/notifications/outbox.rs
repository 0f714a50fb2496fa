//! The outbox in Postgres: what is to be mailed, what was, and what could not be. Nothing in it is personal.
//!
//! Only one process fills and empties it at a time, but none relies on that: the checkpoint moves from where its writer saw
//! it or not at all, mails are claimed in the latest [`Term`] only, and what came of an attempt is noted for that attempt.

use super::occasion::{About, Kind, Occasion};
use crate::schema;
use chrono::{DateTime, Utc};
use kontor_domain::{CartId, OrderId};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{PgPool, Row};
use std::time::Duration;
use uuid::Uuid;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/notifications");

/// Brings the schema `notifications` up to date; the log must be there. `options` are those of a role that owns the database.
///
/// # Errors
/// The connection's, and those of a migration that fails or was edited after its release.
pub async fn migrate(options: PgConnectOptions) -> Result<(), MigrateError> {
    schema::migrate(options, "notifications", &MIGRATIONS).await
}

/// Where a mail is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "NotificationStatus")]
pub enum Status {
    /// To be sent, now or when its next attempt is due.
    Due,
    /// Under way. After a crash it is due again, as nobody knows how far it has come.
    Sending,
    Sent,
    /// Given up: refused for good, or tried too often. It can be retried.
    Dead,
    /// Not to be sent any more. `last_error` says why.
    Dropped,
}

impl Status {
    pub const ALL: [Status; 5] = [Status::Due, Status::Sending, Status::Sent, Status::Dead, Status::Dropped];

    pub fn name(self) -> &'static str {
        match self {
            Status::Due => "due",
            Status::Sending => "sending",
            Status::Sent => "sent",
            Status::Dead => "dead",
            Status::Dropped => "dropped",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// One mail, for those who look after the shop.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Notification {
    /// Of the event that called for it.
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub id: Uuid,
    /// Of that event in the log.
    pub position: i64,
    pub kind: Kind,
    pub order_id: Option<OrderId>,
    pub cart_id: Option<CartId>,
    pub status: Status,
    /// Those that have begun.
    pub attempts: i32,
    pub last_error: Option<String>,
    #[serde(serialize_with = "micros")]
    pub queued_at: DateTime<Utc>,
    #[serde(serialize_with = "micros")]
    pub next_attempt_at: DateTime<Utc>,
    /// When it was sent, given up or dropped.
    #[serde(serialize_with = "micros_or_null")]
    pub settled_at: Option<DateTime<Utc>>,
}

fn micros<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}

fn micros_or_null<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => micros(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// Which mails somebody wants to see, the latest first.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub status: Option<Status>,
    pub order_id: Option<OrderId>,
    /// Only those of events before this position: the last of the page before.
    pub before: Option<i64>,
    pub limit: i64,
}

/// Why nothing was done about a mail.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    #[error("there is no notification {id}")]
    Unknown { id: Uuid },
    /// Twice is worse than late.
    #[error("notification {id} is {}", .status.name())]
    TooLate { id: Uuid, status: Status },
    #[error("the outbox cannot be reached: {0}")]
    Database(#[from] sqlx::Error),
}

/// The time during which one process sends what is due.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    number: i64,
    /// Up to which position every event that called for a mail was here when it began.
    pub checkpoint: i64,
    /// Mails that were under way then.
    pub reclaimed: u64,
}

/// A mail that is now being sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub id: Uuid,
    pub kind: Kind,
    pub about: About,
    pub sequence: i64,
    /// Of this attempt: 1 for the first.
    pub attempt: i32,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Sent,
    /// Try again after this.
    Later {
        after: Duration,
        error: String,
    },
    Dead {
        error: String,
    },
    Dropped {
        reason: String,
    },
}

/// How much there is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Backlog {
    pub waiting: i64,
    pub dead: i64,
    /// Age of the mail that has waited longest, in seconds.
    pub oldest_s: f64,
}

#[derive(Clone)]
pub struct Outbox(PgPool);

const COLUMNS: &str =
    "id, position, kind, order_id, cart_id, status, attempts, last_error, queued_at, next_attempt_at, settled_at";

impl Outbox {
    /// As role `kontor_command`.
    pub fn new(database: PgPool) -> Self {
        Self(database)
    }

    /// Begins a term: whoever led before claims nothing any more, and what it has left half done is due again.
    pub async fn lead(&self) -> sqlx::Result<Term> {
        let mut transaction = self.0.begin().await?;
        // On disk at once: a term that a power cut takes back would be given out twice.
        sqlx::query("set local synchronous_commit = on").execute(&mut *transaction).await?;
        // Those who are claiming at this moment are waited for, and come no more.
        sqlx::query("select from notifications.checkpoint for update").execute(&mut *transaction).await?;
        let (number, checkpoint) =
            sqlx::query_as("update notifications.checkpoint set term = term + 1 returning term, position")
                .fetch_one(&mut *transaction)
                .await?;
        let left = "update notifications.outbox set status = 'due', next_attempt_at = now() where status = 'sending'";
        let reclaimed = sqlx::query(left).execute(&mut *transaction).await?.rows_affected();
        transaction.commit().await?;
        Ok(Term { number, checkpoint, reclaimed })
    }

    /// Queues a mail for each of `occasions` and moves the checkpoint, both or neither. `false`: the checkpoint is not at
    /// `from` any more, so another process fills the outbox.
    pub async fn queue(&self, from: i64, to: i64, occasions: &[Occasion]) -> sqlx::Result<bool> {
        let column = |of: fn(&Occasion) -> Option<Uuid>| occasions.iter().map(of).collect::<Vec<_>>();
        let orders = column(|occasion| match occasion.about {
            About::Order(id) => Some(id.0),
            About::Cart(_) => None,
        });
        let carts = column(|occasion| match occasion.about {
            About::Order(_) => None,
            About::Cart(id) => Some(id.0),
        });
        let moved: i64 = sqlx::query_scalar(
            "with moved as (
                 update notifications.checkpoint set position = $2 where position = $1 returning position
             ), queued as (
                 insert into notifications.outbox (id, position, kind, order_id, cart_id, sequence)
                 select occasion.* from moved, unnest($3::uuid[], $4::bigint[], $5::text[], $6::uuid[], $7::uuid[], $8::bigint[])
                     as occasion
                 on conflict (id) do nothing
             )
             select count(*) from moved",
        )
        .bind(from)
        .bind(to)
        .bind(column(|occasion| Some(occasion.event_id)))
        .bind(occasions.iter().map(|occasion| occasion.position).collect::<Vec<_>>())
        .bind(occasions.iter().map(|occasion| occasion.kind.name()).collect::<Vec<_>>())
        .bind(orders)
        .bind(carts)
        .bind(occasions.iter().map(|occasion| occasion.sequence).collect::<Vec<_>>())
        .fetch_one(&self.0)
        .await?;
        Ok(moved == 1)
    }

    /// Up to `most` mails that are due, of which it is now known that they are being sent. None when `term` is over.
    pub async fn claim(&self, term: &Term, most: i64) -> sqlx::Result<Vec<Claimed>> {
        let rows = sqlx::query(
            "with led as (select term from notifications.checkpoint where term = $2 for key share)
             update notifications.outbox o set status = 'sending', attempts = o.attempts + 1
             from (
                 select id from led, notifications.outbox where status = 'due' and next_attempt_at <= now()
                 order by next_attempt_at limit $1 for update of outbox skip locked
             ) due
             where o.id = due.id
             returning o.id, o.kind, o.order_id, o.cart_id, o.sequence, o.attempts",
        )
        .bind(most)
        .bind(term.number)
        .fetch_all(&self.0)
        .await?;
        let claimed = |row: &PgRow| {
            let about = match row.try_get("order_id")? {
                Some(id) => About::Order(OrderId(id)),
                None => About::Cart(CartId(row.try_get("cart_id")?)),
            };
            Ok(Claimed {
                id: row.try_get("id")?,
                kind: kind(row)?,
                about,
                sequence: row.try_get("sequence")?,
                attempt: row.try_get("attempts")?,
            })
        };
        rows.iter().map(claimed).collect()
    }

    /// Notes what came of attempts. Nothing of one that is not the mail's last any more.
    pub async fn settle(&self, attempts: &[(Claimed, Outcome)]) -> sqlx::Result<()> {
        let told = |(_, outcome): &(Claimed, Outcome)| match outcome {
            Outcome::Sent => (Status::Sent, 0.0, None),
            Outcome::Later { after, error } => (Status::Due, after.as_secs_f64(), Some(error.clone())),
            Outcome::Dead { error } => (Status::Dead, 0.0, Some(error.clone())),
            Outcome::Dropped { reason } => (Status::Dropped, 0.0, Some(reason.clone())),
        };
        let (mut statuses, mut waits_s, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (status, wait_s, error) in attempts.iter().map(told) {
            statuses.push(status.name());
            waits_s.push(wait_s);
            errors.push(error);
        }
        sqlx::query(
            "update notifications.outbox o set status = s.status, last_error = s.error,
                 next_attempt_at = now() + make_interval(secs => s.wait_s),
                 settled_at = case when s.status <> 'due' then now() end
             from unnest($1::uuid[], $2::int[], $3::text[], $4::float8[], $5::text[]) as s (id, attempt, status, wait_s, error)
             where o.id = s.id and o.attempts = s.attempt and o.status = 'sending'",
        )
        .bind(attempts.iter().map(|(mail, _)| mail.id).collect::<Vec<_>>())
        .bind(attempts.iter().map(|(mail, _)| mail.attempt).collect::<Vec<_>>())
        .bind(statuses)
        .bind(waits_s)
        .bind(errors)
        .execute(&self.0)
        .await?;
        Ok(())
    }

    pub async fn backlog(&self) -> sqlx::Result<Backlog> {
        let row = sqlx::query(
            "select count(*), coalesce(extract(epoch from now() - min(queued_at)), 0)::float8,
                 (select count(*) from notifications.outbox where status = 'dead')
             from notifications.outbox where status in ('due', 'sending')",
        )
        .fetch_one(&self.0)
        .await?;
        Ok(Backlog { waiting: row.try_get(0)?, oldest_s: row.try_get(1)?, dead: row.try_get(2)? })
    }

    pub async fn list(&self, wanted: &Wanted) -> sqlx::Result<Vec<Notification>> {
        let select = format!(
            "select {COLUMNS} from notifications.outbox
             where ($1::text is null or status = $1) and ($2::uuid is null or order_id = $2)
                 and ($3::bigint is null or position < $3)
             order by position desc limit $4"
        );
        let rows = sqlx::query(&select)
            .bind(wanted.status.map(Status::name))
            .bind(wanted.order_id.map(|id| id.0))
            .bind(wanted.before)
            .bind(wanted.limit)
            .fetch_all(&self.0)
            .await?;
        rows.iter().map(notification).collect()
    }

    /// Sends the mail as if it had never been tried. What is being sent is left alone.
    ///
    /// # Errors
    /// [`OutboxError::TooLate`] when it was sent.
    pub async fn retry(&self, id: Uuid) -> Result<Notification, OutboxError> {
        let retry = "status = 'due', attempts = 0, next_attempt_at = now(), last_error = null, settled_at = null";
        self.change(id, retry, &[Status::Due, Status::Dead, Status::Dropped], &[Status::Sending]).await
    }

    /// Sees to it that the mail is not sent any more.
    ///
    /// # Errors
    /// [`OutboxError::TooLate`] when it was sent, or is being sent.
    pub async fn withdraw(&self, id: Uuid) -> Result<Notification, OutboxError> {
        let withdraw = "status = 'dropped', settled_at = now(), last_error = coalesce(last_error, 'dropped by hand')";
        self.change(id, withdraw, &[Status::Due, Status::Dead], &[Status::Dropped]).await
    }

    /// Sets `assignments` if the mail is in one of the states of `from`; in one of `done`, there is nothing to do.
    async fn change(
        &self,
        id: Uuid,
        assignments: &str,
        from: &[Status],
        done: &[Status],
    ) -> Result<Notification, OutboxError> {
        let names = from.iter().map(|status| status.name()).collect::<Vec<_>>();
        let update = format!(
            "update notifications.outbox set {assignments} where id = $1 and status = any($2) returning {COLUMNS}"
        );
        if let Some(row) = sqlx::query(&update).bind(id).bind(names).fetch_optional(&self.0).await? {
            return Ok(notification(&row)?);
        }
        let select = format!("select {COLUMNS} from notifications.outbox where id = $1");
        let row = sqlx::query(&select).bind(id).fetch_optional(&self.0).await?;
        let found = notification(&row.ok_or(OutboxError::Unknown { id })?)?;
        if done.contains(&found.status) {
            return Ok(found);
        }
        Err(OutboxError::TooLate { id, status: found.status })
    }
}

fn notification(row: &PgRow) -> sqlx::Result<Notification> {
    let status: &str = row.try_get("status")?;
    Ok(Notification {
        id: row.try_get("id")?,
        position: row.try_get("position")?,
        kind: kind(row)?,
        order_id: row.try_get::<Option<Uuid>, _>("order_id")?.map(OrderId),
        cart_id: row.try_get::<Option<Uuid>, _>("cart_id")?.map(CartId),
        status: Status::named(status).ok_or_else(|| unknown(status))?,
        attempts: row.try_get("attempts")?,
        last_error: row.try_get("last_error")?,
        queued_at: row.try_get("queued_at")?,
        next_attempt_at: row.try_get("next_attempt_at")?,
        settled_at: row.try_get("settled_at")?,
    })
}

fn kind(row: &PgRow) -> sqlx::Result<Kind> {
    let name: &str = row.try_get("kind")?;
    Kind::named(name).ok_or_else(|| unknown(name))
}

/// A newer release has written what this one does not know.
fn unknown(name: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("\"{name}\" is not known in the outbox").into())
}
