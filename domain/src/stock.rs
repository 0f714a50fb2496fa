//! Stock of one SKU, at one or several locations: received, counted, set aside for orders, shipped, taken back.
//!
//! What holds after every event: received + found - lost = on hand + shipped - returned; on hand = available + set aside,
//! in all and at each location; nothing is below 0. And after every command: while an order waits for back-ordered
//! units, none is available.

mod after;
mod back_orders;
mod goods;
mod locations;
mod reservations;
#[cfg(test)]
mod tests;

pub use locations::Shares;
pub use reservations::RESERVATION_TTL;

use crate::text::{Reason, Reference};
use crate::{LocationId, OrderId, Quantity};
use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use locations::{Places, together, without};
use reservations::Reservation;
use serde::{Deserialize, Serialize};

/// What has happened to one SKU's stock. Stored and published: a field may be added, none renamed or removed.
///
/// `on_hand_after` counts the units in the building, `available_after` those of them that no order holds; every event
/// says the latter, so that a reader need only assign it. `shares` tells which location the `quantity` units are at.
/// `back_ordered_after` counts the units that orders wait for. A field that is absent is 0, none, or the location `main`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum StockEvent {
    /// `quantity` units came in: a delivery, or goods taken back without naming their order.
    Received {
        quantity: Quantity,
        reference: Option<Reference>,
        on_hand_after: Quantity,
        available_after: Quantity,
        #[serde(default, skip_serializing_if = "LocationId::is_main")]
        location: LocationId,
    },
    /// There are more or fewer units than was booked.
    Adjusted {
        change: Change,
        reason: Reason,
        on_hand_after: Quantity,
        available_after: Quantity,
        #[serde(default, skip_serializing_if = "LocationId::is_main")]
        location: LocationId,
    },
    /// `quantity` units that no order holds are now at another location.
    Transferred {
        quantity: Quantity,
        from: LocationId,
        to: LocationId,
        reference: Option<Reference>,
        on_hand_after: Quantity,
        available_after: Quantity,
    },
    /// `quantity` units are set aside for the order. They are still in the building. It waits for `back_ordered` more.
    /// At `expires_at` (UTC) others may have them; `None`: never.
    Reserved {
        order_id: OrderId,
        quantity: Quantity,
        available_after: Quantity,
        #[serde(default, skip_serializing_if = "Shares::are_at_main")]
        shares: Shares,
        #[serde(default, skip_serializing_if = "is_zero")]
        back_ordered: Quantity,
        #[serde(default, skip_serializing_if = "is_zero")]
        back_ordered_after: Quantity,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<DateTime<Utc>>,
    },
    /// `quantity` units that the order waited for are set aside for it. It waits for `back_ordered` more.
    Filled {
        order_id: OrderId,
        quantity: Quantity,
        available_after: Quantity,
        #[serde(default, skip_serializing_if = "Shares::are_at_main")]
        shares: Shares,
        #[serde(default, skip_serializing_if = "is_zero")]
        back_ordered: Quantity,
        #[serde(default, skip_serializing_if = "is_zero")]
        back_ordered_after: Quantity,
    },
    /// The order's reservation, of `quantity` units with those that it waits for, does not expire any more.
    Confirmed { order_id: OrderId, quantity: Quantity, available_after: Quantity },
    /// The order's units are on sale again. It does not wait any more for `back_ordered` others.
    Released {
        order_id: OrderId,
        quantity: Quantity,
        available_after: Quantity,
        #[serde(default)]
        cause: ReleaseCause,
        #[serde(default, skip_serializing_if = "Shares::are_at_main")]
        shares: Shares,
        #[serde(default, skip_serializing_if = "is_zero")]
        back_ordered: Quantity,
        #[serde(default, skip_serializing_if = "is_zero")]
        back_ordered_after: Quantity,
    },
    /// The order's units have left the building. It is still to get `remaining` of those that it reserved.
    Shipped {
        order_id: OrderId,
        quantity: Quantity,
        on_hand_after: Quantity,
        available_after: Quantity,
        #[serde(default, skip_serializing_if = "Shares::are_at_main")]
        shares: Shares,
        #[serde(default, skip_serializing_if = "is_zero")]
        remaining: Quantity,
    },
    /// Units that were shipped to the order have come back and are on sale again.
    Returned {
        order_id: OrderId,
        quantity: Quantity,
        on_hand_after: Quantity,
        available_after: Quantity,
        #[serde(default, skip_serializing_if = "LocationId::is_main")]
        location: LocationId,
    },
    /// From now on orders may wait for `up_to` units in all; 0: for none.
    BackOrdersLimited { up_to: Quantity, available_after: Quantity },
}

