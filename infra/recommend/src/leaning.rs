//! What speaks for an item with one customer: signs, which a blend weighs.

use crate::demand::decay;
use crate::knowledge::Knowledge;
use crate::sparse::largest;
use crate::words::unit;
use std::collections::{BTreeMap, BTreeSet};

/// Signs of any item.
pub(crate) const OF_NEW: usize = 28;
/// Signs of an item that the customer has: those of any, and what they did with it.
pub(crate) const OF_HAD: usize = OF_NEW + 14;

/// Days in which what a customer bought says half as much of their taste.
const TASTE_HALF_LIFE: f64 = 60.0;
/// Of each list that candidates are taken from, so many, times [`FOR_LESSONS`] or [`FOR_ANSWERS`].
const CANDIDATES: usize = 120;
const CANDIDATES_BY_SEASON: usize = 40;
const CANDIDATES_BY_WORDS: usize = 40;
const CANDIDATES_BY_NEIGHBOURS: usize = 60;
/// What signs are worth is seen on the likely; what is recommended may be one that only all of its signs together speak for.
pub(crate) const FOR_LESSONS: usize = 1;
pub(crate) const FOR_ANSWERS: usize = 3;
/// Stands for an affinity of nothing, in a logarithm.
const FAINT: f32 = 3e-3;
/// Stands for what no neighbour has bought, in a logarithm.
const FAINT_OF_NEIGHBOURS: f32 = 1e-3;
/// Stands for the interval of what was bought once.
const INTERVAL_UNKNOWN: f64 = 999.0;

/// What one customer has bought.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past {
    /// Item and days ago, the oldest first, an item once an order; without what was taken back.
    pub kept: Vec<(u32, f64)>,
    /// Also what was taken back.
    pub had: BTreeSet<u32>,
}

/// What the customer did with one item.
#[derive(Debug, Clone, Copy)]
struct Own {
    times: f32,
    decayed: [f32; 4],
    first_days: f64,
    last_days: f64,
}

const OWN_HALF_LIVES: [f64; 4] = [30.0, 60.0, 120.0, 365.0];

/// How the customer buys, as logarithms but for `last_days`.
struct Habits {
    orders: f32,
    last_days: f64,
    last: f32,
    monthly: f32,
    basket: f32,
    variety: f32,
}

pub(crate) struct Leaning<'a> {
    knowledge: &'a Knowledge,
    habits: Habits,
    /// Days ago of each order, the oldest first.
    orders: Vec<f64>,
    affinity: Vec<f32>,
    words: Vec<f32>,
    neighbours: Vec<f32>,
    direction: Vec<f32>,
    own: BTreeMap<u32, Own>,
}

impl<'a> Leaning<'a> {
    /// `None`: nothing is known of the customer.
    pub fn of(knowledge: &'a Knowledge, past: &Past) -> Option<Self> {
        let kept = &past.kept;
        let (first, last) = (kept.first()?.1, kept.last()?.1);
        let items = knowledge.demand.items();
        let mut own = BTreeMap::<u32, Own>::new();
        let mut orders: Vec<f64> = Vec::new();
        for &(item, days_ago) in kept {
            if orders.last() != Some(&days_ago) {
                orders.push(days_ago);
            }
            let fresh = Own { times: 0.0, decayed: [0.0; 4], first_days: days_ago, last_days: days_ago };
            let entry = own.entry(item).or_insert(fresh);
            entry.times += 1.0;
            entry.last_days = days_ago;
            let weights = OWN_HALF_LIVES.map(|half_life| decay(days_ago, half_life));
            entry.decayed.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
        }
        let [mut affinity, mut words, mut neighbours] = [vec![0.0; items], vec![0.0; items], vec![0.0; items]];
        let mut direction = vec![0.0; knowledge.dimensions];
        let mut profile = BTreeMap::<u32, f32>::new();
        for (&item, Own { decayed, .. }) in &own {
            let weight = decayed[2].min(1.0); // As the affinities were learnt.
            knowledge.affinity.row(item).iter().for_each(|&(to, other)| affinity[to as usize] += weight * other);
            let vector = knowledge.direction(item);
            direction.iter_mut().zip(vector).for_each(|(sum, value)| *sum += weight * value);
        }
        for &(item, days_ago) in kept {
            let weight = decay(days_ago, TASTE_HALF_LIFE);
            for &(word, other) in knowledge.words.of_item(item) {
                *profile.entry(word).or_default() += weight * other;
            }
        }
        knowledge.neighbours.spread(own.iter().map(|(&item, own)| (item, own.decayed[2].min(1.0))), &mut neighbours);
        knowledge.words.spread(&unit(profile.into_iter().collect()), &mut words);
        crate::affinity::scale_to_unit(&mut direction);
        let count = orders.len() as f64;
        let habits = Habits {
            orders: count.ln_1p() as f32,
            last_days: last,
            last: last.ln_1p() as f32,
            monthly: (count / first.max(30.0) * 30.0).ln_1p() as f32,
            basket: (kept.len() as f64 / count).ln_1p() as f32,
            variety: (own.len() as f64).ln_1p() as f32,
        };
        Some(Self { knowledge, habits, orders, affinity, words, neighbours, direction, own })
    }

