//! The simulator's webhooks: rows of its ledger that are due, posted to the shop until it answers with a 2xx.

use super::ledger::Entry;
use super::{SIGNATURE, Simulator};
use crate::payments::provider::{Forged, Notification};
use crate::payments::signature;
use chrono::{DateTime, Utc};
use futures::future::join_all;
use kontor_domain::payment::ProviderEventId;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use std::time::Duration;
use tracing::{debug, warn};

/// Webhooks that are posted at once.
const AT_ONCE_MAX: i32 = 64;

/// What the body of a webhook says: the attempt as the event tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// The same for every delivery of one event.
    pub event: ProviderEventId,
    pub entry: Entry,
}

/// A webhook that was taken to be posted.
struct Taken {
    webhook: Webhook,
    delivery: i32,
    now: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Taken {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let event = ProviderEventId::new(row.try_get("event")?)
            .map_err(|error| sqlx::Error::ColumnDecode { index: "event".into(), source: Box::new(error) })?;
        Ok(Self {
            webhook: Webhook { event, entry: Entry::from_row(row)? },
            delivery: row.try_get("delivery")?,
            now: row.try_get("now")?,
        })
    }
}

impl Webhook {
    /// Reads a body whose signature was verified.
    pub fn read(body: &[u8]) -> Result<Notification, Forged> {
        let Webhook { event, entry } = serde_json::from_slice(body).map_err(|_| Forged::Unreadable)?;
        let (payment_id, attempt, outcome) = (entry.payment_id, entry.attempt, entry.outcome());
        Ok(Notification { event, payment_id, attempt, outcome })
    }
}

impl Simulator {
    /// Posts what is due to `url`, for ever. Several processes may do so at once: each takes what no other has.
    pub async fn deliver_webhooks(&self, url: &str, client: &Client) {
        let poll_interval = Duration::from_millis(self.settings.webhook_poll_interval_ms);
        loop {
            match self.take_webhooks().await {
                Ok(taken) if taken.is_empty() => tokio::time::sleep(poll_interval).await,
                Ok(taken) => {
                    join_all(taken.into_iter().map(|taken| self.deliver(taken, url, client))).await;
                }
                Err(error) => {
                    warn!(%error, "The simulator's webhooks cannot be read; it will be tried again");
                    tokio::time::sleep(poll_interval.max(Duration::from_secs(1))).await;
                }
            }
        }
    }

    async fn take_webhooks(&self) -> sqlx::Result<Vec<Taken>> {
        sqlx::query_as("select * from simulator.take_webhooks($1, $2)")
            .bind(AT_ONCE_MAX)
            .bind(self.settings.webhook_retry_after_ms.cast_signed())
            .fetch_all(&self.pool)
            .await
    }

    async fn deliver(&self, Taken { webhook, delivery, now }: Taken, url: &str, client: &Client) {
        let event = &webhook.event;
        let body = serde_json::to_vec(&webhook).expect("a webhook has a JSON form");
        let signature = signature::sign(&self.webhook_secret, now, &body);
        let request = client.post(url).header(SIGNATURE, signature).header("Content-Type", "application/json");
        match request.body(body).send().await {
            Ok(response) if response.status().is_success() => {
                let delivered = sqlx::query("select simulator.webhook_delivered($1, $2)")
                    .bind(event.as_str())
                    .bind(delivery)
                    .execute(&self.pool)
                    .await;
                match delivered {
                    Ok(_) => debug!(%event, delivery, "The shop was told {event}"),
                    Err(error) => warn!(%error, %event, "{event} was told and will be told again"),
                }
            }
            Ok(response) => {
                let status = response.status().as_u16();
                warn!(status, %event, "The shop answered {status} to {event}; it will be told again");
            }
            Err(error) => {
                warn!(%error, %event, "The shop could not be told {event}; it will be tried again");
            }
        }
    }
}
