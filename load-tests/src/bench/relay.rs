//! `relay`: how fast the log goes to NATS, and how soon a commit is in the read model.
//!
//! `relay.always` is the rate at which a fresh relay copies a long log to a fresh stream, with NATS syncing every batch to
//! disk before it acknowledges, which is what we ship. [`visible`](super::visible) measures the time under light load.

use super::cpu;
use super::log::open_log;
use super::report::Report;
use super::visible;
use crate::table::{Table, grouped};
use anyhow::{Context, bail, ensure};
use async_nats::jetstream;
use kontor_event_schemas::{Metadata, subject};
use kontor_event_store::{Append, Key, Log, NewEvent, StreamAppend, StreamId};
use kontor_local::process::ProcessSignal;
use kontor_local::{Nats, Need, Postgres, PostgresProfile, Process, Role, Servers, binary, http_get, ports};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use uuid::Uuid;

const FILLERS: usize = 16;
const EVENTS_AN_APPEND: i64 = 100;
const EVENT_BYTES: usize = 300;
/// Without any event for so long the relay is taken to have failed.
const STALLED_AFTER: Duration = Duration::from_secs(20);

pub async fn run(quick: bool) -> anyhow::Result<Report> {
    let mut report = Report::new("relay");
    let events = if quick { 200_000 } else { 1_000_000 };
    let copied = copy(events).await?;
    report.figure("relay.always", copied.rate(), "1/s");
    let length = if quick { Duration::from_secs(8) } else { Duration::from_secs(30) };
    let seen = visible::measure(length).await?;
    report.figure("visible.p99_ms", seen.visible_ms(0.99), "ms");
    let mut table = Table::new(&[
        "relay",
        "events",
        "seconds",
        "events/s",
        "until the first, s",
        "CPU s: relay",
        "Postgres",
        "NATS",
    ]);
    table.row(vec![
        "sync_interval: always".to_owned(),
        grouped(copied.events as f64),
        format!("{:.2}", copied.seconds),
        grouped(copied.rate()),
        format!("{:.2}", copied.until_first),
        format!("{:.2}", copied.cpu[0]),
        format!("{:.2}", copied.cpu[1]),
        format!("{:.2}", copied.cpu[2]),
    ]);
    report.text = format!("{table}\n{seen}");
    Ok(report)
}

/// What came of the copying.
struct Copied {
    /// Those after the first that were seen on the stream.
    events: i64,
    seconds: f64,
    /// From the start of the process until the first events were on the stream.
    until_first: f64,
    /// Processor seconds of relay, Postgres and NATS, from its start to its end.
    cpu: [f64; 3],
}

impl Copied {
    fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }
}

/// Fills a log with `events`, lets a relay copy it, and checks that the stream is what the log is.
async fn copy(events: i64) -> anyhow::Result<Copied> {
    let program = binary("kontor-command")?;
    eprintln!("Starting Postgres and NATS in a folder of their own");
    let servers = Servers::start_as(&[Need::Postgres, Need::Nats], PostgresProfile::Platform).await?;
    let nats = servers.nats();
    let (_, varz) = http_get(nats.monitor_port(), "/varz").await?;
    let varz: serde_json::Value = serde_json::from_str(&varz)?;
    ensure!(varz["jetstream"]["config"]["sync_always"] == true, "NATS does not say that it syncs always");
    eprintln!("Filling the log with {} events", grouped(events as f64));
    fill(servers.postgres(), events).await?;

    let mut command = Command::new(program);
    command
        .args(["serve", "relay"])
        .env("KONTOR_RELAY__LOG_URL", servers.postgres().url(Role::Relay))
        .env("KONTOR_NATS__URL", nats.url())
        .env("KONTOR_OPS__BIND", format!("127.0.0.1:{}", ports::free()));
    let started = Instant::now();
    let relay = Process::spawn("kontor-command", command, &servers.folder().join("relay.log"), ProcessSignal::KILL)?;
    let pids = [Some(relay.pid()), servers.postgres().pid(), nats.pid()];
    let cpu_seconds = || pids.map(|pid| pid.map_or(0.0, cpu::of_tree));
    let cpu_before = cpu_seconds();
    let mut copied = follow(nats, events, started, &relay).await?;
    let cpu_after = cpu_seconds();
    copied.cpu = std::array::from_fn(|process| cpu_after[process] - cpu_before[process]);
    relay.stop(ProcessSignal::TERM, Duration::from_secs(10)).await;
    eprintln!("The relay copied {} events/s", grouped(copied.rate()));
    Ok(copied)
}

