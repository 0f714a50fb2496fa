//! `kontor-load`: importers and benchmarks. Each subcommand's `--help` has examples.

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use kontor_load_tests::client::Api;
use kontor_load_tests::{bench, demo, import, relevance};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use url::Url;

/// Importers of real data and benchmarks for Kontor.
#[derive(Parser)]
#[command(name = "kontor-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends a real shop's data through the HTTP commands and compares what comes out.
    #[command(subcommand)]
    Import(Import),
    /// Writes files in the form of the real ones, generated: something to import for who has not got them.
    #[command(
        after_help = "Example:\n  kontor-load slice /tmp/slice --invoices 5000\n  infra/import online-retail /tmp/slice"
    )]
    Slice {
        /// Where to write products.csv.gz and orders.csv.gz.
        folder: PathBuf,
        #[arg(long, default_value_t = 300)]
        invoices: usize,
    },
    /// Fills a small generated shop; filled twice, it is there once.
    #[command(
        after_help = "Example:\n  kontor-load demo --command-url http://127.0.0.1:8080 --query-url http://127.0.0.1:8081"
    )]
    Demo {
        #[command(flatten)]
        apis: Apis,
    },
    /// How well products are found: judged queries over the real products, by our index and by Postgres.
    #[command(
        after_help = "Examples:\n  kontor-load relevance ~/data/online-retail\n  kontor-load relevance ~/data/online-retail --json"
    )]
    Relevance {
        /// Holds products.csv.gz.
        folder: PathBuf,
        /// Prints one JSON object instead of tables.
        #[arg(long)]
        json: bool,
    },
    /// Measures; starts the servers that it needs in a folder of its own.
    #[command(subcommand)]
    Bench(Bench),
    /// Prints the completions for a shell.
    #[command(
        after_help = "Example:\n  kontor-load completions bash > ~/.local/share/bash-completion/completions/kontor-load"
    )]
    Completions { shell: Shell },
}

#[derive(Subcommand)]
enum Import {
    /// Two years of orders of a UK web shop (load-tests/README.md says where to get them). Interrupted and started again, it
    /// goes on without doubling anything. Fails when the query API and the files differ by a penny.
    #[command(after_help = "Examples:\n  infra/import online-retail ~/data/online-retail\n  \
                            infra/import online-retail ~/data/online-retail --command-url http://127.0.0.1:9000 --query-url http://127.0.0.1:9001")]
    OnlineRetail {
        /// Holds products.csv.gz and orders.csv.gz.
        folder: PathBuf,
        #[command(flatten)]
        apis: Apis,
        /// Prints one JSON object instead of tables.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Appends a second: our log, a plain INSERT a transaction (pgbench), stock cqrs-es with postgres-es.
    #[command(
        after_help = "Examples:\n  infra/bench append\n  infra/bench append --quick\n  infra/bench append --json > append.json"
    )]
    Append(Measuring),
    /// Events a second from the log to NATS, and the time from a commit until it is visible.
    #[command(after_help = "Examples:\n  infra/bench relay\n  infra/bench relay --quick --json")]
    Relay(Measuring),
    /// Purchases from the open cart to the confirmed order, by 1, 16 and 64 shoppers at once.
    #[command(after_help = "Examples:\n  infra/bench checkout\n  infra/bench checkout --quick --json")]
    Checkout(Measuring),
    /// 10,000 buyers for 100 units of one SKU, at two command processes. Fails when one unit is sold twice, or not at all.
    #[command(after_help = "Examples:\n  infra/bench flash-sale\n  infra/bench flash-sale --quick --json")]
    FlashSale(Measuring),
    /// Mails a second, from confirmed orders in the log to a mail server that takes all.
    #[command(after_help = "Examples:\n  infra/bench mails\n  infra/bench mails --quick --json")]
    Mails(Measuring),
    /// Product cards, listings and orders, each asked for over 32 connections, on 100,000 products and a million orders.
    #[command(after_help = "Examples:\n  infra/bench read\n  infra/bench read --quick --json")]
    Read(Measuring),
    /// Read models built anew, what queries notice of it, and a projector that catches up and grows old.
    #[command(after_help = "Examples:\n  infra/bench rebuild\n  infra/bench rebuild --quick --json")]
    Rebuild(Measuring),
    /// The log as lines, read by another process, and as files of each format.
    #[command(after_help = "Examples:\n  infra/bench replay\n  infra/bench replay --quick --json")]
    Replay(Measuring),
    /// Typical reports over 8 connections, on a million orders, and their read model built anew.
    #[command(after_help = "Examples:\n  infra/bench analytics\n  infra/bench analytics --quick --json")]
    Analytics(Measuring),
    /// Recommendations of all kinds, at 500 a second and as many as can be asked; with the real data, how good they are.
    #[command(
        after_help = "Examples:\n  infra/bench recommend --quick\n  infra/bench recommend ~/data/online-retail --json"
    )]
    Recommend {
        /// Holds products.csv.gz and orders.csv.gz; without it nothing is said of how good they are.
        folder: Option<PathBuf>,
        #[command(flatten)]
        how: Measuring,
    },
    /// A word with facets over 100,000 products, asked for over 32 connections.
    #[command(after_help = "Examples:\n  infra/bench search\n  infra/bench search --quick --json")]
    Search(Measuring),
    /// The real data through the whole platform, with what each process costs.
    #[command(
        after_help = "Examples:\n  infra/bench import ~/data/online-retail\n  infra/bench import ~/data/online-retail --quick"
    )]
    Import {
        /// Holds products.csv.gz and orders.csv.gz.
        folder: PathBuf,
        #[command(flatten)]
        how: Measuring,
    },
}

