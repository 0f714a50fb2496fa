//! Filters, facets, sorting and pages.

use crate::support::{Store, attributes, category, gbp, product, sorted};
use kontor_search::{Document, Order, Query, SearchError, Value};
use std::collections::BTreeMap;

/// Four mugs and a plate.
fn shop() -> Vec<Document> {
    let of = |code: &str, title: &str, shelf: &str, colour: &str, price, available| Document {
        categories: vec![category("kitchen", "Kitchen"), category(&shelf.to_lowercase(), shelf)],
        attributes: attributes(&[("colour", colour)]),
        prices: gbp(price),
        available,
        ..product(code, title)
    };
    vec![
        Document { listed: 1, sold: 40.0, ..of("M1", "Mug one", "Mugs", "red", 300, 5) },
        Document { listed: 2, sold: 30.0, ..of("M2", "Mug two", "Mugs", "red", 700, 0) },
        Document { listed: 3, sold: 20.0, ..of("M3", "Mug three", "Mugs", "blue", 500, 5) },
        Document { listed: 4, sold: 10.0, prices: BTreeMap::new(), ..of("M4", "Mug four", "Mugs", "blue", 0, 5) },
        Document { listed: 5, ..of("P1", "Plate with a mug on it", "Plates", "red", 900, 5) },
    ]
}

fn value(value: &str, label: &str, count: usize) -> Value {
    Value { value: value.to_owned(), label: label.to_owned(), count }
}

fn mugs() -> Query {
    Query { currency: Some("GBP".into()), facets: true, price_bands: vec![400, 800], ..Query::of("mug") }
}

pub async fn filters_hold_together(store: Store) {
    store.fill(shop()).await;
    let found = async |query: Query| sorted(store.found(&query).await);
    assert_eq!(found(Query { categories: vec!["plates".into()], ..mugs() }).await, ["P1"]);
    assert_eq!(found(Query { categories: vec!["plates".into(), "mugs".into()], ..mugs() }).await.len(), 5);
    let red =
        |colours: &[&str]| BTreeMap::from([("colour".to_owned(), colours.iter().map(|&c| c.to_owned()).collect())]);
    assert_eq!(found(Query { attributes: red(&["red"]), ..mugs() }).await, ["M1", "M2", "P1"]);
    assert_eq!(found(Query { attributes: red(&["red", "blue"]), ..mugs() }).await.len(), 5);
    assert!(found(Query { attributes: red(&["green"]), ..mugs() }).await.is_empty());
    assert_eq!(found(Query { price_min: Some(500), price_max: Some(700), ..mugs() }).await, ["M2", "M3"]);
    assert_eq!(found(Query { in_stock: true, price_max: Some(700), ..mugs() }).await, ["M1", "M3"]);
    let all = Query { attributes: red(&["red"]), categories: vec!["mugs".into()], in_stock: true, ..mugs() };
    assert_eq!(found(Query { price_max: Some(300), ..all }).await, ["M1"]);
    assert!(found(Query { currency: Some("EUR".into()), price_min: Some(0), ..mugs() }).await.is_empty());
    store.clear().await;
}

pub async fn facets_count_what_all_filters_but_their_own_let_through(store: Store) {
    store.fill(shop()).await;
    let facets = async |query: &Query| {
        store.search(&store.name, query).await.expect("an answer").facets.expect("they were asked for")
    };
    let all = facets(&mugs()).await;
    assert_eq!(
        all.categories,
        [value("kitchen", "Kitchen", 5), value("mugs", "Mugs", 4), value("plates", "Plates", 1)]
    );
    assert_eq!(all.attributes.len(), 1);
    assert_eq!(all.attributes[0].values, [value("red", "red", 3), value("blue", "blue", 2)]);
    assert_eq!((all.in_stock, all.out_of_stock), (4, 1));

    let red = BTreeMap::from([("colour".to_owned(), vec!["red".to_owned()])]);
    let narrowed = facets(&Query { attributes: red, in_stock: true, ..mugs() }).await;
    assert_eq!(
        narrowed.attributes[0].values,
        [value("blue", "blue", 2), value("red", "red", 2)],
        "in stock, any colour"
    );
    assert_eq!(narrowed.categories[0], value("kitchen", "Kitchen", 2), "red and in stock");
    assert_eq!((narrowed.in_stock, narrowed.out_of_stock), (2, 1), "red");
    let bands: Vec<_> = narrowed.prices.iter().map(|band| band.count).collect();
    assert_eq!(bands, [1, 0, 1], "red and in stock");
    let none = store.search(&store.name, &Query { facets: false, ..mugs() }).await.expect("an answer");
    assert_eq!(none.facets, None);
    store.clear().await;
}

