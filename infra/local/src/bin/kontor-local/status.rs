//! `status`: what runs, and whether it is ready.

use crate::Data;
use crate::console::{bold, green, out};
use crate::data_folder;
use kontor_local::http_get;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

pub async fn status(data: Data, as_json: bool) -> anyhow::Result<ExitCode> {
    let folder = data.folder()?;
    let state = data_folder::holder(&folder).and_then(|_| data_folder::state(&folder));
    let Some(state) = state else {
        match as_json {
            true => out(&format!("{:#}", json!({ "running": false, "ready": false, "data": folder }))),
            false => out(&format!("Nothing runs with its data in {}.", folder.display())),
        }
        return Ok(ExitCode::FAILURE);
    };
    let mut processes = Vec::new();
    for process in state["processes"].as_array().into_iter().flatten() {
        processes.push(examined(process).await);
    }
    let ready = state["ready"] == true && processes.iter().all(|process| process["ready"] == true);
    if as_json {
        let shown = json!({
            "running": true,
            "ready": ready,
            "data": folder,
            "pid": state["pid"],
            "since": state["since"],
            "urls": state["urls"],
            "processes": processes,
        });
        out(&format!("{shown:#}"));
    } else {
        show(&folder, &state, &processes, ready);
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The process with its memory (`memory_mb`: resident, null when it has ended) and whether it is ready.
async fn examined(process: &Value) -> Value {
    let memory_mb = process["pid"].as_u64().and_then(resident_mb);
    let is_tier = process["name"].as_str().is_some_and(|name| name.starts_with("kontor-"));
    let ready = match (memory_mb, process["port"].as_u64().and_then(|port| u16::try_from(port).ok())) {
        (Some(_), Some(port)) if is_tier => http_get(port, "/readyz").await.is_ok_and(|(status, _)| status == 200),
        (memory_mb, _) => memory_mb.is_some(),
    };
    let mut examined = process.clone();
    examined["ready"] = json!(ready);
    examined["memory_mb"] = json!(memory_mb);
    examined
}

/// Resident memory in MB (of Postgres, of its first process only); `None` when there is no such process.
fn resident_mb(pid: u64) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

fn show(folder: &Path, state: &Value, processes: &[Value], ready: bool) {
    let summary = if ready { green("ready") } else { bold("not ready") };
    out(&format!("Kontor is {summary}; process {}, data in {}\n", state["pid"], folder.display()));
    if processes.is_empty() {
        out("  It is still starting, or already stopping.");
    }
    for process in processes {
        let memory = process["memory_mb"].as_u64().map_or("ended".to_owned(), |mb| format!("{mb} MB"));
        let ready = if process["ready"] == true { green("ready    ") } else { bold("not ready") };
        let text = |field: &str| process[field].as_str().unwrap_or_default().to_owned();
        out(&format!("  {:<17} {ready}  port {:<5}  {memory:>7}  {}", text("name"), process["port"], text("log")));
    }
    for (name, url) in state["urls"].as_object().into_iter().flatten() {
        out(&format!("  {name:<17} {}", url.as_str().unwrap_or_default()));
    }
}