#[derive(Args)]
struct Apis {
    #[arg(long, value_name = "URL", env = "KONTOR_COMMAND_URL", default_value = "http://127.0.0.1:8080")]
    command_url: Url,
    #[arg(long, value_name = "URL", env = "KONTOR_QUERY_URL", default_value = "http://127.0.0.1:8081")]
    query_url: Url,
    /// Who asks: a token of role staff, such as `kontor token --role staff` prints.
    #[arg(long, value_name = "TOKEN", env = "KONTOR_TOKEN", hide_env_values = true)]
    token: String,
}

impl Apis {
    fn open(&self) -> anyhow::Result<(Api, Api)> {
        let api = |url| Api::new(url, Some(&self.token));
        Ok((api(&self.command_url)?, api(&self.query_url)?))
    }
}

#[derive(Args)]
struct Measuring {
    /// Ends within a minute; the figures are rougher.
    #[arg(long)]
    quick: bool,
    /// Prints one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = tokio::select! {
        done = run(Cli::parse().command) => done,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("\nkontor-load: interrupted");
            return ExitCode::from(130);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kontor-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether all was as it should be; what was not has been told.
async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Import(Import::OnlineRetail { folder, apis, json }) => {
            let (commands, queries) = apis.open()?;
            let outcome = import::run(&folder, &commands, &queries).await?;
            print(&if json { outcome.to_json().to_string() } else { outcome.to_string() })?;
            Ok(outcome.is_equal())
        }
        Command::Demo { apis } => {
            let (commands, queries) = apis.open()?;
            let shop = demo::run(&commands, &queries).await?;
            let demo::Shop { products, orders, cancelled, .. } = shop;
            print(&format!(
                "The demo shop has {products} products and {orders} orders, {cancelled} of them cancelled."
            ))?;
            Ok(true)
        }
        Command::Slice { folder, invoices } => {
            import::slice::generate(&folder, invoices)?;
            Ok(true)
        }
        Command::Relevance { folder, json } => {
            print(&relevance::run(&folder).await?.render(json)?)?;
            Ok(true)
        }
        Command::Bench(bench) => {
            let (report, how) = match bench {
                Bench::Append(how) => (bench::append::run(how.quick).await?, how),
                Bench::Relay(how) => (bench::relay::run(how.quick).await?, how),
                Bench::Checkout(how) => (bench::checkout::run(how.quick).await?, how),
                Bench::FlashSale(how) => (bench::flash_sale::run(how.quick).await?, how),
                Bench::Mails(how) => (bench::mails::run(how.quick).await?, how),
                Bench::Read(how) => (bench::read::run(how.quick).await?, how),
                Bench::Rebuild(how) => (bench::rebuild::run(how.quick).await?, how),
                Bench::Replay(how) => (bench::replay::run(how.quick).await?, how),
                Bench::Analytics(how) => (bench::analytics::run(how.quick).await?, how),
                Bench::Recommend { folder, how } => (bench::recommend::run(folder.as_deref(), how.quick).await?, how),
                Bench::Search(how) => (bench::search::run(how.quick).await?, how),
                Bench::Import { folder, how } => (bench::import::run(&folder, how.quick).await?, how),
            };
            print(&report.render(how.json)?)?;
            Ok(true)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "kontor-load", &mut std::io::stdout());
            Ok(true)
        }
    }
}

/// To standard output, where only results go.
fn print(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")
}
