//! Why nothing was done about a mail.

use super::Problem;
use super::kind::problems;
use crate::notifications::outbox::OutboxError;
use tracing::error;

problems! {
    /// No event that a customer was mailed about has this id.
    UNKNOWN_NOTIFICATION = 404 "unknown-notification", "There is no such notification", [];
    /// The mail was sent, or is being sent: nothing can be done about it any more. `status` says which.
    NOTIFICATION_SETTLED = 409 "notification-settled", "It is too late for this", [status];
    /// Nothing was done. Send it again after `Retry-After`.
    OUTBOX_UNREACHABLE = 503 "outbox-unreachable", "The outbox cannot be reached", [];
}

impl From<OutboxError> for Problem {
    fn from(reason: OutboxError) -> Self {
        match &reason {
            OutboxError::Unknown { .. } => UNKNOWN_NOTIFICATION.problem(reason.to_string()),
            OutboxError::TooLate { status, .. } => {
                NOTIFICATION_SETTLED.problem(reason.to_string()).with("status", status)
            }
            OutboxError::Database(cause) => {
                error!(%cause, "The outbox of notifications cannot be reached");
                OUTBOX_UNREACHABLE.problem("nothing was done; try again later").retry_after(1)
            }
        }
    }
}
