//! `kontor-projector`: keeps the read models.

use anyhow::Context;
use clap::{Parser, Subcommand};
use kontor_projection_services::projector::StartError;
use kontor_projection_services::{Projector, ProjectorSettings, migrate, projections};
use kontor_telemetry::{Health, Metrics, OpsServer};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// In an import a quarter of a tier's time went into the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EXAMPLES: &str = "Examples:
  kontor-projector                      # keeps all
  kontor-projector orders customers     # keeps these two
  kontor-projector migrate              # makes the tables that it needs";

#[derive(Parser)]
#[command(
    version,
    about = "Keeps the read models that queries are answered from.",
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES
)]
struct Arguments {
    /// The projections to keep; all if none is named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Settings file (TOML); the environment overrides it
    #[arg(long, global = true, env = "KONTOR_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Keep the projections named, or all: what is done without a command, too
    Serve {
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Bring the tables of the read models up to date, and end
    Migrate,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let settings: ProjectorSettings = match kontor_settings::load(arguments.config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return refused(error),
    };
    let _telemetry = match kontor_telemetry::init("kontor-projector", &settings.telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => return refused(error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let done = match arguments.command.unwrap_or(Command::Serve { names: arguments.names }) {
        Command::Serve { names } => runtime.block_on(serve(&settings, &names)),
        Command::Migrate => match &settings.log.migrator_url {
            None => return refused("log.migrator_url (KONTOR_LOG__MIGRATOR_URL) must be set"),
            Some(url) => runtime.block_on(run_migrations(url.expose())),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<StartError>() || error.is::<kontor_telemetry::ops::BindError>() => refused(error),
        Err(error) => failed(&error),
    }
}

/// A setting that cannot be used.
fn refused(reason: impl std::fmt::Display) -> ExitCode {
    eprintln!("kontor-projector: {reason}");
    ExitCode::from(2)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("kontor-projector: {error:#}");
    ExitCode::FAILURE
}

async fn serve(settings: &ProjectorSettings, names: &[String]) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (metrics, health) = (Metrics::new(), Health::new());
    let projections = projections::chosen(names).map_err(StartError::from)?;
    let projector = Projector::start(settings, projections, &metrics, &health).await?;
    let ops = OpsServer::start(&settings.ops.bind, metrics, health.clone())?;
    info!("Operators are answered at http://{}", ops.address());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("Ending: batches that have begun are finished");
    health.drain();
    projector.stop().await;
    ops.stop().await;
    Ok(())
}

async fn run_migrations(url: &str) -> anyhow::Result<()> {
    let options = url.parse().context("log.migrator_url (KONTOR_LOG__MIGRATOR_URL)")?;
    migrate(options).await.context("the read models cannot be migrated")
}
