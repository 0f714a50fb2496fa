//! What goes with an item in one order.
//!
//! How often it did, smoothed by what would be expected of two items of which nothing is known: that what sells is in any order,
//! and that things called alike are bought alike. The less an item was sold, the more the latter counts.

use crate::knowledge::Knowledge;
use std::collections::BTreeMap;

/// Orders, over their size, that what is expected counts for. Figures of this file are from windows before the last.
const SMOOTHING: f32 = 1.0;
/// How likely things of the same name are bought together; with the square of what names have in common.
const ALIKE: f32 = 0.3;
/// What sells more or less of late than before is so much more or less likely: this power of the ratio,
const TREND: f32 = 0.3;
/// within these bounds.
const TREND_BOUNDS: (f32, f32) = (0.3, 3.0);
/// Sales a week that make a ratio of what hardly sells a mild one.
const TREND_MIN: f32 = 0.05;
/// Items that are looked at for what they are called, and for what sells.
const NEAREST: usize = 40;
const SELLING: usize = 40;

/// How likely others are in an order that has `item`: those that are worth a look.
pub(crate) fn likely_with(knowledge: &Knowledge, item: u32, allowed: &dyn Fn(u32) -> bool) -> BTreeMap<u32, f32> {
    let Knowledge { demand, baskets, words, .. } = knowledge;
    let may = |other: u32| other != item && demand.is_sold(other) && allowed(other);
    // What is expected of each, and what was seen.
    let mut sums: BTreeMap<u32, f32> =
        baskets.with.row(item).iter().copied().filter(|(other, _)| may(*other)).collect();
    for (other, cosine) in words.nearest(item, NEAREST).into_iter().filter(|(other, _)| may(*other)) {
        *sums.entry(other).or_default() += SMOOTHING * ALIKE * cosine * cosine;
    }
    for &other in demand.by_demand().iter().filter(|other| may(**other)).take(SELLING) {
        sums.entry(other).or_default();
    }
    let all = baskets.evidence[item as usize] + SMOOTHING;
    let weekly: f32 = demand.weekly_of_all().max(f32::MIN_POSITIVE);
    sums.iter_mut().for_each(|(&other, sum)| {
        let (week, quarter) = (demand.of_week(other).exp_m1(), demand.of_quarter(other).exp_m1());
        let trend = ((week + TREND_MIN) / (quarter + TREND_MIN)).clamp(TREND_BOUNDS.0, TREND_BOUNDS.1).powf(TREND);
        *sum = (*sum + SMOOTHING * week / weekly) / all * trend;
    });
    sums
}
