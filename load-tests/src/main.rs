//! `kontor-load`: importers and benchmarks. Each subcommand's `--help` has examples.

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use kontor_load_tests::bench;
use std::process::ExitCode;

/// Importers of real data and benchmarks for Kontor.
#[derive(Parser)]
#[command(name = "kontor-load", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
enum Bench {
    /// Appends a second: our log, a plain INSERT a transaction (pgbench), stock cqrs-es with postgres-es.
    #[command(
        after_help = "Examples:\n  infra/bench append\n  infra/bench append --quick\n  infra/bench append --json > append.json"
    )]
    Append(Measuring),
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
    let done = match Cli::parse().command {
        Command::Bench(Bench::Append(how)) => {
            bench::append::run(how.quick).await.and_then(|report| report.print(how.json))
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "kontor-load", &mut std::io::stdout());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kontor-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
