//! What holds for every list, whatever was sold to whom.

use chrono::{DateTime, TimeDelta, Utc};
use kontor_domain::{CustomerId, Sku};
use kontor_recommend::evaluate;
use kontor_recommend::{Choice, History, Model, Product, Recommended, Trade};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn now() -> DateTime<Utc> {
    "2011-06-01T00:00:00Z".parse().expect("a time")
}

fn sku(item: usize) -> Sku {
    format!("SKU-{item}").parse().expect("a SKU")
}

fn customer(number: usize) -> CustomerId {
    format!("{number}").parse().expect("an id")
}

/// An order or a cancellation: customer (0: a guest), days ago, whether it takes back, items with units.
type Entry = (usize, i64, bool, Vec<(usize, u64)>);

const ITEMS: usize = 12;
const COLOURS: [&str; 3] = ["RED", "BLUE", "GREEN"];
const THINGS: [&str; 4] = ["MUG", "TEA POT", "LUNCH BOX", "CANDLE"];

fn name(item: usize) -> String {
    format!("{} {}", COLOURS[item % COLOURS.len()], THINGS[item / COLOURS.len()])
}

fn described(items: usize) -> Trade {
    let mut trade = Trade::default();
    for item in 0..items {
        trade.describe(Product { sku: sku(item), name: name(item), categories: vec![format!("c{}", item % 2)] });
    }
    trade
}

fn enter(trade: &mut Trade, (number, days_ago, taken_back, lines): &Entry) {
    let buyer = customer(*number);
    let buyer = (*number > 0).then_some(&buyer);
    let skus: Vec<_> = lines.iter().map(|(item, units)| (sku(*item), *units)).collect();
    let lines = skus.iter().map(|(sku, units)| (sku, *units));
    let at = now() - TimeDelta::days(*days_ago);
    if *taken_back { trade.take_back(buyer, at, lines) } else { trade.sell(buyer, at, lines) }
}

fn trade(entries: &[Entry]) -> Trade {
    let mut trade = described(ITEMS);
    entries.iter().for_each(|entry| enter(&mut trade, entry));
    trade
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let lines = proptest::collection::vec((0..ITEMS, 1_u64..5), 1..6);
    // Most entries are sales.
    let entry = (0_usize..6, 0_i64..400, (0..10).prop_map(|n| n == 0), lines);
    proptest::collection::vec(entry, 1..40)
}

fn train(trade: &Trade) -> Model {
    Model::train(trade, now(), 7, &|_| {})
}

fn skus(list: &[Recommended]) -> Vec<&Sku> {
    list.iter().map(|recommended| &recommended.sku).collect()
}

