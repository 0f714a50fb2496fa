//! How soon what was committed is in the read model, under light load: a thousand commands a second over HTTP, whole
//! platform, each command at its time whether or not the others have been answered.

use super::append::histogram;
use super::start_platform;
use crate::bulk::{Command, Sender, Written, pence};
use crate::client::{Api, ApiError};
use crate::import::until_visible;
use crate::progress::Progress;
use crate::table::{Table, grouped};
use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use kontor_identity::Role as Caller;
use kontor_local::{Folder, Role};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

const COMMANDS_A_SECOND: u32 = 1_000;
const PRODUCTS: usize = 1_000;
/// Connections, caches and plans are made before it counts.
const WARM_UP: Duration = Duration::from_secs(2);
const POLL_EVERY: Duration = Duration::from_millis(1);

/// Times of one run, in microseconds.
pub struct Seen {
    commands: usize,
    seconds: f64,
    /// From when a command was due until its answer.
    answered: Histogram<u64>,
    /// From `recorded_at`, taken just before the commit, until the projection's checkpoint is at the event or beyond.
    visible: Histogram<u64>,
    /// From when a command was due until its event was visible.
    due_to_visible: Histogram<u64>,
}

impl Seen {
    /// Milliseconds from commit to visible.
    pub fn visible_ms(&self, quantile: f64) -> f64 {
        self.visible.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = grouped(self.commands as f64 / self.seconds);
        writeln!(f, "{} commands, {rate}/s, times in ms:", grouped(self.commands as f64))?;
        let mut table = Table::new(&["from / to", "p50", "p90", "p99", "p99.9", "max"]);
        for (name, times) in [
            ("command due / answered", &self.answered),
            ("recorded in the log / visible", &self.visible),
            ("command due / visible", &self.due_to_visible),
        ] {
            let ms = |us: u64| format!("{:.2}", us as f64 / 1_000.0);
            let quantiles = [0.5, 0.9, 0.99, 0.999].map(|quantile| ms(times.value_at_quantile(quantile)));
            table.row([name.to_owned()].into_iter().chain(quantiles).chain([ms(times.max())]).collect());
        }
        write!(f, "{table}")
    }
}

/// One command: when it was due, when it was answered, and where its event is.
struct Answered {
    due: DateTime<Utc>,
    answered: DateTime<Utc>,
    position: i64,
}

/// Starts a platform and lets it work for `length`.
pub async fn measure(length: Duration) -> anyhow::Result<Seen> {
    let folder = Folder::temporary("visible")?;
    let platform = start_platform(&folder).await?;
    let token = platform.identity().token("bench", Caller::Staff, None);
    let api = |url: String| Api::new(&url.parse()?, Some(&token));
    let (commands, queries) = (api(platform.command_url())?, api(platform.query_url())?);
    register(&commands, &queries).await?;

    eprintln!("{COMMANDS_A_SECOND} commands a second for {} s", (WARM_UP + length).as_secs());
    let watch = Watch::start(platform.postgres().url(Role::Projector).parse()?);
    let started = Instant::now();
    let answers = load(&commands, WARM_UP + length).await?;
    let seconds = started.elapsed().as_secs_f64() - WARM_UP.as_secs_f64();
    let last = answers.iter().map(|answer| answer.position).max().context("no command was sent")?;
    until_visible(&queries, last).await?;
    let seen_at = watch.stop()?;
    let recorded = recorded(platform.postgres().url(Role::Command).parse()?, last).await?;

    let counted = &answers[(WARM_UP.as_secs_f64() * f64::from(COMMANDS_A_SECOND)) as usize..];
    let us = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).num_microseconds().unwrap_or(0).max(0).unsigned_abs();
    let mut visible = Vec::new();
    let mut due_to_visible = Vec::new();
    for answer in counted {
        let at = seen_at.partition_point(|(position, _)| *position < answer.position);
        let (_, seen) = seen_at.get(at).with_context(|| format!("position {} was never seen", answer.position))?;
        let index = usize::try_from(answer.position - 1)?;
        visible.push(us(*recorded.get(index).context("an event is not in the log")?, *seen));
        due_to_visible.push(us(answer.due, *seen));
    }
    let seen = Seen {
        commands: counted.len(),
        seconds,
        answered: histogram(counted.iter().map(|answer| us(answer.due, answer.answered))),
        visible: histogram(visible.into_iter()),
        due_to_visible: histogram(due_to_visible.into_iter()),
    };
    platform.stop(&mut |_| {}).await?;
    Ok(seen)
}

