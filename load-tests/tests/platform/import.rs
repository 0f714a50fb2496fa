//! The import, of generated files in the form of the real ones.

use crate::{Running, said, start};
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kontor_load_tests::bulk::{Batches, Command, Line, Order, Sender, Written, pence};
use kontor_load_tests::import::slice;
use kontor_load_tests::import::totals::{Figures, Totals};
use kontor_load_tests::progress::Progress;
use kontor_online_retail::Invoices;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

const INVOICES: usize = 300;

/// Step 1: the import is cut off in the midst of the invoices and killed. Step 2: run again, it completes, and all is equal, in
/// analytics too.
/// Step 3: run once more, nothing is added. Step 4: an altered price is refused. Step 5: with an order more in Kontor than
/// in the files, the comparison fails.
#[tokio::test]
async fn an_import_that_was_killed_is_completed_without_doubling_anything() {
    let running = start().await;
    let files = running.folder.path().join("files");
    slice::generate(&files, INVOICES).expect("files");
    let import = ["import", "online-retail", files.to_str().expect("UTF-8"), "--json"];

    // 1
    let way = NarrowWay::to(running.platform.ports().command, 150_000).await;
    let mut killed = running.load_through(&way.url, &import).spawn().expect("it starts");
    tokio::time::timeout(Duration::from_secs(60), way.blocked.notified()).await.expect("it sends more than that");
    killed.kill().await.expect("SIGKILL is sent");
    let before = until_orders_are_there(&running).await;
    assert!(before < INVOICES * 6 / 7, "all {before} orders are there: it was not cut off");

    // 2
    let output = running.load(&import).output().await.expect("it starts");
    let (told, complained) = said(&output);
    assert!(output.status.success(), "{told} {complained}");
    let first: serde_json::Value = serde_json::from_str(&told).expect("one JSON object");
    assert_eq!((&first["equal"], &first["invoices"]), (&true.into(), &INVOICES.into()));
    assert!(first["replayed"].as_u64().expect("a number") >= before as u64, "{told}");
    let mut totals = Totals::default();
    Invoices::open(&files).expect("orders").for_each(|invoice| totals.add(&invoice.expect("a valid invoice")));
    let position = first["position"].as_i64().expect("a number");
    assert_eq!(analysed(&running, "dimensions=country", position).await, totals.by_country);
    assert_eq!(analysed(&running, "bucket=month", position).await, totals.by_month);

    // 3
    let output = running.load(&import[..3]).output().await.expect("it starts");
    let (told, complained) = said(&output);
    assert!(output.status.success(), "{told} {complained}");
    assert!(told.trim_end().ends_with("stock of 60 SKUs."), "{told}");
    let again = running.load(&import).output().await.expect("it starts");
    let again: serde_json::Value = serde_json::from_str(&said(&again).0).expect("one JSON object");
    assert_eq!(again["position"], first["position"]);

    // 4
    let altered = running.folder.path().join("altered");
    let invoice = alter_a_price(&files, &altered);
    let output = running.load(&["import", "online-retail", altered.to_str().expect("UTF-8")]).output().await;
    let output = output.expect("it starts");
    let (told, complained) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told} {complained}");
    assert!(complained.contains(&format!("invoice {invoice} was refused: ")), "{complained}");

    // 5
    place_one_order(&running).await;
    let output = running.load(&import[..3]).output().await.expect("it starts");
    let (told, complained) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{told} {complained}");
    assert!(told.contains("Atlantis") && told.contains("DIFFERENT: 2 of 9 rows, stock of 1 of 60 SKUs"), "{told}");
}

/// The files' figures as analytics has them, by country or month.
async fn analysed(running: &Running, by: &str, position: i64) -> BTreeMap<String, Figures> {
    #[derive(Deserialize)]
    struct Report {
        rows: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        at: Option<String>,
        country: Option<String>,
        #[serde(flatten)]
        figures: Figures,
    }
    let metrics =
        "orders,order_lines,units,sales_minor,cancellations,cancellation_lines,cancelled_units,cancelled_minor";
    let path = format!("v1/analytics?metrics={metrics}&currency=GBP&from=2009-12&to=2010-06&{by}");
    let report = running.apis().1.get::<Report>(&path, Some(position)).await.expect("an answer").body;
    let something = report.rows.into_iter().filter(|row| row.figures != Figures::default());
    something.map(|row| (row.country.or(row.at.map(|at| at[..7].to_owned())).expect("a key"), row.figures)).collect()
}

/// What had got through is decided even though nobody waits for it any more. Returns how many orders are in the log.
async fn until_orders_are_there(running: &Running) -> usize {
    for _ in 0..1_000 {
        let sql = "select count(*) from events where aggregate_type = 'order'";
        let count = running.platform.postgres().sql(sql).await.expect("a count").parse().expect("a number");
        if count > 0 {
            return count;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no order got through");
}

/// The price of the last line of the last invoice is a penny more. Returns the invoice's number.
fn alter_a_price(from: &Path, to: &Path) -> String {
    fs::create_dir(to).expect("a folder");
    fs::copy(from.join("products.csv.gz"), to.join("products.csv.gz")).expect("a copy");
    let mut text = String::new();
    let file = File::open(from.join("orders.csv.gz")).expect("orders");
    GzDecoder::new(file).read_to_string(&mut text).expect("text");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = lines.last_mut().expect("rows");
    let mut fields: Vec<String> = last.split(',').map(str::to_owned).collect();
    fields[6] = (fields[6].parse::<i64>().expect("a price") + 1).to_string();
    *last = fields.join(",");
    let mut file = GzEncoder::new(File::create(to.join("orders.csv.gz")).expect("a file"), Default::default());
    file.write_all((lines.join("\n") + "\n").as_bytes()).expect("text");
    file.finish().expect("a whole file");
    fields.swap_remove(0)
}

async fn place_one_order(running: &Running) {
    let order = Command::PlaceOrder(Order {
        order_id: "01890a5d-ac96-774b-bcce-b302099a8057",
        reference: "not in the files",
        customer_id: None,
        country: "Atlantis",
        lines: vec![Line { sku: "10002", quantity: 1, unit_price: pence(85) }],
        fulfilment: "ship",
        placed_at: "2009-12-05T12:00:00Z",
    });
    let order = Written::new("one more", &order);
    let sender = Sender::new(running.apis().0);
    let sent = sender.send(Progress::new("orders", 1), move |batches: &mut Batches| batches.push(order)).await;
    sent.expect("it is placed");
}

/// A way to a port on which only so many bytes get through; then it is blocked, and says so.
struct NarrowWay {
    url: String,
    blocked: Arc<Notify>,
}

impl NarrowWay {
    async fn to(port: u16, bytes: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (blocked, left) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(bytes)));
        let says = blocked.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (left, says) = (left.clone(), says.clone());
                tokio::spawn(async move {
                    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("the API is there");
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let forth = async {
                        let mut buffer = [0; 4_096];
                        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                            let through =
                                left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(read));
                            if through.is_err() {
                                says.notify_one();
                                return std::future::pending().await;
                            }
                            if to_server.write_all(&buffer[..read]).await.is_err() {
                                return;
                            }
                        }
                    };
                    let back = tokio::io::copy(&mut from_server, &mut to_client);
                    tokio::select! {
                        () = forth => {}
                        _ = back => {}
                    }
                });
            }
        });
        Self { url, blocked }
    }
}
