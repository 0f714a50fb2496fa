//! How good recommendations are: trained up to a moment, compared with what was bought in the days after it.
//!
//! `docs/2-how-lists-are-measured.md` defines the figures.

mod baselines;
mod metrics;

use crate::history::History;
use crate::model::{Choice, Model, Recommended};
use crate::trade::Trade;
use baselines::Baselines;
use chrono::{DateTime, TimeDelta, Utc};
use kontor_domain::Sku;
use metrics::{Mean, ndcg, recall};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How long customers' lists are.
const LIST: usize = 20;
/// How long an item's list is.
const TOGETHER: usize = 10;

/// The figures of one window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Known is what was sold at this moment or before; asked is what was bought after it,
    pub from: DateTime<Utc>,
    /// and at this moment or before.
    pub until: DateTime<Utc>,
    /// Who bought before and within the window; and of these, who bought something new to them.
    pub customers: usize,
    pub customers_new: usize,
    /// Of at least two items, within the window, guests' included.
    pub orders: usize,
    /// Ours first.
    pub methods: Vec<Scores>,
}

/// The figures of one method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scores {
    pub method: &'static str,
    /// Of lists and purchases of what the customer had never bought.
    pub new: ListScores,
    /// Of lists and purchases of anything.
    pub all: ListScores,
    /// Each order counts alike.
    pub recall10_together: f64,
    /// Each line of an order counts alike, so large orders more.
    pub recall10_together_by_line: f64,
}

/// The figures of customers' lists.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListScores {
    pub recall20: f64,
    pub ndcg20: f64,
    /// Of the items sold before the window, the share that is in any list.
    pub coverage: f64,
}

/// What is compared: lists, the best first.
trait Method {
    fn name(&self) -> &'static str;
    fn for_customer(&self, history: &History, new: bool) -> Vec<Sku>;
    fn with_item(&self, sku: &Sku) -> Vec<Sku>;
}

/// The moments at which the last `windows` windows of `length` begin, the last first. Empty without any trade.
pub fn windows(trade: &Trade, length: TimeDelta, windows: u32) -> Vec<DateTime<Utc>> {
    let last = trade.last();
    last.into_iter().flat_map(|last| (1..=windows as i32).map(move |back| last - length * back)).collect()
}

/// Trains ours and the baselines on what was known at `from`, and compares them with the `length` after it. `tell` hears how
/// much is done, from 0 to 1.
pub fn evaluate(trade: &Trade, from: DateTime<Utc>, length: TimeDelta, tell: &(dyn Fn(f64) + Sync)) -> Evaluation {
    let known = trade.known(from);
    let model = Model::train(&known, from, 0, &|done| tell(done * 0.6));
    let baselines = Baselines::of(&known, from);
    tell(0.7);
    let ours = Ours { model: &model, now: from };
    let methods: Vec<&dyn Method> = std::iter::once::<&dyn Method>(&ours).chain(baselines.methods()).collect();
    let asked = Asked::of(trade, from, from + length);
    let scores = methods.iter().zip(1..).map(|(method, done)| {
        let scores = asked.score(*method);
        tell(0.7 + 0.3 * f64::from(done) / methods.len() as f64);
        scores
    });
    let scores = scores.collect();
    let news = asked.customers.iter().filter(|(_, bought, had)| !bought.is_subset(had)).count();
    Evaluation {
        from,
        until: from + length,
        customers: asked.customers.len(),
        customers_new: news,
        orders: asked.orders.len(),
        methods: scores,
    }
}

struct Ours<'a> {
    model: &'a Model,
    now: DateTime<Utc>,
}

impl Method for Ours<'_> {
    fn name(&self) -> &'static str {
        "kontor"
    }

    fn for_customer(&self, history: &History, new: bool) -> Vec<Sku> {
        let choice = Choice::any(LIST);
        skus(if new {
            self.model.for_you(history, self.now, choice)
        } else {
            self.model.next_order(history, self.now, choice)
        })
    }

    fn with_item(&self, sku: &Sku) -> Vec<Sku> {
        skus(self.model.together(std::slice::from_ref(sku), Choice::any(TOGETHER)))
    }
}

fn skus(list: Vec<Recommended>) -> Vec<Sku> {
    list.into_iter().map(|recommended| recommended.sku).collect()
}

/// What was bought in the window.
struct Asked {
    /// What they had bought before, what they bought, and which of the former they had.
    customers: Vec<(History, BTreeSet<Sku>, BTreeSet<Sku>)>,
    orders: Vec<BTreeSet<Sku>>,
    /// Items sold before the window.
    sold: usize,
}

impl Asked {
    fn of(trade: &Trade, from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        let sku = |item: &u32| trade.products[*item as usize].sku.clone();
        let (mut bought, mut orders) = (BTreeMap::<_, BTreeSet<Sku>>::new(), Vec::new());
        for entry in trade.sold_between(from, until) {
            let items: BTreeSet<_> = entry.lines.iter().map(|(item, _)| sku(item)).collect();
            if let Some(customer) = entry.customer {
                let id = &trade.customers[customer as usize];
                bought.entry(id.clone()).or_default().extend(items.iter().cloned());
            }
            orders.push(items);
        }
        orders.retain(|items| items.len() > 1);
        let mut histories = trade.histories(from);
        let customers = bought.into_iter().filter_map(|(id, bought)| {
            let history = histories.remove(&id).filter(|history| !history.bought().is_empty())?;
            let had = history.bought().iter().map(|bought| bought.sku.clone()).collect();
            Some((history, bought, had))
        });
        Self { customers: customers.collect(), orders, sold: trade.sold(from).len() }
    }

    fn score(&self, method: &dyn Method) -> Scores {
        let new = self.lists(method, true);
        let all = self.lists(method, false);
        let (mut by_order, mut by_line) = (Mean::default(), Mean::default());
        let mut lists = HashMap::<&Sku, Vec<Sku>>::new();
        for order in &self.orders {
            let mut of_order = Mean::default();
            for asked in order {
                let list = lists.entry(asked).or_insert_with(|| method.with_item(asked));
                let rest = order.iter().filter(|sku| *sku != asked).cloned().collect();
                let found = recall(list, &rest, TOGETHER);
                of_order.add(found);
                by_line.add(found);
            }
            by_order.add(of_order.value());
        }
        Scores {
            method: method.name(),
            new,
            all,
            recall10_together: by_order.value(),
            recall10_together_by_line: by_line.value(),
        }
    }

    fn lists(&self, method: &dyn Method, new: bool) -> ListScores {
        let (mut recalls, mut ndcgs, mut covered) = (Mean::default(), Mean::default(), BTreeSet::new());
        for (history, bought, had) in &self.customers {
            let truth: BTreeSet<_> = bought.iter().filter(|sku| !new || !had.contains(*sku)).cloned().collect();
            if truth.is_empty() {
                continue;
            }
            let list = method.for_customer(history, new);
            recalls.add(recall(&list, &truth, LIST));
            ndcgs.add(ndcg(&list, &truth, LIST));
            covered.extend(list);
        }
        let coverage = covered.len() as f64 / self.sold.max(1) as f64;
        ListScores { recall20: recalls.value(), ndcg20: ndcgs.value(), coverage }
    }
}