/// Watches the stream until it holds all `events`.
async fn follow(nats: &Nats, events: i64, started: Instant, relay: &Process) -> anyhow::Result<Copied> {
    let jetstream = jetstream::new(async_nats::connect(nats.url()).await?);
    let (mut first, mut last, mut moved_at) = (None, 0, Instant::now());
    loop {
        if let Some(status) = relay.status() {
            bail!("the relay ended ({status}): {}", relay.log_tail(5));
        }
        // It is not there until the relay makes it.
        let held = match jetstream.get_stream(subject::STREAM).await {
            Ok(stream) => stream.cached_info().state.messages as i64,
            Err(_) => 0,
        };
        if held > last {
            (last, moved_at) = (held, Instant::now());
            let (first_held, first_at) = *first.get_or_insert((held, moved_at));
            if held >= events {
                check(&jetstream, events).await?;
                return Ok(Copied {
                    events: held - first_held,
                    seconds: (moved_at - first_at).as_secs_f64(),
                    until_first: (first_at - started).as_secs_f64(),
                    cpu: [0.0; 3],
                });
            }
        }
        if moved_at.elapsed() > STALLED_AFTER {
            bail!("the stream holds {last} of {events} events and no more come: {}", relay.log_tail(5));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The stream holds as many events as the log, and its last is the log's last.
async fn check(jetstream: &jetstream::Context, events: i64) -> anyhow::Result<()> {
    let stream = jetstream.get_stream(subject::STREAM).await?;
    let state = &stream.cached_info().state;
    ensure!(state.messages as i64 == events, "the stream holds {} events, the log {events}", state.messages);
    let last = stream.get_raw_message(state.last_sequence).await?;
    let position = last.headers.get(subject::POSITION).context("the stream's last event has no position")?;
    ensure!(position.as_str() == events.to_string(), "the stream ends at position {position}, the log at {events}");
    Ok(())
}

async fn fill(server: &Postgres, events: i64) -> anyhow::Result<()> {
    let log = open_log(server, "kontor").await?;
    let left = Arc::new(AtomicI64::new(events));
    let mut fillers = JoinSet::new();
    for _ in 0..FILLERS {
        let (log, left) = (log.clone(), left.clone());
        fillers.spawn(async move {
            loop {
                let before = left.fetch_sub(EVENTS_AN_APPEND, Ordering::Relaxed);
                if before <= 0 {
                    return anyhow::Ok(());
                }
                append_stream(&log, before.min(EVENTS_AN_APPEND)).await?;
            }
        });
    }
    while let Some(done) = fillers.join_next().await {
        done??;
    }
    log.close().await;
    Ok(())
}

/// One stream of `events`, in one append, as the command service would write them.
async fn append_stream(log: &Log, events: i64) -> anyhow::Result<()> {
    let correlation_id = Uuid::now_v7();
    let event = |_| {
        let metadata = Metadata {
            event_id: Uuid::now_v7(),
            correlation_id,
            causation_id: correlation_id,
            actor: "service:bench".into(),
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".into(),
        };
        let rest = r#"{"Shipped":{"text":""}}"#.len();
        NewEvent {
            event_type: "Shipped".into(),
            event_version: "1.0".into(),
            payload: format!(r#"{{"Shipped":{{"text":"{}"}}}}"#, "x".repeat(EVENT_BYTES - rest)),
            metadata: metadata.to_json(),
        }
    };
    let stream = StreamId { aggregate_type: "stock", aggregate_id: Uuid::now_v7().to_string().into() };
    let of_stream = StreamAppend {
        stream,
        expected_version: 0,
        lineage: log.new_lineage(),
        events: (0..events).map(event).collect(),
    };
    log.append(Append { key: Key::unique(), streams: vec![of_stream] }).await?;
    Ok(())
}
