//! Where the units are: how many at each location, and from which of them an order is served.

use super::{difference, sum};
use crate::{LocationId, Quantity};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Units by location, each at least 1. Empty: all of them at `main`, as it was before there were several locations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Shares(BTreeMap<LocationId, Quantity>);

impl Shares {
    pub(super) fn new(units: BTreeMap<LocationId, Quantity>) -> Self {
        // One thing is said in one way, and the most frequent in the shortest.
        if units.keys().all(LocationId::is_main) { Self::default() } else { Self(units) }
    }

    /// The units at each location, where they are `total` in all.
    pub fn of(&self, total: Quantity) -> BTreeMap<LocationId, Quantity> {
        match (self.0.is_empty(), total.is_zero()) {
            (true, false) => BTreeMap::from([(LocationId::MAIN, total)]),
            _ => self.0.clone(),
        }
    }

    pub(super) fn are_at_main(&self) -> bool {
        self.0.is_empty()
    }
}

/// Takes `wanted` units from where most are, then from where most of the others are, and so on: the fewest parcels. Of
/// two locations with as many, the one whose id comes first, so that the same state always gives the same answer.
pub(super) fn pick(there: impl IntoIterator<Item = (LocationId, Quantity)>, wanted: Quantity) -> Shares {
    let mut there: Vec<_> = there.into_iter().collect();
    there.sort_by_key(|(_, units)| Reverse(*units)); // Stable: they come in the order of their ids.
    let mut left = wanted;
    let mut picked = BTreeMap::new();
    for (location, units) in there {
        let share = units.min(left);
        if share.is_zero() {
            break;
        }
        left = difference(left, share);
        picked.insert(location, share);
    }
    assert!(left.is_zero(), "only what is there is picked, {left} of {wanted} units are missing");
    Shares::new(picked)
}

/// `units` and `more` together.
pub(super) fn together(
    mut units: BTreeMap<LocationId, Quantity>,
    more: BTreeMap<LocationId, Quantity>,
) -> BTreeMap<LocationId, Quantity> {
    for (location, share) in more {
        let there = units.entry(location).or_default();
        *there = sum(*there, share);
    }
    units
}

/// What is left of `units` without `fewer`.
pub(super) fn without(
    mut units: BTreeMap<LocationId, Quantity>,
    fewer: &BTreeMap<LocationId, Quantity>,
) -> BTreeMap<LocationId, Quantity> {
    for (location, share) in fewer {
        let there = units.entry(location.clone()).or_default();
        *there = difference(*there, *share);
    }
    units.retain(|_, units| !units.is_zero());
    units
}

/// The units at one location.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    pub on_hand: Quantity,
    /// Those of them that no order holds.
    pub available: Quantity,
}

impl Place {
    pub fn reserved(self) -> Quantity {
        difference(self.on_hand, self.available)
    }
}

/// The units at every location that ever had any.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Places(BTreeMap<LocationId, Place>);

impl Places {
    pub fn at(&self, location: &LocationId) -> Place {
        self.0.get(location).copied().unwrap_or_default()
    }

    /// Takes `wanted` units that no order holds; they must be there.
    pub fn pick_available(&self, wanted: Quantity) -> Shares {
        pick(self.0.iter().map(|(location, place)| (location.clone(), place.available)), wanted)
    }

    /// Units come in and are available.
    pub fn arrive(&mut self, location: LocationId, units: Quantity) {
        let place = self.0.entry(location).or_default();
        place.on_hand = sum(place.on_hand, units);
        place.available = sum(place.available, units);
    }

    /// Available units are held for an order.
    pub fn hold(&mut self, units: BTreeMap<LocationId, Quantity>) {
        for (location, share) in units {
            let place = self.0.entry(location).or_default();
            place.available = difference(place.available, share);
        }
    }

    /// Held units are available again.
    pub fn free(&mut self, units: BTreeMap<LocationId, Quantity>) {
        for (location, share) in units {
            let place = self.0.entry(location).or_default();
            place.available = sum(place.available, share);
        }
    }

    /// Held units go away.
    pub fn ship(&mut self, units: BTreeMap<LocationId, Quantity>) {
        for (location, share) in units {
            let place = self.0.entry(location).or_default();
            place.on_hand = difference(place.on_hand, share);
        }
    }

    /// Available units go away.
    pub fn leave(&mut self, units: BTreeMap<LocationId, Quantity>) {
        self.hold(units.clone());
        self.ship(units);
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = (&LocationId, &Place)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{berlin, paris, units};
    use super::*;

    fn picked(there: [u64; 3], wanted: u64) -> BTreeMap<LocationId, Quantity> {
        let there = [berlin(), LocationId::MAIN, paris()].into_iter().zip(there.map(units));
        pick(there, units(wanted)).of(units(wanted))
    }

    #[test]
    fn an_order_comes_from_where_most_units_are() {
        assert_eq!(picked([1, 2, 3], 2), [(paris(), units(2))].into());
        assert_eq!(picked([1, 2, 3], 4), [(paris(), units(3)), (LocationId::MAIN, units(1))].into());
        assert_eq!(picked([2, 2, 2], 1), [(berlin(), units(1))].into());
        assert_eq!(picked([1, 2, 3], 0), [].into());
    }

    #[test]
    fn what_is_all_at_main_is_said_in_one_way() {
        let at = |location| Shares::new([(location, units(2))].into());
        assert_eq!(at(LocationId::MAIN), Shares::default());
        assert_eq!(Shares::default().of(units(2)), [(LocationId::MAIN, units(2))].into());
        assert_eq!(Shares::default().of(Quantity::ZERO), [].into());
        assert_eq!(at(paris()).of(units(2)), [(paris(), units(2))].into());
    }
}
