//! `kontor-mail-sink`: takes all mail that is sent to it, delivers none, and shows it on a page.

use anyhow::Context;
use clap::Parser;
use kontor_local::MailSink;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// A mail server that delivers nothing: it keeps what it is sent and shows it on a page. Listens on 127.0.0.1 only.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  kontor-mail-sink --folder /tmp/mails
  curl http://127.0.0.1:8106/mails?limit=1                # the last mail as JSON
  curl -X PUT http://127.0.0.1:8106/behaviours/ada@example.com --json '{\"refuse\":{\"code\":451,\"times\":2}}'
  curl -X PUT http://127.0.0.1:8106/behaviours/* --json '{\"keep-and-say-nothing\":{\"times\":1}}'
  curl -X DELETE http://127.0.0.1:8106/behaviours         # takes all mail again"
)]
struct CommandLine {
    /// Where the mails are kept, a file each
    #[arg(long, value_name = "DIR")]
    folder: PathBuf,
    /// Where mail is taken
    #[arg(long, value_name = "PORT", default_value_t = 8105)]
    smtp_port: u16,
    /// Where the page is
    #[arg(long, value_name = "PORT", default_value_t = 8106)]
    page_port: u16,
    /// How many mails are kept, the newest
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    keep: usize,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let CommandLine { folder, smtp_port, page_port, keep } = CommandLine::parse();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to signals")?;
    let sink = MailSink::start(&folder, smtp_port, page_port, keep).await?;
    println!("SMTP at 127.0.0.1:{}, the page at {}", sink.smtp_port(), sink.url());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
