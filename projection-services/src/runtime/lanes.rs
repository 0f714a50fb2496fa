//! Lanes: an aggregate's events are always in the same one, so lanes can be written at the same time and each still is in
//! order.

use std::ops::Range;
use uuid::Uuid;

/// Lanes of a generation. Checkpoints are kept by lane, so this number, as the hash, is for ever.
pub const LANES: usize = 8;

/// The lane of an aggregate: by its id alone, so that a product and its stock, which share a row, share a lane.
///
/// FNV-1a of 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), its upper half folded in.
pub fn lane_of(aggregate_id: &str) -> usize {
    let hash = aggregate_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    ((hash ^ (hash >> 32)) % LANES as u64) as usize
}

/// A place in the log: the last event that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// 0: none yet.
    pub position: i64,
    /// Of the event at `position`; `None` before the first.
    pub event_id: Option<Uuid>,
    /// Epoch of the log when it was applied.
    pub log_epoch: i64,
}

/// How far a generation has come, lane by lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// All lanes are there, at least.
    pub mark: Mark,
    /// Lanes that are further, since the transactions of a large batch were interrupted; others are behind `mark`.
    pub ahead: [Mark; LANES],
}

impl Progress {
    /// The last position that `lane` has applied.
    pub fn of(&self, lane: usize) -> i64 {
        self.mark.position.max(self.ahead[lane].position)
    }

    /// The last position that any lane has applied.
    pub fn furthest(&self) -> i64 {
        (0..LANES).map(|lane| self.of(lane)).max().unwrap_or(self.mark.position)
    }

    /// Whether an event at `position` of an aggregate in `lane` is applied already.
    pub fn has(&self, lane: usize, position: i64) -> bool {
        position <= self.of(lane)
    }

    /// The places in the log that were reached, to be compared with those of the log as it is now.
    pub fn marks(&self) -> impl Iterator<Item = Mark> {
        let further = self.ahead.into_iter().filter(|ahead| ahead.position > self.mark.position);
        std::iter::once(self.mark).chain(further)
    }
}

/// Divides lanes evenly into `groups`, each to be written by one transaction.
pub fn groups(groups: usize) -> Vec<Range<usize>> {
    let groups = groups.clamp(1, LANES);
    (0..groups).map(|n| n * LANES / groups..(n + 1) * LANES / groups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden: checkpoints that are stored go by it.
    #[test]
    fn an_aggregate_stays_in_its_lane_for_ever() {
        let lanes = ["85123A", "85123B", "01890a5d-ac96-774b-bcce-b302099a8057", "catalogue", ""].map(lane_of);
        assert_eq!(lanes, [4, 5, 4, 5, 1]);
    }

    #[test]
    fn lanes_are_used_alike() {
        let mut counts = [0; LANES];
        (0..8_000).for_each(|n| counts[lane_of(&format!("SKU-{n:05}"))] += 1);
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }

    #[test]
    fn groups_have_each_lane_once() {
        for n in 0..=LANES + 1 {
            let lanes: Vec<_> = groups(n).into_iter().flatten().collect();
            assert_eq!(lanes, (0..LANES).collect::<Vec<_>>(), "{n} groups");
        }
        assert_eq!(groups(3), [0..2, 2..5, 5..8]);
    }

    #[test]
    fn a_lane_that_is_ahead_has_more_than_the_others() {
        let at = |position| Mark { position, ..Mark::default() };
        let mut progress = Progress { mark: at(10), ..Progress::default() };
        (progress.ahead[2], progress.ahead[3]) = (at(20), at(5));
        assert_eq!((progress.of(1), progress.of(2), progress.of(3)), (10, 20, 10));
        assert!(progress.has(2, 20) && !progress.has(3, 11));
        assert_eq!(progress.furthest(), 20);
        assert_eq!(progress.marks().count(), 2);
    }
}
