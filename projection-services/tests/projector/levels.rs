//! Stock and customers: their rows are the state of the aggregates, and what the orders' rows add up to.

use crate::shop::Shop;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Of each SKU, in the form of the aggregate's state.
const STOCK: &str = "select coalesce(json_object_agg(sku, json_build_object('on_hand', on_hand, 'available', available,
         'back_ordered', back_ordered, 'back_ordered_max', back_orders_max, 'places', locations)), '{}')::text
     from projections.stock";

/// Customers by what the rows of other projections say of them, and by their own. No row: no difference.
const CUSTOMERS: &str = "with documents as (
         select customer_id, placed_at, status = 'cancelled' as cancelled, currency, due_minor, true as is_order
         from projections.orders where customer_id is not null
         union all
         select customer_id, null, false, currency, -total_minor, false
         from projections.cancellations where customer_id is not null
     ), totals as (
         select customer_id, currency, sum(case when cancelled then 0 else due_minor end) as total
         from documents group by customer_id, currency
     ), expected as (
         select customer_id, count(*) filter (where is_order) as orders,
             count(*) filter (where cancelled) as cancelled, min(placed_at) as first, max(placed_at) as last,
             (select jsonb_object_agg(currency, total) from totals t where t.customer_id = d.customer_id) as totals
         from documents d group by customer_id
     )
     select coalesce(string_agg(coalesce(e::text, '') || ' is ' || coalesce(c::text, 'missing'), e'\\n'), '')
     from expected e full join projections.customers c using (customer_id)
     where c.customer_id is null or e.customer_id is null or (e.orders, e.cancelled, e.first, e.last, e.totals)
         is distinct from (c.orders, c.cancelled, c.first_order_at, c.last_order_at, c.totals)";

fn states(shop: &Shop) -> Value {
    let state = |stock| {
        let state = serde_json::to_value(stock).expect("a state has a JSON form");
        json!({"on_hand": state["on_hand"], "available": state["available"], "back_ordered": state["back_ordered"],
            "back_ordered_max": state["back_ordered_max"], "places": state["places"]})
    };
    let known = shop.trade.stock.iter().filter(|(_, stock)| stock.is_known());
    json!(known.map(|(sku, stock)| (sku.to_string(), state(stock))).collect::<BTreeMap<_, _>>())
}

#[tokio::test]
async fn stock_is_the_state_of_the_aggregates_and_customers_are_what_orders_add_up_to() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    for commands in [1, 40, 3, 400, 1_500] {
        let positions = shop.trade(commands).await;
        shop.publish(positions).await;
        shop.until_caught_up().await;
        let kept: Value = serde_json::from_str(&shop.sql(STOCK).await).expect("JSON");
        assert_eq!(kept, states(&shop));
        assert_eq!(shop.sql(CUSTOMERS).await, "");
    }
    assert_eq!(shop.sql("select count(*) from projections.customers").await, "3");
    projector.stop().await;
}

/// Who they are stays sealed.
#[tokio::test]
async fn the_contact_of_a_customer_is_that_of_the_last_order() {
    let mut shop = Shop::open().await;
    let projector = shop.projector().await;
    shop.trade(600).await;
    shop.until_caught_up().await;
    let others = "select count(*) from projections.customers c where contact::text is distinct from (
             select contact::text from projections.orders o where o.customer_id = c.customer_id and contact is not null
             order by placed_at desc limit 1)";
    let differ: i64 = shop.sql(others).await.parse().expect("a number");
    let known = shop.sql("select count(*) from projections.customers where contact is not null").await;
    assert_eq!((known.as_str(), differ), ("3", 0));
    projector.stop().await;
}
