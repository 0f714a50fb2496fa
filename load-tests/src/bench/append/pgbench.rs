//! pgbench: one INSERT a transaction, prepared, into a table like ours. No check of versions, no key, no order of positions.

use super::arena::{metadata_json, payload, text};
use super::drive::{Measured, histogram};
use super::{AGGREGATE_TYPE, APPENDERS, EVENT_TYPE, Streams};
use crate::bench::cpu;
use anyhow::{Context, bail};
use kontor_local::process::ProcessSignal;
use kontor_local::{Postgres, Process, Role};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// A table with the definition, partitions and indexes of the log. Its own, so that the log stays without gaps.
const TABLE: &str = "
    create schema bench authorization kontor_migrator;
    set role kontor_migrator;
    create table bench.events (like public.events including all) partition by hash (aggregate_id);
    do $$
    declare
        modulus int := count(*) from pg_inherits where inhparent = 'public.events'::regclass;
    begin
        for remainder in 0 .. modulus - 1 loop
            execute format('create table bench.events_%s partition of bench.events for values with (modulus %s, remainder %s)',
                remainder, modulus, remainder);
        end loop;
    end $$;
    -- Each session takes 32 numbers at once: clients need not queue for it.
    create sequence bench.position cache 32;";

/// pgbench against one server.
pub struct Pgbench {
    script: PathBuf,
    log: PathBuf,
    latencies: PathBuf,
    /// What it costs to connect, by number of clients.
    connecting: HashMap<usize, Said>,
}

/// What one run of pgbench said, and what it cost.
struct Said {
    appends: f64,
    /// Without the time that it took to connect.
    rate: f64,
    connecting_seconds: f64,
    client_cpu: f64,
    server_cpu: f64,
    pid: u32,
}

impl Pgbench {
    /// Makes its table, and finds out what connecting costs: the clock of pgbench runs meanwhile.
    pub async fn make(server: &Postgres, folder: &Path) -> anyhow::Result<Self> {
        server.sql(TABLE).await?;
        let path = |name| folder.join(name);
        let (script, log, latencies) = (path("pgbench.sql"), path("pgbench.log"), path("pgbench-latencies"));
        let mut pgbench = Self { script, log, latencies, connecting: HashMap::new() };
        for clients in APPENDERS {
            fs::write(&pgbench.script, "select 1\n")?;
            let said = pgbench.execute(server, clients, &["--transactions=1"]).await?;
            pgbench.connecting.insert(clients, said);
        }
        Ok(pgbench)
    }

    /// One run with `clients` connections. `run` tells its streams from those of other runs.
    pub async fn run(
        &self,
        server: &Postgres,
        run: u32,
        streams: Streams,
        clients: usize,
        length: Duration,
    ) -> anyhow::Result<Measured> {
        fs::write(&self.script, script(run, streams))?;
        let connecting = &self.connecting[&clients];
        let time = format!("--time={}", (length.as_secs_f64() + 1.5 * connecting.connecting_seconds).round().max(1.0));
        let log_prefix = format!("--log-prefix={}", self.latencies.display());
        let log = ["--log", &log_prefix];
        // Only the single client's latency is asked for; writing 256 clients' down would slow them.
        let log = if clients == 1 { &log[..] } else { &[] };
        let said = self.execute(server, clients, &[&[&*time], log].concat()).await?;
        let latency_us = match clients {
            1 => Some(read_latencies(Path::new(&format!("{}.{}", self.latencies.display(), said.pid)))?),
            _ => None,
        };
        Ok(Measured {
            appends: said.appends as u64,
            seconds: said.appends / said.rate,
            latency_us,
            client_cpu: (said.client_cpu - connecting.client_cpu).max(0.0),
            server_cpu: (said.server_cpu - connecting.server_cpu).max(0.0),
        })
    }

    async fn execute(&self, server: &Postgres, clients: usize, arguments: &[&str]) -> anyhow::Result<Said> {
        let url = Url::parse(&server.url(Role::Migrator))?;
        let event_id = Uuid::now_v7().to_string();
        let mut command = Command::new(server.programs().join("pgbench"));
        command
            .args(["--no-vacuum", "--protocol=prepared", "--define=n=0"])
            .arg(format!("--define=payload={}", payload(&text())))
            .arg(format!("--define=metadata={}", metadata_json(&event_id, &event_id)))
            .arg(format!("--client={clients}"))
            .arg(format!("--jobs={}", clients.min(2)))
            .arg(format!("--file={}", self.script.display()))
            .args(["--host=127.0.0.1", "--username", url.username()])
            .arg(format!("--port={}", server.port()))
            .args(arguments)
            .arg("kontor")
            .env("PGPASSWORD", url.password().unwrap_or_default());
        let server_pid = server.pid().context("Postgres has ended")?;
        let _ = fs::remove_file(&self.log);
        let cpu_before = (cpu::of_ended_children(), cpu::of_tree(server_pid));
        let pgbench = Process::spawn("pgbench", command, &self.log, ProcessSignal::KILL)?;
        let status = pgbench.ended().await;
        let cpu_after = (cpu::of_ended_children(), cpu::of_tree(server_pid));
        let said = fs::read_to_string(&self.log)?;
        if !status.success() || said.contains("aborted") {
            bail!("pgbench failed ({status}): {}", said.trim());
        }
        let number = |after: &str| {
            let rest = said.lines().find_map(|line| line.strip_prefix(after));
            // `1234/5000` where a number of transactions was asked for.
            let number = rest.and_then(|rest| rest.split([' ', '/']).next()?.parse::<f64>().ok());
            number.with_context(|| format!("pgbench did not say \"{after}\": {}", said.trim()))
        };
        Ok(Said {
            appends: number("number of transactions actually processed: ")?,
            rate: number("tps = ")?,
            connecting_seconds: number("initial connection time = ")? / 1_000.0,
            client_cpu: cpu_after.0 - cpu_before.0,
            server_cpu: cpu_after.1 - cpu_before.1,
            pid: pgbench.pid(),
        })
    }
}

/// Event and metadata come as parameters, as from any client, so that Postgres checks the JSON each time. Ids have the
/// length of ours and rise with time, like version 7: a counter of the client, then the client. That is cheaper than any
/// UUID that pgbench or Postgres 15 could make.
fn script(run: u32, streams: Streams) -> String {
    let length = streams.length();
    format!(
        "\\set n :n + 1\n\
         \\set sequence (:n - 1) % {length} + 1\n\
         \\set id 100000000000 + (:n - 1) / {length} * 1000 + :client_id\n\
         insert into bench.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         position, recorded_at) values ('{AGGREGATE_TYPE}', '018f{run:04x}-0000-7000-8000-' || :id, :sequence, \
         '{EVENT_TYPE}', '1.0', :payload, :metadata, nextval('bench.position'), now());\n"
    )
}

/// The log of pgbench: the third number of each line is the transaction's time in microseconds.
fn read_latencies(path: &Path) -> anyhow::Result<hdrhistogram::Histogram<u64>> {
    let text = fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    fs::remove_file(path)?;
    Ok(histogram(text.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok())))
}
