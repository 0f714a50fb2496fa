//! A flash sale: many buyers want one of few units, all at once, at several command processes.

use crate::shopper::{Ending, Shopper};
use anyhow::Result;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The buyers, and where they buy.
#[derive(Debug, Clone)]
pub struct FlashSale<'a> {
    /// Ports of the command processes; each has its share of the buyers.
    pub processes: &'a [u16],
    pub sku: &'a str,
    pub buyers: usize,
    /// Check-outs that are under way at once.
    pub connections: usize,
    /// What each buyer pays with.
    pub pays_with: fn(usize) -> &'static str,
}

/// What became of the buyers.
#[derive(Debug, Default)]
pub struct Outcome {
    pub confirmed: usize,
    pub cancelled: usize,
    /// Refused for good: nothing was left.
    pub sold_out: usize,
    /// From the first check-out until the last buyer was settled.
    pub took: Duration,
    /// How long each check-out took, from when it was sent.
    pub check_outs: Vec<Duration>,
    /// How long each buyer waited, from the beginning of the sale.
    pub waited: Vec<Duration>,
}

/// Every buyer's cart is filled.
pub struct Ready {
    /// One a connection, with the process that it leads to.
    shoppers: Vec<(usize, Shopper)>,
    /// By process: buyers and their carts.
    carts: Vec<Vec<(usize, Uuid)>>,
    pays_with: fn(usize) -> &'static str,
}

impl FlashSale<'_> {
    /// Fills the carts.
    pub async fn fill_carts(&self) -> Result<Ready> {
        let mut filling = JoinSet::new();
        for connection in 0..self.connections {
            let process = connection % self.processes.len();
            let buyers = (connection..self.buyers).step_by(self.connections);
            let (mut shopper, sku) = (Shopper::new(&[self.processes[process]]), self.sku.to_owned());
            filling.spawn(async move {
                let mut carts = Vec::with_capacity(buyers.len());
                for buyer in buyers {
                    carts.push((buyer, shopper.fill(&[(&sku, 1)]).await?));
                }
                anyhow::Ok((process, shopper, carts))
            });
        }
        let (mut shoppers, mut carts) = (Vec::new(), vec![Vec::new(); self.processes.len()]);
        while let Some(filled) = filling.join_next().await {
            let (process, shopper, filled) = filled??;
            shoppers.push((process, shopper));
            carts[process].extend(filled);
        }
        Ok(Ready { shoppers, carts, pays_with: self.pays_with })
    }
}

impl Ready {
    /// Checks all out.
    pub async fn run(self) -> Result<Outcome> {
        // Whichever connection of the process is free takes the next buyer.
        let queues: Vec<_> = self.carts.into_iter().map(|carts| Arc::new(Mutex::new(carts.into_iter()))).collect();
        let mut checking_out = JoinSet::new();
        let begun = Instant::now();
        for (process, shopper) in self.shoppers {
            checking_out.spawn(check_out(shopper, queues[process].clone(), self.pays_with, begun));
        }
        let mut all = Outcome::default();
        while let Some(outcome) = checking_out.join_next().await {
            all.add(outcome??);
        }
        all.took = begun.elapsed();
        Ok(all)
    }
}

async fn check_out(
    mut shopper: Shopper,
    queue: Arc<Mutex<impl Iterator<Item = (usize, Uuid)>>>,
    pays_with: fn(usize) -> &'static str,
    begun: Instant,
) -> Result<Outcome> {
    shopper.took.clear();
    let mut outcome = Outcome::default();
    let next = || queue.lock().expect("no holder panics").next();
    while let Some((buyer, cart_id)) = next() {
        match shopper.check_out(cart_id, pays_with(buyer)).await? {
            Ending::Confirmed => outcome.confirmed += 1,
            Ending::Cancelled => outcome.cancelled += 1,
            Ending::SoldOut => outcome.sold_out += 1,
        }
        outcome.waited.push(begun.elapsed());
    }
    outcome.check_outs = shopper.took.iter().map(|(_, took)| *took).collect();
    Ok(outcome)
}

impl Outcome {
    fn add(&mut self, other: Outcome) {
        self.confirmed += other.confirmed;
        self.cancelled += other.cancelled;
        self.sold_out += other.sold_out;
        self.check_outs.extend(other.check_outs);
        self.waited.extend(other.waited);
    }
}
