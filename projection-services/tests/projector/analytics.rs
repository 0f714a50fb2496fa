//! Analytics: what is summed is what plain SQL makes of the log.

use crate::life;
use crate::shop::Shop;
use crate::trade::{Decided, moment};
use kontor_domain::cart::{CartEvent, CheckedOut, Opened};
use kontor_domain::order::{Checkout, Fulfilment, Line, OrderEvent, Placed};
use kontor_domain::text::Country;
use kontor_domain::{CartId, Currency, Money, OrderId, Quantity};
use kontor_projection_services::projections::analytics::{Analytics, Cube, Resolution};
use kontor_projection_services::projections::stock::StockLevels;
use kontor_projection_services::runtime::rebuild::{Outcome, rebuild};
use kontor_projection_services::runtime::verify::verify;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What the log says of lines and refunds: `doc` and `n` tell documents and their lines apart, `sold` is where in the log the goods
/// were sold. And of who bought first when, and of the categories of lines.
const FACTS: &str = "with recursive placed as (
         select position, aggregate_id as id, payload->'Placed' as p
         from events where aggregate_type = 'order' and event_type = 'Placed'
     ), documents (kind, doc, sold, at, p, lines) as (
         select 'placed', position, position, p->>'placed_at', p, p->'lines' from placed
         union all
         select 'cancelled', e.position, o.position, payload->'Cancelled'->>'cancelled_at', p, p->'lines'
         from events e join placed o on o.id = e.aggregate_id
         where aggregate_type = 'order' and event_type = 'Cancelled'
         union all
         select 'cancelled', position, position, payload->'Booked'->>'cancelled_at', payload->'Booked',
             payload->'Booked'->'lines'
         from events where aggregate_type = 'cancellation'
         union all
         select 'returned', e.position, o.position, payload->'ReturnReceived'->>'received_at', p, (
             select json_agg(json_build_object('sku', p->'lines'->((part->>'line')::int - 1)->>'sku',
                 'quantity', part->'quantity', 'unit_price', p->'lines'->((part->>'line')::int - 1)->'unit_price'))
             from json_array_elements(payload->'ReturnReceived'->'parts') part
         )
         from events e join placed o on o.id = e.aggregate_id
         where aggregate_type = 'order' and event_type = 'ReturnReceived'
     ), facts as (
         select kind, doc, n, sold, at::timestamptz, p->'total'->>'currency' as currency, p->>'country' as country,
             l->>'sku' as sku, (l->>'quantity')::bigint as units,
             (l->>'quantity')::bigint * (l->'unit_price'->>'amount_minor')::bigint as minor
         from documents cross join json_array_elements(lines) with ordinality l (l, n)
         union all
         select 'refunded', e.position, 0, 0,
             (payload->event_type->>case event_type when 'Refunded' then 'refunded_at' else 'bounced_at' end)::timestamptz,
             p->'total'->>'currency', p->>'country', null, 0,
             case event_type when 'Refunded' then 1 else -1 end
                 * (payload->event_type->'amount'->>'amount_minor')::bigint
         from events e join placed o on o.id = e.aggregate_id
         where aggregate_type = 'order' and event_type in ('Refunded', 'RefundBounced')
     ), buyers as (
         select position, (p->>'placed_at')::timestamptz as at, p->'total'->>'currency' as currency,
             p->>'country' as country, p->>'customer_id' as customer
         from placed where p->>'customer_id' is not null
     ), newcomers as (
         select distinct on (customer) at, currency, country from buyers order by customer, at, position
     ), tree as (
         select payload->'Created'->>'category' as category, payload->'Created'->>'parent' as parent
         from events where aggregate_type = 'category-tree'
     ), categorised as (
         select f.*, c.category from facts f cross join lateral (
             select e.payload->'Categorised'->'categories' as categories from events e
             where aggregate_type = 'product' and event_type = 'Categorised' and aggregate_id = f.sku
                 and e.position < f.sold
             order by e.position desc limit 1
         ) e cross join json_array_elements_text(e.categories) c (category)
         union
         select c.kind, c.doc, c.n, c.sold, c.at, c.currency, c.country, c.sku, c.units, c.minor, t.parent
         from categorised c join tree t using (category) where t.parent is not null
     ), carts as (
         select (o.payload->'Opened'->>'opened_at')::timestamptz as at, o.payload->'Opened'->>'currency' as currency,
             (select event_type from events e where e.aggregate_type = 'cart' and e.aggregate_id = o.aggregate_id
                 and event_type in ('CheckedOut', 'ClosedInto')) as ended
         from events o where aggregate_type = 'cart' and event_type = 'Opened'
     )";

