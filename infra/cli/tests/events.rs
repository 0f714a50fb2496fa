//! `kontor events`, as an analyst calls it.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use kontor_domain::{Quantity, Sku};
use kontor_event_store::{Append, Key, Log, LogSettings, MIGRATIONS, NewEvent, StreamAppend, StreamId};
use kontor_local::{Need, Role, Servers};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};
use tokio::net::TcpListener;

const KEY: &str = "analyst";
const SECRET: &str = "a secret of forty characters, or nearly.";

struct Shop {
    servers: Servers,
}

/// A log with so many events by turns of stock and of products, ten an hour from 2026-11-20 on.
async fn shop(events: i64) -> Shop {
    let servers = Servers::start(&[Need::Postgres]).await.expect("Postgres starts");
    let owner = servers.postgres().url(Role::Migrator);
    let mut connection = PgConnection::connect(&owner).await.expect("it takes connections");
    MIGRATIONS.run(&mut connection).await.expect("the log has its tables");
    let statements = format!(
        "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
             position, recorded_at)
         select case n % 2 when 0 then 'stock' else 'product' end, 'SKU-' || n / 2, 1,
             case n % 2 when 0 then 'Received' else 'Registered' end, '1.0',
             case n % 2 when 0 then '{{\"Received\":{{\"quantity\":5,\"on_hand_after\":5,\"available_after\":5}}}}'
                 else '{{\"Registered\":{{\"name\":\"Mug\",\"description\":null,\"draft\":false}}}}' end::json,
             json_build_object('event_id', gen_random_uuid(), 'actor', 'test'), n,
             timestamptz '2026-11-20' + (n - 1) / 10 * interval '1 hour'
         from generate_series(1, {events}) n;
         insert into log_batches (position, recorded_at) select max(position), recorded_at from events group by recorded_at"
    );
    servers.postgres().sql(&statements).await.expect("they are new");
    Shop { servers }
}

