//! `kontor-local`: starts, shows and stops the local platform. `infra/up` and `infra/down` are its usual callers.

mod console;
mod data_folder;
mod detach;
mod down;
mod status;
mod up;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use kontor_local::{PlatformPorts, usual_data_folder};
use std::path::PathBuf;
use std::process::ExitCode;

/// Kontor on one machine: Postgres with a replica, Redis, NATS, a mail sink and the three tiers.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start everything and keep it running until Ctrl-C.
    #[command(after_help = UP_EXAMPLES)]
    Up(UpOptions),
    /// Stop what `up` has started, and wait until it has ended.
    #[command(after_help = "Examples:\n  kontor-local down\n  kontor-local down --data /tmp/kontor")]
    Down(Data),
    /// Show what runs and whether it is ready. Exit code 0 when all is, else 1.
    #[command(after_help = "Examples:\n  kontor-local status\n  kontor-local status --json")]
    Status {
        #[command(flatten)]
        data: Data,
        /// Print one JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Print the completion script of a shell.
    #[command(after_help = "Example:\n  source <(kontor-local completions bash)")]
    Completions { shell: clap_complete::Shell },
}

const UP_EXAMPLES: &str = "Examples:
  kontor-local up                                     # data in the usual place, ports from 8080
  kontor-local up --demo                              # with a generated shop to look at
  kontor-local up --data /tmp/kontor --port-base 9080 # a second one beside it
  kontor-local up --detach && kontor-local down       # in the background
  kontor-local up --fresh                             # forget everything and begin anew";

#[derive(Args, Clone)]
struct Data {
    /// Where the data is kept [default: /var/lib/kontor for root, ~/.local/state/kontor for others]
    #[arg(long = "data", value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Data {
    /// The folder's absolute path.
    fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => usual_data_folder()?,
        };
        std::path::absolute(&folder).with_context(|| format!("--data {} is no path", folder.display()))
    }
}

#[derive(Args, Clone)]
struct UpOptions {
    #[command(flatten)]
    data: Data,
    /// Delete the data and start with an empty log
    #[arg(long)]
    fresh: bool,
    /// Return once all is ready and leave it running; stop it with `down`
    #[arg(long)]
    detach: bool,
    /// The first port: command API; the others lie within 26 above it
    #[arg(long, value_name = "N", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1024..=i64::from(PlatformPorts::BASE_MAX)))]
    port_base: u16,
    /// Fill a generated shop, so that there is something to see
    #[arg(long)]
    demo: bool,
    /// This process is the one that stays in the background
    #[arg(long, hide = true)]
    in_background: bool,
}

fn main() -> ExitCode {
    let CommandLine { task } = CommandLine::parse();
    let result = match task {
        Task::Up(options) if options.detach && !options.in_background => run(detach::up(options)),
        Task::Up(options) => run(up::up(options)),
        Task::Down(data) => run(down::down(data)),
        Task::Status { data, json } => run(status::status(data, json)),
        Task::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "kontor-local", &mut script);
            console::out(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        console::fail(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn run(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    /// `infra/up --help` answers before anything is built, so it has a text of its own.
    #[test]
    fn the_scripts_name_every_flag() {
        let scripts = [("up", include_str!("../../../../up")), ("down", include_str!("../../../../down"))];
        for (task, script) in scripts {
            let command = CommandLine::command();
            let flags = command.find_subcommand(task).expect("it is a subcommand").get_arguments();
            for flag in flags.filter(|flag| !flag.is_hide_set()) {
                let flag = format!("--{}", flag.get_long().expect("all are long"));
                assert!(script.contains(&flag), "infra/{task} does not name {flag}");
            }
        }
    }
}