pub async fn prices_are_counted_by_bands(store: Store) {
    store.fill(shop()).await;
    let bands = async |query: &Query| {
        let answer = store.search(&store.name, query).await.expect("an answer");
        let bands = answer.facets.expect("they were asked for").prices;
        bands.into_iter().map(|band| (band.from, band.to, band.count)).collect::<Vec<_>>()
    };
    let all = [(0, Some(400), 1), (400, Some(800), 2), (800, None, 1)];
    assert_eq!(bands(&mugs()).await, all);
    assert_eq!(bands(&Query { price_max: Some(400), ..mugs() }).await, all, "a filter does not count against itself");
    assert!(bands(&Query { currency: None, ..mugs() }).await.is_empty());
    assert_eq!(bands(&Query { currency: Some("EUR".into()), ..mugs() }).await.len(), 3, "each is empty");
    store.clear().await;
}

pub async fn hits_are_sorted_as_asked_and_paged(store: Store) {
    store.fill(shop()).await;
    let found = async |order| store.found(&Query { order, ..mugs() }).await;
    assert_eq!(found(Order::Price).await, ["M1", "M3", "M2", "P1", "M4"]);
    assert_eq!(found(Order::PriceDescending).await, ["P1", "M2", "M3", "M1", "M4"]);
    assert_eq!(found(Order::Newest).await, ["P1", "M4", "M3", "M2", "M1"]);
    assert_eq!(found(Order::BestSelling).await, ["M1", "M2", "M3", "M4", "P1"]);
    let page = async |offset| {
        let query = Query { order: Order::Newest, offset, limit: 2, ..mugs() };
        let answer = store.search(&store.name, &query).await.expect("an answer");
        (answer.total, answer.hits.into_iter().map(|hit| hit.product).collect::<Vec<_>>())
    };
    assert_eq!(page(0).await, (5, vec!["P1".to_owned(), "M4".to_owned()]));
    assert_eq!(page(2).await, (5, vec!["M3".to_owned(), "M2".to_owned()]));
    assert_eq!(page(4).await, (5, vec!["M1".to_owned()]));
    assert_eq!(page(5).await, (5, vec![]));
    store.clear().await;
}

pub async fn what_is_not_public_is_found_by_who_asks_for_it(store: Store) {
    let draft = Document { is_public: false, ..product("DRAFT", "Mug to come") };
    let nothing = Document { is_public: false, ..product("NOTHING", "") };
    store.fill(vec![draft, product("SOLD", "Mug on sale"), nothing]).await;
    assert_eq!(store.found_by("mug").await, ["SOLD"]);
    let all = store.found(&Query { hidden: true, ..Query::of("mug") }).await;
    assert_eq!(sorted(all), ["DRAFT", "SOLD"]);
    let all = store.found(&Query { hidden: true, ..Query::default() }).await;
    assert_eq!(sorted(all), ["DRAFT", "SOLD"], "what has no title is found by nobody");
    store.clear().await;
}

pub async fn a_query_that_breaks_a_rule_is_refused(store: Store) {
    store.fill(shop()).await;
    let refused = [
        (Query::of("x".repeat(201)), "text"),
        (Query { price_min: Some(1), ..Query::of("mug") }, "currency"),
        (Query { order: Order::Price, ..Query::of("mug") }, "currency"),
        (Query { currency: Some("gbp".into()), ..Query::of("mug") }, "currency"),
        (Query { price_bands: vec![5, 5], ..Query::of("mug") }, "price_bands"),
        (Query { limit: 251, ..Query::of("mug") }, "limit"),
        (Query { offset: 10_001, ..Query::of("mug") }, "offset"),
    ];
    for (query, named) in refused {
        let refused = store.search(&store.name, &query).await;
        assert!(matches!(&refused, Err(SearchError::Refused { field, .. }) if *field == named), "{named}: {refused:?}");
    }
    store.clear().await;
}
