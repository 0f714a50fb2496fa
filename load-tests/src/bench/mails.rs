//! `mails`: how many mails a second go out to a server that takes all.
//!
//! Orders are confirmed first, by a process that sends no mail. Then one that does finds them all waiting in the log: each mail
//! is queued, written from its order, opened, put into form and sent. The server is the mail sink, in the load generator.

use super::cpu;
use super::report::Report;
use crate::client::Api;
use crate::flash_sale::FlashSale;
use crate::goods::put_on_sale;
use crate::table::{Table, grouped};
use anyhow::ensure;
use kontor_identity::Role as Caller;
use kontor_local::process::ProcessSignal;
use kontor_local::{MailSink, Need, PostgresProfile, Process, Role, Servers, Tier, TierPlan, binary, ports};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const MAILS: usize = 10_000;
const MAILS_QUICK: usize = 2_000;
/// Check-outs that are under way at once.
const CONNECTIONS: usize = 64;
/// Without any mail for so long the sender is taken to have failed.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// Measures; `quick` with fewer mails.
pub async fn run(quick: bool) -> anyhow::Result<Report> {
    let mails = if quick { MAILS_QUICK } else { MAILS };
    eprintln!("Starting Postgres in a folder of its own");
    let servers = Servers::start_as(&[Need::Postgres], PostgresProfile::Platform).await?;
    let program = binary("kontor-command")?;
    migrate(&program, &servers).await?;
    sell(&program, &servers, mails).await?;

    let sink = MailSink::start(&servers.folder().join("mails"), 0, 0, mails).await?;
    let mut plan = plan(&program, &servers, &["notifications"]);
    plan.environment.push(("KONTOR_MAIL__PORT".to_owned(), sink.smtp_port().to_string()));
    let sender = Tier::start(&plan, |_, _| {}).await?;
    let pids = [Some(sender.pid()), servers.postgres().pid()];
    let cpu_seconds = || pids.map(|pid| pid.map_or(0.0, cpu::of_tree));
    let cpu_before = cpu_seconds();
    let (sent, took) = follow(&sink, mails, &sender).await?;
    let cpu_after = cpu_seconds();
    sender.stop().await;

    let mut report = Report::new("mails");
    report.figure("mails.sent", sent as f64 / took.as_secs_f64(), "1/s");
    let mut table = Table::new(&["mails", "seconds", "mails/s", "CPU ms a mail: sender", "Postgres"]);
    let ms = |process: usize| format!("{:.3}", (cpu_after[process] - cpu_before[process]) * 1_000.0 / sent as f64);
    let rate = grouped(sent as f64 / took.as_secs_f64());
    table.row(vec![grouped(sent as f64), format!("{:.2}", took.as_secs_f64()), rate, ms(0), ms(1)]);
    report.text = table.to_string();
    Ok(report)
}

/// Waits until the sink has all of them. How many came after the first that were seen, and in what time.
async fn follow(sink: &MailSink, mails: usize, sender: &Tier) -> anyhow::Result<(usize, Duration)> {
    let (mut first, mut last, mut moved_at) = (None, 0, Instant::now());
    loop {
        let arrived = sink.count();
        if arrived > last {
            (last, moved_at) = (arrived, Instant::now());
            let (first_arrived, first_at) = *first.get_or_insert((arrived, moved_at));
            if arrived >= mails {
                ensure!(arrived == mails, "{arrived} mails came for {mails} orders");
                return Ok((arrived - first_arrived, moved_at - first_at));
            }
        }
        ensure!(moved_at.elapsed() < STALLED_AFTER, "{last} of {mails} mails came: {}", sender.log_tail(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Confirms so many orders.
async fn sell(program: &Path, servers: &Servers, orders: usize) -> anyhow::Result<()> {
    let mut plan = plan(program, servers, &["commands", "processes"]);
    let api = ports::free();
    plan.environment.push(("KONTOR_HTTP__BIND".to_owned(), format!("127.0.0.1:{api}")));
    let shop = Tier::start(&plan, |_, _| {}).await?;
    let staff = servers.identity().token("bench", Caller::Staff, None);
    let commands = Api::new(&format!("http://127.0.0.1:{api}").parse()?, Some(&staff))?;
    put_on_sale(&commands, &["BENCH".to_owned()].into(), orders as i64).await?;
    eprintln!("Confirming {} orders", grouped(orders as f64));
    let (processes, pays_with) = ([api], |_| "tok_success");
    let sale = FlashSale { processes: &processes, sku: "BENCH", buyers: orders, connections: CONNECTIONS, pays_with };
    let outcome = sale.fill_carts().await?.run().await?;
    ensure!(outcome.confirmed == orders, "{} of {orders} orders were confirmed", outcome.confirmed);
    shop.stop().await;
    Ok(())
}

/// A command tier with these roles.
fn plan(program: &Path, servers: &Servers, roles: &[&str]) -> TierPlan {
    let ops_port = ports::free();
    let settings = [
        ("LOG__URL", servers.postgres().url(Role::Command)),
        ("IDENTITY__PUBLIC_KEY_FILE", servers.identity().settings().public_key_file.display().to_string()),
        ("PRIVACY__MASTER_KEY_FILE", servers.master_key_file().display().to_string()),
        ("OPS__BIND", format!("127.0.0.1:{ops_port}")),
    ];
    TierPlan {
        name: "kontor-command".to_owned(),
        program: program.to_owned(),
        arguments: ["serve"].iter().chain(roles).map(ToString::to_string).collect(),
        environment: settings.map(|(setting, value)| (format!("KONTOR_{setting}"), value)).to_vec(),
        ops_port,
        log: servers.folder().join(format!("{}.log", roles.join("-"))),
        ready_within: Duration::from_secs(60),
    }
}

async fn migrate(program: &Path, servers: &Servers) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.arg("migrate").env("KONTOR_LOG__MIGRATOR_URL", servers.postgres().url(Role::Migrator));
    let log = servers.folder().join("migrate.log");
    let migration = Process::spawn("kontor-command migrate", command, &log, ProcessSignal::KILL)?;
    ensure!(migration.ended().await.success(), "the migration failed: {}", migration.log_tail(5));
    Ok(())
}