    /// Whether the customer has it, and has kept it.
    pub fn has(&self, item: u32) -> bool {
        self.own.contains_key(&item)
    }

    /// Items that are worth a look: what the customer has, what goes with it, what sells. Each once, in no order that matters.
    pub fn candidates(&self, breadth: usize, allowed: &dyn Fn(u32) -> bool) -> Vec<u32> {
        let demand = &self.knowledge.demand;
        let mut found: BTreeSet<u32> = self.own.keys().copied().filter(|item| allowed(*item)).collect();
        let scored = [
            (&self.affinity, CANDIDATES),
            (&self.words, CANDIDATES_BY_WORDS),
            (&self.neighbours, CANDIDATES_BY_NEIGHBOURS),
        ];
        for (scores, most) in scored {
            let scored = scores.iter().zip(0..).filter(|(score, _)| **score > 0.0).map(|(score, item)| (item, *score));
            let scored = scored.filter(|(item, _)| demand.is_sold(*item) && allowed(*item));
            found.extend(largest(scored.collect(), breadth * most).into_iter().map(|(item, _)| item));
        }
        for (ranked, most) in [(demand.by_demand(), CANDIDATES), (demand.by_season(), CANDIDATES_BY_SEASON)] {
            found.extend(ranked.iter().copied().filter(|item| allowed(*item)).take(breadth * most));
        }
        found.into_iter().collect()
    }

    /// The signs of an item: [`OF_HAD`] if the customer has it, or else [`OF_NEW`] and zeros.
    pub fn signs(&self, item: u32) -> [f32; OF_HAD] {
        let Knowledge { demand, .. } = self.knowledge;
        let &[half_week, week, fortnight, month, quarter, customers, age, since, season, growth, repeat, to_guests] =
            demand.figures(item);
        let Habits { orders, last_days, last, monthly, basket, variety } = self.habits;
        let words = self.words[item as usize];
        let affinity = (self.affinity[item as usize].max(0.0) + FAINT).ln();
        let neighbours = (self.neighbours[item as usize] + FAINT_OF_NEIGHBOURS).ln();
        let direction = self.knowledge.direction(item).iter().zip(&self.direction).map(|(a, b)| a * b).sum();
        // Came after the customer's last order: they cannot have seen it yet.
        let unseen = if f64::from(age.exp_m1()) < last_days { 1.0 } else { 0.0 };
        let mut signs = [0.0; OF_HAD];
        let of_any: [f32; OF_NEW] = [
            half_week,
            week,
            fortnight,
            month,
            quarter,
            customers,
            age,
            since,
            season,
            growth,
            words,
            affinity,
            direction,
            unseen,
            neighbours,
            repeat,
            to_guests,
            age * last,
            age * basket,
            age * orders,
            fortnight * variety,
            affinity * basket,
            affinity * variety,
            orders,
            last,
            monthly,
            basket,
            variety,
        ];
        signs[..OF_NEW].copy_from_slice(&of_any);
        if let Some(own) = self.own.get(&item) {
            signs[OF_NEW..].copy_from_slice(&self.of_own(own));
        }
        signs
    }

    fn of_own(&self, own: &Own) -> [f32; OF_HAD - OF_NEW] {
        let Own { times, decayed, first_days, last_days } = *own;
        let interval = if times > 1.0 { (first_days - last_days) / f64::from(times - 1.0) } else { INTERVAL_UNKNOWN };
        // Orders since the item was first bought, that one included, and since it was last.
        let chances = self.orders.iter().filter(|days| **days <= first_days).count();
        let passed_over = self.orders.iter().filter(|days| **days < last_days).count();
        let rate = times / chances.max(1) as f32;
        let passed = (passed_over as f32).ln_1p();
        let overdue = (last_days / interval.max(1.0)).min(5.0) as f32;
        let [of_month, of_two, of_four, of_year] = decayed.map(|sum| (sum + 1e-3).ln());
        let Habits { orders, last, .. } = self.habits;
        [
            times.ln_1p(),
            of_month,
            of_two,
            of_four,
            of_year,
            interval.ln_1p() as f32,
            overdue,
            rate,
            (rate + 1e-3).ln(),
            passed,
            rate * orders,
            if passed_over == 0 { 1.0 } else { 0.0 },
            passed * orders,
            rate * last,
        ]
    }
}
