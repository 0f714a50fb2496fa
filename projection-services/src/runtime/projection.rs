//! What a projection must say of itself.

use super::store::{Store, StoreOptions};
use kontor_event_schemas::Fact;
use kontor_search::SearchError;
use std::sync::Arc;
use std::time::Duration;

/// An event as projections see it: decoded, with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub position: i64,
    pub fact: Fact,
}

/// A rule that folds events into rows. Where the rows are its store says, which wants a rule of its own kind, such as a
/// [`PostgresProjection`](super::store::postgres::PostgresProjection).
pub trait Projection: Send + Sync {
    /// Names it in control tables, metrics and on the command line. Letters, digits and `-`.
    fn name(&self) -> &'static str;

    /// Of its fold and its tables: goes up when either changes what is in the rows. Projectors of a release with a higher
    /// version fill a new generation by themselves, and leave the old one to projectors of the old release.
    fn version(&self) -> i32 {
        1
    }

    /// The aggregate types whose events it folds; others are passed over undecoded.
    fn aggregate_types(&self) -> &'static [&'static str];

    /// Those of them whose events touch rows of other aggregates, too: a batch with such an event is not divided into lanes.
    fn spanning(&self) -> &'static [&'static str] {
        &[]
    }

    /// How long after a batch the next one may wait for more, so that many events share what a batch costs by itself: of what
    /// nobody waits for. The first event after a while of silence never waits, and neither does a full batch.
    fn gathers(&self) -> Duration {
        Duration::ZERO
    }

    /// The settings that say where its store is, if none of them is set.
    fn lacks(&self, _: &StoreOptions) -> Option<&'static str> {
        None
    }

    /// Where its rows are kept.
    fn store(self: Arc<Self>, options: &StoreOptions) -> Arc<dyn Store>;
}

/// Why a batch could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The view is not what the events before have made of it.
    #[error("the view contradicts the log: {0}")]
    Contradiction(String),
}

impl ApplyError {
    /// Whether it lies in the events or the rows, so that trying again does not help. What a server is short of, or away with,
    /// or does not allow, passes or is mended.
    pub fn is_permanent(&self) -> bool {
        match self {
            ApplyError::Contradiction(_) => true,
            ApplyError::Redis(_) => false,
            ApplyError::Search(error) => matches!(error, SearchError::Refused { .. }),
            // Class 22: data exception, 23: integrity constraint violation (PostgreSQL, appendix A).
            ApplyError::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
            }
            ApplyError::Database(error) => {
                matches!(error, sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
            }
        }
    }
}