const OF_LINES: &str = "count(distinct doc) filter (where kind = 'placed') as orders,
     count(*) filter (where kind = 'placed') as order_lines,
     coalesce(sum(units) filter (where kind = 'placed'), 0)::bigint as units,
     coalesce(sum(minor) filter (where kind = 'placed'), 0)::bigint as sales_minor,
     count(distinct doc) filter (where kind = 'cancelled') as cancellations,
     count(*) filter (where kind = 'cancelled') as cancellation_lines,
     coalesce(sum(units) filter (where kind = 'cancelled'), 0)::bigint as cancelled_units,
     coalesce(sum(minor) filter (where kind = 'cancelled'), 0)::bigint as cancelled_minor,
     count(distinct doc) filter (where kind = 'returned') as returns,
     coalesce(sum(units) filter (where kind = 'returned'), 0)::bigint as returned_units,
     coalesce(sum(minor) filter (where kind = 'returned'), 0)::bigint as returned_minor";

const CUBES: [Cube; 4] = [Cube::Countries, Cube::Products, Cube::Categories, Cube::Carts];

/// The rows of a table by what the log says, with the columns as they are called.
fn expected(cube: Cube, resolution: Resolution) -> String {
    let at = format!("date_trunc('{}', at, 'UTC') as at", resolution.name());
    let customers = match resolution {
        Resolution::Day | Resolution::Month => "count(distinct customer)",
        Resolution::Minute | Resolution::Hour => "0::bigint",
    };
    match cube {
        Cube::Countries => format!(
            "select l.*, coalesce(new_customers, 0) as new_customers, coalesce(customers, 0) as customers
             from (
                 select {at}, currency, country, {OF_LINES},
                     coalesce(sum(minor) filter (where kind = 'refunded'), 0)::bigint as refunded_minor
                 from facts group by 1, 2, 3
             ) l
             left join (select {at}, currency, country, count(*) as new_customers from newcomers group by 1, 2, 3) n
                 using (at, currency, country)
             left join (select {at}, currency, country, {customers} as customers from buyers group by 1, 2, 3) b
                 using (at, currency, country)"
        ),
        Cube::Products => {
            format!(
                "select {at}, currency, country, sku, {OF_LINES} from facts where sku is not null group by 1, 2, 3, 4"
            )
        }
        Cube::Categories => {
            format!("select {at}, currency, country, category, {OF_LINES} from categorised group by 1, 2, 3, 4")
        }
        Cube::Carts => format!(
            "select {at}, currency, count(*) filter (where ended is distinct from 'ClosedInto') as carts,
                 count(*) filter (where ended = 'CheckedOut') as converted
             from carts group by 1, 2"
        ),
    }
}

/// Rows that are not what the log says, as text. Asserts that there are rows.
async fn differences(shop: &Shop) -> String {
    let mut differences = String::new();
    for cube in CUBES {
        for resolution in cube.resolutions() {
            let mut keys = vec!["at", "currency"];
            keys.extend(cube.has_countries().then_some("country"));
            keys.extend(cube.item());
            let keys = keys.join(", ");
            let counts: Vec<_> = cube.counts().iter().map(|count| count.name()).collect();
            let columns = format!("{keys}, {}", counts.join(", "));
            let (table, code, rows) = (cube.table(), resolution.code(), expected(cube, *resolution));
            differences += &shop
                .sql(&format!(
                    "{FACTS}, e as (select {columns} from ({rows}) e), t as (
                         select {columns} from projections.{table} where resolution = {code}
                     )
                     select coalesce(string_agg(concat(e::text, ' is ', t::text), e'\\n'), '')
                     from e full join t using ({keys}) where e::text is distinct from t::text"
                ))
                .await;
        }
        let rows = shop.sql(&format!("select count(*) from projections.{}", cube.table())).await;
        assert_ne!(rows, "0", "{cube:?}");
    }
    differences
}

async fn until_summed(shop: &Shop) {
    for projection in ["analytics", "stock"] {
        shop.until_at(projection, shop.head().await).await;
    }
}

fn event(aggregate_type: &'static str, id: &str, event_type: &str, payload: &Value) -> Decided {
    let events = vec![(event_type.to_owned(), json!({event_type: payload}).to_string())];
    Decided { aggregate_type, aggregate_id: id.to_owned(), events }
}

fn category(name: &str, parent: Option<&str>) -> Decided {
    let payload = json!({"category": name, "name": name, "slug": name, "parent": parent});
    event("category-tree", "main", "Created", &payload)
}