impl Shop {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kontor"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("KONTOR_DATABASE_URL");
        command.arg("events").args(arguments).arg("--data").arg(self.servers.folder());
        command
    }

    fn events(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// The lines that it tells.
    fn told(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.events(arguments);
        assert!(output.status.success(), "{output:?}");
        lines(&output.stdout)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let told = self.told(&[arguments, &["--json"]].concat());
        assert_eq!(told.len(), 1);
        told[0].clone()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.events(arguments);
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "a line is not whole");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn positions(lines: &[Value]) -> Vec<i64> {
    lines.iter().map(|line| line["position"].as_i64().expect("a number")).collect()
}

/// What NDJSON files have, by position; the files are whole, and no position is there twice.
fn exported(folder: &Path) -> BTreeMap<i64, Value> {
    let mut found = BTreeMap::new();
    for path in files(folder) {
        for line in lines(&fs::read(&path).expect("it can be read")) {
            let position = line["position"].as_i64().expect("a number");
            assert!(found.insert(position, line).is_none(), "{position} is there twice, again in {}", path.display());
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    files.chain(folders.iter().flat_map(|folder| self::files(folder))).collect()
}

#[tokio::test]
async fn an_export_says_what_it_has_done_and_adds_what_is_new() {
    let shop = shop(1_000).await;
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("events").display().to_string();
    let export = ["export", "--output", &output, "--format", "ndjson"];
    let until_noon = shop.json(&[&export[..], &["--to", "2026-11-21T12:00:00Z"]].concat());
    let expected = json!({"outcome": "exported", "output": output, "format": "ndjson", "from": 1, "to": 360,
        "position": 360, "events": 360, "files": 4, "bytes": until_noon["bytes"], "seconds": until_noon["seconds"]});
    assert_eq!(until_noon, expected);
    let rest = shop.json(&export);
    assert_eq!((&rest["events"], &rest["position"]), (&json!(640), &json!(1_000)));
    let replayed = shop.told(&["replay"]);
    assert_eq!(positions(&replayed), Vec::from_iter(1..=1_000));
    assert!(exported(&folder.path().join("events")).into_values().eq(replayed), "both say the same");
    let day = folder.path().join("events/stock.received.1.0/date=2026-11-22");
    assert_eq!(fs::read_dir(&day).expect("a folder of that day").count(), 1);

    let text = shop.events(&export);
    assert!(String::from_utf8_lossy(&text.stdout).starts_with("Wrote 0 events as 0 files (0 B) to "), "{text:?}");
    let refused = shop.refused(&["export", "--output", &output, "--format", "csv"]);
    assert!(refused.contains("an export was begun there with format ndjson, not csv"), "{refused}");
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_named_with_its_rule() {
    let shop = shop(100).await;
    for (arguments, complaint) in [
        (&["export", "--output", "gs://b/c"][..], "--output: must be a folder or s3://BUCKET/PREFIX, is gs://b/c"),
        (&["export", "--output", "x", "--from", "102"], "--from: position 102 is not in the log, whose last is 100"),
        (&["export", "--output", "x", "--from", "0"], "--from must be a position, the first of which is 1, not 0"),
        (&["export", "--output", "x", "--to", "101"], "--to: position 101 is not in the log, whose last is 100"),
        (
            &["export", "--output", "x", "--from", "9", "--to", "7"],
            "--to must not lie before --from, which is position 9",
        ),
        (&["export", "--output", "x", "--aggregate", "spaceship"], "[possible values: product, "),
        (&["replay", "--until", "101"], "--until: position 101 is not in the log, whose last is 100"),
        (
            &["replay", "--follow", "--until", "2999-01-01"],
            "--until must be a position, or a time gone by, with --follow",
        ),
        (&["replay", "--from", "noon"], "must be a position of the log, a time such as 2026-11-24T12:00:00Z, or a day"),
        (&["replay", "--event", "stock.teleported"], "invalid value 'stock.teleported' for '--event <EVENT>'"),
    ] {
        let told = shop.refused(arguments);
        assert!(told.contains(complaint), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn a_replay_begins_ends_and_chooses() {
    let shop = shop(1_000).await;
    for (arguments, expected) in [
        (&["--from", "990"][..], Vec::from_iter(990..=1_000)),
        (&["--from", "2026-11-20T01:00:00Z", "--until", "2026-11-20T02:00:00Z"], Vec::from_iter(11..=20)),
        (&["--from", "2026-11-20T01:00:00.000001Z", "--until", "22"], vec![21, 22]),
        (&["--until", "2026-11-20"], vec![]),
        (&["--from", "1001"], vec![]),
        (&["--until", "7", "--aggregate", "stock"], vec![2, 4, 6]),
        (&["--until", "7", "--event", "product.registered"], vec![1, 3, 5, 7]),
        (&["--until", "7", "--event", "product.registered", "--aggregate", "stock"], Vec::from_iter(1..=7)),
        (&["--id", "SKU-7", "--id", "SKU-9"], vec![14, 15, 18, 19]),
        (&["--id", "SKU-7", "--aggregate", "product"], vec![15]),
    ] {
        let told = shop.told(&[&["replay"], arguments].concat());
        assert_eq!(positions(&told), expected, "{arguments:?}");
    }
    let first = shop.told(&["replay", "--until", "1"]).remove(0);
    let payload = json!({"Registered": {"name": "Mug", "description": null, "draft": false}});
    assert_eq!((&first["recorded_at"], &first["payload"]), (&json!("2026-11-20T00:00:00.000000Z"), &payload));
}

#[test]
fn the_form_of_an_event_is_shown_without_a_database() {
    let schema = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_kontor")).args(["events", "schema"]).args(arguments).output();
        String::from_utf8(output.expect("it runs").stdout).expect("UTF-8")
    };
    assert!(schema(&[]).lines().any(|line| line == "order.placed"));
    let placed: Value = serde_json::from_str(&schema(&["order.placed"])).expect("JSON");
    assert_eq!((&placed["table"], &placed["payload"]["title"]), (&json!("order.placed.1.0"), &json!("Placed")));
}

#[tokio::test]
async fn who_reads_a_few_lines_only_gets_no_complaint() {
    let shop = shop(30_000).await;
    let mut child = shop.command(&["replay"]).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()));
    drop(lines);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn signal(child: &Child, name: &str) {
    let killed = Command::new("kill").args([name, &child.id().to_string()]).status().expect("it runs");
    assert!(killed.success());
}

/// Step 1: it follows. Step 2: Ctrl-C. Step 3: the last line is whole, and it says where to go on.
#[tokio::test]
async fn ctrl_c_ends_what_follows() {
    let shop = shop(100).await;
    let mut child = shop.command(&["replay", "--from", "51", "--follow"]).spawn().expect("it runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut text = String::new();
    for _ in 0..50 {
        stdout.read_line(&mut text).expect("a line");
    }
    signal(&child, "-INT");
    stdout.read_to_string(&mut text).expect("it ends");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), positions(&lines(text.as_bytes()))), (Some(130), Vec::from_iter(51..=100)));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.ends_with("Told 50 events, up to position 100: --from 101 goes on\n"), "{told}");
}

/// Step 1: writers append all the while, through the log's own append. Step 2: it is told from the first position on, and follows.
/// Step 3: every event is told once, in order, up to the position that was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_left_out_while_writers_append() {
    const LAST: i64 = 26_000;
    let shop = shop(20_000).await;
    let command = shop.servers.postgres().url(Role::Command).parse().expect("a URL");
    let log = Log::open(command, LogSettings::default(), Default::default()).await.expect("the log is there");
    let until = LAST.to_string();
    let mut command = tokio::process::Command::from(shop.command(&["replay", "--follow", "--until", &until]));
    let child = command.kill_on_drop(true).spawn().expect("it runs");
    let writers: Vec<_> = (0..4).map(|writer| tokio::spawn(receive(log.clone(), writer, LAST))).collect();
    let output = child.wait_with_output().await.expect("it ends");
    for writer in writers {
        writer.await.expect("nothing is refused");
    }
    assert!(output.status.success(), "{output:?}");
    assert!(positions(&lines(&output.stdout)).into_iter().eq(1..=LAST), "each once, in order");
}

/// Receives units of one SKU after the other, until the log has `last`.
async fn receive(log: Arc<Log>, writer: usize, last: i64) {
    let event = kontor_domain::stock::StockEvent::Received {
        quantity: Quantity::ZERO,
        reference: None,
        on_hand_after: Quantity::ZERO,
        available_after: Quantity::ZERO,
        location: kontor_domain::LocationId::MAIN,
    };
    let payload = serde_json::to_string(&event).expect("an event has a JSON form");
    let metadata = json!({"event_id": uuid::Uuid::now_v7(), "correlation_id": uuid::Uuid::now_v7(),
        "causation_id": uuid::Uuid::now_v7(), "actor": "service:test", "traceparent": ""});
    for number in 0.. {
        let sku: Sku = format!("NEW-{writer}-{number}").parse().expect("a SKU");
        let event = NewEvent {
            event_type: "Received".to_owned(),
            event_version: "1.0".to_owned(),
            payload: payload.clone(),
            metadata: metadata.to_string(),
        };
        let stream = StreamId { aggregate_type: "stock", aggregate_id: sku.as_str().into() };
        let stream = StreamAppend { stream, expected_version: 0, lineage: log.new_lineage(), events: vec![event] };
        let appended = log.append(Append { key: Key::unique(), streams: vec![stream] }).await;
        if appended.expect("it is new").position >= last {
            break;
        }
    }
}

/// Serves the folders of `folder` as buckets of S3, and checks who asks.
async fn serve(folder: &Path) -> String {
    let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).expect("it is a folder"));
    service.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = service.build().into_shared();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    format!("http://{address}")
}

