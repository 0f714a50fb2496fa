//! How much is sold of each item, and how that changes.

use crate::trade::Sale;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What is known of one item's sales; logarithms, as blends weigh ratios.
pub(crate) const FIGURES: usize = 10;
/// Days in which the weight of a sale halves.
const HALF_LIVES: [f64; 5] = [3.0, 7.0, 14.0, 30.0, 90.0];
const WEEK: usize = 1;
const FORTNIGHT: usize = 2;
/// 52 weeks, so that weekdays fall on weekdays.
const YEAR_DAYS: f64 = 364.0;
const SEASON_DAYS: f64 = 30.0;
/// As good as never.
const LONG_AGO_DAYS: f64 = 700.0;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Demand {
    /// Of each item: sales with each half-life, customers of a fortnight, days since its first and last sale, sales in the
    /// season that begins, a year ago, and how that compares with the month before it.
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
        let mut last_bought = HashMap::<(u32, u32), f64>::new();
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
                if let Some(customer) = sale.customer {
                    last_bought.insert((customer, item), sale.days_ago);
                }
            }
        }
        let mut customers = vec![0.0_f32; items];
        let mut pairs: Vec<_> = last_bought.into_iter().collect();
        pairs.sort_unstable_by_key(|(pair, _)| *pair); // Sums of floats depend on their order.
        for ((_, item), days_ago) in pairs {
            customers[item as usize] += decay(days_ago, HALF_LIVES[FORTNIGHT]);
        }
        let figures = (0..items).map(|item| {
            let sold = |at: usize| (f64::from(sold[item][at]) * HALF_LIVES[WEEK] / HALF_LIVES[at]).ln_1p() as f32;
            let [now, before] = season[item];
            [
                sold(0),
                sold(1),
                sold(2),
                sold(3),
                sold(4),
                customers[item].ln_1p(),
                first[item].ln_1p() as f32,
                last[item].ln_1p() as f32,
                now.ln_1p(),
                now.ln_1p() - before.ln_1p(),
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
