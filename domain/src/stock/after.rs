//! What an event says of the stock after it, so that a reader need only assign it.

use super::StockEvent;
use crate::Quantity;

impl StockEvent {
    /// Units that no order holds.
    pub fn available_after(&self) -> Quantity {
        match self {
            StockEvent::Received { available_after, .. }
            | StockEvent::Adjusted { available_after, .. }
            | StockEvent::Transferred { available_after, .. }
            | StockEvent::Reserved { available_after, .. }
            | StockEvent::Filled { available_after, .. }
            | StockEvent::Confirmed { available_after, .. }
            | StockEvent::Released { available_after, .. }
            | StockEvent::Shipped { available_after, .. }
            | StockEvent::Returned { available_after, .. }
            | StockEvent::BackOrdersLimited { available_after, .. } => *available_after,
        }
    }

    /// Units in the building. `None`: as many as before.
    pub fn on_hand_after(&self) -> Option<Quantity> {
        match self {
            StockEvent::Received { on_hand_after, .. }
            | StockEvent::Adjusted { on_hand_after, .. }
            | StockEvent::Transferred { on_hand_after, .. }
            | StockEvent::Shipped { on_hand_after, .. }
            | StockEvent::Returned { on_hand_after, .. } => Some(*on_hand_after),
            StockEvent::Reserved { .. }
            | StockEvent::Filled { .. }
            | StockEvent::Confirmed { .. }
            | StockEvent::Released { .. }
            | StockEvent::BackOrdersLimited { .. } => None, // They stay in the building.
        }
    }

    /// Units that orders wait for. `None`: as many as before.
    pub fn back_ordered_after(&self) -> Option<Quantity> {
        match self {
            StockEvent::Reserved { back_ordered_after, .. }
            | StockEvent::Filled { back_ordered_after, .. }
            | StockEvent::Released { back_ordered_after, .. } => Some(*back_ordered_after),
            StockEvent::Received { .. }
            | StockEvent::Adjusted { .. }
            | StockEvent::Transferred { .. }
            | StockEvent::Confirmed { .. }
            | StockEvent::Shipped { .. }
            | StockEvent::Returned { .. }
            | StockEvent::BackOrdersLimited { .. } => None,
        }
    }
}
