//! Timers of an order, and of goods set aside without one. They are events of the log, so that a restart loses none.

use crate::{OrderId, Sku};
use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What has happened to the timers of one order. Stored and published: a field may be added, none renamed or removed.
///
/// With a `sku` it is about the order's reservation of that SKU, which somebody has made directly; without, about all of
/// the order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TimerEvent {
    /// The order is to be looked at again at `at`, UTC.
    Set {
        order_id: OrderId,
        reason: TimerReason,
        at: DateTime<Utc>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sku: Option<Sku>,
    },
    /// The time has come.
    Fired {
        order_id: OrderId,
        reason: TimerReason,
        fired_at: DateTime<Utc>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sku: Option<Sku>,
    },
}

/// Why an order is looked at again. It has one timer for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TimerReason {
    /// Its goods are not held any longer unless it is paid.
    ReservationEnds,
    /// Its payment, which can be captured once only, is captured before the provider lets go of it.
    CaptureEnds,
}

impl DomainEvent for TimerEvent {
    fn event_type(&self) -> String {
        match self {
            TimerEvent::Set { .. } => "Set",
            TimerEvent::Fired { .. } => "Fired",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum TimerCommand {
    Set { order_id: OrderId, reason: TimerReason, at: DateTime<Utc>, sku: Option<Sku> },
    Fire { order_id: OrderId, reason: TimerReason, fired_at: DateTime<Utc>, sku: Option<Sku> },
}

/// Why a timer command was refused; nothing has changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TimerError {
    #[error("no timer is set for this")]
    NotSet,
    #[error("the timer is set for {at}")]
    SetDifferently { at: DateTime<Utc> },
    #[error("the timer is set for {at}, it is {now}")]
    TooEarly { at: DateTime<Utc>, now: DateTime<Utc> },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timer {
    set: BTreeMap<TimerReason, DateTime<Utc>>,
    fired: BTreeMap<TimerReason, DateTime<Utc>>,
    /// Those of single reservations.
    #[serde(default)]
    reservations: BTreeMap<Sku, OfReservation>,
}

/// The timer of one reservation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct OfReservation {
    at: DateTime<Utc>,
    has_fired: bool,
}

impl Timer {
    fn decide(&self, command: TimerCommand) -> Result<Option<TimerEvent>, TimerError> {
        match command {
            TimerCommand::Set { order_id, reason, at, sku: None } => self.set(order_id, reason, at),
            TimerCommand::Fire { order_id, reason, fired_at, sku: None } => self.fire(order_id, reason, fired_at),
            TimerCommand::Set { order_id, reason, at, sku: Some(sku) } => {
                Ok(self.set_for(&sku, at).then_some(TimerEvent::Set { order_id, reason, at, sku: Some(sku) }))
            }
            TimerCommand::Fire { order_id, reason, fired_at, sku: Some(sku) } => {
                let fires = self.fires_for(&sku, fired_at)?;
                Ok(fires.then_some(TimerEvent::Fired { order_id, reason, fired_at, sku: Some(sku) }))
            }
        }
    }

    /// `None`: it is set for that time.
    fn set(&self, order_id: OrderId, reason: TimerReason, at: DateTime<Utc>) -> Result<Option<TimerEvent>, TimerError> {
        match self.set.get(&reason) {
            Some(&set) if set == at => Ok(None),
            Some(&at) => Err(TimerError::SetDifferently { at }),
            None => Ok(Some(TimerEvent::Set { order_id, reason, at, sku: None })),
        }
    }

    /// `None`: it has fired.
    fn fire(
        &self,
        order_id: OrderId,
        reason: TimerReason,
        now: DateTime<Utc>,
    ) -> Result<Option<TimerEvent>, TimerError> {
        let at = *self.set.get(&reason).ok_or(TimerError::NotSet)?;
        if self.fired.contains_key(&reason) {
            return Ok(None);
        }
        if now < at {
            return Err(TimerError::TooEarly { at, now });
        }
        Ok(Some(TimerEvent::Fired { order_id, reason, fired_at: now, sku: None }))
    }

    /// Whether that is news. Goods that were reserved anew have another time.
    fn set_for(&self, sku: &Sku, at: DateTime<Utc>) -> bool {
        self.reservations.get(sku).is_none_or(|timer| timer.has_fired || timer.at != at)
    }

    /// Whether the time of this SKU has come, and nobody has said so.
    fn fires_for(&self, sku: &Sku, now: DateTime<Utc>) -> Result<bool, TimerError> {
        let &OfReservation { at, has_fired } = self.reservations.get(sku).ok_or(TimerError::NotSet)?;
        match has_fired || now >= at {
            true => Ok(!has_fired),
            false => Err(TimerError::TooEarly { at, now }),
        }
    }
}

impl Aggregate for Timer {
    const TYPE: &'static str = "timer";
    type Command = TimerCommand;
    type Event = TimerEvent;
    type Error = TimerError;
    type Services = ();

    async fn handle(&mut self, command: TimerCommand, _: &(), sink: &EventSink<Self>) -> Result<(), TimerError> {
        if let Some(event) = self.decide(command)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: TimerEvent) {
        match event {
            TimerEvent::Set { reason, at, sku: None, .. } => drop(self.set.insert(reason, at)),
            TimerEvent::Fired { reason, fired_at, sku: None, .. } => drop(self.fired.insert(reason, fired_at)),
            TimerEvent::Set { at, sku: Some(sku), .. } => {
                self.reservations.insert(sku, OfReservation { at, has_fired: false });
            }
            TimerEvent::Fired { sku: Some(sku), .. } => {
                if let Some(timer) = self.reservations.get_mut(&sku) {
                    timer.has_fired = true;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::samples::{ORDER, noon};
    use crate::scenario::{given, handle};
    use chrono::TimeDelta;
    use proptest::prelude::*;

    const REASON: TimerReason = TimerReason::ReservationEnds;

    fn at(minutes: i64) -> DateTime<Utc> {
        noon() + TimeDelta::minutes(minutes)
    }

    fn set(minutes: i64) -> TimerCommand {
        TimerCommand::Set { order_id: ORDER, reason: REASON, at: at(minutes), sku: None }
    }

    fn fire(minutes: i64) -> TimerCommand {
        TimerCommand::Fire { order_id: ORDER, reason: REASON, fired_at: at(minutes), sku: None }
    }

    fn mug() -> Option<Sku> {
        Some("MUG".parse().expect("a valid SKU"))
    }

    fn set_mug(minutes: i64) -> TimerCommand {
        TimerCommand::Set { order_id: ORDER, reason: REASON, at: at(minutes), sku: mug() }
    }

    fn fire_mug(minutes: i64) -> TimerCommand {
        TimerCommand::Fire { order_id: ORDER, reason: REASON, fired_at: at(minutes), sku: mug() }
    }

    fn mug_was_set(minutes: i64) -> TimerEvent {
        TimerEvent::Set { order_id: ORDER, reason: REASON, at: at(minutes), sku: mug() }
    }

    fn mug_fired(minutes: i64) -> TimerEvent {
        TimerEvent::Fired { order_id: ORDER, reason: REASON, fired_at: at(minutes), sku: mug() }
    }

    fn was_set() -> TimerEvent {
        TimerEvent::Set { order_id: ORDER, reason: REASON, at: at(15), sku: None }
    }

    fn fired() -> TimerEvent {
        TimerEvent::Fired { order_id: ORDER, reason: REASON, fired_at: at(15), sku: None }
    }

    #[test]
    fn a_timer_is_set_once() {
        given::<Timer>([]).when(set(15)).then(was_set());
        given::<Timer>([was_set()]).when(set(15)).then_nothing();
        given::<Timer>([was_set()]).when(set(16)).then_refused(TimerError::SetDifferently { at: at(15) });
    }

    #[test]
    fn a_timer_fires_once_and_not_before_its_time() {
        given::<Timer>([was_set()]).when(fire(15)).then(fired());
        given::<Timer>([was_set(), fired()]).when(fire(16)).then_nothing();
        given::<Timer>([was_set()]).when(fire(14)).then_refused(TimerError::TooEarly { at: at(15), now: at(14) });
        given::<Timer>([]).when(fire(15)).then_refused(TimerError::NotSet);
    }

    #[test]
    fn a_reservation_has_a_timer_of_its_own_and_a_new_one_when_it_is_made_anew() {
        given::<Timer>([was_set()]).when(set_mug(5)).then(mug_was_set(5));
        given::<Timer>([mug_was_set(5)]).when(set_mug(5)).then_nothing();
        given::<Timer>([mug_was_set(5)]).when(set_mug(9)).then(mug_was_set(9));
        given::<Timer>([mug_was_set(5), mug_fired(5)]).when(set_mug(5)).then(mug_was_set(5));
    }

    #[test]
    fn the_timer_of_a_reservation_fires_once_and_not_before_its_time() {
        given::<Timer>([mug_was_set(5)]).when(fire_mug(6)).then(mug_fired(6));
        given::<Timer>([mug_was_set(5), mug_fired(5)]).when(fire_mug(6)).then_nothing();
        let too_early = TimerError::TooEarly { at: at(9), now: at(6) };
        given::<Timer>([mug_was_set(5), mug_was_set(9)]).when(fire_mug(6)).then_refused(too_early);
        given::<Timer>([was_set()]).when(fire_mug(15)).then_refused(TimerError::NotSet);
    }

    fn any_command() -> impl Strategy<Value = TimerCommand> {
        let (set, fire) = ((0_i64..3).prop_map(set), (0_i64..3).prop_map(fire));
        prop_oneof![set, fire, (0_i64..3).prop_map(set_mug), (0_i64..3).prop_map(fire_mug)]
    }

    proptest! {
        #[test]
        fn a_retry_changes_nothing(commands in prop::collection::vec(any_command(), 0..10)) {
            let mut timer = Timer::default();
            for command in commands {
                if handle(&mut timer, command.clone()).is_ok() {
                    prop_assert_eq!(handle(&mut timer, command), Ok(vec![]));
                }
            }
        }
    }
}
