//! Analytics over a log: reports equal a fold of it in plain SQL, and what cannot be answered is refused by its name.

use crate::api::{Answer, Api};
use crate::live::Listener;
use crate::trade::{Trade, example};
use chrono::{DateTime, SecondsFormat, Utc};
use kontor_identity::Role;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

type Recorded = ((&'static str, String), Value);

const COUNTRIES: [&str; 3] = ["EIRE", "Korea, Republic of", "Österreich"];

fn time(seconds: i64) -> String {
    let at = DateTime::from_timestamp(1_291_161_600 + seconds, 0).expect("a time in this century"); // 2010-12-01
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn money(amount_minor: i64, currency: &str) -> Value {
    json!({"amount_minor": amount_minor, "currency": currency})
}

fn order(
    id: Uuid,
    customer: Option<String>,
    country: &str,
    lines: &[(&str, i64, i64)],
    (at, currency): (&str, &str),
) -> Recorded {
    let total = lines.iter().map(|(_, units, price)| units * price).sum();
    let line = |(sku, units, price): &(&str, i64, i64)| json!({"sku": sku, "quantity": units, "unit_price": money(*price, currency)});
    let lines: Vec<_> = lines.iter().map(line).collect();
    let placed = json!({"order_id": id, "reference": null, "customer_id": customer, "country": country, "lines": lines,
        "total": money(total, currency), "fulfilment": "reserve", "placed_at": at});
    (("order", id.to_string()), json!({"Placed": placed}))
}

/// A quarter of trade, with all that is counted.
fn history() -> Vec<Recorded> {
    let mut random = StdRng::seed_from_u64(17);
    let mut history: Vec<Recorded> = Vec::new();
    for (category, parent) in [("home", None), ("mugs", Some("home"))] {
        let created = json!({"category": category, "name": category, "slug": category, "parent": parent});
        history.push((("category-tree", "main".to_owned()), json!({"Created": created})));
    }
    for (sku, categories) in [("MUG", json!(["mugs"])), ("CUP", json!(["home"])), ("POT", json!([]))] {
        let registered = json!({"name": sku, "description": null});
        history.push((("product", sku.to_owned()), json!({"Registered": registered})));
        history.push((("product", sku.to_owned()), json!({"Categorised": {"categories": categories}})));
        let received = json!({"quantity": 400, "reference": null, "on_hand_after": 400, "available_after": 400});
        history.push((("stock", sku.to_owned()), json!({"Received": received})));
    }
    for _ in 0..240 {
        let id = Uuid::from_u128(random.random());
        let seconds = random.random_range(0..90 * 86_400);
        let country = COUNTRIES[random.random_range(0..3)];
        let currency = if random.random_range(0..5) == 0 { "EUR" } else { "GBP" };
        let customer = (random.random_range(0..4) > 0).then(|| random.random_range(13_000..13_030).to_string());
        let lines: Vec<_> = (0..random.random_range(1..4))
            .map(|_| {
                (
                    ["MUG", "CUP", "POT"][random.random_range(0..3)],
                    random.random_range(1..9),
                    random.random_range(1..900),
                )
            })
            .collect();
        let cart =
            json!({"cart_id": id, "customer_id": customer, "currency": currency, "opened_at": time(seconds - 600)});
        history.push((("cart", id.to_string()), json!({"Opened": cart})));
        if random.random_range(0..3) == 0 {
            continue; // A cart that is left behind.
        }
        let mut checked_out = example("cart.checked-out");
        checked_out["CheckedOut"]["cart_id"] = json!(id);
        history.push((("cart", id.to_string()), checked_out));
        history.push(order(id, customer, country, &lines, (&time(seconds), currency)));
        let later = time(seconds + random.random_range(60..20 * 86_400));
        let of_order = ("order", id.to_string());
        match random.random_range(0..6) {
            0 => {
                let total = lines.iter().map(|(_, units, price)| units * price).sum();
                let cancelled =
                    json!({"order_id": id, "total": money(total, currency), "reason": "late", "cancelled_at": later});
                history.push((of_order, json!({"Cancelled": cancelled})));
            }
            1 => {
                let (sku, _, price) = lines[0];
                let parts = json!([{"line": 1, "sku": sku, "quantity": 1}]);
                let refund = money(price, currency);
                let returned =
                    json!({"order_id": id, "return_id": id, "parts": parts, "refund": refund, "received_at": later});
                history.push((of_order.clone(), json!({"ReturnReceived": returned})));
                let refunded = json!({"order_id": id, "return_id": id, "amount": refund, "refunded_total": refund,
                    "refunded_at": later});
                history.push((of_order, json!({"Refunded": refunded})));
            }
            _ => {}
        }
    }
    history
}

async fn record(api: &Api, history: &[Recorded]) -> i64 {
    let mut trade = Trade::on(api).await;
    let mut events = history.iter().map(|((of, id), event)| ((*of, id.as_str()), event.clone())).collect::<Vec<_>>();
    let last = events.split_off(events.len() / 3); // In two batches, if there are enough.
    if !events.is_empty() {
        trade.analyse(&events).await;
    }
    trade.analyse(&last).await
}

/// What the log says of orders, their lines, customers and carts.
const LOG: &str = "with placed as (
         select position, aggregate_id as id, payload->'Placed' as p, (payload->'Placed'->>'placed_at')::timestamptz as at,
             payload->'Placed'->'total'->>'currency' as currency, payload->'Placed'->>'country' as country,
             payload->'Placed'->>'customer_id' as customer
         from events where aggregate_type = 'order' and event_type = 'Placed'
     ), facts as (
         select 'sold' as kind, id as doc, at, currency, country, l->>'sku' as sku, (l->>'quantity')::bigint as units,
             (l->>'quantity')::bigint * (l->'unit_price'->>'amount_minor')::bigint as minor
         from placed cross join json_array_elements(p->'lines') l
         union all
         select 'cancelled', id, (payload->'Cancelled'->>'cancelled_at')::timestamptz, currency, country, l->>'sku',
             (l->>'quantity')::bigint, (l->>'quantity')::bigint * (l->'unit_price'->>'amount_minor')::bigint
         from placed join events e on id = aggregate_id and event_type = 'Cancelled'
         cross join json_array_elements(p->'lines') l
         union all
         select 'returned', id, (payload->'ReturnReceived'->>'received_at')::timestamptz, currency, country,
             p->'lines'->0->>'sku', 1, (p->'lines'->0->'unit_price'->>'amount_minor')::bigint
         from placed join events e on id = aggregate_id and event_type = 'ReturnReceived'
         union all
         select 'refunded', id, (payload->'Refunded'->>'refunded_at')::timestamptz, currency, country, null, 0,
             (payload->'Refunded'->'amount'->>'amount_minor')::bigint
         from placed join events e on id = aggregate_id and event_type = 'Refunded'
     ), carts as (
         select aggregate_id, (payload->'Opened'->>'opened_at')::timestamptz as at, payload->'Opened'->>'currency' as currency
         from events where aggregate_type = 'cart' and event_type = 'Opened'
     )";

const OF_LINES: &str = "count(distinct doc) filter (where kind = 'sold') as orders,
     count(*) filter (where kind = 'sold') as order_lines,
     coalesce(sum(units) filter (where kind = 'sold'), 0) as units,
     coalesce(sum(minor) filter (where kind = 'sold'), 0) as sales_minor,
     round(sum(minor) filter (where kind = 'sold') / nullif(count(distinct doc) filter (where kind = 'sold'), 0))
         as average_order_minor,
     coalesce(sum(case kind when 'sold' then units else -units end), 0) as net_units,
     coalesce(sum(case kind when 'sold' then minor when 'refunded' then 0 else -minor end), 0) as net_sales_minor,
     count(distinct doc) filter (where kind = 'cancelled') as cancellations,
     count(*) filter (where kind = 'cancelled') as cancellation_lines,
     coalesce(sum(units) filter (where kind = 'cancelled'), 0) as cancelled_units,
     coalesce(sum(minor) filter (where kind = 'cancelled'), 0) as cancelled_minor,
     count(distinct doc) filter (where kind = 'returned') as returns,
     coalesce(sum(units) filter (where kind = 'returned'), 0) as returned_units,
     coalesce(sum(minor) filter (where kind = 'returned'), 0) as returned_minor";

const METRICS: &str = "orders,order_lines,units,sales_minor,average_order_minor,net_units,net_sales_minor,cancellations,\
     cancellation_lines,cancelled_units,cancelled_minor,returns,returned_units,returned_minor";

/// Rows of SQL, which names the columns as the API does.
async fn of_log(api: &Api, rows: &str) -> Vec<Map<String, Value>> {
    let text =
        api.servers.postgres().sql(&format!("{LOG} select coalesce(json_agg(r), '[]')::text from ({rows}) r")).await;
    let mut rows: Vec<Map<String, Value>> = serde_json::from_str(&text.expect("it is valid")).expect("rows");
    for at in rows.iter_mut().filter_map(|row| row.get_mut("at")) {
        let time: DateTime<Utc> = at.as_str().expect("a time").parse().expect("a time");
        *at = time.to_rfc3339_opts(SecondsFormat::Secs, true).into();
    }
    rows
}

fn rows(answer: &Answer) -> Vec<Map<String, Value>> {
    serde_json::from_value(answer.body["rows"].clone()).expect("rows")
}

/// By the texts in them, which say where and when. Rows of nothing but zeros are left out.
fn by_place(rows: Vec<Map<String, Value>>) -> BTreeMap<String, Map<String, Value>> {
    let is_something = |row: &Map<String, Value>| row.values().any(|value| value.as_f64().is_some_and(|n| n != 0.0));
    let place = |row: &Map<String, Value>| {
        let texts: BTreeMap<_, _> = row.iter().filter(|(_, value)| value.is_string()).collect();
        json!(texts).to_string()
    };
    rows.into_iter().filter(is_something).map(|row| (place(&row), row)).collect()
}

const QUARTER: &str = "from=2010-11&to=2011-04";

#[tokio::test]
async fn reports_are_what_plain_sql_makes_of_the_log() {
    let api = Api::start().await;
    let position = record(&api, &history()).await;
    let bucket = |name: &str| format!("date_trunc('{name}', at, 'UTC') as at");
    let (day, month, hour) = (bucket("day"), bucket("month"), bucket("hour"));
    for (query, sql) in [
        (
            format!("metrics={METRICS},refunded_minor&dimensions=country&bucket=month&{QUARTER}"),
            format!(
                "select {month}, country, currency, {OF_LINES},
                     coalesce(sum(minor) filter (where kind = 'refunded'), 0) as refunded_minor
                 from facts group by 1, 2, 3"
            ),
        ),
        (
            format!("metrics={METRICS}&dimensions=country,product&{QUARTER}"),
            format!("select country, sku as product, currency, {OF_LINES} from facts where sku is not null group by 1, 2, 3"),
        ),
        (
            format!("metrics={METRICS}&dimensions=product&bucket=day&currency=GBP&{QUARTER}"),
            format!(
                "select {day}, sku as product, currency, {OF_LINES} from facts
                 where sku is not null and currency = 'GBP' group by 1, 2, 3"
            ),
        ),
        (
            format!("metrics={METRICS}&bucket=hour&from=2010-12-03&to=2011-01-09&currency=EUR&country=Korea,%20Republic%20of"),
            format!(
                "select {hour}, currency, {OF_LINES} from facts where currency = 'EUR' and country like 'Korea%'
                     and at >= '2010-12-03Z' and at < '2011-01-09Z' group by 1, 2"
            ),
        ),
        (
            format!("metrics={METRICS}&dimensions=category&bucket=month&{QUARTER}"),
            format!(
                "select {month}, category, currency, {OF_LINES} from facts
                 join (values ('MUG', 'mugs'), ('MUG', 'home'), ('CUP', 'home')) c (sku, category) using (sku)
                 group by 1, 2, 3"
            ),
        ),
        (
            "metrics=units,orders&from=2010-12-03T04:05:00Z&to=2011-02-11T22:59:00Z&dimensions=country".to_owned(),
            "select country, count(distinct doc) as orders, sum(units) as units from facts
             where kind = 'sold' and at >= '2010-12-03T04:05:00Z' and at < '2011-02-11T22:59:00Z' group by 1"
                .to_owned(),
        ),
        (
            format!("metrics=carts,converted_carts,conversion&bucket=month&dimensions=currency&{QUARTER}"),
            format!(
                "select {month}, currency, count(*) as carts, count(id) as converted_carts,
                     round(count(id)::numeric / count(*), 4) as conversion
                 from carts left join (select id from placed) p on id = aggregate_id group by 1, 2"
            ),
        ),
        (
            format!("metrics=customers,new_customers,returning_customers&bucket=month&dimensions=country,currency&{QUARTER}"),
            format!(
                "select b.*, coalesce(n, 0) as new_customers, customers - coalesce(n, 0) as returning_customers
                 from (select {month}, country, currency, count(distinct customer) as customers
                     from placed where customer is not null group by 1, 2, 3) b
                 left join (select {month}, country, currency, count(*) as n from (
                     select distinct on (customer) at, country, currency from placed where customer is not null
                     order by customer, at, position) f group by 1, 2, 3) f using (at, country, currency)"
            ),
        ),
        (
            format!("metrics=stock_turn&dimensions=product&{QUARTER}"),
            "select sku as product, round(sum(case kind when 'sold' then units else -units end) / 400.0, 4) as stock_turn
             from facts where sku is not null group by 1"
                .to_owned(),
        ),
    ] {
        let answer = api.ok(&format!("/v1/analytics?{query}")).await;
        assert_eq!((answer.position(), &answer.body["position"]), (position, &json!(position)));
        let (found, expected) = (by_place(rows(&answer)), by_place(of_log(&api, &sql).await));
        assert!(!expected.is_empty(), "{query}");
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn what_did_not_happen_is_a_zero() {
    let api = Api::start().await;
    let lines = [("MUG", 2, 250)];
    let id = Uuid::from_u128(1);
    record(&api, &[order(id, None, "EIRE", &lines, ("2010-12-02T10:00:00Z", "GBP"))]).await;
    let report = |query: &str| format!("/v1/analytics?{query}");
    let answer = api.ok(&report("metrics=orders,average_order_minor&bucket=day&from=2010-12-01&to=2010-12-04")).await;
    let row = |day: u32, orders: u32, average: Value| json!({"at": format!("2010-12-{day:02}T00:00:00Z"), "currency": "GBP", "orders": orders, "average_order_minor": average});
    assert_eq!(answer.body["rows"], json!([row(1, 0, json!(null)), row(2, 1, json!(500)), row(3, 0, json!(null))]));
    assert_eq!(answer.body["dimensions"], json!(["currency"]), "amounts are by currency");
    let nothing = "metrics=units&dimensions=product&product=MUG&from=2011-01&to=2011-02";
    assert_eq!(api.ok(&report(nothing)).await.body["rows"], json!([{"product": "MUG", "units": 0}]));
    let all = "metrics=units,carts,customers&bucket=month&from=2011-01&to=2011-02";
    let zeros = json!([{"at": "2011-01-01T00:00:00Z", "units": 0, "carts": 0, "customers": 0}]);
    assert_eq!(api.ok(&report(all)).await.body["rows"], zeros);
    let turn = "metrics=stock_turn,units&from=2010-12&to=2011-01";
    assert_eq!(api.ok(&report(turn)).await.body["rows"], json!([{"stock_turn": null, "units": 2}]), "nothing is there");
}

#[tokio::test]
async fn the_largest_come_first_and_others_are_left_out() {
    let api = Api::start().await;
    record(&api, &history()).await;
    let path = format!("/v1/analytics?metrics=units&dimensions=product&{QUARTER}");
    let all = rows(&api.ok(&path).await);
    let mut units: Vec<_> = all.iter().map(|row| row["units"].as_i64().expect("a number")).collect();
    units.sort_unstable_by_key(|units| std::cmp::Reverse(*units));
    let top = rows(&api.ok(&format!("{path}&top=2")).await);
    assert_eq!(top.iter().map(|row| row["units"].as_i64().expect("a number")).collect::<Vec<_>>(), units[..2]);
    let by_month = rows(&api.ok(&format!("{path}&top=1&bucket=month")).await);
    assert_eq!((by_month.len(), &by_month[0]["product"]), (5, &top[0]["product"]), "in all of the time");
    let moved = api.ok("/v1/analytics/movers?from=2011-01-15&to=2011-03-01&limit=3").await;
    assert_eq!(moved.body["before"], "2010-12-01T00:00:00Z");
    let expected = of_log(
        &api,
        "select *, units - units_before as change from (
             select sku, coalesce(sum(units) filter (where at >= '2011-01-15Z' and at < '2011-03-01Z'), 0) as units,
                 coalesce(sum(units) filter (where at >= '2010-12-01Z' and at < '2011-01-15Z'), 0) as units_before
             from facts where kind = 'sold' group by 1) m
         where units > units_before order by units - units_before desc, sku",
    )
    .await;
    assert_eq!(rows(&moved), expected);
    let down = rows(&api.ok("/v1/analytics/movers?from=2011-01-15&to=2011-03-01&direction=down").await);
    assert_eq!(down.len() + expected.len(), 3);
    assert!(down.iter().all(|row| row["change"].as_i64() < Some(0)), "{down:?}");
}

#[tokio::test]
async fn what_there_is_not_is_refused_with_what_there_is() {
    let api = Api::start().await;
    record(&api, &history()).await;
    for (query, parameter, known) in [
        ("metrics=orders,profit", "metrics", "sales_minor"),
        ("metrics=orders&dimensions=town", "dimensions", "country"),
        ("metrics=orders&bucket=week", "bucket", "month"),
        ("metrics=orders&country=Atlantis", "country", "Korea, Republic of"),
        ("metrics=orders&country=EIRE&country=Atlantis", "country", "EIRE"),
        ("metrics=orders&product=MUG,VASE", "product", "POT"),
        ("metrics=orders&category=vases", "category", "mugs"),
        ("metrics=orders&currency=gbp", "currency", "EUR"),
    ] {
        let answer = api.get(&format!("/v1/analytics?{query}&{QUARTER}")).await;
        assert_eq!((answer.status, answer.problem()), (400, "unknown-member"), "{query}");
        assert_eq!(answer.body["parameter"], parameter, "{query}");
        assert!(answer.body["known"].as_array().expect("a list").contains(&json!(known)), "{query}: {answer:?}");
        assert_eq!(answer.body["unknown"].as_array().map(Vec::len), Some(1), "{query}");
    }
    for (query, parameter) in [
        (QUARTER.to_owned(), "metrics"),
        (format!("metrics=orders,orders&{QUARTER}"), "metrics"),
        (format!("metrics=orders&dimensions=product,category&{QUARTER}"), "dimensions"),
        (format!("metrics=orders&dimensions=product&bucket=minute&{QUARTER}"), "bucket"),
        (format!("metrics=refunded_minor&dimensions=product&{QUARTER}"), "metrics"),
        (format!("metrics=conversion&country=EIRE&{QUARTER}"), "metrics"),
        (format!("metrics=stock_turn&dimensions=country&{QUARTER}"), "metrics"),
        (format!("metrics=customers&{QUARTER}"), "metrics"),
        (format!("metrics=orders&top=3&{QUARTER}"), "top"),
        (format!("metrics=sales_minor&dimensions=product&top=3&{QUARTER}"), "top"),
        (format!("metrics=average_order_minor&dimensions=product&top=3&{QUARTER}"), "top"),
        (format!("metrics=orders&dimensions=product&top=0&{QUARTER}"), "top"),
        ("metrics=orders&from=2010-12&to=2010-12".to_owned(), "to"),
        ("metrics=orders&from=yesterday&to=2010-12".to_owned(), "from"),
        ("metrics=orders&bucket=month&from=2010-12-02&to=2011-01".to_owned(), "from"),
        ("metrics=orders&from=2010-12-01T00:00:30Z&to=2011-01".to_owned(), "from"),
        (format!("metrics=orders&product=&{QUARTER}"), "product"),
    ] {
        let answer = api.get(&format!("/v1/analytics?{query}")).await;
        assert_eq!((answer.status, answer.problem()), (400, "invalid-parameter"), "{query}: {answer:?}");
        assert_eq!(answer.body["parameter"], parameter, "{query}");
    }
    let unknown = api.get(&format!("/v1/analytics?metrics=orders&sort=orders&{QUARTER}")).await;
    assert_eq!(unknown.problem(), "unknown-parameter");
    for large in ["metrics=orders&bucket=minute", "metrics=orders&dimensions=product,country&bucket=hour"] {
        let answer = api.get(&format!("/v1/analytics?{large}&{QUARTER}")).await;
        assert_eq!((answer.status, answer.problem(), &answer.body["most"]), (400, "report-too-large", &json!(10_000)));
    }
    for wrong in ["direction=sideways", "country=Atlantis", "limit=0", "limit=101", "from=2011-01-01T00:30:00Z"] {
        let from = if wrong.starts_with("from") { "" } else { "from=2011-01&" };
        let answer = api.get(&format!("/v1/analytics/movers?{from}to=2011-02&{wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn analysts_and_those_who_run_the_shop_may_ask_and_nobody_else() {
    let api = Api::start().await;
    for path in [format!("/v1/analytics?metrics=orders&{QUARTER}"), format!("/v1/analytics/movers?{QUARTER}")] {
        for role in [Role::Analyst, Role::Staff, Role::Admin] {
            let answer = api.get_as(role, None, &path).await;
            assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{role} {path}");
        }
    }
    for path in [&*format!("/v1/analytics?metrics=orders&{QUARTER}"), "/v1/analytics/movers", "/v1/analytics/live"] {
        assert_eq!(api.get_as(Role::Warehouse, None, path).await.problem(), "forbidden", "{path}");
        assert_eq!(api.get_as(Role::Customer, Some("17850"), path).await.problem(), "forbidden", "{path}");
        assert_eq!(api.get_as_guest(path).await.problem(), "unauthenticated", "{path}");
    }
    let late = api.get_with(&format!("/v1/analytics?metrics=orders&{QUARTER}"), &[("Kontor-Min-Position", "7")]).await;
    assert_eq!((late.status, late.problem()), (503, "position-not-reached"));
}

#[tokio::test]
async fn a_report_is_a_table_of_commas_for_those_who_want_one() {
    let api = Api::start().await;
    let id = Uuid::from_u128(1);
    record(&api, &[order(id, None, COUNTRIES[1], &[("MUG", 2, 250)], ("2010-12-02T10:00:00Z", "GBP"))]).await;
    let url = format!(
        "{}/v1/analytics?metrics=units,average_order_minor&dimensions=country&bucket=month&from=2010-12&to=2011-02",
        api.base
    );
    let answer = api.client.get(url).header("Accept", "text/csv").send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(answer.headers()["kontor-position"], "1");
    let expected = "at,country,currency,units,average_order_minor\n\
        2010-12-01T00:00:00Z,\"Korea, Republic of\",GBP,2,500\n\
        2011-01-01T00:00:00Z,\"Korea, Republic of\",GBP,0,\n";
    assert_eq!(answer.text().await.expect("text"), expected);
}

/// Step 1: a client is told what is. Step 2: something is sold now, and it is told. Step 3: what was sold long ago changes nothing.
/// Step 4: it comes back, and is told what is; a replica that knows less than it does is waited for.
#[tokio::test]
async fn sales_are_told_as_they_happen() {
    let api = Api::start_with(|settings| settings.live.poll_interval_ms = 20).await;
    let mut trade = Trade::on(&api).await;
    let path = "/v1/analytics/live";
    let mut listener = Listener::of(&api, path, &[]).await;
    let (id, update) = listener.update().await;
    assert_eq!((id, &update["day"]["currencies"]), (0, &json!([])));
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let sell = |number: u128, at: &str| order(Uuid::from_u128(number), None, "EIRE", &[("MUG", 2, 250)], (at, "GBP"));
    for number in 1..3 {
        let ((of, order_id), event) = sell(number, &now);
        let position = trade.analyse(&[((of, &order_id), event)]).await;
        let mut told = listener.update().await;
        while told.0 < position {
            told = listener.update().await; // Another minute has begun.
        }
        let today = &told.1["day"]["currencies"][0];
        assert_eq!((&today["orders"], &today["currency"]), (&json!(number as i64), &json!("GBP")));
        assert_eq!(today["sales_minor"], 500 * number as i64);
    }
    let ((of, order_id), event) = sell(3, "2010-12-01T00:00:00Z");
    trade.analyse(&[((of, &order_id), event)]).await;
    let mut again = Listener::of(&api, path, &[("Last-Event-ID", "2")]).await;
    let (id, update) = again.update().await;
    assert_eq!((id, &update["day"]["currencies"][0]["orders"]), (3, &json!(2)));
    let ahead = api.get_with(path, &[("Last-Event-ID", "9")]).await;
    assert_eq!((ahead.status, ahead.problem()), (503, "position-not-reached"));
    assert_eq!(api.get_with(path, &[("Last-Event-ID", "x")]).await.problem(), "invalid-header");
}
