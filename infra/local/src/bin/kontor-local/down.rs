//! `down`: ends the `up` of a data folder.

use crate::Data;
use crate::console::out;
use crate::data_folder;
use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Postgres writes out what it has in memory, which may take a while.
const PATIENCE: Duration = Duration::from_secs(300);

pub async fn down(data: Data) -> anyhow::Result<ExitCode> {
    let folder = data.folder()?;
    let Some(holder) = data_folder::holder(&folder) else {
        out(&format!("Nothing runs with its data in {}.", folder.display()));
        return Ok(ExitCode::SUCCESS);
    };
    let pid = Pid::from_raw(holder).with_context(|| format!("{}/lock holds no process id", folder.display()))?;
    kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop process {holder}"))?;
    let asked = Instant::now();
    while data_folder::holder(&folder) == Some(holder) {
        if asked.elapsed() > PATIENCE {
            bail!(
                "process {holder} has not ended within {} s; its log is {}/up.log",
                PATIENCE.as_secs(),
                folder.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    out(&format!("Stopped; the data stays in {}.", folder.display()));
    Ok(ExitCode::SUCCESS)
}
