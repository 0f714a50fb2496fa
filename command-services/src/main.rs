//! `kontor-command`: takes commands over HTTP, appends their events to the log, relays the log to JetStream, mails customers.

use clap::{CommandFactory, Parser, Subcommand};
use kontor_command_services::service::{self, Role};
use kontor_command_services::settings::Settings;
use std::path::PathBuf;
use std::process::ExitCode;

/// In an import a quarter of a tier's time went into the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes commands over HTTP, appends their events to the log, relays the log to JetStream, mails customers.
///
/// Settings come from a TOML file and from KONTOR_SECTION__FIELD variables, which win.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  KONTOR_LOG__MIGRATOR_URL=postgres://kontor_migrator@localhost/kontor kontor-command migrate
  kontor-command --config kontor.toml serve
  kontor-command serve relay          only the relay"
)]
struct Arguments {
    /// Settings file (TOML).
    #[arg(long, env = "KONTOR_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Serve until SIGTERM or SIGINT (the default).
    Serve {
        /// What to serve; all without a name.
        roles: Vec<Role>,
    },
    /// Bring the tables of the log, and of all that is kept beside it, to this release's form, then end.
    Migrate,
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Action::Completions { shell }) = arguments.action {
        clap_complete::generate(shell, &mut Arguments::command(), "kontor-command", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    let settings: Settings = match kontor_settings::load(arguments.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("kontor-command: {error}");
            return ExitCode::from(2);
        }
    };
    match run(settings, arguments.action) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kontor-command: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings, action: Option<Action>) -> anyhow::Result<()> {
    let telemetry = kontor_telemetry::init("kontor-command", &settings.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        match action {
            Some(Action::Migrate) => service::migrate(&settings.log).await,
            Some(Action::Serve { roles }) if !roles.is_empty() => service::serve(&settings, &roles).await,
            _ => service::serve(&settings, Role::ALL).await,
        }
    });
    telemetry.shutdown();
    outcome
}