/// By how many units a count or a find differs from what was booked. At least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    Up(Quantity),
    Down(Quantity),
}

/// Why an order's units are on sale again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseCause {
    /// Somebody asked for it: the order was cancelled, or its payment failed.
    #[default]
    Requested,
    /// Its time was up.
    Expired,
}

impl DomainEvent for StockEvent {
    fn event_type(&self) -> String {
        match self {
            StockEvent::Received { .. } => "Received",
            StockEvent::Adjusted { .. } => "Adjusted",
            StockEvent::Transferred { .. } => "Transferred",
            StockEvent::Reserved { .. } => "Reserved",
            StockEvent::Filled { .. } => "Filled",
            StockEvent::Confirmed { .. } => "Confirmed",
            StockEvent::Released { .. } => "Released",
            StockEvent::Shipped { .. } => "Shipped",
            StockEvent::Returned { .. } => "Returned",
            StockEvent::BackOrdersLimited { .. } => "BackOrdersLimited",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum StockCommand {
    Receive {
        quantity: Quantity,
        reference: Option<Reference>,
        location: LocationId,
    },
    /// Books what was found or is missing at the location.
    Adjust {
        location: LocationId,
        change: Change,
        reason: Reason,
    },
    /// Books what a count at the location has shown, those for orders included.
    Count {
        location: LocationId,
        counted: Quantity,
        reason: Reason,
    },
    /// Moves units that no order holds.
    Transfer {
        quantity: Quantity,
        from: LocationId,
        to: LocationId,
        reference: Option<Reference>,
    },
    /// Sets units aside until `expires_at`; `None`: until they are shipped or released.
    Reserve {
        order_id: OrderId,
        quantity: Quantity,
        expires_at: Option<DateTime<Utc>>,
    },
    /// Keeps the reservation beyond its time: the order is paid.
    Confirm {
        order_id: OrderId,
    },
    Release {
        order_id: OrderId,
    },
    /// Releases a reservation whose time is up at `now`.
    Expire {
        order_id: OrderId,
        now: DateTime<Utc>,
    },
    /// Ships that many of the units that the order has reserved; `None`: all that are left.
    Ship {
        order_id: OrderId,
        quantity: Option<Quantity>,
    },
    /// Ships at once what no order holds: goods handed over the counter, or trade recorded after the fact.
    ShipUnreserved {
        order_id: OrderId,
        quantity: Quantity,
    },
    /// Takes back what was shipped to the order, fit to be sold again.
    Return {
        order_id: OrderId,
        quantity: Quantity,
        location: LocationId,
    },
    /// Allows orders to wait for `up_to` units in all; 0: for none, as at first.
    LimitBackOrders {
        up_to: Quantity,
    },
}

/// Why a stock command was refused; nothing has changed. Each variant is one problem `type` over HTTP.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StockError {
    #[error("{requested} units requested, {available} available")]
    Insufficient { requested: Quantity, available: Quantity },
    #[error("{requested} units requested, {available} available, {left} may still be back-ordered")]
    BackOrdersFull { requested: Quantity, available: Quantity, left: Quantity },
    #[error("{requested} units requested, {available} available at {location}")]
    InsufficientAt { location: LocationId, requested: Quantity, available: Quantity },
    #[error("{fewer} units fewer at {location} are not possible, orders hold {reserved} of the {on_hand} there")]
    BelowReserved { location: LocationId, fewer: Quantity, on_hand: Quantity, reserved: Quantity },
    #[error("the units are at {location} already")]
    SameLocation { location: LocationId },
    #[error("the order already holds {held} units")]
    ReservedDifferently { held: Quantity },
    #[error("the order holds no units of this SKU")]
    NotReserved,
    #[error("{requested} units requested, the order holds {held}")]
    MoreThanReserved { requested: Quantity, held: Quantity },
    #[error("{requested} units requested, {filled} of the order's have come in")]
    BackOrdered { requested: Quantity, filled: Quantity },
    #[error("the reservation is confirmed and does not expire")]
    Confirmed,
    #[error("the reservation does not expire before {}", expires_at.to_rfc3339())]
    NotYetExpired { expires_at: DateTime<Utc> },
    #[error("{requested} units requested, {shipped} have been shipped and not come back")]
    MoreThanShipped { requested: Quantity, shipped: Quantity },
    #[error("the quantity must be at least 1")]
    NothingToMove,
    #[error("{quantity} units more would be above the largest stock, {} units", Quantity::MAX)]
    TooMany { quantity: Quantity },
}

/// What it holds is about orders that are under way, however many there were. Of those that are done it knows the sums, and
/// each order what became of its own. The maps share their unchanged parts with their clones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stock {
    received: Quantity,
    found: Quantity,
    lost: Quantity,
    shipped: Quantity,
    returned: Quantity,
    on_hand: Quantity,
    available: Quantity,
    back_ordered: Quantity,
    back_ordered_max: Quantity,
    places: Places,
    reservations: imbl::OrdMap<OrderId, Reservation>,
    /// Those of the orders that wait for back-ordered units, longest first.
    waiting: imbl::Vector<OrderId>,
}

impl Stock {
    /// Units that no order holds.
    pub fn available(&self) -> Quantity {
        self.available
    }

