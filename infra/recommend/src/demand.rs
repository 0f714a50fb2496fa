//! How much is sold of each item, and how that changes.

use crate::trade::Sale;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What is known of one item's sales; logarithms, as blends weigh ratios, but for two shares.
pub(crate) const FIGURES: usize = 12;
/// Days in which the weight of a sale halves.
const HALF_LIVES: [f64; 5] = [3.0, 7.0, 14.0, 30.0, 90.0];
const WEEK: usize = 1;
const FORTNIGHT: usize = 2;
const MONTH: usize = 3;
/// 52 weeks, so that weekdays fall on weekdays.
const YEAR_DAYS: f64 = 364.0;
const SEASON_DAYS: f64 = 30.0;
/// Of an item that nobody has bought, every eighth comes back.
const BUYERS_UNKNOWN: f32 = 8.0;
/// As good as never.
const LONG_AGO_DAYS: f64 = 700.0;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Demand {
    /// Of each item: sales with each half-life, customers of a fortnight, days since its first and last sale, sales in the
    /// season that begins, a year ago, and how that compares with the month before it; and which share, from 0 to 1, of those who
    /// bought it did so again, and of its sales of a month were to guests.
    figures: Vec<[f32; FIGURES]>,
    /// Sales of about a week, of all items.
    weekly_of_all: f32,
    /// Those sold in the last two years, what sells most first.
    by_demand: Vec<u32>,
    /// Those sold a year ago, in the season that begins; what sold most first.
    by_season: Vec<u32>,
}

/// What is left of a weight of 1 after `days`.
pub(crate) fn decay(days: f64, half_life: f64) -> f32 {
    (-days / half_life).exp2() as f32
}

impl Demand {
    pub fn of(sales: &[Sale], items: usize) -> Self {
        let mut sold = vec![[0.0_f32; HALF_LIVES.len()]; items];
        let (mut first, mut last) = (vec![0.0_f64; items], vec![LONG_AGO_DAYS; items]);
        let mut season = vec![[0.0_f32; 2]; items];
        let mut last_bought = HashMap::<(u32, u32), (f64, u32)>::new(); // Days ago, and how often.
        let mut to_guests = vec![0.0_f32; items];
        for sale in sales {
            let weights = HALF_LIVES.map(|half_life| decay(sale.days_ago, half_life));
            let into_season = YEAR_DAYS - sale.days_ago;
            for &item in &sale.items {
                let index = item as usize;
                sold[index].iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
                first[index] = first[index].max(sale.days_ago);
                last[index] = last[index].min(sale.days_ago);
                if (-SEASON_DAYS..SEASON_DAYS).contains(&into_season) {
                    season[index][usize::from(into_season < 0.0)] += 1.0;
                }
                match sale.customer {
                    Some(customer) => {
                        let (last, times) = last_bought.entry((customer, item)).or_default();
                        (*last, *times) = (sale.days_ago, *times + 1);
                    }
                    None => to_guests[index] += weights[MONTH],
                }
            }
        }
        let mut customers = vec![0.0_f32; items];
        let mut buyers = vec![[0.0_f32; 2]; items]; // All, and those who came back.
        let mut pairs: Vec<_> = last_bought.into_iter().collect();
        pairs.sort_unstable_by_key(|(pair, _)| *pair); // Sums of floats depend on their order.
        for ((_, item), (days_ago, times)) in pairs {
            customers[item as usize] += decay(days_ago, HALF_LIVES[FORTNIGHT]);
            buyers[item as usize][0] += 1.0;
            buyers[item as usize][1] += if times > 1 { 1.0 } else { 0.0 };
        }
        let figures = (0..items).map(|item| {
            let of_week = |at: usize| (f64::from(sold[item][at]) * HALF_LIVES[WEEK] / HALF_LIVES[at]).ln_1p() as f32;
            let ([now, before], [all, again]) = (season[item], buyers[item]);
            let of_month = sold[item][MONTH];
            [
                of_week(0),
                of_week(1),
                of_week(2),
                of_week(3),
                of_week(4),
                customers[item].ln_1p(),
                first[item].ln_1p() as f32,
                last[item].ln_1p() as f32,
                now.ln_1p(),
                now.ln_1p() - before.ln_1p(),
                (again + 1.0) / (all + BUYERS_UNKNOWN),
                to_guests[item] / (of_month + 1.0),
            ]
        });
        let figures: Vec<_> = figures.collect();
        let ranked = |figure: usize, least: f32| {
            let mut ranked: Vec<_> = (0..items as u32).filter(|&item| figures[item as usize][figure] > least).collect();
            ranked
                .sort_by(|&a, &b| figures[b as usize][figure].total_cmp(&figures[a as usize][figure]).then(a.cmp(&b)));
            ranked
        };
        let mut by_demand = ranked(WEEK, -1.0);
        by_demand.retain(|&item| last[item as usize] < LONG_AGO_DAYS);
        let by_season = ranked(8, 0.0);
        let weekly_of_all = figures.iter().map(|figures| figures[WEEK].exp_m1()).sum();
        Self { figures, weekly_of_all, by_demand, by_season }
    }

    pub fn items(&self) -> usize {
        self.figures.len()
    }

    pub fn figures(&self, item: u32) -> &[f32; FIGURES] {
        &self.figures[item as usize]
    }

    /// Sales of about a week, as a logarithm.
    pub fn of_week(&self, item: u32) -> f32 {
        self.figures[item as usize][WEEK]
    }

    /// Sales of about a quarter, a week of them, as a logarithm.
    pub fn of_quarter(&self, item: u32) -> f32 {
        self.figures[item as usize][4]
    }

    /// Whether it was ever sold, and kept.
    pub fn is_sold(&self, item: u32) -> bool {
        self.figures[item as usize][WEEK] > 0.0
    }

    pub fn weekly_of_all(&self) -> f32 {
        self.weekly_of_all
    }

    pub fn by_demand(&self) -> &[u32] {
        &self.by_demand
    }

    pub fn by_season(&self) -> &[u32] {
        &self.by_season
    }

    pub fn is_sound(&self, items: usize) -> bool {
        let ranked = self.by_demand.iter().chain(&self.by_season);
        self.figures.len() == items && ranked.into_iter().all(|item| (*item as usize) < items)
    }
}
