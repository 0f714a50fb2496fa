//! `kontor recommend`, as an analyst calls it.

use flate2::Compression;
use flate2::write::GzEncoder;
use kontor_event_store::MIGRATIONS;
use kontor_local::{Need, Role, Servers};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// When lists are asked for: the last ten days of trade come later.
const AT: &str = "2011-06-20T00:00:00Z";

struct Invoice {
    customer: Option<u32>,
    time: String,
    cancelled: bool,
    lines: Vec<(usize, u32)>,
}

fn sku(product: usize) -> String {
    format!("SKU-{product:02}")
}

/// Half a year of a shop of 24 products whose 20 customers have two tastes, with guests, cancellations and postage.
fn invoices() -> Vec<Invoice> {
    let mut invoices = Vec::new();
    for day in 0..180_u32 {
        let (month, of_month) = (1 + day / 30, 1 + day % 30);
        for order in 0..4_u32 {
            let number = (day * 4 + order) % 21;
            let product = |nth: u32| ((number % 2) * 12 + (day * 5 + order + nth * 7) % 12) as usize;
            let mut lines: Vec<_> = (0..1 + (day + order) % 4).map(|nth| (product(nth), 1 + nth)).collect();
            lines.dedup_by_key(|(product, _)| *product);
            let time = format!("2011-{month:02}-{of_month:02}T{:02}:30:00Z", 9 + order);
            let customer = (number < 20).then_some(13_000 + number);
            invoices.push(Invoice { customer, time, cancelled: day % 9 == 8 && order == 3, lines });
        }
    }
    invoices.retain(|invoice| !invoice.time.starts_with("2011-02-29") && !invoice.time.starts_with("2011-02-30"));
    invoices
}

fn write(folder: &Path) {
    let file = |name: &str, rows: String| {
        let file = File::create(folder.join(name)).expect("a file");
        let mut file = GzEncoder::new(file, Compression::fast());
        file.write_all(rows.as_bytes()).and_then(|()| file.finish()).expect("it is written");
    };
    let mut products = "sku,name,unit_price_minor,first_seen\n".to_owned();
    (0..24).for_each(|product| products += &format!("{},MUG {product},100,2011-01-01T00:00:00Z\n", sku(product)));
    file("products.csv.gz", products);
    let mut orders = "invoice,customer_id,country,timestamp,sku,quantity,unit_price_minor,cancelled\n".to_owned();
    for (Invoice { customer, time, cancelled, lines }, number) in invoices().iter().zip(1..) {
        let (mark, sign) = if *cancelled { ("C", "-") } else { ("", "") };
        let customer = customer.map_or(String::new(), |customer| customer.to_string());
        let mut row = |sku: &str, units: u32| {
            orders += &format!("{mark}{number},{customer},EIRE,{time},{sku},{sign}{units},100,{cancelled}\n");
        };
        lines.iter().for_each(|(product, units)| row(&sku(*product), *units));
        row("POST", 1);
    }
    file("orders.csv.gz", orders);
}

/// The same, in a log: orders and cancellations as the import makes them.
async fn log() -> Servers {
    let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
    let owner = servers.postgres().url(Role::Migrator);
    let mut connection = PgConnection::connect(&owner).await.expect("it takes connections");
    MIGRATIONS.run(&mut connection).await.expect("the log has its tables");
    let registered = |product: usize| {
        let payload = json!({"Registered": {"name": format!("MUG {product}"), "description": null}});
        ("product", sku(product), "Registered", payload)
    };
    let entered = |(invoice, number): (&Invoice, u32)| {
        let pence = |pence: u32| json!({"amount_minor": pence, "currency": "GBP"});
        let goods = invoice.lines.iter().map(|(product, units)| (sku(*product), *units));
        let lines = goods
            .chain([("POST".to_owned(), 1)])
            .map(|(sku, units)| json!({"sku": sku, "quantity": units, "unit_price": pence(100)}));
        let lines: Vec<_> = lines.collect();
        let id = format!("01890a5d-ac96-774b-bcce-{number:012x}");
        let customer = invoice.customer.map(|customer| customer.to_string());
        let mut payload =
            json!({"reference": null, "customer_id": customer, "country": "EIRE", "lines": lines, "total": pence(100)});
        let (kind, event, more) = match invoice.cancelled {
            true => ("cancellation", "Booked", json!({"cancellation_id": id, "cancelled_at": invoice.time})),
            false => ("order", "Placed", json!({"order_id": id, "placed_at": invoice.time, "fulfilment": "ship"})),
        };
        payload.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        (kind, id, event, json!({ event: payload }))
    };
    let invoices = invoices();
    let mut events: Vec<_> = (0..24).map(registered).collect();
    events.extend(invoices.iter().zip(1..).map(entered));
    // A guest's order that was cancelled as a whole: as if it had never been.
    let id = "01890a5d-ac96-774b-bcce-ffffffffffff";
    let gbp = json!({"amount_minor": 100, "currency": "GBP"});
    let lines = json!([{"sku": sku(0), "quantity": 7, "unit_price": gbp}]);
    let placed = json!({"Placed": {"order_id": id, "reference": null, "customer_id": null, "country": "EIRE", "lines": lines,
        "total": gbp, "fulfilment": "checkout", "placed_at": "2011-06-18T00:00:00Z"}});
    let cancelled = json!({"Cancelled": {"order_id": id, "total": gbp, "reason": "not paid", "cancelled_at": "2011-06-19T00:00:00Z"}});
    events.push(("order", id.to_owned(), "Placed", placed));
    events.push(("order", id.to_owned(), "Cancelled", cancelled));
    let mut statements = String::new();
    for ((kind, id, event, payload), position) in events.iter().zip(1..) {
        statements += &format!(
            "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, position,
                 recorded_at)
             values ('{kind}', '{id}', {position}, '{event}', '1.0', '{payload}', json_build_object('event_id', gen_random_uuid(),
                 'correlation_id', gen_random_uuid(), 'causation_id', gen_random_uuid(), 'actor', 'test'), {position}, now());"
        );
    }
    statements += &format!("insert into log_batches (position, recorded_at) values ({}, now());", events.len());
    servers.postgres().sql(&statements).await.expect("the events fit");
    servers
}

