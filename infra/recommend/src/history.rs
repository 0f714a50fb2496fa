//! What one customer has bought.

use chrono::{DateTime, Utc};
use kontor_domain::Sku;
use serde::{Deserialize, Serialize};

/// What one customer has bought, in the order of time. Cancellations name no order, so what is taken back is taken from
/// the latest purchases of the SKU.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    bought: Vec<Bought>,
}

/// One SKU in one order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bought {
    pub sku: Sku,
    /// Business time, UTC. The lines of one order have the same.
    pub at: DateTime<Utc>,
    /// What was kept; 0: all of it was taken back.
    pub units: u64,
}

impl History {
    /// `units` were bought in an order placed at `at`, which is none before the last. A line more of the same order adds up.
    pub fn buy(&mut self, at: DateTime<Utc>, sku: &Sku, units: u64) {
        let of_order = self.bought.iter_mut().rev().take_while(|bought| bought.at == at);
        match of_order.into_iter().find(|bought| bought.sku == *sku) {
            Some(bought) => bought.units = bought.units.saturating_add(units),
            None => self.bought.push(Bought { sku: sku.clone(), at, units }),
        }
    }

    /// `units` were taken back. More than were bought: the sale is from before all that is known, and is passed over.
    pub fn take_back(&mut self, sku: &Sku, mut units: u64) {
        for bought in self.bought.iter_mut().rev().filter(|bought| bought.sku == *sku) {
            let taken = units.min(bought.units);
            bought.units -= taken;
            units -= taken;
        }
    }

    /// All that was ever bought, also what was taken back.
    pub fn bought(&self) -> &[Bought] {
        &self.bought
    }

    /// Whether it was ever bought, also if it was taken back.
    pub fn has(&self, sku: &Sku) -> bool {
        self.bought.iter().any(|bought| bought.sku == *sku)
    }
}
