//! What a projection must say of itself.

use futures::future::BoxFuture;
use kontor_event_schemas::Fact;
use sqlx::PgConnection;

/// An event as projections see it: decoded, with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub position: i64,
    pub fact: Fact,
}

/// A rule that folds events into rows. Kept by one [`Worker`](super::Worker).
pub trait Projection: Send + Sync {
    /// Names it in checkpoints, metrics and on the command line.
    fn name(&self) -> &'static str;

    /// The aggregate types whose events it folds; others are passed over undecoded.
    fn aggregate_types(&self) -> &'static [&'static str];

    /// Folds `events`, in the order of their positions, into the view. Runs in the transaction that also writes the
    /// checkpoint, so it may be repeated after an error but never sees an event whose effect is already there.
    fn apply<'a>(&'a self, view: &'a mut PgConnection, events: &'a [Event]) -> BoxFuture<'a, Result<(), ApplyError>>;
}

/// Why a batch could not be applied; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The view is not what the events before have made of it.
    #[error("the view contradicts the log: {0}")]
    Contradiction(String),
}
