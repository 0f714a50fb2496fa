//! Processor time and memory by process, from `/proc`: on a machine where others work too, these still tell the cost.

use kontor_local::PlatformProcess;
use std::collections::HashMap;
use std::fs;

/// Seconds of processor time of each process with its children, which Postgres has one of for each connection.
pub fn of_platform(processes: &[PlatformProcess]) -> Vec<f64> {
    processes.iter().map(|process| process.pid.map_or(0.0, of_tree)).collect()
}

/// Seconds of processor time that a process and all its descendants have used, those included that have ended and were
/// waited for. 0 for a process that is gone.
pub fn of_tree(root: u32) -> f64 {
    let processes: HashMap<u32, Stat> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, Stat::read(pid)?))
        })
        .collect();
    let below_root = |mut pid: u32| {
        while pid != root {
            match processes.get(&pid) {
                Some(stat) if stat.parent != 0 => pid = stat.parent,
                _ => return false,
            }
        }
        true
    };
    let ticks: u64 =
        processes.iter().filter(|(pid, _)| below_root(**pid)).map(|(_, stat)| stat.own + stat.waited_for).sum();
    seconds(ticks)
}

/// Seconds of processor time that a process itself has used, without its children.
pub fn of_process(pid: u32) -> f64 {
    Stat::read(pid).map_or(0.0, |stat| seconds(stat.own))
}

/// Seconds of processor time of this process's children that have ended.
pub fn of_ended_children() -> f64 {
    Stat::read(std::process::id()).map_or(0.0, |stat| seconds(stat.waited_for))
}

/// Resident memory of a process in bytes; 0 for one that is gone.
pub fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most that it ever was.
pub fn resident_max(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

fn memory(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kb = status.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or(0) * 1024
}

struct Stat {
    parent: u32,
    /// Clock ticks in user and system mode.
    own: u64,
    /// The same of ended children.
    waited_for: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state parent ...`, where the name may contain anything (proc(5)).
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            waited_for: ticks(13)? + ticks(14)?,
        })
    }
}

/// Linux counts in hundredths of a second on all machines it tells user space about (USER_HZ).
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen_in_the_process_and_in_its_tree() {
        let own = std::process::id();
        let before = (of_process(own), of_tree(own));
        let grown = || of_process(own) > before.0 && of_tree(own) > before.1;
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !grown() && std::time::Instant::now() < until {
            std::hint::black_box((0..10_000_000_u64).map(std::hint::black_box).sum::<u64>());
        }
        assert!(grown());
        assert!(resident(own) > 1 << 20);
    }
}
