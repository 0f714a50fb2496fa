//! Those who wait until an order is settled: confirmed or cancelled.

use kontor_domain::OrderId;
use kontor_domain::order::OrderEvent;
use kontor_domain::text::Reason;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How an order was settled, and where in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub position: i64,
    /// Why it was cancelled; `None`: it is confirmed.
    pub cancelled: Option<Reason>,
}

/// The waiting room.
#[derive(Debug, Default, Clone)]
pub struct Settlements(Arc<Mutex<HashMap<OrderId, Vec<oneshot::Sender<Settled>>>>>);

/// Waits for one order; leaves the room when dropped.
pub struct Settlement {
    room: Settlements,
    order_id: OrderId,
    settled: oneshot::Receiver<Settled>,
}

impl Settlements {
    /// Begins to wait. To be called before the order could be settled.
    pub fn of(&self, order_id: OrderId) -> Settlement {
        let (tell, settled) = oneshot::channel();
        self.0.lock().entry(order_id).or_default().push(tell);
        Settlement { room: self.clone(), order_id, settled }
    }

    /// Tells those who wait for the order, if the event settles it.
    pub fn hear(&self, order_id: OrderId, event: &OrderEvent, position: i64) {
        let cancelled = match event {
            OrderEvent::Confirmed { .. } => None,
            OrderEvent::Cancelled { reason, .. } => Some(reason.clone()),
            _ => return,
        };
        for tell in self.0.lock().remove(&order_id).unwrap_or_default() {
            let _ = tell.send(Settled { position, cancelled: cancelled.clone() }); // They may have left.
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

impl Settlement {
    /// Resolves when the order is settled.
    pub async fn wait(mut self) -> Settled {
        match (&mut self.settled).await {
            Ok(settled) => settled,
            Err(_) => std::future::pending().await, // Nobody hears the log any more.
        }
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.settled.close();
        let mut room = self.room.0.lock();
        if let Some(waiting) = room.get_mut(&self.order_id) {
            waiting.retain(|tell| !tell.is_closed());
            if waiting.is_empty() {
                room.remove(&self.order_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kontor_domain::{Currency, Money};
    use uuid::Uuid;

    const ORDER: OrderId = OrderId(Uuid::from_u128(1));

    fn cancelled() -> OrderEvent {
        OrderEvent::Cancelled {
            order_id: ORDER,
            total: Money::zero(Currency::GBP),
            reason: Reason::new("not paid in time").expect("a valid reason"),
            cancelled_at: chrono::DateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn all_who_wait_for_an_order_are_told() {
        let room = Settlements::default();
        let (first, second) = (room.of(ORDER), room.of(ORDER));
        room.hear(OrderId(Uuid::from_u128(2)), &cancelled(), 6);
        room.hear(ORDER, &cancelled(), 7);
        assert_eq!(first.wait().await.position, 7);
        assert!(second.wait().await.cancelled.is_some());
        assert!(room.is_empty());
    }

    #[test]
    fn who_stops_waiting_leaves_nothing_behind() {
        let room = Settlements::default();
        let (first, second) = (room.of(ORDER), room.of(ORDER));
        drop(first);
        assert!(!room.is_empty());
        drop(second);
        assert!(room.is_empty());
    }
}