fn sku(product: usize) -> String {
    format!("BENCH-{product:04}")
}

async fn register(commands: &Api, queries: &Api) -> anyhow::Result<()> {
    let sender = Sender::new(commands.clone());
    let registrations = |product: usize| {
        let sku = sku(product);
        let command = Command::RegisterProduct { sku: &sku, name: "Bench" };
        Written::new(&format!("bench/product/{sku}"), &command)
    };
    sender
        .send(Progress::new("products", PRODUCTS as u64), move |batches| {
            (0..PRODUCTS).try_for_each(|product| batches.push(registrations(product)))
        })
        .await?;
    until_visible(queries, sender.sent().position.load(Ordering::Relaxed)).await
}

/// Sets prices, each at its time. Returns the answers in the order in which they were due.
async fn load(commands: &Api, length: Duration) -> anyhow::Result<Vec<Answered>> {
    let count = (length.as_secs_f64() * f64::from(COMMANDS_A_SECOND)) as u32;
    let interval = Duration::from_secs(1) / COMMANDS_A_SECOND;
    let (start, start_time) = (tokio::time::Instant::now(), Utc::now());
    let mut ticks = tokio::time::interval_at(start, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = JoinSet::new();
    for number in 0..count {
        ticks.tick().await;
        let (commands, due) = (commands.clone(), start_time + interval * number);
        sent.spawn(async move {
            let (product, price) = (number as usize % PRODUCTS, i64::from(number) / PRODUCTS as i64 + 1);
            let body = serde_json::json!({ "price": pence(price) }).to_string();
            let path = format!("v1/products/{}/price", sku(product));
            let answer = commands.post(&path, &format!("bench/price/{number}"), body).await?;
            Ok::<_, ApiError>(Answered { due, answered: Utc::now(), position: answer.position })
        });
    }
    let mut answers = Vec::with_capacity(count as usize);
    while let Some(answer) = sent.join_next().await {
        answers.push(answer??);
    }
    answers.sort_by_key(|answer| answer.due);
    Ok(answers)
}

/// Positions and the time when each was first seen, both rising.
type Sightings = Vec<(i64, DateTime<Utc>)>;

/// Asks again and again, on a thread of its own, how far the projection has come.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<anyhow::Result<Sightings>>,
}

impl Watch {
    fn start(options: PgConnectOptions) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(watch(options, &stopped))
        });
        Self { stop, thread }
    }

    fn stop(self) -> anyhow::Result<Sightings> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(seen) => seen,
            Err(_) => bail!("the watch on the projection panicked"),
        }
    }
}

async fn watch(options: PgConnectOptions, stop: &AtomicBool) -> anyhow::Result<Sightings> {
    let mut connection = PgConnection::connect_with(&options).await?;
    let mut seen = Sightings::new();
    // Once more after the end, so that the last position is seen for sure.
    let mut last_round = false;
    while !last_round {
        last_round = stop.load(Ordering::Relaxed);
        let sql = "select position from projections.checkpoints where projection = 'catalogue'";
        let position: Option<i64> = sqlx::query_scalar(sql).fetch_optional(&mut connection).await?;
        if let Some(position) = position
            && seen.last().is_none_or(|(last, _)| position > *last)
        {
            seen.push((position, Utc::now()));
        }
        // Not tokio's sleep, which knows only whole milliseconds; nothing else runs on this thread.
        std::thread::sleep(POLL_EVERY);
    }
    Ok(seen)
}

/// When each event was recorded, from position 1 up to `last`.
async fn recorded(options: PgConnectOptions, last: i64) -> anyhow::Result<Vec<DateTime<Utc>>> {
    let mut connection = PgConnection::connect_with(&options).await?;
    let sql = "select recorded_at from events where position <= $1 order by position";
    let recorded: Vec<DateTime<Utc>> = sqlx::query_scalar(sql).bind(last).fetch_all(&mut connection).await?;
    if recorded.len() as i64 != last {
        bail!("the log holds {} events up to position {last}", recorded.len());
    }
    Ok(recorded)
}
