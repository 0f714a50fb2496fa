//! Trade that is recorded in the log and folded into the read models by the rules of the projections.

use crate::api::{Api, PATIENCE, checkpoint};
use kontor_domain::personal::Personal;
use kontor_event_schemas::{Fact, subject};
use kontor_local::Role;
use kontor_privacy::{Keyring, MasterKey, PrivacySettings};
use kontor_projection_services::projections::{analytics::Analytics, catalogue::Catalogue, orders::Orders};
use kontor_projection_services::runtime::{Event, PostgresProjection};
use serde_json::{Value, json};
use sqlx::{Executor, PgPool};
use std::collections::HashMap;

/// Of the order in the examples, and of its payment.
pub const ORDER: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
pub const PAYMENT: &str = "01890a5d-ac96-774b-bcce-b302099a805a";

pub struct Trade<'a> {
    api: &'a Api,
    primary: PgPool,
    versions: HashMap<String, i64>,
    position: i64,
}

impl<'a> Trade<'a> {
    pub async fn on(api: &'a Api) -> Self {
        let primary = PgPool::connect(&api.servers.postgres().superuser_url()).await.expect("it connects");
        Trade { api, primary, versions: HashMap::new(), position: 0 }
    }

    /// Records an event, and folds it into the read models. Returns its position.
    pub async fn record(&mut self, (aggregate_type, id): (&str, &str), event: &Value, actor: &str) -> i64 {
        let position = self.record_only((aggregate_type, id), event, actor).await;
        self.project(aggregate_type, id, event).await;
        position
    }

    pub async fn record_only(&mut self, of: (&str, &str), event: &Value, actor: &str) -> i64 {
        self.insert(of, event, actor).await;
        self.api.servers.replica().catch_up(self.api.servers.postgres(), PATIENCE).await.expect("the replica follows");
        self.position
    }

    /// Records events, and folds them into the sums of analytics. Returns the position of the last.
    pub async fn analyse(&mut self, events: &[((&str, &str), Value)]) -> i64 {
        let mut facts = Vec::new();
        for ((aggregate_type, id), event) in events {
            self.insert((aggregate_type, id), event, "ada").await;
            let fact = Fact::decode(aggregate_type, id, event.to_string().as_bytes()).expect("an event");
            facts.push(Event { position: self.position, fact });
        }
        let mut writing = self.primary.begin().await.expect("it begins");
        writing.execute("set local search_path = analytics_1").await.expect("it is there");
        Analytics.apply(&mut writing, &facts).await.expect("it is folded");
        writing.execute(checkpoint("analytics", self.position).as_str()).await.expect("it is moved");
        writing.commit().await.expect("it is committed");
        self.api.servers.replica().catch_up(self.api.servers.postgres(), PATIENCE).await.expect("the replica follows");
        self.position
    }

    async fn insert(&mut self, (aggregate_type, id): (&str, &str), event: &Value, actor: &str) {
        let event_type = event.as_object().and_then(|event| event.keys().next()).expect("an event names its type");
        let version = self.versions.entry(format!("{aggregate_type} {id}")).or_default();
        *version += 1;
        self.position += 1;
        let metadata = json!({"event_id": uuid(), "correlation_id": uuid(), "causation_id": uuid(), "actor": actor,
            "traceparent": ""});
        let mut writing = self.primary.begin().await.expect("it begins");
        sqlx::query(
            "insert into public.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                 metadata, position, recorded_at)
             values ($1, $2, $3, $4, '1.0', $5, $6, $7, clock_timestamp())",
        )
        .bind(aggregate_type)
        .bind(id)
        .bind(*version)
        .bind(event_type)
        .bind(event)
        .bind(metadata)
        .bind(self.position)
        .execute(&mut *writing)
        .await
        .expect("it is recorded");
        sqlx::query("insert into public.log_batches (position, recorded_at) values ($1, clock_timestamp())")
            .bind(self.position)
            .execute(&mut *writing)
            .await
            .expect("it is recorded");
        writing.commit().await.expect("it is committed");
    }

    async fn project(&self, aggregate_type: &str, id: &str, event: &Value) {
        let fact = Fact::decode(aggregate_type, id, event.to_string().as_bytes()).expect("an event");
        let events = [Event { position: self.position, fact }];
        let mut writing = self.primary.begin().await.expect("it begins");
        writing.execute("set local search_path = catalogue_1").await.expect("it is there");
        Catalogue.apply(&mut writing, &events).await.expect("it is folded");
        writing.execute("set local search_path = orders_1").await.expect("it is there");
        Orders.apply(&mut writing, &events).await.expect("it is folded");
        sqlx::query(
            "update projections.generations set position = $1, event_id = gen_random_uuid() where state = 'live'",
        )
        .bind(self.position)
        .execute(&mut *writing)
        .await
        .expect("it is moved");
        writing.commit().await.expect("it is committed");
        self.api.servers.replica().catch_up(self.api.servers.postgres(), PATIENCE).await.expect("the replica follows");
    }

    /// Tells NATS of an event, as the relay does.
    pub async fn publish(&self, nats: &async_nats::Client, aggregate_type: &str, event_type: &str, position: i64) {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(subject::POSITION, position.to_string());
        let subject = subject::subject(aggregate_type, event_type);
        nats.publish_with_headers(subject, headers, "{}".into()).await.expect("it is sent");
        nats.flush().await.expect("it is sent");
    }

    /// The example of an order, with people in it whose data can be opened.
    pub async fn placed(&self) -> Value {
        let pool = PgPool::connect(&self.api.servers.postgres().url(Role::Command)).await.expect("it connects");
        let master = MasterKey::read(self.api.servers.master_key_file()).expect("the master key");
        let keyring = Keyring::new(pool, master, &PrivacySettings::default());
        let mut event = example("order.placed");
        let addressee = json!({"name": "Ada", "street": "1 High Street", "town": "London"}).to_string();
        for (member, text) in [
            ("/email", "ada@example.com"),
            ("/shipping_address/addressee", &*addressee),
            ("/billing_address/addressee", &*addressee),
        ] {
            let subject = "13085".parse().expect("a subject");
            let sealed: Personal = keyring.seal(&subject, text).await.expect("it is sealed");
            let place = event.pointer_mut(&format!("/Placed/checkout{member}")).expect("the example has it");
            *place = serde_json::to_value(sealed).expect("it has a JSON form");
        }
        event
    }
}

fn uuid() -> String {
    format!("01890a5d-ac96-774b-bcce-{:012x}", rand::random::<u32>())
}

/// The first of the published examples of an event type: the one with most in it.
pub fn example(event_type: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../event-schemas/schemas/examples");
    let text = std::fs::read_to_string(format!("{folder}/{event_type}.1.0.json")).expect("there is an example");
    let mut examples: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    examples.remove(0)
}
