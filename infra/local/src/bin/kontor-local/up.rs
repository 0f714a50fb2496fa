//! `up`: starts the platform, watches over it, stops it.

use crate::UpOptions;
use crate::console::{Console, bold, green};
use crate::data_folder::DataFolder;
use anyhow::{Context, bail};
use kontor_identity::Role;
use kontor_local::{Platform, PlatformPorts, Step, binary};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub async fn up(options: UpOptions) -> anyhow::Result<ExitCode> {
    if options.in_background {
        rustix::process::setsid().context("cannot leave the terminal")?;
    }
    let started = Instant::now();
    let mut stop = StopSignals::new()?;
    let data = DataFolder::open(&options.data.folder()?)?;
    let ports = PlatformPorts::from_base(options.port_base);
    refuse_ports_in_use(&options, ports)?;
    data.write_state(&state(false, ports, None))?;
    let mut console = Console::new();
    if options.fresh {
        data.clear()?;
    }
    console.say(&format!("Starting Kontor, data in {}", data.path().display()));

    let begin = async {
        let platform = Platform::start(data.path(), ports, &mut |step| console.tell(step)).await?;
        if options.demo {
            console.tell(Step::Begins("Demo shop"));
            console.clear();
            fill_demo(&platform).await?;
            console.tell(Step::Done);
        }
        anyhow::Ok(platform)
    };
    // Dropping a platform that is half up ends what runs of it.
    let begun = tokio::select! {
        begun = begin => Some(begun),
        () = stop.next() => None,
    };
    console.clear();
    let Some(begun) = begun else {
        console.say("Interrupted; nothing is left running.");
        return Ok(ExitCode::from(130));
    };
    let platform = begun?;
    console.say(&overview(&platform, &data, &options, started));
    data.write_state(&state(true, ports, Some(&platform)))?;

    let died = {
        let mut tell = |step: Step<'_>| console.tell(step);
        tokio::select! {
            died = platform.watch(&mut tell) => Some(died),
            () = stop.next() => None,
        }
    };
    console.clear();
    if let Some(died) = &died {
        crate::console::fail(&format!("{died}; stopping the others"));
    }
    console.say("\nStopping");
    let stopped = {
        let mut tell = |step: Step<'_>| console.tell(step);
        tokio::select! {
            stopped = platform.stop(&mut tell) => Some(stopped),
            () = stop.next() => None, // Asked twice: what still runs is ended with the platform's value, at once.
        }
    };
    console.clear();
    if let Some(stopped) = stopped {
        stopped?;
    }
    Ok(if died.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Asks all at once, so that nobody has to find out about one port after the other.
fn refuse_ports_in_use(options: &UpOptions, ports: PlatformPorts) -> anyhow::Result<()> {
    let in_use: Vec<String> = ports.in_use().into_iter().map(|(port, what)| format!("{port} ({what})")).collect();
    if in_use.is_empty() {
        return Ok(());
    }
    let next = (1..=30)
        .map(|thousands| options.port_base.saturating_add(thousands * 1000))
        .find(|&base| base <= PlatformPorts::BASE_MAX && PlatformPorts::from_base(base).in_use().is_empty());
    let advice = next.map(|base| format!(", for example --port-base {base}")).unwrap_or_default();
    let (noun, verb) = if in_use.len() == 1 { ("port", "is") } else { ("ports", "are") };
    bail!(
        "{noun} {} {verb} in use: end what listens there or choose others with --port-base{advice}",
        in_use.join(", ")
    )
}

/// What `status` shows.
fn state(ready: bool, ports: PlatformPorts, platform: Option<&Platform>) -> Value {
    let processes = platform.map(Platform::processes).unwrap_or_default();
    let processes: Vec<Value> = processes
        .iter()
        .map(|process| json!({ "name": process.name, "port": process.port, "pid": process.pid, "log": process.log }))
        .collect();
    json!({
        "pid": std::process::id(),
        "since": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        "ready": ready,
        "urls": {
            "command": format!("http://127.0.0.1:{}", ports.command),
            "query": format!("http://127.0.0.1:{}", ports.query),
            "nats": format!("nats://127.0.0.1:{}", ports.nats),
            "redis": format!("redis://127.0.0.1:{}", ports.redis),
            "mails": format!("http://127.0.0.1:{}", ports.mails),
        },
        "processes": processes,
    })
}

/// kontor-load shows its own progress.
async fn fill_demo(platform: &Platform) -> anyhow::Result<()> {
    let mut command = tokio::process::Command::new(binary("kontor-load")?);
    command.args(["demo", "--command-url", &platform.command_url(), "--query-url", &platform.query_url()]);
    command.env("KONTOR_TOKEN", platform.identity().token("demo", Role::Staff, None));
    let status = command.kill_on_drop(true).status().await.context("cannot start kontor-load")?;
    if !status.success() {
        bail!("the demo shop could not be filled: kontor-load ended with {status}");
    }
    Ok(())
}

fn overview(platform: &Platform, data: &DataFolder, options: &UpOptions, started: Instant) -> String {
    let (ports, folder) = (platform.ports(), data.path().display());
    let row = |name: &str, text: String| format!("  {name:<18} {text}\n");
    let health = |name: &str, port: u16| row(name, format!("http://127.0.0.1:{port}/readyz, /livez, /metrics"));
    let command = platform.command_url();
    let query = platform.query_url();
    let usual = kontor_local::usual_data_folder().is_ok_and(|usual| usual == data.path());
    let stop = match (options.in_background, usual) {
        (false, _) => "Ctrl-C".to_owned(),
        (true, true) => "infra/down".to_owned(),
        (true, false) => format!("infra/down --data {folder}"),
    };
    let kontor = binary("kontor").map_or_else(|_| "kontor".to_owned(), |path| path.display().to_string());
    let data_option = if usual { String::new() } else { format!(" --data {folder}") };
    let mut text = format!("\n{} after {:.1} s\n\n", green("Kontor is ready"), started.elapsed().as_secs_f64());
    text.push_str(&row("Command API", bold(&command)));
    text.push_str(&row("Query API", bold(&query)));
    text.push_str(&health("kontor-command", ports.command_ops));
    text.push_str(&health("kontor-projector", ports.projector_ops));
    text.push_str(&health("kontor-query", ports.query_ops));
    text.push_str(&row(
        "Postgres",
        format!(
            "127.0.0.1:{}, replica :{}; database kontor, passwords in {folder}/postgres/passwords",
            ports.postgres, ports.replica
        ),
    ));
    text.push_str(&row("Redis", platform.redis().url()));
    text.push_str(&row(
        "NATS",
        format!("{}, monitoring http://127.0.0.1:{}", platform.nats().url(), ports.nats_monitor),
    ));
    text.push_str(&row("Mail", format!("{}; what is sent is read there", bold(&platform.mails_url()))));
    text.push_str(&row("Logs", format!("{folder}/tiers/*.log, {folder}/*/*.log")));
    text.push_str(&format!(
        "\nSay who you are, register a product, then read it as of that write:\n\n  \
         export KONTOR_TOKEN=$({kontor} token --role staff{data_option})\n  \
         position=$(curl -s {command}/v1/products -H \"Authorization: Bearer $KONTOR_TOKEN\" --json '{{\"sku\":\"TEAPOT\",\"name\":\"Teapot\"}}' \
         -H 'Idempotency-Key: first-teapot' | grep -o '\"position\":[0-9]*' | cut -d: -f2)\n  \
         curl -s {query}/v1/products/TEAPOT -H \"Kontor-Min-Position: $position\"\n\n{stop} stops everything; the data stays."
    ));
    text
}

/// The signals that ask us to end.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl StopSignals {
    fn new() -> anyhow::Result<StopSignals> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(StopSignals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