/// Puts every SKU somewhere else, or nowhere.
async fn categorise(shop: &mut Shop, round: usize) {
    for number in 0..12 {
        let categories = [&[][..], &["tea"], &["mugs", "tea"], &["kitchen"]][(number + round) % 4];
        let sku = format!("SKU-{number}");
        shop.append(vec![event("product", &sku, "Categorised", &json!({"categories": categories}))]).await;
    }
}

fn cart(id: u128, changes: impl FnOnce(CartId) -> Vec<CartEvent>) -> Decided {
    let cart_id = CartId(Uuid::from_u128(id));
    let change = |event: CartEvent| {
        let payload = serde_json::to_string(&event).expect("an event has a JSON form");
        (cqrs_es::DomainEvent::event_type(&event), payload)
    };
    let events = changes(cart_id).into_iter().map(change).collect();
    Decided { aggregate_type: "cart", aggregate_id: cart_id.0.to_string(), events }
}

fn opened(cart_id: CartId, seconds: i64) -> CartEvent {
    CartEvent::Opened(Opened { cart_id, customer_id: None, currency: Currency::GBP, opened_at: moment(seconds) })
}

fn checked_out(cart_id: CartId) -> CartEvent {
    let order_id = OrderId(cart_id.0);
    let Checkout { email, shipping_address, billing_address, breakdown, .. } =
        life::checkout(order_id, &[line("SKU-1", 2, 250)]);
    let checked_out_at = moment(70_000_000);
    CartEvent::CheckedOut(Box::new(CheckedOut {
        cart_id,
        order_id,
        customer_id: None,
        email,
        shipping_address,
        billing_address,
        breakdown,
        checked_out_at,
    }))
}

fn line(sku: &str, units: u64, price: i64) -> Line {
    let quantity = Quantity::new(units).expect("few units");
    Line { sku: sku.parse().expect("a SKU"), quantity, unit_price: Money::new(price, Currency::GBP) }
}

/// Of each three carts one is checked out at once, one later, and one is closed into another.
async fn carts(shop: &mut Shop, round: u128) {
    let id = |n: u128| 1_000 + round * 10 + n;
    let hours = |n: u128| 3_600 * (round * 7 + n) as i64;
    shop.append(vec![cart(id(0), |cart_id| vec![opened(cart_id, hours(0)), checked_out(cart_id)])]).await;
    shop.append(vec![cart(id(1), |cart_id| vec![opened(cart_id, hours(1))])]).await;
    shop.append(vec![cart(id(2), |cart_id| vec![opened(cart_id, hours(1))])]).await;
    let closed = |target| CartEvent::ClosedInto { target, customer_id: None, changed_at: moment(hours(3)) };
    shop.append(vec![cart(id(2), |_| vec![closed(CartId(Uuid::from_u128(id(1))))])]).await;
    if round > 0 {
        shop.append(vec![cart(id(1) - 10, |cart_id| vec![checked_out(cart_id)])]).await;
    }
}

#[tokio::test]
async fn sums_are_what_plain_sql_makes_of_the_log() {
    let mut shop = Shop::open().await;
    let projector = shop.projector_of(vec![Arc::new(Analytics), Arc::new(StockLevels)]).await;
    let tree = [("shop", None), ("kitchen", Some("shop")), ("mugs", Some("kitchen")), ("tea", Some("shop"))];
    for (name, parent) in tree {
        shop.append(vec![category(name, parent)]).await;
    }
    for number in 0..12 {
        let registered = json!({"name": "MUG", "description": null});
        shop.append(vec![event("product", &format!("SKU-{number}"), "Registered", &registered)]).await;
    }
    for (round, commands) in [60, 3, 400, 1_500].into_iter().enumerate() {
        categorise(&mut shop, round).await;
        carts(&mut shop, round as u128).await;
        shop.trade(commands).await;
        until_summed(&shop).await;
        assert_eq!(differences(&shop).await, "", "round {round}");
    }
    let stock = "select count(*) from projections.analytics_stock a full join projections.stock s using (sku)
         where a.on_hand is distinct from s.on_hand";
    assert_eq!(shop.sql(stock).await, "0");
    let seen = "select min(least(returns, cancellations, refunded_minor, new_customers)) > 0 from (
             select sum(returns) as returns, sum(cancellations) as cancellations, sum(abs(refunded_minor)) as refunded_minor,
                 sum(new_customers) as new_customers
             from projections.analytics_by_country) s";
    assert_eq!(shop.sql(seen).await, "t", "all of it has happened");
    let (means, kept, ending) = (shop.means(), shop.kept(Arc::new(Analytics)), CancellationToken::new());
    let verified = verify(&means, &kept, &ending, &|_| {}).await.expect("it is compared").expect("it was not ended");
    assert_eq!(verified.differences, [], "other batches make the same rows");
    let shown = rebuild(&means, &kept, None, &ending, &|_| {}).await.expect("it is built");
    assert!(matches!(shown, Outcome::Shown(_)), "{shown:?}");
    assert_eq!(differences(&shop).await, "");
    projector.stop().await;
}

