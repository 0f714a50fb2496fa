//! What a benchmark found: figures with dotted names, and a table for people.

use crate::table::Table;
use serde::Serialize;
use std::process::Command;

/// One number, such as `append.kontor.new.64` in `1/s`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
}

/// What one benchmark found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub bench: &'static str,
    /// The commit that was measured, `+` behind it when the work tree differed.
    pub commit: String,
    /// The machine in words: cores, memory, system.
    pub machine: String,
    pub figures: Vec<Figure>,
    /// For people; not part of the JSON.
    #[serde(skip)]
    pub text: String,
}

impl Report {
    pub fn new(bench: &'static str) -> Self {
        Self { bench, commit: commit(), machine: machine(), figures: Vec::new(), text: String::new() }
    }

    /// Adds a figure. Four significant digits are kept: no measurement here has more.
    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value: significant(value), unit });
    }

    /// One JSON object, or the tables with every figure below them.
    pub fn render(&self, json: bool) -> serde_json::Result<String> {
        match json {
            true => serde_json::to_string(self),
            false => Ok(self.for_people()),
        }
    }

    fn for_people(&self) -> String {
        let mut table = Table::new(&["figure", "value", "unit"]);
        for figure in &self.figures {
            table.row(vec![figure.name.clone(), figure.value.to_string(), figure.unit.to_owned()]);
        }
        let Report { bench, commit, machine, text, .. } = self;
        format!("{bench} at {commit} on {machine}\n\n{text}\n{}", table.to_string().trim_end())
    }
}

fn significant(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The middle value; of an even number of values, the upper of the two in the middle. Panics without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(commit)
            if git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty()) =>
        {
            commit
        }
        Some(commit) => format!("{commit}+"),
        None => "unknown".to_owned(),
    }
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory_kb: f64 = after(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    format!("{cores} cores, {model}, {:.0} GB, Linux {kernel}", memory_kb / 1024.0 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_four_fields_and_nothing_else() {
        let mut report = Report::new("append");
        report.figure("append.growth_ratio", 0.876_543_2, "ratio");
        report.text = "a table".to_owned();
        let json: serde_json::Value = serde_json::to_value(&report).expect("a report has a JSON form");
        let fields: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(fields, ["bench", "commit", "figures", "machine"]);
        let expected = serde_json::json!([{"name": "append.growth_ratio", "value": 0.8765, "unit": "ratio"}]);
        assert_eq!(json["figures"], expected);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
