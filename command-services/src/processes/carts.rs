//! Carts that may be left behind: when each was last changed. What is older than the last checkpoint is in it.

use crate::executor::{Decision, Stop, Unit};
use crate::refusal::Refusal;
use chrono::{DateTime, TimeDelta, Utc};
use kontor_domain::CartId;
use kontor_domain::cart::{Cart, CartCommand, CartEvent};
use std::collections::HashMap;

/// What has become of carts since the last checkpoint.
#[derive(Debug, Default)]
pub struct CartNews(HashMap<CartId, News>);

/// What has become of one cart.
#[derive(Debug, Clone, Copy)]
pub struct News {
    /// Of the event that brought it.
    pub position: i64,
    /// When the buyer last did something; `None`: the cart is at an end, or abandoned already.
    pub changed_at: Option<DateTime<Utc>>,
}

impl CartNews {
    pub fn hear(&mut self, cart_id: CartId, event: &CartEvent, position: i64) {
        let changed_at = match event {
            CartEvent::Opened(opened) => Some(opened.opened_at),
            CartEvent::QuantitySet { changed_at, .. }
            | CartEvent::Assigned { changed_at, .. }
            | CartEvent::Merged { changed_at, .. }
            | CartEvent::EmailSet { changed_at, .. }
            | CartEvent::ShippingAddressSet { changed_at, .. }
            | CartEvent::BillingAddressSet { changed_at, .. }
            | CartEvent::ShippingMethodChosen { changed_at, .. } => Some(*changed_at),
            CartEvent::ClosedInto { .. } | CartEvent::CheckedOut(_) | CartEvent::Abandoned { .. } => None,
        };
        self.0.insert(cart_id, News { position, changed_at });
    }

    /// Takes all of it, for a checkpoint.
    pub fn take(&mut self) -> HashMap<CartId, News> {
        std::mem::take(&mut self.0)
    }

    /// Puts back what could not be written, beneath what has come since.
    pub fn put_back(&mut self, taken: HashMap<CartId, News>) {
        for (cart_id, news) in taken {
            self.0.entry(cart_id).or_insert(news);
        }
    }

    /// Forgets what is in a checkpoint at `position`, whoever wrote it.
    pub fn forget(&mut self, position: i64) {
        self.0.retain(|_, news| news.position > position);
    }
}

/// Marks a cart as left behind, if it has been idle for long.
pub struct AbandonCart {
    pub cart_id: CartId,
    pub idle: TimeDelta,
    pub now: DateTime<Utc>,
}

impl Decision for AbandonCart {
    async fn decide(&self, unit: &mut Unit<'_>) -> Result<(), Stop> {
        let abandon = CartCommand::Abandon { idle: self.idle, now: self.now };
        let handled = unit.handle::<Cart>(&self.cart_id.to_string(), abandon).await;
        handled.map_err(|refused| refused.or(Refusal::Cart))?;
        Ok(())
    }
}