fn placed(id: u128, customer: &str, country: &str, seconds: i64) -> Decided {
    let order_id = OrderId(Uuid::from_u128(id));
    let lines = vec![line("POT", 2, 250), line("POT", 1, 200)];
    let order = OrderEvent::Placed(Placed {
        order_id,
        reference: None,
        customer_id: customer.parse().ok(),
        country: Country::new(country).expect("a country"),
        total: kontor_domain::order::total(&lines).expect("small prices"),
        lines,
        fulfilment: Fulfilment::Reserve,
        placed_at: moment(seconds),
        checkout: None,
    });
    let payload = serde_json::to_string(&order).expect("an event has a JSON form");
    Decided {
        aggregate_type: "order",
        aggregate_id: order_id.0.to_string(),
        events: vec![("Placed".to_owned(), payload)],
    }
}

const DAY: i64 = 86_400;

/// Step 1: somebody orders, and is new on that day. Step 2: an order of theirs that was made two days earlier is recorded late.
#[tokio::test]
async fn an_event_that_comes_late_is_counted_when_it_happened() {
    let mut shop = Shop::open().await;
    let projector = shop.projector_of(vec![Arc::new(Analytics), Arc::new(StockLevels)]).await;
    let days = "select string_agg(concat_ws(' ', (at at time zone 'UTC')::date, country, orders, units, sales_minor,
             new_customers, customers), ', ' order by at)
         from projections.analytics_by_country where resolution = 2";
    shop.append(vec![placed(1, "13085", "EIRE", 2 * DAY)]).await;
    until_summed(&shop).await;
    assert_eq!(shop.sql(days).await, "2009-12-03 EIRE 1 3 700 1 1");
    shop.append(vec![placed(2, "13085", "Malta", 0)]).await;
    shop.append(vec![placed(3, "13085", "Malta", 1)]).await;
    until_summed(&shop).await;
    assert_eq!(shop.sql(days).await, "2009-12-01 Malta 2 6 1400 1 1, 2009-12-03 EIRE 1 3 700 0 1");
    projector.stop().await;
}

/// Step 1: a variant is sold. Step 2: its product is put into another category, and that is removed. Step 3: the order is cancelled,
/// and counts where it was sold.
#[tokio::test]
async fn what_is_taken_back_is_counted_where_it_was_sold() {
    let mut shop = Shop::open().await;
    let projector = shop.projector_of(vec![Arc::new(Analytics), Arc::new(StockLevels)]).await;
    let categorised = |categories: &[&str]| event("product", "POTS", "Categorised", &json!({"categories": categories}));
    shop.append(vec![category("tea", None)]).await;
    shop.append(vec![category("green", Some("tea"))]).await;
    shop.append(vec![category("sale", None)]).await;
    shop.append(vec![event("product", "POTS", "VariantAdded", &json!({"sku": "POT", "options": {"size": "L"}}))]).await;
    shop.append(vec![categorised(&["green"])]).await;
    shop.append(vec![placed(1, "", "EIRE", 0)]).await;
    shop.append(vec![categorised(&["sale"])]).await;
    shop.append(vec![event("category-tree", "main", "Removed", &json!({"category": "sale"}))]).await;
    let (id, total) = (Uuid::from_u128(1), json!({"amount_minor": 700, "currency": "GBP"}));
    let cancelled = json!({"order_id": id, "total": total, "reason": "late", "cancelled_at": moment(DAY)});
    shop.append(vec![event("order", &id.to_string(), "Cancelled", &cancelled)]).await;
    shop.append(vec![placed(2, "", "EIRE", 2 * DAY)]).await;
    until_summed(&shop).await;
    let days = "select string_agg(concat_ws(' ', category, orders, order_lines, sales_minor, cancellations,
             cancelled_minor), ', ' order by at, category)
         from projections.analytics_by_category where resolution = 2";
    assert_eq!(
        shop.sql(days).await,
        "green 1 2 700 0 0, tea 1 2 700 0 0, green 0 0 0 1 700, tea 0 0 0 1 700",
        "and what is sold in no category in none"
    );
    projector.stop().await;
}
