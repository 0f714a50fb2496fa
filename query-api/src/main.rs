//! `kontor-query`: answers queries from the read models.

use clap::{Parser, Subcommand};
use kontor_query_api::service::StartError;
use kontor_query_api::{QuerySettings, Service};
use kontor_telemetry::{Health, Metrics, OpsServer};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

/// In an import a quarter of a tier's time went into the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Answers queries from the read models.
///
/// Settings come from a TOML file and from KONTOR_SECTION__FIELD variables, which win.
#[derive(Parser)]
#[command(version)]
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
    Serve,
}

fn main() -> ExitCode {
    let Arguments { config, action } = Arguments::parse();
    let settings: QuerySettings = match kontor_settings::load(config.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return refused(&error),
    };
    match run(&settings, action.unwrap_or(Action::Serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let of_settings = error.is::<StartError>()
                || error.is::<kontor_telemetry::InitError>()
                || error.is::<kontor_telemetry::ops::BindError>();
            if of_settings {
                return refused(&error);
            }
            eprintln!("kontor-query: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A setting that cannot be used.
fn refused(reason: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("kontor-query: {reason}");
    ExitCode::from(2)
}

fn run(settings: &QuerySettings, Action::Serve: Action) -> anyhow::Result<()> {
    let telemetry = kontor_telemetry::init("kontor-query", &settings.telemetry)?;
    // For the watches; requests are answered on threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let served = runtime.block_on(serve(settings));
    telemetry.shutdown();
    served
}

async fn serve(settings: &QuerySettings) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (metrics, health) = (Metrics::new(), Health::new());
    let service = Service::start(settings, &metrics, &health)?;
    let ops = OpsServer::start(&settings.ops.bind, metrics, health.clone())?;
    info!("Queries are answered at http://{}, operators at http://{}", service.address(), ops.address());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("Ending: requests that have begun are answered");
    health.drain();
    service.stop().await?;
    ops.stop().await;
    Ok(())
}
