//! `up --detach`: the platform in a process of its own, which outlives the terminal.

use crate::UpOptions;
use crate::data_folder::{self, DataFolder};
use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

/// Starts it, passes on what it says until it is ready, and returns. What it says later is in `up.log`.
pub async fn up(options: UpOptions) -> anyhow::Result<ExitCode> {
    let folder = options.data.folder()?;
    drop(DataFolder::open(&folder)?); // Refuses at once what the other would refuse.
    let log_path = folder.join("up.log");
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let mut heard = File::open(&log_path)?;

    let mut command = std::process::Command::new(std::env::current_exe().context("cannot find our own binary")?);
    command
        .args(["up", "--in-background", "--data"])
        .arg(&folder)
        .arg("--port-base")
        .arg(options.port_base.to_string());
    command.args(options.fresh.then_some("--fresh")).args(options.demo.then_some("--demo"));
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    let mut child = child.context("cannot start ourselves in the background")?;
    let pid = Pid::from_child(&child);

    let begin = async {
        loop {
            pass_on(&mut heard)?;
            if let Some(status) = child.try_wait()? {
                pass_on(&mut heard)?;
                let code = status.code().and_then(|code| u8::try_from(code).ok()).filter(|&code| code != 0);
                return anyhow::Ok(ExitCode::from(code.unwrap_or(1)));
            }
            let state = data_folder::state(&folder);
            if state.is_some_and(|state| state["ready"] == true && state["pid"] == pid.as_raw_nonzero().get()) {
                pass_on(&mut heard)?;
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        code = begin => return code,
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    // Who changes their mind before it is ready wants it gone.
    let _ = kill_process(pid, Signal::TERM);
    tokio::task::spawn_blocking(move || child.wait()).await??;
    pass_on(&mut heard)?;
    Ok(ExitCode::from(130))
}

/// Prints what has been written since the last time.
fn pass_on(log: &mut File) -> anyhow::Result<()> {
    let mut news = Vec::new();
    log.read_to_end(&mut news)?;
    // Nobody reading is no reason to fail.
    let _ = std::io::stdout().write_all(&news).and_then(|()| std::io::stdout().flush());
    Ok(())
}