    /// Whether there ever was anything: a SKU without stock is not on sale.
    pub fn is_known(&self) -> bool {
        !self.received.is_zero() || !self.found.is_zero()
    }

    fn decide(&self, command: StockCommand) -> Result<Option<StockEvent>, StockError> {
        match command {
            StockCommand::Receive { quantity, reference, location } => self.receive(quantity, reference, location),
            StockCommand::Adjust { location, change, reason } => self.adjust(location, change, reason),
            StockCommand::Count { location, counted, reason } => self.count(location, counted, reason),
            StockCommand::Transfer { quantity, from, to, reference } => self.transfer(quantity, from, to, reference),
            StockCommand::Reserve { order_id, quantity, expires_at } => self.reserve(order_id, quantity, expires_at),
            StockCommand::Confirm { order_id } => self.confirm(order_id),
            StockCommand::Release { order_id } => self.release(order_id),
            StockCommand::Expire { order_id, now } => self.expire(order_id, now),
            StockCommand::Ship { order_id, quantity } => self.ship(order_id, quantity),
            StockCommand::ShipUnreserved { order_id, quantity } => self.ship_unreserved(order_id, quantity),
            StockCommand::Return { order_id, quantity, location } => self.take_back(order_id, quantity, location),
            StockCommand::LimitBackOrders { up_to } => self.limit_back_orders(up_to),
        }
    }
}

fn at_least_one(quantity: Quantity) -> Result<(), StockError> {
    if quantity.is_zero() { Err(StockError::NothingToMove) } else { Ok(()) }
}

fn is_zero(quantity: &Quantity) -> bool {
    quantity.is_zero()
}

fn sum(a: Quantity, b: Quantity) -> Quantity {
    a.checked_add(b).expect("all that ever came in has a largest, and so has what orders may wait for")
}

fn difference(a: Quantity, b: Quantity) -> Quantity {
    a.checked_sub(b).expect("what is reserved or available is on hand, and what goes was there")
}

impl Aggregate for Stock {
    const TYPE: &'static str = "stock";
    type Command = StockCommand;
    type Event = StockEvent;
    type Error = StockError;
    type Services = ();