/// Step 1: an export to a bucket is killed, later each time. Step 2: whatever can be seen then is whole, and no event is there
/// twice. Step 3: the last run ends, and the bucket has what the log has. Step 4: who has another secret is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_to_s3_that_is_killed_is_gone_on_with() {
    const EVENTS: i64 = 24_000;
    let shop = shop(EVENTS).await;
    let root = tempfile::tempdir().expect("a folder");
    let bucket = root.path().join("analysts");
    fs::create_dir(&bucket).expect("it can be made");
    let endpoint = serve(root.path()).await;
    let export = |secret: &str| {
        let mut command = shop.command(&["export", "--output", "s3://analysts/kontor/log", "--endpoint", &endpoint]);
        command.args(["--format", "ndjson", "--checkpoint-every", "2000", "--json"]);
        let who = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_REGION", "eu-west-2")];
        command.envs(who);
        command
    };

    // 1 and 2
    for wanted in [1, 20, 21, 60, 61, 110, 150] {
        let mut child = export(SECRET).spawn().expect("it runs");
        while files(&bucket).len() < wanted {
            assert!(child.try_wait().expect("it can be asked").is_none(), "it ended with fewer than {wanted} files");
            thread::sleep(Duration::from_millis(1));
        }
        signal(&child, "-KILL");
        child.wait().expect("it ends");
        assert!(exported(&bucket).len() < EVENTS as usize, "it was not killed in time");
    }

    // 3
    let output = export(SECRET).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let replayed = shop.told(&["replay"]);
    assert!(exported(&bucket.join("kontor/log")).into_values().eq(replayed), "each event once, as it is");

    // 4
    let output = export("wrong").output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("s3://analysts/kontor/log") && told.contains("SignatureDoesNotMatch"), "{told}");
}
