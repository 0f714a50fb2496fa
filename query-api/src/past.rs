//! What was: any single product, order or stock item at any version of its stream or at any time, folded afresh from the log
//! as the replica has it. The rules are those of the read models, so that the latest version is what they show.

use crate::consistency::{MinPosition, Positions};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::view::AS_OF;
use chrono::{DateTime, Utc};
use kontor_event_schemas::RecordedEvent;
use kontor_event_schemas::registry::Fact;
use kontor_event_schemas::upcast::{self, Upcasters};
use kontor_projection_services::runtime::Event;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};

pub const VERSION: &str = "version";
pub const AT: &str = "at";
/// Positions of the log itself are waited for under this name.
pub const LOG: &str = "log";

/// Whether a query string asks for what was.
pub fn is_asked(query: &str) -> bool {
    !query.is_empty()
        && url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| [VERSION, AT, AS_OF].contains(&&*name))
}

/// When.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// The end of this version: just before the stream's next event, or now.
    Version(i64),
    At(DateTime<Utc>),
}

impl Moment {
    /// `None`: the client asks for what is.
    pub fn of(parameters: &Parameters) -> Result<Option<Self>, Problem> {
        let version: Option<i64> = parameters.value(VERSION, "must be a number from 1 on")?;
        let at: Option<DateTime<Utc>> = parameters.value(AT, "must be a time such as 2026-11-25T12:00:00Z")?;
        match (version, at) {
            (Some(_), Some(_)) => Err(Problem::parameter(VERSION, "cannot be given together with at")),
            (_, None) if parameters.text(AS_OF).is_some() && version.is_some() => {
                Err(Problem::parameter(VERSION, "cannot be given together with as_of"))
            }
            (None, Some(_)) if parameters.text(AS_OF).is_some() => {
                Err(Problem::parameter(AT, "cannot be given together with as_of"))
            }
            (Some(version), None) if version < 1 => Err(Problem::parameter(VERSION, "must be a number from 1 on")),
            (version, at) => Ok(version.map(Moment::Version).or(at.map(Moment::At))),
        }
    }
}

/// The log as the replica has it, for reading single streams.
pub struct Streams {
    replica: PgPool,
    upcasters: Upcasters,
}

/// Which part of the log an answer is folded from.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// All up to this position.
    pub position: i64,
    /// The last version of the stream in it; 0: none.
    pub version: i64,
}

impl Streams {
    pub fn new(replica: PgPool) -> Self {
        Streams { replica, upcasters: upcast::released() }
    }

    pub fn replica(&self) -> &PgPool {
        &self.replica
    }

    /// Where the log had come to at `moment` of the stream of `id`, once the replica has `min`; `None`: now.
    ///
    /// # Errors
    /// 404 `unknown-version`; 503 `position-not-reached`.
    pub async fn reach(
        &self,
        positions: &Positions,
        min: MinPosition,
        (aggregate_type, noun, id): (&str, &'static str, &str),
        moment: Option<Moment>,
    ) -> Result<Reach, Problem> {
        let (version, at) = match moment {
            None => (None, None),
            Some(Moment::Version(version)) => (Some(version), None),
            Some(Moment::At(at)) => (None, Some(at)),
        };
        let find = async || {
            let (head, up_to): (i64, Option<i64>) = sqlx::query_as(
                "select h.head, case
                     when $4::timestamptz is not null then coalesce((select position from public.log_batches
                         where recorded_at <= $4 order by position desc limit 1), 0)
                     when $3::bigint is null then h.head
                     when exists (select from public.events
                         where aggregate_type = $1 and aggregate_id = $2 and sequence = $3)
                     then coalesce((select position - 1 from public.events
                         where aggregate_type = $1 and aggregate_id = $2 and sequence = $3 + 1), h.head)
                 end
                 from (select coalesce(max(position), 0) as head from public.log_batches) h",
            )
            .bind(aggregate_type)
            .bind(id)
            .bind(version)
            .bind(at)
            .fetch_one(&self.replica)
            .await?;
            // Of a version that is not there: the latest one.
            let latest = self.version(aggregate_type, id, up_to.unwrap_or(head)).await?;
            Ok((head, (up_to, latest)))
        };
        let (head, (up_to, latest)) = positions.reflect(LOG, min, find).await?;
        match up_to {
            Some(position) => Ok(Reach { position, version: latest }),
            None => Err(Problem::unknown_version(noun, id, version.unwrap_or_default(), latest, head)),
        }
    }

    /// The version of a stream at a position; 0: it had not begun.
    async fn version(&self, aggregate_type: &str, id: &str, position: i64) -> sqlx::Result<i64> {
        let version: Option<i64> = sqlx::query_scalar(
            "select sequence from public.events where aggregate_type = $1 and aggregate_id = $2 and position <= $3
             order by sequence desc limit 1",
        )
        .bind(aggregate_type)
        .bind(id)
        .bind(position)
        .fetch_optional(&self.replica)
        .await?;
        Ok(version.unwrap_or(0))
    }

    /// The events of a stream from its beginning up to a position, in order.
    pub async fn read(&self, aggregate_type: &str, id: &str, position: i64) -> sqlx::Result<Vec<RecordedEvent>> {
        let rows = sqlx::query(&format!(
            "select {COLUMNS} from public.events e where aggregate_type = $1 and aggregate_id = $2 and position <= $3
             order by sequence"
        ))
        .bind(aggregate_type)
        .bind(id)
        .bind(position)
        .fetch_all(&self.replica)
        .await?;
        self.recorded(&rows)
    }

    /// Rows with [`COLUMNS`], brought to their current versions.
    pub fn recorded(&self, rows: &[PgRow]) -> sqlx::Result<Vec<RecordedEvent>> {
        let recorded = rows.iter().map(|row| {
            let text = |column| row.try_get::<&str, _>(column).map(Into::into);
            let event = RecordedEvent {
                position: row.try_get("position")?,
                aggregate_type: text("aggregate_type")?,
                aggregate_id: text("aggregate_id")?,
                sequence: row.try_get("sequence")?,
                event_type: text("event_type")?,
                event_version: text("event_version")?,
                payload: row.try_get("payload")?,
                metadata: row.try_get("metadata")?,
                recorded_at: row.try_get("recorded_at")?,
            };
            self.upcasters.upcast(event).map_err(|error| sqlx::Error::Decode(error.into()))
        });
        recorded.collect()
    }
}

/// Of `public.events e`.
pub const COLUMNS: &str = "e.position, e.aggregate_type, e.aggregate_id, e.sequence, e.event_type, e.event_version,
    e.payload::text as payload, e.metadata::text as metadata, e.recorded_at";

/// As projections see it.
pub fn decoded(event: &RecordedEvent) -> sqlx::Result<Event> {
    let fact = Fact::decode(&event.aggregate_type, &event.aggregate_id, event.payload.as_bytes());
    let fact = fact.map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Event { position: event.position, fact })
}

/// Who did something, without saying who it was.
pub fn by(event: &RecordedEvent, customer: Option<&str>) -> sqlx::Result<&'static str> {
    let metadata = event.metadata().map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(match metadata.actor.as_str() {
        "guest" => "guest",
        actor if customer == Some(actor) => "customer",
        // Of what providers say; process managers are services.
        "payments" => "system",
        actor if actor.starts_with("service:") => "system",
        _ => "staff",
    })
}
