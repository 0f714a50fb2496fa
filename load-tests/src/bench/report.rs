//! What a benchmark found: figures with dotted names, and a table for people.

use serde::Serialize;
use std::fmt::Write;
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

    /// Prints to standard output: one JSON object, or the table with every figure below it.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        use std::io::Write;
        let text = match json {
            true => serde_json::to_string(self)?,
            false => self.for_people(),
        };
        writeln!(std::io::stdout().lock(), "{text}")?;
        Ok(())
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

/// Rows under headings, each column as wide as its widest cell; the first column to the left, the others to the right.
#[derive(Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(headings: &[&str]) -> Self {
        Self(vec![headings.iter().map(|heading| (*heading).to_owned()).collect()])
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.0.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.0.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.0 {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match column {
                    0 => write!(line, "{cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A whole number with commas: `45,592`.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && text != "0" { format!("-{text}") } else { text }
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
    fn columns_are_aligned() {
        let mut table = Table::new(&["name", "n"]);
        table.row(vec!["a".to_owned(), "1,000".to_owned()]);
        assert_eq!(table.to_string(), "name      n\na     1,000\n");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(1_234_567.4), "1,234,567");
        assert_eq!(grouped(-999.6), "-1,000");
        assert_eq!(grouped(-0.4), "0");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