fn recommend(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
    command.stdin(Stdio::null()).env_remove("KONTOR_DATABASE_URL").arg("recommend").args(arguments);
    command.output().expect("it runs")
}

/// Lists by who or what they are for, after a look at the ranks.
fn lists(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut lists = BTreeMap::<String, Vec<String>>::new();
    for row in csv::Reader::from_path(path).expect("a file").records() {
        let row = row.expect("a row");
        let list = lists.entry(row[0].to_owned()).or_default();
        list.push(row[2].to_owned());
        assert_eq!(row[1], list.len().to_string(), "{row:?}");
    }
    lists
}

#[tokio::test]
async fn the_log_and_the_files_of_the_same_trade_make_the_same_lists() {
    let (folder, log) = (tempfile::tempdir().expect("a folder"), log().await);
    write(folder.path());
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let mut written = Vec::new();
    for (name, source) in [("files", ["--from", &path("")]), ("log", ["--data", log.folder().to_str().expect("text")])]
    {
        let (customers, items) = (path(&format!("{name}-customers.csv")), path(&format!("{name}-items.csv")));
        let options = ["export", "--at", AT, "--for-you", &customers, "--together", &items];
        let output = recommend(&[&options[..], &source[..]].concat());
        assert!(output.status.success(), "{output:?}");
        written.push((lists(customers.as_ref()), lists(items.as_ref())));
    }
    assert!(written[0] == written[1], "{written:?}");
    let (customers, items) = &written[0];
    assert_eq!((customers.len(), items.len()), (20, 24));
    let before = invoices().into_iter().filter(|invoice| !invoice.cancelled && &*invoice.time <= AT);
    let mut had = BTreeMap::<String, BTreeSet<String>>::new();
    for invoice in before {
        let Some(customer) = invoice.customer else { continue };
        had.entry(customer.to_string()).or_default().extend(invoice.lines.iter().map(|(product, _)| sku(*product)));
    }
    for (customer, list) in customers {
        assert!(list.iter().all(|sku| !had[customer].contains(sku)), "{customer}: {list:?}");
    }
    assert!(items.iter().all(|(sku, list)| !list.contains(sku) && !list.iter().any(|other| other == "POST")));
}

#[test]
fn lists_of_all_have_what_is_bought_again() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path());
    let path = folder.path().join("all.csv");
    let (from, to) = (folder.path().to_str().expect("text"), path.to_str().expect("text"));
    let output = recommend(&["export", "--at", AT, "--kind", "all", "--most", "5", "--from", from, "--for-you", to]);
    assert!(output.status.success(), "{output:?}");
    let lists = lists(&path);
    // Everybody keeps to one half of the shop.
    for (customer, list) in &lists {
        assert_eq!(list.len(), 5);
        let half = customer.parse::<usize>().expect("a number") % 2;
        let of_half = list.iter().filter(|sku| sku[4..].parse::<usize>().expect("a number") / 12 == half).count();
        assert!(of_half >= 4, "{customer}: {list:?}");
    }
    let output = recommend(&["export", "--at", "2010-01-01T00:00:00Z", "--from", from, "--for-you", to]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("nothing was sold at 2010-01-01 00:00:00 UTC or before"),
        "{output:?}"
    );
}

#[test]
fn an_evaluation_stands_beside_the_baselines() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path());
    let folder = folder.path().to_str().expect("text");
    let output = recommend(&["evaluate", folder, "--windows", "2", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let windows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(windows.as_array().map(Vec::len), Some(2));
    let methods: Vec<_> =
        windows[0]["methods"].as_array().expect("a list").iter().map(|of| of["method"].clone()).collect();
    let names =
        ["kontor", "popularity of 7 days", "popularity of 14 days", "plain factorisation", "co-occurrence counts"];
    assert_eq!(methods, names);
    let ndcg = |method: usize| windows[0]["methods"][method]["all"]["ndcg20"].as_f64().expect("a number");
    assert!(ndcg(0) > ndcg(1), "who knows tastes beats who knows none: {windows}");
    let table = recommend(&["evaluate", folder]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("co-occurrence counts"), "{table:?}");
}