/// Every list there is for a customer.
fn lists(model: &Model, history: &History) -> Vec<Vec<Recommended>> {
    let any = Choice::any(20);
    let mut lists = vec![
        model.for_you(history, now(), any),
        model.buy_again(history, now(), any),
        model.next_order(history, now(), any),
        model.trending(any),
    ];
    for item in 0..ITEMS {
        lists.push(model.similar(&sku(item), any));
        lists.push(model.together(&[sku(item), sku((item + 1) % ITEMS)], any));
    }
    lists
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn lists_name_known_items_once_and_the_best_first(entries in entries()) {
        let trade = trade(&entries);
        let model = train(&trade);
        let known: BTreeSet<_> = (0..ITEMS).map(sku).collect();
        for history in trade.histories(now()).values() {
            for list in lists(&model, history) {
                let named: BTreeSet<_> = skus(&list).into_iter().cloned().collect();
                prop_assert_eq!(named.len(), list.len(), "an item is named twice");
                prop_assert!(named.is_subset(&known));
                prop_assert!(list.is_sorted_by(|a, b| a.score >= b.score));
                prop_assert!(list.iter().all(|recommended| recommended.score.is_finite()));
            }
        }
    }

    #[test]
    fn lists_for_you_have_nothing_that_was_bought_and_lists_to_buy_again_nothing_else(entries in entries()) {
        let trade = trade(&entries);
        let model = train(&trade);
        for history in trade.histories(now()).values() {
            let new = model.for_you(history, now(), Choice::any(20));
            prop_assert!(new.iter().all(|recommended| !history.has(&recommended.sku)));
            let again = model.buy_again(history, now(), Choice::any(20));
            let kept: BTreeSet<_> = history.bought().iter().filter(|bought| bought.units > 0).map(|bought| &bought.sku).collect();
            prop_assert_eq!(skus(&again).into_iter().collect::<BTreeSet<_>>(), kept);
        }
    }

    #[test]
    fn only_what_is_allowed_is_named(entries in entries(), allowed in proptest::collection::btree_set(0..ITEMS, 0..ITEMS)) {
        let trade = trade(&entries);
        let model = train(&trade);
        let allowed: BTreeSet<_> = allowed.into_iter().map(sku).collect();
        let choice = Choice { most: 5, allowed: &|sku| allowed.contains(sku) };
        let history = trade.histories(now()).into_values().next().unwrap_or_default();
        let mut lists = vec![model.for_you(&history, now(), choice), model.next_order(&history, now(), choice)];
        lists.extend([model.buy_again(&history, now(), choice), model.trending(choice)]);
        lists.extend([model.similar(&sku(0), choice), model.together(&[sku(0)], choice)]);
        for list in lists {
            prop_assert!(list.len() <= 5 && list.iter().all(|recommended| allowed.contains(&recommended.sku)));
        }
    }

    #[test]
    fn the_same_trade_makes_the_same_model_and_bytes_make_it_again(entries in entries()) {
        let trade = trade(&entries);
        let model = train(&trade);
        prop_assert!(model == train(&trade));
        let again = Model::from_bytes(&model.to_bytes()).expect("its own bytes");
        prop_assert!(model == again && again.version() == 7);
    }

    #[test]
    fn what_comes_later_changes_nothing(entries in entries(), later in entries()) {
        let mut longer = trade(&entries);
        for (number, days_ago, taken_back, lines) in later {
            enter(&mut longer, &(number, -1 - days_ago, taken_back, lines));
        }
        prop_assert!(train(&trade(&entries)) == train(&longer));
    }

    #[test]
    fn entries_may_come_in_any_order(entries in entries()) {
        let sorted = {
            // Those of one moment stay in the order they came in.
            let mut sorted: Vec<_> = entries.iter().enumerate().collect();
            sorted.sort_by_key(|(at, (_, days_ago, _, _))| (-days_ago, *at));
            sorted.into_iter().map(|(_, entry)| entry.clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(trade(&entries).histories(now()), trade(&sorted).histories(now()));
        let backwards: Vec<_> = sorted.iter().rev().cloned().collect();
        prop_assert!(train(&trade(&entries)) == train(&trade(&backwards)));
    }
}

/// Eight customers of whom half buy mugs with tea pots, and half lunch boxes with candles, for a year.
fn two_tastes() -> Trade {
    let mut trade = described(ITEMS);
    for week in 0..52_i64 {
        for number in 1..=8_usize {
            let things = if number % 2 == 0 { [0, 3] } else { [6, 9] };
            let of_week = (week as usize + number / 2) % 3;
            let lines = things.map(|thing| (thing + of_week, 1)).to_vec();
            enter(&mut trade, &(number, 7 * (52 - week), false, lines));
        }
    }
    trade
}

#[test]
fn what_was_bought_together_is_recommended_together() {
    let model = train(&two_tastes());
    let list = model.together(&[sku(0)], Choice::any(3));
    assert_eq!(list[0].sku, sku(3), "a red mug goes with a red tea pot: {list:?}");
}

#[test]
fn what_those_bought_who_bought_the_same_is_recommended() {
    let mut trade = two_tastes();
    enter(&mut trade, &(9, 10, false, vec![(0, 1), (3, 1), (1, 1)]));
    let model = train(&trade);
    let history = &trade.histories(now())[&customer(9)];
    let list = model.for_you(history, now(), Choice::any(3));
    let mugs_and_pots: BTreeSet<_> = [2, 4, 5].map(sku).into();
    assert_eq!(skus(&list).into_iter().cloned().collect::<BTreeSet<_>>(), mugs_and_pots, "{list:?}");
}

#[test]
fn who_has_bought_nothing_is_shown_what_is_trending_whoever_else_buys() {
    let mut trade = two_tastes();
    let nobody = History::default();
    let model = train(&trade);
    assert_eq!(model.for_you(&nobody, now(), Choice::any(20)), model.trending(Choice::any(20)));
    assert!(model.buy_again(&nobody, now(), Choice::any(20)).is_empty());
    let before = skus(&model.trending(Choice::any(20))).into_iter().cloned().collect::<Vec<_>>();
    // Somebody who bought long ago what everybody buys changes no order.
    enter(&mut trade, &(10, 399, false, vec![(11, 1)]));
    let after = train(&trade);
    assert_eq!(before, skus(&after.for_you(&nobody, now(), Choice::any(20))).into_iter().cloned().collect::<Vec<_>>());
}

#[test]
fn what_sold_lately_trends_above_what_sold_as_much_before() {
    let mut trade = described(ITEMS);
    for (item, days_ago) in [(0, 40), (1, 2), (2, 20), (3, 100)] {
        enter(&mut trade, &(1, days_ago, false, vec![(item, 1)]));
    }
    let model = train(&trade);
    assert_eq!(skus(&model.trending(Choice::any(20))), [&sku(1), &sku(2), &sku(0), &sku(3)]);
}

#[test]
fn a_product_that_nobody_bought_is_like_what_is_called_alike() {
    let model = train(&two_tastes());
    let new = Product { sku: sku(99), name: "RED MUG LARGE".to_owned(), categories: vec![] };
    assert_eq!(model.similar_to_new(&new, Choice::any(1))[0].sku, sku(0));
    assert!(model.similar(&new.sku, Choice::any(1)).is_empty(), "it is not known");
    // It is like nothing by name, but in a category of its own kind.
    let kind = Product { sku: sku(98), name: "ZEPPELIN".to_owned(), categories: vec!["c1".to_owned()] };
    let alike: BTreeSet<_> = skus(&model.similar_to_new(&kind, Choice::any(6))).into_iter().cloned().collect();
    assert_eq!(alike, [1, 3, 5, 7, 9, 11].map(sku).into());
}

#[test]
fn vectors_have_a_length_of_one() {
    let model = train(&two_tastes());
    let vectors: BTreeMap<_, _> = model.vectors().collect();
    assert_eq!(vectors.len(), ITEMS);
    for (sku, vector) in vectors {
        assert_eq!(vector.len(), model.dimensions());
        let length = vector.iter().map(|value| value * value).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-4, "{sku}: {length}");
        assert_eq!(model.vector(sku), Some(vector));
    }
}

#[test]
fn what_was_taken_back_is_neither_bought_again_nor_new() {
    let mut trade = two_tastes();
    enter(&mut trade, &(9, 10, false, vec![(0, 2), (3, 1)]));
    enter(&mut trade, &(9, 5, true, vec![(0, 2)]));
    let model = train(&trade);
    let history = &trade.histories(now())[&customer(9)];
    assert_eq!(skus(&model.buy_again(history, now(), Choice::any(20))), [&sku(3)]);
    assert!(!skus(&model.for_you(history, now(), Choice::any(20))).contains(&&sku(0)));
}

#[test]
fn codes_of_no_goods_are_never_recommended() {
    let mut trade = two_tastes();
    let post: Sku = "POST".parse().expect("a SKU");
    for week in 0..52 {
        trade.sell(Some(&customer(1)), now() - TimeDelta::days(week * 7), [(&post, 1)]);
    }
    let model = train(&trade);
    assert!(model.vectors().all(|(sku, _)| *sku != post));
    assert!(!skus(&model.trending(Choice::any(100))).contains(&&post));
}

#[test]
fn a_shop_without_any_sale_has_a_model() {
    let model = train(&described(3));
    assert!(model.trending(Choice::any(5)).is_empty());
    assert_eq!(model.similar(&sku(0), Choice::any(5)).len(), 2, "red, blue and green mugs");
    assert!(train(&Trade::default()).vectors().next().is_none());
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    let bytes = train(&two_tastes()).to_bytes();
    assert!(Model::from_bytes(&bytes[..bytes.len() / 2]).is_err());
    assert!(Model::from_bytes(&[]).is_err());
    let mut other = bytes;
    other[0] = 99;
    let error = Model::from_bytes(&other).expect_err("another format");
    assert_eq!(error.to_string(), "the model is of format 99, this is 2: train it again");
}

#[test]
fn an_evaluation_asks_those_who_bought_before_and_after() {
    let mut trade = two_tastes();
    enter(&mut trade, &(50, 3, false, vec![(0, 1), (3, 1)])); // Has bought nothing before.
    let windows = evaluate::windows(&trade, TimeDelta::days(30), 2);
    assert_eq!(windows[0] - windows[1], TimeDelta::days(30));
    let found = evaluate::evaluate(&trade, windows[0], TimeDelta::days(30), &|_| {});
    assert_eq!((found.customers, found.customers_new), (8, 0), "{found:?}");
    assert_eq!(found.methods[0].method, "kontor");
    // Who buys what they always did is easily foreseen: six things, in a list of 20.
    assert_eq!(found.methods[0].all.recall20, 1.0, "{found:?}");
    for scores in &found.methods {
        for share in [scores.all.ndcg20, scores.all.coverage, scores.new.recall20, scores.recall10_together] {
            assert!((0.0..=1.0).contains(&share), "{scores:?}");
        }
    }
}
