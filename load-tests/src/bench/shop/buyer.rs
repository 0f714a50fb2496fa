//! Who orders: what is personal is sealed once for each and is the same in all of their orders.

use super::valid;
use crate::bench::stage::Stage;
use anyhow::Context;
use kontor_domain::CustomerId;
use kontor_domain::personal::Personal;
use kontor_local::Role;
use kontor_privacy::{Keyring, MasterKey, PrivacySettings};
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Subjects whose keys are made at the same time.
const AT_ONCE: usize = 256;

#[derive(Debug, Clone)]
pub struct Buyer {
    pub customer_id: CustomerId,
    pub email: Personal,
    /// An addressee, as JSON.
    pub addressee: Personal,
}

/// The address that the n-th buyer's mail goes to.
pub fn email(number: usize) -> String {
    format!("buyer-{number}@example.com")
}

pub fn customer_id(number: usize) -> CustomerId {
    valid(format!("buyer-{number:05}").parse())
}

fn addressee(number: usize) -> String {
    let (name, street) = (format!("Buyer {number}"), format!("{} Hanover Square", 1 + number % 99));
    serde_json::json!({"name": name, "street": street, "town": "London", "postcode": "W1S 1HN"}).to_string()
}

/// So many buyers, each with a key of their own in the database.
pub async fn seal(stage: &Stage, count: usize) -> anyhow::Result<Vec<Buyer>> {
    let master = MasterKey::read(stage.master_key_file()).context("the master key")?;
    let database = PgPoolOptions::new().max_connections(4).connect(&stage.postgres().url(Role::Command)).await?;
    let keyring = Arc::new(Keyring::new(database.clone(), master, &PrivacySettings::default()));
    let mut buyers = Vec::with_capacity(count);
    for first in (0..count).step_by(AT_ONCE) {
        let mut sealing = JoinSet::new();
        for number in first..count.min(first + AT_ONCE) {
            let keyring = keyring.clone();
            sealing.spawn(async move {
                let customer_id = customer_id(number);
                let subject = valid(customer_id.as_str().parse());
                let email = keyring.seal(&subject, &email(number)).await?;
                let addressee = keyring.seal(&subject, &addressee(number)).await?;
                anyhow::Ok((number, Buyer { customer_id, email, addressee }))
            });
        }
        while let Some(sealed) = sealing.join_next().await {
            buyers.push(sealed??);
        }
    }
    buyers.sort_by_key(|(number, _)| *number);
    database.close().await;
    Ok(buyers.into_iter().map(|(_, buyer)| buyer).collect())
}

/// Buyers whose data nobody can open, where there is no database.
#[cfg(test)]
pub fn sealed_for_nobody(count: usize) -> Vec<Buyer> {
    let buyer = |number| {
        let subject = valid(customer_id(number).as_str().parse());
        let personal = Personal { subject, sealed: "c2VhbGVk".into() };
        Buyer { customer_id: customer_id(number), email: personal.clone(), addressee: personal }
    };
    (0..count).map(buyer).collect()
}
