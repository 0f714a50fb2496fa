//! From the outbox to the SMTP server, several mails at once.

use super::counts::NotificationCounts;
use super::letter::{Letters, NoLetter};
use super::mailer::{Mailer, SendError};
use super::outbox::{Claimed, Outbox, Outcome, Term};
use super::settings::MailSettings;
use super::templates::Templates;
use rand::Rng;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

/// How long outcomes are left to gather after one has come.
const GATHER: Duration = Duration::from_millis(100);

/// All that it takes to send one mail.
pub struct PostOffice {
    pub settings: MailSettings,
    pub letters: Letters,
    pub templates: Templates,
    pub mailer: Mailer,
    pub counts: Arc<NotificationCounts>,
}

/// Why no more is sent for now.
#[derive(Debug, thiserror::Error)]
pub enum Halted {
    #[error("the outbox cannot be reached: {0}")]
    Outbox(#[from] sqlx::Error),
    #[error("sending a mail panicked: {0}")]
    Panic(#[from] JoinError),
}

/// Sends what is due, in this term, until `stop` says so and all that was begun has ended. `queued` tells of new mails; what
/// becomes due otherwise is found by asking.
///
/// What has ended is noted with what ends within [`GATHER`] of it: a statement for each mail would cost a busy shop more
/// than the mail itself. Until it is noted a crash sends the mail again, under the same Message-ID.
pub async fn send_all(
    office: Arc<PostOffice>,
    (outbox, term): (&Outbox, &Term),
    queued: &Notify,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Halted> {
    let poll = Duration::from_millis(office.settings.poll_interval_ms);
    let mut under_way: JoinSet<(Claimed, Outcome)> = JoinSet::new();
    let mut may_be_due = true;
    let mut ended = Vec::new();
    let mut note_at = Instant::now();
    loop {
        let stopping = *stop.borrow();
        if !ended.is_empty() && (under_way.is_empty() && stopping || Instant::now() >= note_at) {
            outbox.settle(&ended).await?;
            office.count(&ended);
            ended.clear();
        }
        if stopping && under_way.is_empty() {
            return Ok(());
        }
        let room = office.settings.in_flight_max - under_way.len();
        // Several at a time: each claim is a statement.
        if may_be_due && 2 * room >= office.settings.in_flight_max && !stopping {
            let claimed = outbox.claim(term, room as i64).await?;
            may_be_due = claimed.len() == room;
            for mail in claimed {
                under_way.spawn(office.clone().attempt(mail));
            }
        }
        tokio::select! {
            Some(another) = under_way.join_next() => {
                if ended.is_empty() {
                    note_at = Instant::now() + GATHER;
                }
                ended.push(another?);
                while let Some(another) = under_way.try_join_next() {
                    ended.push(another?);
                }
            }
            () = sleep_until(note_at), if !ended.is_empty() => {}
            () = queued.notified() => may_be_due = true,
            () = sleep(poll), if !may_be_due => may_be_due = true,
            Ok(_) = stop.wait_for(|stop| *stop), if !stopping => {}
        }
    }
}

impl PostOffice {
    async fn attempt(self: Arc<Self>, mail: Claimed) -> (Claimed, Outcome) {
        let outcome = self.try_to_send(&mail).await;
        match &outcome {
            Outcome::Sent => {}
            Outcome::Dropped { reason } => info!(id = %mail.id, kind = %mail.kind, "A mail was dropped: {reason}"),
            Outcome::Dead { error } => {
                warn!(id = %mail.id, kind = %mail.kind, attempt = mail.attempt, "A mail was given up: {error}");
            }
            Outcome::Later { after, error } => {
                let after_ms = after.as_millis() as u64;
                warn!(id = %mail.id, kind = %mail.kind, attempt = mail.attempt, after_ms, "A mail will be tried again: {error}");
            }
        }
        (mail, outcome)
    }

    async fn try_to_send(&self, mail: &Claimed) -> Outcome {
        let (to, letter) = match self.letters.write(mail).await {
            Ok(written) => written,
            Err(NoLetter::Dropped(reason)) => return Outcome::Dropped { reason: reason.to_owned() },
            Err(error) => return self.later(mail, error.to_string()),
        };
        let rendered = match self.templates.render(&letter) {
            Ok(rendered) => rendered,
            Err(error) => return self.later(mail, format!("{error:#}")),
        };
        match self.mailer.send(mail.id, &to, rendered).await {
            Ok(()) => Outcome::Sent,
            Err(SendError::Refused(error)) => Outcome::Dead { error },
            Err(SendError::Failed(error)) => self.later(mail, error),
        }
    }

    /// Tried again in a while, unless it was the last time.
    fn later(&self, mail: &Claimed, error: String) -> Outcome {
        let attempt = u32::try_from(mail.attempt).unwrap_or(u32::MAX);
        if attempt >= self.settings.attempts_max {
            return Outcome::Dead { error };
        }
        Outcome::Later { after: self.settings.backoff(attempt).mul_f64(rand::rng().random_range(0.5..1.0)), error }
    }

    fn count(&self, ended: &[(Claimed, Outcome)]) {
        for (_, outcome) in ended {
            let count = match outcome {
                Outcome::Sent => &self.counts.sent,
                Outcome::Later { .. } => &self.counts.failed,
                Outcome::Dead { .. } => &self.counts.given_up,
                Outcome::Dropped { .. } => &self.counts.dropped,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl MailSettings {
    /// How long a mail waits at most after its attempt number `attempt`, counted from 1.
    fn backoff(&self, attempt: u32) -> Duration {
        let doubled = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        Duration::from_millis(self.backoff_base_ms.saturating_mul(doubled).min(self.backoff_max_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_the_longest() {
        let settings = MailSettings { backoff_base_ms: 100, backoff_max_ms: 1_000, ..Default::default() };
        let waits = [1, 2, 3, 4, 5, 64, 65, u32::MAX].map(|attempt| settings.backoff(attempt).as_millis());
        assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000]);
    }
}