    async fn handle(&mut self, command: StockCommand, _: &(), sink: &EventSink<Self>) -> Result<(), StockError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        // Whatever the command has made available belongs to those who wait, before the next command can take it.
        while let Some(filled) = self.fill_next() {
            sink.write(filled, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: StockEvent) {
        match event {
            StockEvent::Received { quantity, location, on_hand_after, available_after, .. } => {
                self.received = sum(self.received, quantity);
                self.places.arrive(location, quantity);
                (self.on_hand, self.available) = (on_hand_after, available_after);
            }
            StockEvent::Adjusted { change, location, on_hand_after, available_after, .. } => {
                match change {
                    Change::Up(quantity) => {
                        self.found = sum(self.found, quantity);
                        self.places.arrive(location, quantity);
                    }
                    Change::Down(quantity) => {
                        self.lost = sum(self.lost, quantity);
                        self.places.leave([(location, quantity)].into());
                    }
                }
                (self.on_hand, self.available) = (on_hand_after, available_after);
            }
            StockEvent::Transferred { quantity, from, to, .. } => {
                self.places.leave([(from, quantity)].into());
                self.places.arrive(to, quantity);
            }
            StockEvent::Reserved {
                order_id,
                quantity,
                available_after,
                shares,
                back_ordered,
                back_ordered_after,
                expires_at,
            } => {
                self.places.hold(shares.of(quantity));
                if !back_ordered.is_zero() {
                    self.waiting.push_back(order_id);
                }
                let asked = sum(quantity, back_ordered);
                let reservation = Reservation { asked, filled: quantity, shares, back_ordered, expires_at };
                self.reservations.insert(order_id, reservation);
                (self.available, self.back_ordered) = (available_after, back_ordered_after);
            }
            StockEvent::Filled { order_id, quantity, available_after, shares, back_ordered, back_ordered_after } => {
                self.places.hold(shares.of(quantity));
                if back_ordered.is_zero() {
                    self.stop_waiting(order_id);
                }
                if let Some(held) = self.reservations.get_mut(&order_id) {
                    held.shares = Shares::new(together(held.shares.of(held.filled), shares.of(quantity)));
                    held.filled = sum(held.filled, quantity);
                    held.back_ordered = back_ordered;
                }
                (self.available, self.back_ordered) = (available_after, back_ordered_after);
            }
            StockEvent::Confirmed { order_id, .. } => {
                if let Some(held) = self.reservations.get_mut(&order_id) {
                    held.expires_at = None;
                }
            }
            StockEvent::Released {
                order_id,
                quantity,
                shares,
                available_after,
                back_ordered,
                back_ordered_after,
                ..
            } => {
                self.places.free(shares.of(quantity));
                self.reservations.remove(&order_id);
                if !back_ordered.is_zero() {
                    self.stop_waiting(order_id);
                }
                (self.available, self.back_ordered) = (available_after, back_ordered_after);
            }
            StockEvent::Shipped { order_id, quantity, on_hand_after, available_after, shares, remaining } => {
                let left = shares.of(quantity);
                match self.reservations.get_mut(&order_id) {
                    None => self.places.leave(left),
                    Some(held) => {
                        held.shares = Shares::new(without(held.shares.of(held.filled), &left));
                        held.filled = difference(held.filled, quantity);
                        self.places.ship(left);
                    }
                }
                if remaining.is_zero() {
                    self.reservations.remove(&order_id);
                }
                self.shipped = sum(self.shipped, quantity);
                (self.on_hand, self.available) = (on_hand_after, available_after);
            }
            StockEvent::Returned { quantity, location, on_hand_after, available_after, .. } => {
                self.returned = sum(self.returned, quantity);
                self.places.arrive(location, quantity);
                (self.on_hand, self.available) = (on_hand_after, available_after);
            }
            StockEvent::BackOrdersLimited { up_to, .. } => self.back_ordered_max = up_to,
        }
    }
}
