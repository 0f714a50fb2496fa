//! What repeats the log: the stream event for event, the read models in what they say of orders and stock.

use super::stock::Count;
use super::{Books, PAGE, from_checkout};
use anyhow::{Context, ensure};
use async_nats::jetstream;
use kontor_domain::Sku;
use kontor_event_schemas::subject::{CE_ID, POSITION, STREAM};
use kontor_local::{Postgres, Role};
use sqlx::{Connection, PgConnection};
use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The relay is behind by less than that, even one that has just begun.
const REPEATED_WITHIN: Duration = Duration::from_secs(60);

impl Books {
    /// Waits until the stream has all that the books were read from, then holds it against the log.
    ///
    /// # Errors
    /// An event that is missing, doubled, out of place, or another one.
    pub async fn compare_with_the_stream(&self, nats_url: &str) -> anyhow::Result<()> {
        let context = jetstream::new(async_nats::connect(nats_url).await?);
        let mut stream = context.get_stream(STREAM).await?;
        let since = Instant::now();
        let mut sequence = loop {
            let state = &stream.info().await?.state;
            if state.messages >= self.at.unsigned_abs() {
                break state.first_sequence;
            }
            ensure!(since.elapsed() < REPEATED_WITHIN, "the stream has {} of {} events", state.messages, self.at);
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let mut at = 0;
        while at < self.at {
            for event in self.log.read(at, PAGE.min(self.at - at)).await? {
                let message = stream.get_raw_message(sequence).await?;
                let header = |name| message.headers.get(name).map(|value| value.to_string());
                let told = (header(POSITION), header(CE_ID), &*message.payload);
                let id = event.metadata().context("metadata of another form")?.event_id;
                let expected = (Some(event.position.to_string()), Some(id.to_string()), event.payload.as_bytes());
                ensure!(told == expected, "message {sequence} is {told:?}, the log has {expected:?}");
                (at, sequence) = (event.position, sequence + 1);
            }
        }
        Ok(())
    }

    /// Holds the rows of the read models on `replica`, which must show all that the books were read from, against the books.
    ///
    /// # Errors
    /// An order or a SKU of which they say something else, or that only one of them knows.
    pub async fn compare_with_the_read_models(&self, replica: &Postgres) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(&replica.url(Role::Auditor)).await?;
        let sql = "select order_id, status, due_minor from projections.orders where number is not null";
        let rows: Vec<(Uuid, String, i64)> = sqlx::query_as(sql).fetch_all(&mut connection).await?;
        let told: HashMap<_, _> = rows.into_iter().map(|(id, status, due_minor)| (id, (status, due_minor))).collect();
        let orders = self.orders.iter().filter(|(_, order)| from_checkout(order));
        let expected = orders.filter_map(|(order_id, order)| {
            let status = match order {
                order if order.is_cancelled() => "cancelled",
                _ if self.shipped.contains(order_id) => "shipped",
                _ => "confirmed",
            };
            Some((order_id.0, (status.to_owned(), order.placed()?.due().amount_minor)))
        });
        compare("order", &expected.collect(), &told)?;

        let sql = "select sku, on_hand, available from projections.products where stock_position > 0";
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(sql).fetch_all(&mut connection).await?;
        let told: HashMap<_, _> =
            rows.into_iter().map(|(sku, on_hand, available)| (sku, (on_hand, available))).collect();
        let expected = |(sku, count): (&Sku, &Count)| (sku.to_string(), (count.on_hand(), count.available()));
        compare("SKU", &self.stock.iter().map(expected).collect(), &told)
    }

    /// The position up to which they were read.
    pub fn position(&self) -> i64 {
        self.at
    }
}

fn compare<K: Display + Eq + Hash, V: Debug + PartialEq>(
    what: &str,
    books: &HashMap<K, V>,
    rows: &HashMap<K, V>,
) -> anyhow::Result<()> {
    for key in books.keys().chain(rows.keys()) {
        let (ours, theirs) = (books.get(key), rows.get(key));
        ensure!(ours == theirs, "{what} {key}: the books say {ours:?}, the read model says {theirs:?}");
    }
    Ok(())
}
